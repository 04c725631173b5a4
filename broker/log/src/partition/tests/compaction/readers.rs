//! Readers and writers beside compaction: who reads up to the end knows the newest record of each key,
//! and nobody waits for a swap.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
        mpsc,
    },
    thread,
};

use super::{super::super::testing::*, *};
use crate::{
    LogLimits,
    io::{Action, FaultIo, Operation, Rule, When},
};

const KEYS: i64 = 20;
const RECORDS: i64 = 10_000;

/// Reads from `from` until it has caught up with the high watermark; returns that, and the newest
/// offset of each key.
fn follow(log: &PartitionLog, from: i64, high_watermark: &AtomicI64) -> (i64, BTreeMap<i64, i64>) {
    let mut newest = BTreeMap::new();
    let mut next = offset(from);
    loop {
        let end = high_watermark.load(Ordering::Acquire);
        while next < offset(end) {
            let request = ReadRequest {
                offset: next,
                max_bytes: 700,
                end_exclusive: offset(end),
            };
            let loaded = log.read(&request).unwrap().load().unwrap();
            if loaded.next_offset == next {
                // All that was below is superseded by what came since.
                assert!(
                    high_watermark.load(Ordering::Acquire) > end,
                    "stuck at {next}"
                );
                break;
            }
            next = loaded.next_offset;
            for (at, value) in loaded.slices.into_iter().flat_map(values_in) {
                assert!(value.starts_with(&format!("{at}:")), "{at} has {value}");
                newest.insert(at % KEYS, at);
            }
        }
        if high_watermark.load(Ordering::Acquire) == end {
            return (end, newest);
        }
    }
}

/// Segments are closed and opened again all the time: their order of use changed once while it was
/// sorted, and the sort panicked.
#[test]
fn readers_learn_the_newest_of_each_key_while_segments_are_replaced() {
    let limits = LogLimits {
        tail_cache_bytes_max: 4 << 10,
        open_segments_max: 32,
        ..limits()
    };
    let directory = directory_with(Arc::new(memory()), limits);
    let config = LogConfig {
        segment_bytes: 4_000,
        ..config()
    };
    let log = create(&directory, config);
    let high_watermark = AtomicI64::new(0);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (log, is_done, high_watermark) = (&log, &is_done, &high_watermark);
            scope.spawn(move || {
                while !is_done.load(Ordering::Acquire) {
                    let from = high_watermark.load(Ordering::Acquire) * reader / 3;
                    let (end, newest) = follow(log, from, high_watermark);
                    for at in (end - KEYS).max(from)..end {
                        assert_eq!(newest.get(&(at % KEYS)), Some(&at), "of {end}");
                    }
                }
            });
        }
        for at in 0..RECORDS {
            let value = format!("{at}:{}", "x".repeat(30));
            let key = format!("key {}", at % KEYS);
            let batch = keyed(&[(&key, Some(&value))]);
            log.append(batch, &context()).unwrap();
            if at % 50 == 49 {
                log.flush().unwrap();
                directory.checkpoint().unwrap();
                high_watermark.store(at + 1, Ordering::Release);
                compact(&log);
            }
        }
        is_done.store(true, Ordering::Release);
    });
    let removed = directory.figures().compaction_removed_records;
    assert!(removed > RECORDS.unsigned_abs() * 9 / 10, "{removed}");
    log.close().unwrap();
}

/// It once took the segment for truncated, or found no file of its name.
#[test]
fn a_reader_that_is_about_to_open_a_segment_while_it_is_merged_away_reads_it() {
    let io = FaultIo::new(memory());
    let directory = directory_with(Arc::new(io.clone()), limits());
    let log = create(&directory, config());
    fill(&directory, &log, 30, 2);
    compact(&log);
    fill(&directory, &log, 10, 2);
    forget_tail(&log);
    let view = log.view().clone();
    let merged = &view.segments[1];
    view.segments.iter().for_each(|segment| {
        segment.try_close();
    });
    let (name, is_armed) = (merged.log_path(), AtomicBool::new(true));
    let (reached, is_reached) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let waiting = Rule::new(&[Operation::Open], Action::Slow(1)).at(move |path| {
        let is_reader = path == name && is_armed.swap(false, Ordering::AcqRel);
        if is_reader && reached.send(()).is_ok() {
            let _ = may_go_on.lock().unwrap().recv();
        }
        is_reader
    });
    io.inject(waiting);
    let (size_bytes, path) = (merged.size_bytes(), merged.log_path());
    thread::scope(|scope| {
        let reader = scope.spawn(|| merged.source(size_bytes, true));
        is_reached.recv().unwrap();
        compact(&log);
        assert!(io.metadata(&path).is_err(), "merged away");
        go_on.send(()).unwrap();
        let source = reader.join().unwrap().unwrap();
        crate::walk::copy(&source, &path, &(0..size_bytes)).unwrap();
    });
}

#[test]
fn appends_and_rolls_go_on_while_a_swap_waits_for_the_disk() {
    let io = FaultIo::new(memory());
    let directory = directory_with(Arc::new(io.clone()), limits());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    let (reached, is_reached) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let waiting = Rule::new(&[Operation::Rename], Action::Slow(1)).at(move |path| {
        let is_swap = path.to_string_lossy().ends_with(".log.cleaned");
        if is_swap && reached.send(()).is_ok() {
            // Ends when the test drops its sender.
            let _ = may_go_on.lock().unwrap().recv();
        }
        is_swap
    });
    io.inject(waiting.when(When::Always));
    thread::scope(|scope| {
        let pass = scope.spawn(|| compact(&log));
        is_reached.recv().unwrap();
        let segments = log.segment_count();
        while log.segment_count() < segments + 2 {
            append(&log, &["goes on"]);
        }
        forget_tail(&log);
        assert_eq!(records(&log, 50)[0], (50, "goes on".to_owned()));
        drop((go_on, is_reached));
        assert!(pass.join().unwrap().is_complete);
    });
}
