//! Metadata that was committed and is not there any more: never taken for metadata that never was.

use std::collections::BTreeMap;

use super::*;

const DATA: &str = "/data";
const WITNESS: &str = "/data/metadata-witness";

/// Every file below a directory.
fn contents(io: &MemoryIo, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in io.list_dir(dir).expect("memory") {
        let path = dir.join(entry.name);
        if entry.is_dir {
            found.extend(contents(io, &path));
        } else {
            let bytes = io.contents(&path).expect("memory");
            found.insert(path, bytes);
        }
    }
    found
}

/// The last file of a log with a snapshot, and what is after it.
fn last_file(io: &MemoryIo) -> PathBuf {
    let listing = file::list(io, Path::new(DIR)).expect("memory");
    let first_index = listing.logs.last().expect("a log");
    file::path(FileKind::Log, Path::new(DIR), *first_index)
}

fn refused_unchanged(io: &MemoryIo) -> OpenError {
    let before = contents(io, Path::new(DATA));
    let error = open(io.clone(), LARGE).expect_err("something is lost");
    assert_eq!(contents(io, Path::new(DATA)), before, "{error}");
    error
}

#[test]
fn a_committed_end_that_is_lost_is_refused_at_any_length_and_nothing_changes() {
    let (io, image) = filled();
    let path = last_file(&io);
    let length = io.contents(&path).expect("memory").len();
    for cut in 0..length {
        let cut_io = io.fork();
        let file = cut_io.open(&path, OpenMode::Write).expect("memory");
        file.set_len(cut as u64).expect("memory");
        let error = refused_unchanged(&cut_io);
        let expected = image.index();
        let is_named = matches!(error, OpenError::Lost { committed, found, .. } if committed == expected && found < expected);
        assert!(is_named, "cut at {cut}: {error}");
    }
    let (_, opened) = open(io, LARGE).expect("whole");
    assert_eq!(opened.image, image);
}

#[test]
fn a_committed_end_that_reads_as_zeros_is_refused() {
    let (io, _) = filled();
    let (mut log, _) = open(io.clone(), LARGE).expect("whole");
    let start = usize::try_from(log.size_bytes()).expect("small");
    let wide = topic("wide", 255, 200);
    log.append(&[wide], &no_room).expect("room");
    let mut bytes = io.contents(log.path()).expect("memory");
    // A whole sector of zeros is what a torn write leaves; this one was not torn.
    bytes[start.next_multiple_of(512)..][..512].fill(0);
    let file = io.open(log.path(), OpenMode::Write).expect("memory");
    file.write_all_at(&[io::IoSlice::new(&bytes)], 0)
        .expect("memory");
    let error = refused_unchanged(&io);
    assert!(matches!(error, OpenError::Lost { .. }), "{error}");
}

#[test]
fn an_older_metadata_directory_is_taken_once_the_witness_is_removed() {
    let io = memory();
    let (mut log, opened) = open(io.clone(), LARGE).expect("new");
    log.append(&[topic("older", 1, 1)], &no_room).expect("room");
    let older = io.contents(log.path()).expect("memory");
    log.append(&[topic("newer", 2, 1)], &no_room).expect("room");
    assert_eq!(opened.image.index(), 0);
    let file = io.open(log.path(), OpenMode::Write).expect("memory");
    file.set_len(older.len() as u64).expect("memory");
    let error = refused_unchanged(&io);
    assert_eq!(
        error.to_string(),
        "metadata log /data/metadata ends at index 1, it was committed up to 2"
    );
    io.remove_file(Path::new(WITNESS)).expect("memory");
    let (mut log, opened) = open(io.clone(), LARGE).expect("the operator said so");
    assert_eq!(opened.image.topic_count(), 1);
    log.append(&[topic("next", 3, 1)], &no_room).expect("room");
    let (_, opened) = open(io, LARGE).expect("whole");
    assert_eq!(opened.image.index(), 2);
}

#[test]
fn a_metadata_directory_that_is_gone_is_refused() {
    let (io, _) = filled();
    io.rename(Path::new(DIR), Path::new("/data/elsewhere"))
        .expect("memory");
    let error = refused_unchanged(&io);
    assert!(matches!(error, OpenError::Missing { index: 1, .. }));
    assert!(MetadataLog::holds_records(&io, Path::new(DIR)).expect("memory"));
}

#[test]
fn a_witness_that_says_nothing_is_refused_and_half_a_witness_is_believed() {
    let (io, image) = filled();
    let good = io.contents(Path::new(WITNESS)).expect("memory");
    for cut in [0, 1, good.len() - 1] {
        let damaged = io.fork();
        let file = damaged.open(Path::new(WITNESS), OpenMode::Write);
        file.expect("memory").set_len(cut as u64).expect("memory");
        let error = refused_unchanged(&damaged);
        assert!(matches!(error, OpenError::Witness(_)), "{cut}: {error}");
    }
    for byte in 0..good.len() {
        let damaged = io.fork();
        flip(&damaged, Path::new(WITNESS), byte, byte % 8);
        let (_, opened) = open(damaged.clone(), LARGE).expect("half is enough");
        assert_eq!(opened.image, image, "byte {byte}");
    }
}

#[test]
fn nothing_is_told_before_the_witness_saw_it() {
    // Write and flush of the log, then of the witness.
    for changes in 0..4 {
        let disk = memory();
        let cut = CutIo::new(disk.clone(), u64::MAX);
        let (mut log, _) = open(cut.clone(), LARGE).expect("new");
        log.append(&[topic("a", 1, 1)], &no_room).expect("works");
        cut.cut_after(changes);
        let failed = log.append(&[topic("b", 2, 1)], &no_room);
        let failed = failed.expect_err("the power went before all was said");
        assert!(matches!(
            failed,
            log::AppendError::Failed {
                in_flight: true,
                ..
            }
        ));
        for seed in 0..20 {
            let (_, opened) = open(disk.crash(seed), LARGE).expect("a power cut is no damage");
            assert!((1..=2).contains(&opened.image.index()));
        }
    }
}
