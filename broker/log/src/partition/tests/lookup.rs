//! Offsets by time; corruption in cold reads.

use std::io::IoSlice;

use millstream_proto::Offset;
use proptest::prelude::*;

use super::super::testing::*;
use crate::{
    LogConfig, PartitionLog, ReadError, ReadRequest, StorageError,
    io::{LogIo, MemoryIo, OpenMode},
    layout::FileKind,
};

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 150,
        ..LogConfig::default()
    }
}

fn time_of(log: &PartitionLog, timestamp: i64) -> Option<(i64, i64)> {
    let found = log.offset_for_timestamp(timestamp, Offset::MAX).unwrap();
    found.map(|found| (found.timestamp, found.offset.get()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_first_record_at_or_after_a_time_is_found(
        times in prop::collection::vec(0i64..100, 1..60),
        start in 0usize..20,
    ) {
        let directory = directory(&memory());
        let log = create(&directory, config());
        for time in &times {
            log.append(batch_at(*time, &["some text that takes room"]), &context()).unwrap();
        }
        let start = start.min(times.len() - 1);
        log.delete_records(offset(i64::try_from(start).unwrap())).unwrap();
        let rows: Vec<(i64, i64)> = (0..).zip(&times).map(|(at, time)| (*time, at)).collect();
        let rows = &rows[start..];
        for wanted in 0..=100 {
            let expected = rows.iter().find(|(time, _)| *time >= wanted).copied();
            prop_assert_eq!(time_of(&log, wanted), expected, "time {}", wanted);
        }
        let largest = rows.iter().map(|(time, _)| *time).max().unwrap();
        let expected = rows.iter().find(|(time, _)| *time == largest).copied();
        let found = log.max_timestamp_offset(Offset::MAX).unwrap();
        prop_assert_eq!(found.map(|found| (found.timestamp, found.offset.get())), expected);
    }
}

#[test]
fn times_inside_a_batch_are_told_apart() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    let mut builder = millstream_proto::record::BatchBuilder::new(Default::default());
    for time in [10, 30, 20] {
        builder.append(time, Some(b"k"), Some(b"v"), &[]).unwrap();
    }
    log.append(builder.finish().unwrap(), &context()).unwrap();
    assert_eq!(time_of(&log, 11), Some((30, 1)));
    assert_eq!(time_of(&log, 31), None);
    let below = log.offset_for_timestamp(11, offset(1)).unwrap();
    assert_eq!(below, None, "records at or beyond the end are not found");
}

/// A read that had no room for the last batch of a segment went on with a smaller one of the next.
#[test]
fn a_batch_that_does_not_fit_is_not_jumped_over_at_the_end_of_a_segment() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    append(&log, &["small"]);
    append(&log, &[&"large".repeat(80)]);
    append(&log, &["small, in the next segment"]);
    assert!(log.segment_count() == 2);
    forget_tail(&log);
    let read = log
        .read(&ReadRequest {
            offset: Offset::ZERO,
            max_bytes: 300,
            end_exclusive: offset(3),
        })
        .unwrap();
    assert_eq!((read.next_offset, read.slices.len()), (offset(1), 1));
}

fn sealed_log() -> (
    MemoryIo,
    std::sync::Arc<crate::DataDirectory>,
    std::sync::Arc<PartitionLog>,
) {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    for number in 0..20 {
        append(&log, &[&format!("{number}: {}", "x".repeat(40))]);
    }
    directory.checkpoint().unwrap();
    forget_tail(&log);
    (io, directory, log)
}

fn flip(io: &MemoryIo, log: &PartitionLog, kind: FileKind, base: i64, position: u64) {
    let path = kind.path(log.path(), offset(base));
    let file = io.open(&path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&[IoSlice::new(&byte)], position).unwrap();
}

fn read_at(log: &PartitionLog, at: i64) -> Result<Vec<(i64, String)>, ReadError> {
    let request = ReadRequest {
        offset: offset(at),
        max_bytes: 1,
        end_exclusive: Offset::MAX,
    };
    let loaded = log.read(&request)?.load()?;
    Ok(loaded.slices.into_iter().flat_map(values_in).collect())
}

