//! Readers never see anything but whole batches of one life of the log, whatever the writer does.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
};

use millstream_proto::Offset;

use super::super::testing::*;
use crate::{
    DataDirectory, LogConfig, LogLimits, LogObserver, Offline, PartitionLog, ReadRequest,
    io::DiskIo,
};

/// Lets a test wait for positions.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl LogObserver for Bell {
    fn advanced(&self) {
        *self.rung.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn went_offline(&self, offline: &Offline) {
        panic!("{offline}");
    }
}

impl Bell {
    fn wait_for(&self, reached: impl Fn() -> bool) {
        let mut rung = self.rung.lock().unwrap();
        while !reached() {
            rung = self.changed.wait(rung).unwrap();
        }
    }
}

fn on_disk(
    limits: LogLimits,
    config: LogConfig,
) -> (tempfile::TempDir, Arc<DataDirectory>, Arc<PartitionLog>) {
    let dir = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(Arc::new(DiskIo), dir.path(), limits, BOOT).unwrap();
    let log = create(&directory, config);
    (dir, directory, log)
}

/// Reads everything from an offset, checks that records follow one another, returns the end.
fn read_all(log: &PartitionLog, from: i64, end: Offset) -> i64 {
    let mut next = offset(from);
    while next < end {
        let request = ReadRequest {
            offset: next,
            max_bytes: 3000,
            end_exclusive: end,
        };
        let read = log.read(&request).unwrap().load().unwrap();
        if read.next_offset == next {
            break;
        }
        let found: Vec<_> = read.slices.into_iter().flat_map(values_in).collect();
        let mut expected = found[0].0;
        assert!(expected <= next.get());
        for (at, value) in found {
            assert_eq!(at, expected);
            // Every life of an offset starts its text with it.
            assert!(value.starts_with(&format!("{at}:")), "{at} has {value}");
            expected += 1;
        }
        assert_eq!(read.next_offset.get(), expected);
        next = read.next_offset;
    }
    next.get()
}

#[test]
fn readers_run_beside_appends_rolls_truncations_and_evictions() {
    let limits = LogLimits {
        tail_cache_bytes_max: 16 << 10,
        flush_threads_max: 2,
        flush_interval_ms: 2,
        recovery_point_interval_ms: 2,
        disk_reserve_bytes: 0,
        ..LogLimits::default()
    };
    let config = LogConfig {
        segment_bytes: 10_000,
        index_interval_bytes: 500,
        ..LogConfig::default()
    };
    let (_dir, _directory, log) = on_disk(limits, config);
    let done = AtomicBool::new(false);
    // Nothing below it is truncated: readers stay below, as they do below a high watermark.
    let high_watermark = AtomicI64::new(0);
    thread::scope(|scope| {
        for reader in 0..3 {
            let (log, done, high_watermark) = (&log, &done, &high_watermark);
            scope.spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::Acquire) || rounds == 0 {
                    let end = high_watermark.load(Ordering::Acquire);
                    let from = if reader == 0 { 0 } else { end * reader / 4 };
                    assert_eq!(read_all(log, from, offset(end)), end);
                    rounds += 1;
                }
            });
        }
        for round in 0..1500 {
            let end = log.positions().log_end.get();
            let texts: Vec<String> = (end..end + 3)
                .map(|at| format!("{at}:{round}:{}", "x".repeat(100)))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            append(&log, &texts);
            if round % 10 == 9 {
                high_watermark.store(end - 12, Ordering::Release);
                log.truncate_to(offset(end - 6)).unwrap();
            }
            if round % 100 == 99 {
                log.release_idle_resources();
            }
        }
        done.store(true, Ordering::Release);
    });
    let end = log.positions().log_end;
    assert_eq!(read_all(&log, 0, end), end.get());
    log.close().unwrap();
}

#[test]
fn appends_from_many_threads_are_flushed_together_and_told_to_the_observer() {
    let limits = LogLimits {
        disk_reserve_bytes: 0,
        ..LogLimits::default()
    };
    let (_dir, directory, log) = on_disk(limits, LogConfig::default());
    let bell = Arc::new(Bell::default());
    log.set_observer(Arc::clone(&bell) as Arc<dyn LogObserver>);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let appended = append(&log, &["x"]);
                    bell.wait_for(|| log.positions().flushed > appended.last_offset);
                }
            });
        }
    });
    assert_eq!(log.positions().flushed, offset(400));
    let figures = directory.figures();
    assert!(figures.flushes <= 400, "{figures:?}");
    assert_eq!(figures.unflushed_bytes, 0);
}

#[test]
fn the_background_flushes_a_replicated_topic_and_moves_its_recovery_point() {
    let limits = LogLimits {
        flush_interval_ms: 10,
        recovery_point_interval_ms: 10,
        disk_reserve_bytes: 0,
        ..LogLimits::default()
    };
    let config = LogConfig {
        durability: crate::Durability::Replicated,
        segment_bytes: 500,
        ..LogConfig::default()
    };
    let (dir, directory, log) = on_disk(limits, config);
    let bell = Arc::new(Bell::default());
    log.set_observer(Arc::clone(&bell) as Arc<dyn LogObserver>);
    for _ in 0..20 {
        append(&log, &[&"x".repeat(100)]);
    }
    bell.wait_for(|| log.positions().flushed == offset(20));
    // The recovery point follows on a later tick, which nobody is told of.
    while log.positions().recovery_point < offset(20) {
        thread::yield_now();
    }
    assert!(dir.path().join("flights-0/manifest").exists());
    directory.stop();
}

#[test]
fn a_panic_under_the_partitions_lock_takes_that_partition_offline() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    append(&log, &["a"]);
    let panicked = thread::scope(|scope| {
        scope
            .spawn(|| {
                let _writer = log.writer().unwrap();
                panic!("under the lock");
            })
            .join()
    });
    assert!(panicked.is_err());
    log.append(batch(&["b"]), &context()).unwrap_err();
    assert!(matches!(log.state(), crate::LogState::Offline(_)));
}
