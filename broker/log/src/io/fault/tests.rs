//! Each action, over memory.

use super::*;
use crate::io::MemoryIo;

const ROOT: &str = "/";

fn faulty() -> (FaultIo<MemoryIo>, Arc<dyn LogFile>) {
    let io = FaultIo::new(MemoryIo::new());
    let file = io.open(Path::new("/a.log"), OpenMode::Create).unwrap();
    (io, file)
}

fn write(file: &Arc<dyn LogFile>, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(&[IoSlice::new(bytes)], 0)
}

#[test]
fn failures_hit_the_chosen_operation_path_and_time_only() {
    let (io, file) = faulty();
    let other = io.open(Path::new("/b.index"), OpenMode::Create).unwrap();
    let rule = Rule::new(&[Operation::Write], Action::Fail(libc::ENOSPC));
    let injection = io.inject(rule.at_path_with(".log").when(When::Nth(2)));
    write(&file, b"1").unwrap();
    write(&other, b"1").unwrap();
    assert_eq!(
        write(&file, b"2").unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(io.inner().contents(Path::new("/a.log")).unwrap(), b"1");
    write(&file, b"3").unwrap();
    file.sync_data().unwrap();
    assert_eq!(injection.applied(), 1);
}

#[test]
fn every_operation_can_be_made_to_fail_until_stopped() {
    let (io, file) = faulty();
    let path = Path::new("/a.log");
    for operation in Operation::ALL {
        let injection = io.inject(Rule::new(&[operation], Action::Fail(libc::EIO)));
        let root = Path::new(ROOT);
        let error = match operation {
            Operation::Open => io.open(path, OpenMode::Read).err(),
            Operation::Rename => io.rename(path, Path::new("/b")).err(),
            Operation::RemoveFile => io.remove_file(path).err(),
            Operation::CreateDir => io.create_dir_all(Path::new("/d")).err(),
            Operation::RemoveDir => io.remove_dir(root).err(),
            Operation::ListDir => io.list_dir(root).err(),
            Operation::SyncDir => io.sync_dir(root).err(),
            Operation::Metadata => io.metadata(path).err(),
            Operation::Space => io.space(root).err(),
            Operation::Lock => io.try_lock(path).err(),
            Operation::Write => write(&file, b"x").err(),
            Operation::Read => file.read_at(&mut [0], 0).err(),
            Operation::Allocate => file.allocate(1).err(),
            Operation::SetLen => file.set_len(1).err(),
            Operation::SyncData => file.sync_data().err(),
            Operation::Map => file.map(0).err(),
        };
        let errno = error.and_then(|error| error.raw_os_error());
        assert_eq!(errno, Some(libc::EIO), "{}", operation.name());
        assert_eq!(Operation::by_name(operation.name()), Some(operation));
        injection.stop();
    }
    write(&file, b"x").unwrap();
    file.sync_data().unwrap();
}

#[test]
fn short_write_leaves_a_prefix_and_an_error() {
    let (io, file) = faulty();
    io.inject(Rule::new(
        &[Operation::Write],
        Action::ShortWrite {
            bytes: 3,
            errno: libc::ENOSPC,
        },
    ));
    let error = file
        .write_all_at(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")], 0)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(io.inner().contents(Path::new("/a.log")).unwrap(), b"abc");
}

#[test]
fn torn_write_leaves_some_sectors_whole_and_others_untouched() {
    let mut seen = std::collections::HashSet::new();
    for seed in 0..100 {
        let (io, file) = faulty();
        write(&file, &[1; 1500]).unwrap();
        io.inject(Rule::new(&[Operation::Write], Action::TornWrite { seed }));
        let error = file
            .write_all_at(&[IoSlice::new(&[2; 1400])], 100)
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        let bytes = io.inner().contents(Path::new("/a.log")).unwrap();
        for sector in [&bytes[100..512], &bytes[512..1024], &bytes[1024..1500]] {
            assert!(sector.iter().all(|byte| *byte == sector[0]));
        }
        seen.insert((bytes[100], bytes[512], bytes[1024]));
    }
    assert_eq!(seen.len(), 8, "every subset of three sectors");
}

#[test]
fn skipped_flush_claims_success_and_flushes_nothing() {
    let (io, file) = faulty();
    io.sync_dir(Path::new(ROOT)).unwrap();
    write(&file, b"data").unwrap();
    let injection = io.inject(Rule::new(&[Operation::SyncData], Action::Skip));
    file.sync_data().unwrap();
    let lost = |seed| {
        io.inner()
            .crash(seed)
            .contents(Path::new("/a.log"))
            .unwrap()
            .is_empty()
    };
    assert!((0..50).any(lost));
    injection.stop();
    file.sync_data().unwrap();
    assert!(!(0..50).any(lost));
}

#[test]
fn failed_flush_over_memory_loses_what_a_later_one_pretends_to_flush() {
    let (io, file) = faulty();
    io.sync_dir(Path::new(ROOT)).unwrap();
    let memory = io.inner().clone();
    io.on_failed_sync(move |path| memory.give_up_unsynced(path).unwrap());
    io.inject(Rule::new(&[Operation::SyncData], Action::Fail(libc::EIO)).when(When::Nth(1)));
    write(&file, b"data").unwrap();
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    let lost = |seed| {
        io.inner()
            .crash(seed)
            .contents(Path::new("/a.log"))
            .unwrap()
            .is_empty()
    };
    assert!((0..50).any(lost));
}

#[test]
fn delays_take_their_time_and_the_operation_is_done() {
    let (io, file) = faulty();
    let time = Duration::from_millis(20);
    io.inject(Rule::new(&[Operation::Write], Action::Delay(time)));
    let start = Instant::now();
    write(&file, b"x").unwrap();
    assert!(start.elapsed() >= time);
    let slow = slowly(10, || {
        thread::sleep(Duration::from_millis(2));
        Ok(Instant::now())
    });
    assert!(slow.unwrap().elapsed() >= Duration::from_millis(18));
}

#[test]
fn chances_follow_their_seed() {
    let failures = |seed| {
        let (io, file) = faulty();
        let chance = When::Chance {
            parts_per_million: 250_000,
            seed,
        };
        io.inject(Rule::new(&[Operation::Write], Action::Fail(libc::EIO)).when(chance));
        (0..400).filter(|_| write(&file, b"x").is_err()).count()
    };
    assert_eq!(failures(1), failures(1));
    assert!((60..140).contains(&failures(1)), "{}", failures(1));
}
