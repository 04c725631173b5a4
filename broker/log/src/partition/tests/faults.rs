//! A full disk is a state that ends by itself; a failed flush takes the partition offline, and nothing
//! that waited on it counts as flushed.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;

use super::super::testing::{self, *};
use crate::{
    AppendError, DataDirectory, LogConfig, LogLimits, LogState, PartitionLog, StorageError,
    io::{Action, FaultIo, LogIo, MemoryIo, Operation, Rule, When},
    recovery_point::BootId,
};

const EIO: i32 = libc::EIO;
const ENOSPC: i32 = libc::ENOSPC;

fn faulty() -> (MemoryIo, FaultIo<MemoryIo>) {
    let memory = memory();
    let io = FaultIo::new(memory.clone());
    let inner = memory.clone();
    // As on a real disk: the pages of a failed flush count as clean and are lost.
    io.on_failed_sync(move |path| inner.give_up_unsynced(path).unwrap());
    (memory, io)
}

fn open(io: &FaultIo<MemoryIo>) -> (Arc<DataDirectory>, Arc<PartitionLog>) {
    let directory = directory_with(Arc::new(io.clone()), limits());
    let log = create(&directory, LogConfig::default());
    (directory, log)
}

#[test]
fn a_failed_flush_takes_the_partition_offline_with_the_first_reason() {
    let (_, io) = faulty();
    let (_directory, log) = open(&io);
    append(&log, &["flushed"]);
    log.flush().unwrap();
    append(&log, &["not flushed"]);
    io.inject(Rule::new(&[Operation::SyncData], Action::Fail(EIO)).at_path_with(".log"));
    log.flush().unwrap_err();
    let LogState::Offline(first) = log.state() else {
        panic!("it is offline");
    };
    assert_eq!(log.positions().flushed, offset(1));
    let error = log.append(batch(&["x"]), &context()).unwrap_err();
    assert!(matches!(
        error,
        AppendError::Storage(StorageError::Offline(_))
    ));
    log.flush().unwrap_err();
    assert_eq!(log.state(), LogState::Offline(first));
}

#[test]
fn a_restart_after_a_failed_flush_drops_what_was_not_flushed() {
    let (memory, io) = faulty();
    {
        let (directory, log) = open(&io);
        directory.write_recovery_points().unwrap();
        append(&log, &["flushed"]);
        log.flush().unwrap();
        append(&log, &["not flushed"]);
        let fault = Rule::new(&[Operation::SyncData], Action::Fail(EIO)).at_path_with(".log");
        let fault = io.inject(fault);
        log.flush().unwrap_err();
        fault.stop();
    }
    let directory = directory(&memory);
    let log = reopen(&directory, LogConfig::default());
    assert_eq!(log.state(), LogState::Online);
    assert_eq!(records(&log, 0), vec![(0, "flushed".to_owned())]);
    append(&log, &["after"]);
    assert_eq!(records(&log, 0).len(), 2);
}

