//! Bits that flip and files that are replaced while the broker is down: a read gives the right bytes
//! or an error, and nothing that was flushed is cut off.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_proto::Offset;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::super::testing::*;
use crate::{
    LogConfig, PartitionLog, ReadRequest,
    io::{LogIo as _, MemoryIo, OpenMode},
};

const RECORDS: i64 = 60;
const PARTITION_DIR: &str = "/data/flights-0";

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 200,
        retention_ms: None,
        ..LogConfig::default()
    }
}

fn value(at: i64) -> String {
    value_of("value", at)
}

fn value_of(name: &str, at: i64) -> String {
    format!(
        "{name} {at} {}",
        "x".repeat(usize::try_from(at % 40).unwrap())
    )
}

/// A partition of several segments, all flushed; closed, or killed.
fn written(is_clean: bool) -> MemoryIo {
    written_with(is_clean, "value")
}

/// As [`written`]; names of equal length give files of equal sizes and offsets.
fn written_with(is_clean: bool, name: &str) -> MemoryIo {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    let mut at = 0;
    while at < RECORDS {
        let values = [value_of(name, at), value_of(name, at + 1)];
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let sequence = i32::try_from(at).unwrap();
        log.append(from_producer(sequence, &texts), &context())
            .unwrap();
        at += 2;
    }
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    if is_clean {
        let closed = log.close().unwrap();
        directory.shut_down(1, &[(partition(0), closed)]).unwrap();
    }
    io.fork()
}

fn files(io: &MemoryIo, dir: &str) -> Vec<PathBuf> {
    let entries = io.list_dir(Path::new(dir)).unwrap();
    let files = entries.into_iter().filter(|entry| !entry.is_dir);
    files.map(|entry| Path::new(dir).join(entry.name)).collect()
}

fn replace(io: &MemoryIo, path: &Path, bytes: &[u8]) {
    let file = io.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
}

/// Opens the partition and reads every offset; returns how many could not be read.
fn assert_right_or_error(io: &MemoryIo, case: &str) -> i64 {
    let directory = directory(io);
    let opened = PartitionLog::open(&directory, partition(0), topic_id(), Arc::new(config()), 0);
    let Ok((log, report)) = opened else {
        return RECORDS;
    };
    let (mut next, mut unreadable) = (0, 0);
    while next < RECORDS {
        let request = ReadRequest {
            offset: offset(next),
            max_bytes: 400,
            end_exclusive: Offset::MAX,
        };
        let loaded = log
            .read(&request)
            .and_then(crate::partition::ReadBatches::load);
        match loaded {
            Ok(loaded) => {
                let records: Vec<_> = loaded.slices.into_iter().flat_map(values_in).collect();
                assert!(
                    loaded.next_offset > offset(next),
                    "{case}: nothing at {next}: {report:?}"
                );
                for (at, found) in &records {
                    assert_eq!(*found, value(*at), "{case}: wrong bytes at {at}");
                }
                let mut offsets = records.iter().map(|(at, _)| *at);
                let covered = (next..loaded.next_offset.get()).all(|at| {
                    let found = offsets.find(|found| *found >= at);
                    found == Some(at)
                });
                assert!(covered, "{case}: {next} to {} has gaps", loaded.next_offset);
                next = loaded.next_offset.get();
            }
            Err(_) => {
                next += 1;
                unreadable += 1;
            }
        }
    }
    let positions = log.positions();
    assert_eq!(positions.log_end, offset(RECORDS), "{case}: {report:?}");
    assert_eq!(positions.log_start, Offset::ZERO, "{case}");
    unreadable
}

#[test]
fn ten_thousand_flipped_bits_serve_no_wrong_byte_and_cut_nothing() {
    let images = [written(true), written(false)];
    let mut rng = StdRng::seed_from_u64(7);
    let mut unreadable = 0;
    for flip in 0..10_000 {
        let io = images[flip % 2].fork();
        let mut candidates = files(&io, PARTITION_DIR);
        candidates.extend(files(&io, DIR));
        candidates.retain(|path| !io.contents(path).unwrap().is_empty());
        let path = &candidates[rng.random_range(0..candidates.len())];
        let mut bytes = io.contents(path).unwrap();
        let bit = rng.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        replace(&io, path, &bytes);
        let case = format!("flip {flip}: bit {bit} of {}", path.display());
        unreadable += assert_right_or_error(&io, &case);
    }
    assert!(unreadable > 1_000, "flips were seen: {unreadable}");
}

#[test]
fn a_thousand_replaced_ranges_swapped_and_missing_segments_serve_no_wrong_byte() {
    let images = [written(true), written(false)];
    let mut rng = StdRng::seed_from_u64(8);
    let mut unreadable = 0;
    for run in 0..1_000 {
        let io = images[run % 2].fork();
        let logs: Vec<PathBuf> = files(&io, PARTITION_DIR)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        let (one, other) = (
            &logs[rng.random_range(0..logs.len())],
            &logs[rng.random_range(0..logs.len())],
        );
        let (mut ours, theirs) = (io.contents(one).unwrap(), io.contents(other).unwrap());
        let case = match rng.random_range(0..3) {
            0 => {
                let length = rng.random_range(1..=ours.len().min(theirs.len()));
                let to = rng.random_range(0..=ours.len() - length);
                let from = rng.random_range(0..=theirs.len() - length);
                ours[to..to + length].copy_from_slice(&theirs[from..from + length]);
                replace(&io, one, &ours);
                "replaced"
            }
            1 => {
                replace(&io, one, &theirs);
                replace(&io, other, &ours);
                "swapped"
            }
            _ => {
                io.remove_file(one).unwrap();
                "missing"
            }
        };
        let case = format!("run {run}: {} {case} {}", one.display(), other.display());
        unreadable += assert_right_or_error(&io, &case);
    }
    assert!(unreadable > 1_000, "they were seen: {unreadable}");
}

#[test]
fn a_segment_of_another_partition_with_equal_offsets_and_size_is_refused() {
    for is_clean in [true, false] {
        let (ours, theirs) = (
            written_with(is_clean, "value"),
            written_with(is_clean, "other"),
        );
        let logs: Vec<PathBuf> = files(&ours, PARTITION_DIR)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        // After a kill the active segment has no entry yet, and batches of it may be any.
        let checked = if is_clean { logs.len() } else { logs.len() - 1 };
        for path in &logs[..checked] {
            let io = ours.fork();
            let bytes = theirs.contents(path).unwrap();
            assert_eq!(bytes.len(), io.contents(path).unwrap().len());
            replace(&io, path, &bytes);
            let unreadable = assert_right_or_error(&io, &format!("{}", path.display()));
            assert!(unreadable > 0, "{} was served", path.display());
        }
    }
}
