//! What a crash keeps and what it may lose.

use super::*;
use std::collections::HashSet;

const SEEDS: u64 = 300;

fn put(io: &MemoryIo, path: &str, bytes: &[u8], position: u64) -> Arc<dyn LogFile> {
    let file = io.open(Path::new(path), OpenMode::Create).unwrap();
    file.write_all_at(&[IoSlice::new(bytes)], position).unwrap();
    file
}

fn after_crashes<T: Eq + std::hash::Hash>(
    io: &MemoryIo,
    look: impl Fn(&MemoryIo) -> T,
) -> HashSet<T> {
    (0..SEEDS).map(|seed| look(&io.crash(seed))).collect()
}

#[test]
fn synced_bytes_in_a_synced_directory_always_survive() {
    let io = MemoryIo::new();
    put(&io, "/a", b"kept", 0).sync_data().unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    let seen = after_crashes(&io, |io| io.contents(Path::new("/a")).unwrap());
    assert_eq!(seen, HashSet::from([b"kept".to_vec()]));
}

#[test]
fn synced_bytes_go_with_a_name_that_was_not_synced() {
    let io = MemoryIo::new();
    put(&io, "/a", b"kept", 0).sync_data().unwrap();
    let seen = after_crashes(&io, |io| io.contents(Path::new("/a")).ok());
    assert_eq!(seen, HashSet::from([None, Some(b"kept".to_vec())]));
}

#[test]
fn unsynced_writes_vanish_stay_or_tear_at_sectors() {
    let io = MemoryIo::new();
    let file = put(&io, "/a", &[1; 1024], 0);
    file.sync_data().unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&[IoSlice::new(&[2; 1024])], 256).unwrap();
    let seen = after_crashes(&io, |io| io.contents(Path::new("/a")).unwrap());
    for bytes in &seen {
        assert!(bytes[..256] == [1; 256]);
        assert!(
            bytes[256..512].iter().all(|byte| *byte == bytes[256]),
            "sector tears whole"
        );
        assert!(bytes[512..1024].iter().all(|byte| *byte == bytes[512]));
    }
    // 2^3 sectors, with and without the length for those that lost the last one.
    assert_eq!(
        seen.len(),
        12,
        "{:?}",
        seen.iter().map(Vec::len).collect::<Vec<_>>()
    );
}

#[test]
fn later_writes_may_survive_earlier_ones() {
    let io = MemoryIo::new();
    let file = put(&io, "/a", b"-", 0);
    file.sync_data().unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(&[IoSlice::new(b"1")], 1).unwrap();
    file.write_all_at(&[IoSlice::new(b"2")], 2).unwrap();
    let seen = after_crashes(&io, |io| io.contents(Path::new("/a")).unwrap());
    for expected in [&b"-"[..], b"-1", b"-12", b"-\x002"] {
        assert!(seen.contains(expected), "{expected:?}");
    }
}

#[test]
fn truncation_is_lost_or_kept() {
    let io = MemoryIo::new();
    let file = put(&io, "/a", b"long", 0);
    file.sync_data().unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    file.set_len(1).unwrap();
    let seen = after_crashes(&io, |io| io.contents(Path::new("/a")).unwrap());
    assert_eq!(seen, HashSet::from([b"long".to_vec(), b"l".to_vec()]));
}

#[test]
fn replacing_by_rename_shows_old_or_new_and_only_new_after_the_directory_sync() {
    let io = MemoryIo::new();
    put(&io, "/a", b"old", 0).sync_data().unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    put(&io, "/a.tmp", b"new", 0).sync_data().unwrap();
    io.rename(Path::new("/a.tmp"), Path::new("/a")).unwrap();
    let look = |io: &MemoryIo| io.contents(Path::new("/a")).unwrap();
    assert_eq!(
        after_crashes(&io, look),
        HashSet::from([b"old".to_vec(), b"new".to_vec()])
    );
    io.sync_dir(Path::new("/")).unwrap();
    assert_eq!(after_crashes(&io, look), HashSet::from([b"new".to_vec()]));
}