#[test]
fn a_directory_that_cannot_be_synced_is_a_failed_flush() {
    let (_, io) = faulty();
    let directory = directory_with(Arc::new(io.clone()), limits());
    let config = LogConfig {
        segment_bytes: 100,
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    append(&log, &["first segment"]);
    log.flush().unwrap();
    append(&log, &["second segment"]);
    io.inject(Rule::new(&[Operation::SyncDir], Action::Fail(EIO)).at_path_with("flights-0"));
    log.flush().unwrap_err();
    assert_eq!(log.positions().flushed, offset(1));
    assert!(matches!(log.state(), LogState::Offline(_)));
}

#[test]
fn a_full_disk_refuses_appends_cleanly_and_accepts_them_again_by_itself() {
    let memory = memory();
    let limits = LogLimits {
        disk_reserve_bytes: 1 << 20,
        ..limits()
    };
    memory.set_capacity(4 << 20);
    let directory = directory_with(Arc::new(memory.clone()), limits);
    let log = create(&directory, LogConfig::default());
    let text = "x".repeat(10_000);
    let mut count = 0;
    let error = loop {
        match log.append(batch(&[&text]), &context()) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count > 200, "only {count} fitted");
    assert!(matches!(
        error,
        AppendError::Storage(StorageError::DiskFull { .. })
    ));
    assert!(error.to_string().contains(DIR), "{error}");
    assert!(directory.is_full());
    assert_eq!(log.state(), LogState::Online);
    // What was written is readable, can be flushed and deleted, and the checkpoint has the reserve.
    forget_tail(&log);
    assert_eq!(records(&log, 0).len(), count);
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    log.delete_records(offset(1)).unwrap();
    assert!(log.append(batch(&["x"]), &context()).is_err());
    memory.set_capacity(16 << 20);
    directory.checkpoint().unwrap();
    assert!(!directory.is_full());
    append(&log, &["again"]);
    assert!(
        memory
            .metadata(&Path::new(DIR).join(crate::RESERVE_FILE))
            .is_ok(),
        "the reserve is made anew"
    );
}

#[test]
fn deleting_old_segments_ends_a_full_disk() {
    let memory = memory();
    memory.set_capacity(3 << 20);
    let directory = directory(&memory);
    let config = LogConfig {
        segment_bytes: 1 << 20,
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    let text = "x".repeat(10_000);
    while log.append(batch(&[&text]), &context()).is_ok() {}
    assert!(directory.is_full());
    log.flush().unwrap();
    let end = log.positions().log_end;
    log.delete_records(end).unwrap();
    directory.checkpoint().unwrap();
    assert!(!directory.is_full());
    append(&log, &["again"]);
}

#[test]
fn a_write_that_fails_half_way_for_want_of_room_leaves_nothing() {
    let (_, io) = faulty();
    let (_directory, log) = open(&io);
    append(&log, &["a"]);
    let action = Action::ShortWrite {
        bytes: 40,
        errno: ENOSPC,
    };
    let rule = Rule::new(&[Operation::Write], action).at_path_with(".log");
    let fault = io.inject(rule.when(When::Nth(1)));
    log.append(batch(&["this one is torn"]), &context())
        .unwrap_err();
    fault.stop();
    log.directory.probe_space();
    append(&log, &["b"]);
    forget_tail(&log);
    assert_eq!(records(&log, 0), vec![(0, "a".into()), (1, "b".into())]);
}

#[test]
fn a_write_that_fails_takes_the_partition_offline_and_may_have_happened() {
    let (_, io) = faulty();
    let (_directory, log) = open(&io);
    append(&log, &["a"]);
    io.inject(Rule::new(&[Operation::Write], Action::Fail(EIO)).at_path_with(".log"));
    let error = log.append(batch(&["b"]), &context()).unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert!(matches!(log.state(), LogState::Offline(_)));
    let refused = log.append(batch(&["c"]), &context()).unwrap_err();
    assert!(!refused.may_have_happened(), "{refused}");
    assert_eq!(log.positions().log_end, offset(1));
}

/// One of 500 runs: faults at random while batches are appended and flushed. Whatever a flush
/// acknowledged is there after the partition went offline and the power was cut.
fn run_with_fault(operation: Operation, errno: i32, nth: u64, seed: u64) {
    let (memory, io) = faulty();
    let directory = directory_with(Arc::new(io.clone()), limits());
    let config = LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 100,
        ..LogConfig::default()
    };
    let log = create(&directory, config.clone());
    directory.write_recovery_points().unwrap();
    io.inject(Rule::new(&[operation], Action::Fail(errno)).when(When::From(nth)));
    let mut acknowledged = Vec::new();
    for number in 0..30 {
        let text = format!("record {number}");
        let Ok(appended) = log.append(batch(&[&text]), &context()) else {
            break;
        };
        if number % 3 == 0
            && let Ok(flushed) = log.flush()
        {
            assert!(flushed > appended.last_offset);
            assert_eq!(log.state(), LogState::Online);
            acknowledged = records_below(&log, flushed.get());
        }
        if number % 7 == 0 {
            let _ = directory.checkpoint();
        }
    }
    if let LogState::Offline(_) = log.state() {
        assert!(log.flush().is_err(), "a failed flush is never retried");
        assert!(log.append(batch(&["x"]), &context()).is_err());
    }
    drop((log, directory));
    let after = memory.crash(seed);
    let directory =
        DataDirectory::open(Arc::new(after), DIR.as_ref(), limits(), BootId([8; 16])).unwrap();
    let log = reopen(&directory, config);
    assert_eq!(log.state(), LogState::Online);
    let found = records(&log, 0);
    assert_eq!(found[..acknowledged.len()], acknowledged);
}

fn records_below(log: &PartitionLog, end: i64) -> Vec<(i64, String)> {
    let mut found: Vec<_> = (0..end).map(|at| (at, format!("record {at}"))).collect();
    found.truncate(usize::try_from(end).unwrap());
    assert!(log.positions().flushed.get() >= end);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_to_a_failing_disk(
        operation in prop::sample::select(vec![
            Operation::SyncData, Operation::SyncDir, Operation::Write, Operation::Open,
            Operation::Allocate, Operation::SetLen, Operation::Rename, Operation::Read,
        ]),
        errno in prop::sample::select(vec![EIO, ENOSPC]),
        nth in 1u64..60,
        seed in any::<u64>(),
    ) {
        run_with_fault(operation, errno, nth, seed);
    }
}

#[test]
fn a_creation_cut_off_anywhere_is_opened_or_completed() {
    for nth in 1..40 {
        for seed in 0..5 {
            let (memory, io) = faulty();
            let directory = directory_with(Arc::new(io.clone()), limits());
            let operations = [
                Operation::Open,
                Operation::Write,
                Operation::SyncData,
                Operation::Rename,
                Operation::SyncDir,
                Operation::CreateDir,
            ];
            io.inject(Rule::new(&operations, Action::Fail(EIO)).when(When::From(nth)));
            let config = Arc::new(LogConfig::default());
            let created = PartitionLog::create(&directory, partition(0), topic_id(), config);
            drop(directory);
            let after = memory.crash(seed);
            let found = after.metadata(&Path::new(DIR).join("flights-0")).is_ok();
            assert!(
                found || created.is_err(),
                "step {nth}: what was answered is durable"
            );
            let directory = testing::directory(&after);
            let log = if found {
                reopen(&directory, LogConfig::default())
            } else {
                create(&directory, LogConfig::default())
            };
            assert_eq!(log.state(), LogState::Online, "step {nth}, seed {seed}");
            assert_eq!(append(&log, &["a"]).base_offset, offset(0));
            assert_eq!(records(&log, 0).len(), 1);
        }
    }
}

#[test]
fn a_flush_that_passes_between_the_preparation_and_the_write_of_a_batch_does_not_cover_it() {
    let (memory, io) = faulty();
    let (directory, log) = open(&io);
    directory.write_recovery_points().unwrap();
    append(&log, &["before"]);
    let flushing = Arc::clone(&log);
    // What a flush thread may do at that instant.
    let beside = Rule::new(
        &[Operation::Write],
        Action::Delay(std::time::Duration::ZERO),
    )
    .at(move |path| {
        if path.to_string_lossy().ends_with(".log") {
            assert_eq!(flushing.flush().unwrap(), offset(1));
        }
        false
    });
    let beside = io.inject(beside);
    append(&log, &["beside"]);
    beside.stop();
    assert_eq!(log.positions().flushed, offset(1));
    assert_eq!(log.flush().unwrap(), offset(2), "acknowledged now");
    for seed in 0..20 {
        let directory = DataDirectory::open(
            Arc::new(memory.crash(seed)),
            Path::new(DIR),
            limits(),
            BootId([8; 16]),
        )
        .unwrap();
        let log = reopen(&directory, LogConfig::default());
        assert_eq!(log.positions().log_end, offset(2), "cut {seed}");
    }
}

#[test]
fn a_truncation_that_ends_half_way_takes_the_partition_offline_and_a_restart_completes_it() {
    for fully in [false, true] {
        let (memory, io) = faulty();
        let (_directory, log) = open(&io);
        for text in ["a", "b", "c"] {
            append(&log, &[text]);
        }
        log.flush().unwrap();
        let target = if fully { 7 } else { 1 };
        let fault = Rule::new(&[Operation::Open], Action::Fail(ENOSPC))
            .at_path_with(format!("{target:020}.log"));
        let fault = io.inject(fault);
        if fully {
            log.truncate_fully_and_start_at(offset(7)).unwrap_err();
        } else {
            log.truncate_to(offset(1)).unwrap_err();
        }
        assert!(fault.applied() > 0);
        fault.stop();
        // Otherwise this would go to a file that is about to be cut or removed.
        let refused = log.append(batch(&["d"]), &context()).unwrap_err();
        assert!(matches!(
            refused,
            AppendError::Storage(StorageError::Offline(_))
        ));
        drop(log);
        let log = reopen(&directory(&memory), LogConfig::default());
        assert_eq!(log.state(), LogState::Online);
        let end = append(&log, &["e"]).base_offset.get();
        assert_eq!(records(&log, end), vec![(end, "e".to_owned())]);
    }
}

#[test]
fn a_killed_broker_recovers_on_a_full_disk_with_its_reserve() {
    let limits = || LogLimits {
        disk_reserve_bytes: 256 << 10,
        ..limits()
    };
    let memory = memory();
    {
        let directory = directory_with(Arc::new(memory.clone()), limits());
        let log = create(&directory, LogConfig::default());
        append(&log, &[&"x".repeat(100_000)]);
        log.flush().unwrap();
    }
    let killed = memory.fork();
    let used = killed.space(Path::new(DIR)).unwrap();
    killed.set_capacity(used.total - used.available);
    for boot in [BOOT, BootId([9; 16])] {
        let io = killed.fork();
        let directory = DataDirectory::open(Arc::new(io.clone()), Path::new(DIR), limits(), boot);
        let directory = directory.unwrap();
        let log = reopen(&directory, LogConfig::default());
        assert_eq!(log.state(), LogState::Online);
        assert_eq!(records(&log, 0).len(), 1);
        io.set_capacity(4 << 20);
        assert!(directory.probe_space(), "it leaves the state by itself");
        assert_eq!(append(&log, &["after"]).base_offset, offset(1));
    }
}

#[test]
fn a_namesake_of_a_deleted_topic_does_not_inherit_its_recovery_point() {
    for is_killed in [false, true] {
        let memory = memory();
        let (first, log) = {
            let directory = directory(&memory);
            let log = create(&directory, LogConfig::default());
            (directory, log)
        };
        append(&log, &["a", "b", "c", "d"]);
        log.flush().unwrap();
        first.checkpoint().unwrap();
        log.delete().unwrap();
        drop(log);
        // The broker is killed at once, or goes on.
        let directory = if is_killed {
            drop(first);
            directory(&memory)
        } else {
            first
        };
        let namesake = create(&directory, LogConfig::default());
        append(&namesake, &["e"]);
        namesake.flush().unwrap();
        for seed in 0..5 {
            let directory = testing::directory(&memory.crash(seed));
            let namesake = reopen(&directory, LogConfig::default());
            assert_eq!(namesake.positions().log_end, offset(1));
            assert_eq!(records(&namesake, 0), vec![(0, "e".to_owned())]);
        }
    }
}
