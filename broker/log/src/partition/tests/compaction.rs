//! Compaction of a live log: rule by rule here, as a whole in `crash`, against Kafka in `golden`.

mod crash;
mod faults;
mod golden;
mod history;
mod readers;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use millstream_proto::{Offset, record::BatchOptions};

use super::super::testing::*;
use crate::{
    CompactionConfig, CompactionError, CompactionReport, CompactionRequest, DataDirectory,
    LogConfig, LogLimits, Pace, PartitionLog, Ratio, ReadRequest, StorageError, Unhurried,
    io::{LogIo as _, MemoryIo, OpenMode},
    layout::FileKind,
};

const NOW_MS: i64 = 1_000_000;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 100,
        retention_ms: None,
        cleanup_delete: false,
        cleanup_compact: true,
        compaction: CompactionConfig {
            dirty_ratio_min: Ratio::from_millionths(0),
            delete_retention_ms: 1_000,
            ..CompactionConfig::default()
        },
        ..LogConfig::default()
    }
}

fn keyed(records: &[(&str, Option<&str>)]) -> Bytes {
    let options = BatchOptions::default();
    let mut builder = millstream_proto::record::BatchBuilder::new(options);
    for (key, value) in records {
        builder
            .append(NOW_MS, Some(key.as_bytes()), value.map(str::as_bytes), &[])
            .unwrap();
    }
    builder.finish().unwrap()
}

/// Rounds over the keys `0..keys`, one record a batch, all flushed and sealed but the last segment.
fn fill(directory: &DataDirectory, log: &PartitionLog, rounds: usize, keys: usize) {
    for round in 0..rounds {
        for key in 0..keys {
            let value = format!("round {round} of key {key}");
            let batch = keyed(&[(&key.to_string(), Some(&value))]);
            log.append(batch, &context()).unwrap();
        }
    }
    log.flush().unwrap();
    directory.checkpoint().unwrap();
}

fn request(log: &PartitionLog, now_ms: i64) -> CompactionRequest {
    CompactionRequest {
        now_ms,
        high_watermark: log.positions().log_end,
        map_bytes_max: 1 << 20,
    }
}

fn compact(log: &PartitionLog) -> CompactionReport {
    log.compact(&request(log, NOW_MS), &mut Unhurried).unwrap()
}

fn due(log: &PartitionLog) -> bool {
    let high_watermark = log.positions().log_end;
    let found = log.compactable(NOW_MS, high_watermark).unwrap();
    found.is_some_and(|found| found.is_due(&log.config().compaction))
}

fn set_compaction(log: &PartitionLog, change: impl FnOnce(&mut CompactionConfig)) {
    let mut config = config();
    change(&mut config.compaction);
    log.set_config(Arc::new(config));
}

#[test]
fn of_each_key_the_newest_record_stays_at_its_offset() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    forget_tail(&log);
    let before = records(&log, 0);
    let report = compact(&log);
    let after = records(&log, 0);
    let active = log.view().segments.last().unwrap().base_offset().get();
    let first_kept = active - 5;
    let expected: Vec<_> = before
        .into_iter()
        .filter(|(offset, _)| *offset >= first_kept)
        .collect();
    assert_eq!(after, expected);
    assert_eq!((report.from, report.to), (Offset::ZERO, offset(active)));
    assert!(report.is_complete && report.keys == 5);
    assert!(report.bytes_after < report.bytes_before / 2, "{report:?}");
    assert_eq!(log.positions().log_start, Offset::ZERO);
    let figures = directory.figures();
    assert_eq!(figures.compactions, 1);
    assert_eq!(figures.compaction_read_bytes, report.bytes_read);
    assert_eq!(figures.compaction_written_bytes, report.bytes_written);
    let removed = report.records_before - report.records_after;
    assert_eq!(figures.compaction_removed_records, removed);
}

#[test]
fn segments_meet_and_a_reader_reaches_the_end_where_nothing_is_left() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    compact(&log);
    for pair in log.view().segments.windows(2) {
        assert_eq!(pair[0].end_offset(), pair[1].base_offset());
    }
    forget_tail(&log);
    // From each offset, also those that are gone, reading comes to the log's end.
    for from in 0..50 {
        let mut next = offset(from);
        while next < log.positions().log_end {
            let request = ReadRequest {
                offset: next,
                max_bytes: 1,
                end_exclusive: Offset::MAX,
            };
            let loaded = log.read(&request).unwrap().load().unwrap();
            assert!(loaded.next_offset > next, "stuck at {next}");
            next = loaded.next_offset;
        }
    }
}