#[test]
fn rename_between_directories_never_loses_or_doubles_the_file() {
    let io = MemoryIo::new();
    for dir in ["/x", "/y"] {
        io.create_dir_all(Path::new(dir)).unwrap();
    }
    put(&io, "/x/a", b"a", 0).sync_data().unwrap();
    for dir in ["/", "/x"] {
        io.sync_dir(Path::new(dir)).unwrap();
    }
    io.rename(Path::new("/x/a"), Path::new("/y/a")).unwrap();
    let look = |io: &MemoryIo| ["/x/a", "/y/a"].map(|path| io.contents(Path::new(path)).is_ok());
    assert_eq!(
        after_crashes(&io, look),
        HashSet::from([[true, false], [false, true]])
    );
    io.sync_dir(Path::new("/y")).unwrap();
    assert_eq!(after_crashes(&io, look), HashSet::from([[false, true]]));
}

#[test]
fn directory_that_was_not_synced_takes_its_files_along() {
    let io = MemoryIo::new();
    io.create_dir_all(Path::new("/d/e")).unwrap();
    put(&io, "/d/e/a", b"a", 0).sync_data().unwrap();
    io.sync_dir(Path::new("/d/e")).unwrap();
    io.sync_dir(Path::new("/d")).unwrap();
    let look = |io: &MemoryIo| io.contents(Path::new("/d/e/a")).is_ok();
    assert_eq!(after_crashes(&io, look), HashSet::from([true, false]));
    io.sync_dir(Path::new("/")).unwrap();
    assert_eq!(after_crashes(&io, look), HashSet::from([true]));
}

#[test]
fn removal_is_undone_or_kept_before_the_directory_sync() {
    let io = MemoryIo::new();
    put(&io, "/a", b"a", 0).sync_data().unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    io.remove_file(Path::new("/a")).unwrap();
    let look = |io: &MemoryIo| io.contents(Path::new("/a")).is_ok();
    assert_eq!(after_crashes(&io, look), HashSet::from([true, false]));
}

#[test]
fn what_a_failed_flush_gave_up_is_never_durable_afterwards() {
    let io = MemoryIo::new();
    let file = put(&io, "/a", b"first", 0);
    io.sync_dir(Path::new("/")).unwrap();
    io.give_up_unsynced(Path::new("/a")).unwrap();
    file.sync_data().unwrap();
    let look = |io: &MemoryIo| io.contents(Path::new("/a")).unwrap();
    assert!(
        after_crashes(&io, look).contains(&Vec::new()),
        "the later sync does not help"
    );
    assert_eq!(look(&io), b"first", "and reads do not tell");
}

#[test]
fn same_seed_gives_the_same_crash() {
    let io = MemoryIo::new();
    for (position, name) in (0..).zip(["/a", "/b", "/a"]) {
        put(&io, name, &[9; 3000], position * 1000);
    }
    let look = |io: MemoryIo| ["/a", "/b"].map(|path| io.contents(Path::new(path)).ok());
    for seed in 0..50 {
        assert_eq!(look(io.crash(seed)), look(io.crash(seed)));
    }
}

#[test]
fn full_disk_refuses_whole_writes_until_something_goes() {
    let io = MemoryIo::with_capacity(1000);
    let file = put(&io, "/a", &[1; 600], 0);
    let other = put(&io, "/b", &[1; 100], 0);
    let full = other
        .write_all_at(&[IoSlice::new(&[2; 301])], 100)
        .unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 100, "nothing was written");
    assert_eq!(
        other.allocate(401).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    file.allocate(900).unwrap();
    assert_eq!(
        io.space(Path::new("/")).unwrap(),
        Space {
            total: 1000,
            available: 0
        }
    );
    file.set_len(600).unwrap();
    other.allocate(400).unwrap();
    io.remove_file(Path::new("/a")).unwrap();
    assert_eq!(io.space(Path::new("/")).unwrap().available, 600);
}
