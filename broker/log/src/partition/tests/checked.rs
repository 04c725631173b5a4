//! Batches that are checked where they are, in real files: as those that are copied out.

use std::{
    fs::File,
    os::{fd::AsFd as _, unix::fs::FileExt as _},
    path::Path,
};

use bytes::Bytes;

use super::super::testing::*;
use crate::{
    CheckedBatches, CheckedSlice, DataDirectory, LogConfig, PartitionLog, ReadBatches, ReadError,
    ReadRequest, io::DiskIo,
};
use std::sync::Arc;

const BATCHES: i64 = 8;
/// Enough that a range of them is worth to be left where it is.
const VALUE_BYTES: usize = 10_000;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(VALUE_BYTES).unwrap() * 8 + 1_000,
        ..LogConfig::default()
    }
}

fn open(dir: &Path) -> Arc<DataDirectory> {
    DataDirectory::open(Arc::new(DiskIo), dir, limits(), BOOT).unwrap()
}

/// A log on the real disk: a sealed segment with batches of one record each, and another batch behind it.
fn sealed_log(dir: &Path) -> Arc<PartitionLog> {
    let log = create(&open(dir), config());
    let value = "v".repeat(VALUE_BYTES);
    for _ in 0..=BATCHES {
        append(&log, &[&value]);
    }
    log.flush().unwrap();
    forget_tail(&log);
    log
}

fn read(log: &PartitionLog) -> ReadBatches {
    let request = ReadRequest {
        offset: offset(0),
        max_bytes: 1 << 20,
        end_exclusive: offset(BATCHES),
    };
    log.read(&request).unwrap()
}

/// The bytes, wherever they are, and whether any was left in its file.
fn bytes_of(checked: CheckedBatches<CheckedSlice>) -> (Vec<u8>, bool) {
    let (mut found, mut in_file) = (Vec::new(), false);
    for slice in checked.slices {
        match slice {
            CheckedSlice::Memory(bytes) => found.extend_from_slice(&bytes),
            CheckedSlice::File(range) => {
                in_file = true;
                let mut bytes = vec![0; range.len()];
                let file = File::from(range.as_fd().try_clone_to_owned().unwrap());
                file.read_exact_at(&mut bytes, range.position()).unwrap();
                found.extend(bytes);
            }
        }
    }
    (found, in_file)
}

fn joined(slices: &[Bytes]) -> Vec<u8> {
    slices.concat()
}

#[test]
fn what_stays_in_its_file_is_what_would_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    let loaded = read(&log).load().unwrap();
    let checked = read(&log).check().unwrap();
    assert_eq!(checked.next_offset, offset(BATCHES));
    assert_eq!(checked.next_offset, loaded.next_offset);
    assert_eq!(checked.size_bytes, loaded.size_bytes);
    let (found, in_file) = bytes_of(checked);
    assert!(in_file);
    assert_eq!(found, joined(&loaded.slices));
}

#[test]
fn a_range_taken_in_part_begins_later() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    let checked = read(&log).check().unwrap();
    let Some(CheckedSlice::File(mut range)) = checked.slices.into_iter().next() else {
        panic!("it was left in the file");
    };
    let (position, length) = (range.position(), range.len());
    range.advance(100);
    assert_eq!(
        (range.position(), range.len()),
        (position + 100, length - 100)
    );
    range.advance(length);
    assert!(range.is_empty());
}

#[test]
fn damage_ends_it_before_the_damaged_batch_and_fails_it_at_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    let whole = read(&log).check().unwrap().size_bytes;
    // What this process appended it need not check again.
    log.close().unwrap();
    let log = reopen(&open(dir.path()), config());
    let batch_bytes = whole / usize::try_from(BATCHES).unwrap();
    let path = log.path().join("00000000000000000000.log");
    let file = File::options().write(true).open(path).unwrap();
    let spoil = |batch: usize| {
        let position = u64::try_from(batch * batch_bytes + batch_bytes / 2).unwrap();
        file.write_all_at(b"!", position).unwrap();
    };
    for damaged in [5, 1] {
        spoil(damaged);
        let (loaded, checked) = (read(&log).load().unwrap(), read(&log).check().unwrap());
        assert_eq!(checked.size_bytes, damaged * batch_bytes);
        assert_eq!(checked.next_offset, offset(i64::try_from(damaged).unwrap()));
        assert_eq!(checked.next_offset, loaded.next_offset);
        assert_eq!(bytes_of(checked).0, joined(&loaded.slices));
    }
    spoil(0);
    for failed in [read(&log).load().err(), read(&log).check().err()] {
        assert!(matches!(failed, Some(ReadError::Storage(_))), "{failed:?}");
    }
}