#[test]
fn small_segments_are_merged_and_their_files_go() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    fill(&directory, &log, 30, 2);
    compact(&log);
    let report = compact_again(&directory, &log);
    assert!(report.segments_after < report.segments_before, "{report:?}");
    let dir = Path::new(DIR).join("flights-0");
    let names = io.list_dir(&dir).unwrap();
    let logs = names
        .iter()
        .filter_map(|entry| FileKind::parse(&entry.name));
    let logs = logs.filter(|(kind, _)| *kind == FileKind::Log).count();
    assert_eq!(logs, log.segment_count());
}

/// Makes the log dirty again and compacts it.
fn compact_again(directory: &DataDirectory, log: &PartitionLog) -> CompactionReport {
    fill(directory, log, 10, 2);
    compact(log)
}

#[test]
fn a_full_map_compacts_a_prefix_and_later_passes_the_rest() {
    let directory = directory(&memory());
    let log = create(
        &directory,
        LogConfig {
            segment_bytes: 20_000,
            ..config()
        },
    );
    fill(&directory, &log, 2, 2_000);
    let mut request = request(&log, NOW_MS);
    // Room for about 1,500 keys.
    request.map_bytes_max = 40_000;
    let first = log.compact(&request, &mut Unhurried).unwrap();
    assert!(!first.is_complete && first.to > Offset::ZERO, "{first:?}");
    assert!(first.map_bytes <= 60_000, "{first:?}");
    let mut passes = 1;
    loop {
        let report = log.compact(&request, &mut Unhurried).unwrap();
        assert!(report.is_complete || report.to > report.from, "{report:?}");
        passes += 1;
        if report.is_complete {
            break;
        }
    }
    assert!(passes >= 3, "{passes} passes");
    forget_tail(&log);
    let active = log.view().segments.last().unwrap().base_offset().get();
    let found = records(&log, 0);
    let below = found.iter().filter(|(offset, _)| *offset < active);
    let mut values: Vec<&str> = below.map(|(_, value)| &**value).collect();
    let keys_of = |value: &&str| value.split("key ").nth(1).unwrap().to_owned();
    let mut keys: Vec<String> = values.iter().map(keys_of).collect();
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count, "a key is there twice");
    values.retain(|value| value.starts_with("round 0"));
    let not_rewritten = 4_000 - active;
    assert_eq!(i64::try_from(values.len()).unwrap(), not_rewritten);
}

#[test]
fn nothing_is_compacted_at_or_above_the_high_watermark_or_in_the_active_segment() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    let mut request = request(&log, NOW_MS);
    request.high_watermark = offset(20);
    let report = log.compact(&request, &mut Unhurried).unwrap();
    assert!(report.to <= offset(20) && report.to > Offset::ZERO);
    forget_tail(&log);
    let found = records(&log, 20);
    assert_eq!(found.len(), 30, "offsets from 20 on are all there");
}

#[test]
fn what_is_not_flushed_is_not_compacted() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    for _ in 0..40 {
        log.append(keyed(&[("a", Some("value of a record"))]), &context())
            .unwrap();
    }
    assert_eq!(compact(&log).to, Offset::ZERO);
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    assert!(compact(&log).to > Offset::ZERO);
}

#[test]
fn a_pass_is_due_by_dirty_ratio_or_by_the_age_of_what_is_dirty() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    assert!(!due(&log), "an empty log");
    fill(&directory, &log, 10, 5);
    set_compaction(&log, |config| {
        config.dirty_ratio_min = Ratio::of(99, 100);
    });
    assert!(due(&log), "all of it is dirty");
    compact(&log);
    assert!(!due(&log));
    fill(&directory, &log, 2, 5);
    assert!(!due(&log), "some of it is dirty");
    set_compaction(&log, |config| {
        config.dirty_ratio_min = Ratio::of(99, 100);
        config.max_lag_ms = Some(1);
    });
    let later = log.compactable(NOW_MS + 1, log.positions().log_end);
    assert!(later.unwrap().unwrap().is_due(&log.config().compaction));
    assert!(!due(&log), "not a millisecond old");
}