#[test]
fn every_flipped_byte_of_a_sealed_segment_is_an_error_or_changes_nothing() {
    let (io, directory, log) = sealed_log();
    let size = log.view().segments[0].size_bytes();
    let end = log.view().segments[0].end_offset().get();
    let expected: Vec<_> = (0..end).map(|at| read_at(&log, at).unwrap()).collect();
    let mut errors = 0;
    for position in 0..size {
        flip(&io, &log, FileKind::Log, 0, position);
        // As after a start: no map of the right bytes is left.
        log.release_idle_resources();
        log.release_idle_resources();
        for at in 0..end {
            match read_at(&log, at) {
                Ok(found) => assert_eq!(
                    found,
                    expected[usize::try_from(at).unwrap()],
                    "byte {position}"
                ),
                Err(ReadError::Storage(StorageError::Corrupt { .. })) => errors += 1,
                Err(other) => panic!("{other}"),
            }
        }
        flip(&io, &log, FileKind::Log, 0, position);
    }
    assert!(errors >= size, "{errors} errors for {size} flips");
    assert!(directory.figures().corrupt_reads > 0);
    log.release_idle_resources();
    log.release_idle_resources();
    assert_eq!(read_at(&log, 0).unwrap(), expected[0]);
}

#[test]
fn flipped_index_bytes_never_lead_to_wrong_records() {
    let (io, _directory, log) = sealed_log();
    let end = log.view().segments[0].end_offset().get();
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
        let size = io.metadata(&kind.path(log.path(), offset(0))).unwrap().len;
        assert!(size > 0);
        for position in 0..size {
            flip(&io, &log, kind, 0, position);
            log.release_idle_resources();
            log.release_idle_resources();
            for at in 0..end {
                assert_eq!(read_at(&log, at).unwrap()[0].0, at, "byte {position}");
            }
            flip(&io, &log, kind, 0, position);
        }
    }
}

#[test]
fn batches_before_a_corrupt_one_are_served_and_it_is_named() {
    let (io, _directory, log) = sealed_log();
    let size = log.view().segments[0].size_bytes();
    let end = log.view().segments[0].end_offset().get();
    flip(&io, &log, FileKind::Log, 0, size - 1);
    let request = ReadRequest {
        offset: Offset::ZERO,
        max_bytes: 1 << 20,
        end_exclusive: Offset::MAX,
    };
    let loaded = log.read(&request).unwrap().load().unwrap();
    assert_eq!(loaded.next_offset, offset(end - 1));
    let error = read_at(&log, end - 1).unwrap_err().to_string();
    assert!(error.contains("00000000000000000000.log"), "{error}");
    assert!(error.contains("crc"), "{error}");
    assert_eq!(
        read_at(&log, end).unwrap()[0].0,
        end,
        "the rest is readable"
    );
}

#[test]
fn a_file_cut_by_another_process_fails_reads_of_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let io = std::sync::Arc::new(crate::io::DiskIo);
    let directory = crate::DataDirectory::open(io.clone(), dir.path(), limits(), BOOT).unwrap();
    let log = create(&directory, config());
    for number in 0..20 {
        append(&log, &[&format!("{number}: {}", "x".repeat(40))]);
    }
    forget_tail(&log);
    let request = ReadRequest {
        offset: Offset::ZERO,
        max_bytes: 1 << 20,
        end_exclusive: Offset::MAX,
    };
    let mapped = log.read(&request).unwrap();
    let path = FileKind::Log.path(log.path(), offset(0));
    let file = io.open(&path, OpenMode::Write).unwrap();
    file.set_len(0).unwrap();
    let error = mapped.load().unwrap_err();
    assert!(matches!(
        error,
        ReadError::Storage(StorageError::Corrupt { .. })
    ));
    assert!(read_at(&log, 0).is_err());
    let next = log.view().segments[1].base_offset().get();
    assert_eq!(read_at(&log, next).unwrap()[0].0, next);
    append(&log, &["still served"]);
}