#[test]
fn without_a_file_of_the_system_everything_is_in_memory() {
    let io = memory();
    let log = create(&directory(&io), LogConfig::default());
    for _ in 0..BATCHES {
        append(&log, &["a"]);
    }
    forget_tail(&log);
    let loaded = read(&log).load().unwrap();
    let (found, in_file) = bytes_of(read(&log).check().unwrap());
    assert!(!in_file);
    assert_eq!(found, joined(&loaded.slices));
}

#[test]
fn bytes_are_checked_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    let view = log.view();
    let segment = view.segments.first().unwrap();
    let size_bytes = segment.size_bytes();
    assert!(
        segment.is_checked(&(0..size_bytes)),
        "as they were appended"
    );
    log.close().unwrap();
    let log = reopen(&open(dir.path()), config());
    let found = read(&log);
    let view = log.view();
    let segment = view.segments.first().unwrap();
    assert!(!segment.is_checked(&(0..1)));
    found.check().unwrap();
    assert!(segment.is_checked(&(0..size_bytes)), "as they were read");
    // One run is remembered.
    segment.note_checked(size_bytes + 10..size_bytes + 20);
    assert!(!segment.is_checked(&(0..1)));
    segment.note_checked(size_bytes + 5..size_bytes + 15);
    assert!(segment.is_checked(&(size_bytes + 5..size_bytes + 20)));
}

/// From each offset with each bound: what is read at once is what is read with patience.
fn assert_resident_as_read(log: &PartitionLog, end: i64) {
    let batch_bytes = VALUE_BYTES + 100;
    let mut at_once = 0;
    for start in 0..end {
        for batches in [0, 1, 3, 20] {
            let request = ReadRequest {
                offset: offset(start),
                max_bytes: batches * batch_bytes,
                end_exclusive: offset(end),
            };
            let patient = log.read(&request).unwrap().check().unwrap();
            let Some(resident) = log.read_resident(&request) else {
                continue;
            };
            at_once += 1;
            assert_eq!(resident.next_offset, patient.next_offset, "{request:?}");
            assert_eq!(resident.positions, patient.positions);
            assert_eq!(resident.size_bytes, patient.size_bytes, "{request:?}");
            assert_eq!(bytes_of(resident).0, bytes_of(patient).0, "{request:?}");
        }
    }
    assert!(at_once > end, "it is read at once {at_once} times");
}

#[test]
fn what_is_in_the_page_cache_is_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    let value = "v".repeat(VALUE_BYTES);
    // The first reads open what is needed.
    read(&log).check().unwrap();
    for count in [1, 5] {
        for _ in 0..count {
            append(&log, &[&value]);
        }
        forget_tail(&log);
        let end = log.positions().log_end.get();
        let last = ReadRequest {
            offset: offset(end - 1),
            max_bytes: 1,
            end_exclusive: offset(end),
        };
        log.read(&last).unwrap().check().unwrap();
        assert_resident_as_read(&log, end);
    }
}

#[test]
fn what_was_not_checked_or_is_not_open_is_not_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    let request = |start| ReadRequest {
        offset: offset(start),
        max_bytes: 3 * VALUE_BYTES,
        end_exclusive: offset(BATCHES),
    };
    log.close().unwrap();
    let log = reopen(&open(dir.path()), config());
    assert!(log.read_resident(&request(0)).is_none(), "nothing is open");
    drop(read(&log));
    assert!(log.read_resident(&request(0)).is_none(), "not checked");
    read(&log).check().unwrap();
    assert!(log.read_resident(&request(0)).is_some());
    let last_of_segment = log.read_resident(&request(BATCHES - 1));
    assert!(last_of_segment.is_none(), "more is in the next segment");
    assert!(log.read_resident(&request(BATCHES + 5)).is_none());
}

#[test]
fn a_file_that_shrank_is_not_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = sealed_log(dir.path());
    read(&log).check().unwrap();
    let path = log.path().join("00000000000000000000.log");
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
    let request = ReadRequest {
        offset: offset(0),
        max_bytes: 3 * VALUE_BYTES,
        end_exclusive: offset(BATCHES),
    };
    assert!(log.read_resident(&request).is_none());
    log.read(&request).unwrap_err();
}