#[test]
fn min_compaction_lag_keeps_young_records() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    set_compaction(&log, |config| config.min_lag_ms = 10);
    let early = log.compact(&request(&log, NOW_MS + 9), &mut Unhurried);
    assert_eq!(early.unwrap().to, Offset::ZERO);
    let late = log.compact(&request(&log, NOW_MS + 10), &mut Unhurried);
    assert!(late.unwrap().to > Offset::ZERO);
}

#[test]
fn max_compaction_lag_rolls_the_active_segment() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 1, 1);
    let count = log.segment_count();
    assert!(!log.roll_if_due(NOW_MS + 50).unwrap());
    set_compaction(&log, |config| config.max_lag_ms = Some(50));
    assert!(log.roll_if_due(NOW_MS + 50).unwrap());
    assert_eq!(log.segment_count(), count + 1);
}

#[test]
fn what_a_reader_holds_stays_readable_when_its_segments_are_replaced() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    forget_tail(&log);
    let request = ReadRequest {
        offset: Offset::ZERO,
        max_bytes: 1 << 20,
        end_exclusive: Offset::MAX,
    };
    let held = log.read(&request).unwrap();
    let view = log.view().clone();
    let (first, size_bytes) = (&view.segments[0], view.segments[0].size_bytes());
    compact(&log);
    assert!(!Arc::ptr_eq(first, &log.view().segments[0]));
    let loaded = held.load().unwrap();
    let values = loaded.slices.into_iter().flat_map(values_in).count();
    assert_eq!(values, 50);
    // One that comes late with the old segments in hand finds them open.
    let source = first.source(size_bytes, true).unwrap();
    let path = first.log_path();
    let bytes = crate::walk::copy(&source, &path, &(0..size_bytes)).unwrap();
    assert!(values_in(bytes).iter().all(|(offset, _)| *offset < 50));
}

#[test]
fn a_truncation_or_retention_in_between_ends_the_pass() {
    struct Truncating<'a>(&'a PartitionLog, Offset);
    impl Pace for Truncating<'_> {
        fn spent(&mut self, _: u64) -> bool {
            self.0.truncate_to(self.1).unwrap();
            true
        }
    }
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    let mut pace = Truncating(&log, offset(12));
    let result = log.compact(&request(&log, NOW_MS), &mut pace);
    assert!(
        matches!(result, Err(CompactionError::LogChanged)),
        "{result:?}"
    );
    forget_tail(&log);
    assert_eq!(records(&log, 0).len(), 12);
    struct Deleting<'a>(&'a PartitionLog);
    impl Pace for Deleting<'_> {
        fn spent(&mut self, _: u64) -> bool {
            let end = self.0.positions().log_end;
            self.0.delete_records(end).unwrap();
            true
        }
    }
    for is_idle in [false, true] {
        fill(&directory, &log, 10, 5);
        if is_idle {
            // Its files are closed, and those that retention removes cannot be opened any more.
            log.release_idle_resources();
            log.release_idle_resources();
        }
        let result = log.compact(&request(&log, NOW_MS), &mut Deleting(&log));
        assert!(
            matches!(result, Err(CompactionError::LogChanged)),
            "{result:?}"
        );
    }
}

#[test]
fn a_partition_that_nobody_used_since_the_start_is_compacted_when_it_must_be() {
    let io = memory();
    let restarted = |io: &MemoryIo| directory(&io.fork());
    {
        let directory = directory(&io);
        let log = create(&directory, config());
        fill(&directory, &log, 10, 5);
        let closed = log.close().unwrap();
        directory.shut_down(1, &[(partition(0), closed)]).unwrap();
    }
    let with = |change: fn(&mut CompactionConfig)| {
        let mut config = config();
        config.compaction.dirty_ratio_min = Ratio::of(1, 1);
        change(&mut config.compaction);
        config
    };
    let lazy = restarted(&io);
    let log = reopen(&lazy, with(|_| ()));
    assert!(
        !due(&log) && !log.view().is_opened(),
        "wholly dirty is not more than that"
    );
    let overdue = restarted(&io);
    let log = reopen(&overdue, with(|config| config.max_lag_ms = Some(0)));
    assert!(due(&log));
    assert!(compact(&log).is_complete);
    let dirty = restarted(&io);
    let log = reopen(
        &dirty,
        with(|config| config.dirty_ratio_min = Ratio::of(1, 2)),
    );
    assert!(due(&log));
}

#[test]
fn what_is_appended_after_a_truncation_is_dirty_again() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    let to = compact(&log).to;
    let half = offset(to.get() / 2);
    log.truncate_to(half).unwrap();
    fill(&directory, &log, 10, 5);
    let report = compact(&log);
    assert!(report.from <= half, "{report:?}");
    forget_tail(&log);
    let found = records(&log, 0);
    let below = found.iter().filter(|(at, _)| *at < report.to.get());
    assert_eq!(below.count(), 5);
}

#[test]
fn a_pass_that_is_asked_to_stop_leaves_the_log_and_no_copy() {
    struct Stops(u32);
    impl Pace for Stops {
        fn spent(&mut self, _: u64) -> bool {
            self.0 = self.0.saturating_sub(1);
            self.0 > 0
        }
    }
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    forget_tail(&log);
    let segments = log.segment_count();
    let result = log.compact(
        &request(&log, NOW_MS),
        &mut Stops(u32::try_from(segments).unwrap()),
    );
    assert!(
        matches!(result, Err(CompactionError::Stopped)),
        "{result:?}"
    );
    assert_eq!(records(&log, 45).len(), 5);
    let dir = Path::new(DIR).join("flights-0");
    for entry in io.list_dir(&dir).unwrap() {
        assert!(
            !entry.name.to_string_lossy().ends_with(".cleaned"),
            "{entry:?}"
        );
    }
    assert_eq!(directory.figures().compaction_failures, 0);
}

#[test]
fn a_corrupt_batch_stops_the_compaction_of_its_partition_and_loses_nothing() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    forget_tail(&log);
    let path = log.view().segments[1].log_path();
    flip(&io, &path, 90);
    let before = log.segment_count();
    let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
    assert!(
        matches!(&result, Err(CompactionError::Storage(StorageError::Corrupt { file, .. })) if *file == path),
        "{result:?}"
    );
    assert_eq!(log.segment_count(), before);
    assert_eq!(directory.figures().compaction_failures, 1);
    flip(&io, &path, 90);
    assert_eq!(records(&log, 0).len(), 50);
    assert!(compact(&log).is_complete, "mended");
}

fn flip(io: &MemoryIo, path: &Path, at: u64) {
    let file = io.open(path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1;
    file.write_all_at(&[std::io::IoSlice::new(&byte)], at)
        .unwrap();
}

#[test]
fn a_disk_without_room_for_a_copy_is_left_alone() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    io.set_capacity(0);
    let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
    assert!(
        matches!(result, Err(CompactionError::NoRoom { available: 0, .. })),
        "{result:?}"
    );
    assert!(!directory.is_full(), "produce is not refused for it");
    io.set_capacity(u64::MAX);
    assert!(compact(&log).is_complete);
}

#[test]
fn a_topic_that_stops_being_compacted_keeps_what_it_has() {
    let io = memory();
    {
        let directory = directory(&io);
        let log = create(&directory, config());
        fill(&directory, &log, 10, 5);
        compact(&log);
    }
    let deleting = LogConfig {
        cleanup_compact: false,
        cleanup_delete: true,
        ..config()
    };
    let directory = directory(&io.fork());
    let log = reopen(&directory, deleting);
    let found = records(&log, 0);
    assert!(found.len() < 20 && found.len() >= 5, "{found:?}");
    assert_eq!(
        log.compactable(NOW_MS, log.positions().log_end).unwrap(),
        None
    );
}

#[test]
fn a_segment_of_which_everything_stays_is_not_written_again() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    fill(&directory, &log, 1, 50);
    let before = Arc::clone(&log.view().segments);
    let report = compact(&log);
    assert_eq!(report.bytes_written, 0, "{report:?}");
    assert_eq!(report.bytes_after, report.bytes_before);
    let after = Arc::clone(&log.view().segments);
    let pairs = before.iter().zip(after.iter());
    assert!(
        pairs
            .into_iter()
            .all(|(one, other)| Arc::ptr_eq(one, other))
    );
    // All of them but the last segments are superseded, up to placeholders.
    fill(&directory, &log, 2, 50);
    assert!(compact(&log).bytes_written > 0);
    fill(&directory, &log, 1, 1);
    forget_tail(&log);
    assert_eq!(records(&log, 0).last().unwrap().0, 150);
}

#[test]
fn a_copy_that_begins_late_has_what_stays_before_the_first_change() {
    let directory = directory(&memory());
    let log = create(
        &directory,
        LogConfig {
            segment_bytes: 4_000,
            ..config()
        },
    );
    fill(&directory, &log, 1, 20);
    // Nothing of the first 19 keys changes.
    for _ in 0..60 {
        log.append(keyed(&[("19", Some("again"))]), &context())
            .unwrap();
    }
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    forget_tail(&log);
    let before = records(&log, 0);
    compact(&log);
    let after = records(&log, 0);
    assert_eq!(after[..19], before[..19]);
    assert_eq!(after.len(), before.len() - after_gaps(&after));
    assert!(after.len() < 60, "{after:?}");
}

/// Offsets that are missing.
fn after_gaps(found: &[(i64, String)]) -> usize {
    let last = found.last().map_or(0, |(at, _)| at + 1);
    usize::try_from(last).unwrap() - found.len()
}

#[test]
fn times_of_emptied_batches_are_not_times_of_records() {
    let directory = directory(&memory());
    let log = create(&directory, config());
    let at = |timestamp_ms: i64, key: &str| {
        let mut builder = millstream_proto::record::BatchBuilder::new(BatchOptions::default());
        builder
            .append(timestamp_ms, Some(key.as_bytes()), Some(b"a value"), &[])
            .unwrap();
        log.append(builder.finish().unwrap(), &context()).unwrap();
    };
    // A segment of the newest times, superseded by older ones.
    for _ in 0..10 {
        at(NOW_MS + 500, "a");
    }
    for second in 0..20 {
        at(NOW_MS + second, "a");
    }
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    compact(&log);
    let first = log.view().segments[0].meta();
    assert_eq!(first.max_timestamp_ms, NOW_MS + 500, "it keeps its age");
    let end = log.positions().log_end;
    let newest = log.max_timestamp_offset(end).unwrap().unwrap();
    assert_eq!((newest.timestamp, newest.offset.get()), (NOW_MS + 19, 29));
    assert_eq!(log.offset_for_timestamp(NOW_MS + 20, end).unwrap(), None);
}

#[test]
fn with_both_policies_segments_of_placeholders_go_by_their_age() {
    let directory = directory(&memory());
    let both = LogConfig {
        cleanup_delete: true,
        retention_ms: Some(1_000),
        ..config()
    };
    let log = create(&directory, both);
    fill(&directory, &log, 10, 5);
    compact(&log);
    assert!(records(&log, 0).len() < 20);
    let end = log.positions().log_end;
    assert_eq!(log.apply_retention(NOW_MS + 1_000, end).unwrap(), 0);
    assert!(log.apply_retention(NOW_MS + 1_001, end).unwrap() > 1);
    assert_eq!(log.positions().log_start, end);
}

/// What is replaced is given up at once: its file would keep its blocks.
#[test]
fn a_pass_over_more_segments_than_may_be_open_holds_few() {
    let limits = LogLimits {
        open_segments_max: 16,
        ..limits()
    };
    let directory = directory_with(Arc::new(memory()), limits);
    let log = create(&directory, config());
    fill(&directory, &log, 50, 5);
    assert!(log.segment_count() > 48);
    assert!(compact(&log).is_complete);
    forget_tail(&log);
    assert!(records(&log, 0).len() < 15);
}

/// Gaps are where compaction was, and nowhere else.
#[test]
fn a_gap_in_the_part_that_was_never_compacted_is_corruption() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    compact(&log);
    fill(&directory, &log, 4, 5);
    forget_tail(&log);
    let segments = Arc::clone(&log.view().segments);
    let dirty = &segments[segments.len() - 2];
    let path = dirty.log_path();
    // Raises the base offset of the second batch by one.
    let header = io.contents(&path).unwrap();
    let first = millstream_proto::record::BatchHeader::decode(&header).unwrap();
    flip(&io, &path, u64::try_from(first.size_bytes()).unwrap() + 7);
    let from = dirty.base_offset();
    let mut next = from;
    let mut is_refused = false;
    while next < dirty.end_offset() && !is_refused {
        let request = ReadRequest {
            offset: next,
            max_bytes: 1,
            end_exclusive: Offset::MAX,
        };
        match log.read(&request).and_then(crate::ReadBatches::load) {
            Ok(loaded) => next = loaded.next_offset,
            Err(_) => is_refused = true,
        }
    }
    assert!(is_refused);
}
