//! Old segments go by time, by size and by request; log_start is durable before they do.

use std::sync::Arc;

use super::super::testing::*;
use crate::{DataDirectory, LogConfig, PartitionLog, io::LogIo, recovery_point::BootId};

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 100,
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// A log with one record per segment, with timestamps 1000, 2000, ...
fn log_of(directory: &Arc<DataDirectory>, count: i64) -> Arc<PartitionLog> {
    let log = create(directory, config());
    for number in 1..=count {
        log.append(
            batch_at(number * 1000, &["xxxxxxxxxxxxxxxxxxxxxx"]),
            &context(),
        )
        .unwrap();
    }
    log.flush().unwrap();
    log
}

fn retain(log: &PartitionLog, config: LogConfig, now_ms: i64) -> usize {
    log.set_config(Arc::new(config));
    log.apply_retention(now_ms, log.positions().log_end)
        .unwrap()
}

#[test]
fn segments_older_than_retention_ms_go_by_their_largest_timestamp() {
    let directory = directory(&memory());
    let log = log_of(&directory, 5);
    let config = LogConfig {
        retention_ms: Some(2500),
        ..config()
    };
    assert_eq!(retain(&log, config.clone(), 4500), 1);
    assert_eq!(log.positions().log_start, offset(1));
    assert_eq!(log.segment_count(), 4);
    // Even the active one: appends go on in a new segment.
    assert_eq!(retain(&log, config, 1_000_000), 4);
    assert_eq!(log.positions().log_start, offset(5));
    assert_eq!(append(&log, &["next"]).base_offset, offset(5));
}

#[test]
fn the_oldest_segments_go_while_the_rest_is_as_large_as_retention_bytes() {
    let directory = directory(&memory());
    let log = log_of(&directory, 5);
    let one = log.size_bytes() / 5;
    let config = LogConfig {
        retention_bytes: Some(2 * one),
        ..config()
    };
    assert_eq!(retain(&log, config, 0), 3);
    assert_eq!(log.size_bytes(), 2 * one);
}

#[test]
fn nothing_beyond_the_high_watermark_goes() {
    let directory = directory(&memory());
    let log = log_of(&directory, 5);
    log.set_config(Arc::new(LogConfig {
        retention_ms: Some(0),
        ..config()
    }));
    assert_eq!(log.apply_retention(1_000_000, offset(2)).unwrap(), 2);
    assert_eq!(log.positions().log_start, offset(2));
}

#[test]
fn a_compacted_topic_keeps_everything() {
    let directory = directory(&memory());
    let log = log_of(&directory, 3);
    let config = LogConfig {
        retention_ms: Some(0),
        cleanup_delete: false,
        cleanup_compact: true,
        ..config()
    };
    assert_eq!(retain(&log, config, 1_000_000), 0);
}

#[test]
fn deleted_records_stay_deleted_after_a_power_cut() {
    let io = memory();
    {
        let directory = directory(&io);
        let log = log_of(&directory, 5);
        assert_eq!(log.delete_records(offset(3)).unwrap(), offset(3));
        assert_eq!(log.delete_records(offset(1)).unwrap(), offset(3));
        assert!(log.delete_records(offset(6)).is_err());
    }
    for seed in 0..20 {
        let io = io.crash(seed);
        let directory =
            DataDirectory::open(Arc::new(io), DIR.as_ref(), limits(), BootId([9; 16])).unwrap();
        let log = reopen(&directory, config());
        let positions = log.positions();
        assert_eq!(positions.log_start, offset(3), "seed {seed}");
        assert_eq!(positions.log_end, offset(5), "seed {seed}");
    }
}

#[test]
fn a_segment_older_than_segment_ms_is_rolled_by_the_brokers_clock() {
    let directory = directory(&memory());
    let config = LogConfig {
        segment_ms: 5000,
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    assert!(!log.roll_if_due(1_000_000).unwrap());
    append(&log, &["a"]);
    assert!(!log.roll_if_due(1_004_999).unwrap());
    assert!(log.roll_if_due(1_005_000).unwrap());
    assert!(
        !log.roll_if_due(1_010_000).unwrap(),
        "an empty one is not rolled"
    );
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn a_deleted_partition_leaves_nothing_and_its_name_is_free_at_once() {
    let io = memory();
    let directory = directory(&io);
    let log = log_of(&directory, 3);
    log.delete().unwrap();
    assert!(log.append(batch(&["x"]), &context()).is_err());
    let again = create(&directory, config());
    append(&again, &["y"]);
    // What is left of the old one touches nothing of its namesake.
    assert!(log.checkpoint());
    drop(log);
    directory.checkpoint().unwrap();
    assert_eq!(records(&again, 0), vec![(0, "y".to_owned())]);
    assert_eq!(directory.recovery_point("flights-0"), Some(offset(1)));
    let names: Vec<_> = io.list_dir(DIR.as_ref()).unwrap();
    let directories: Vec<_> = names.iter().filter(|entry| entry.is_dir).collect();
    assert_eq!(directories.len(), 1, "{names:?}");
}

#[test]
fn a_clean_stop_opens_nothing_until_the_first_use() {
    let io = memory();
    {
        let directory = directory(&io);
        let log = log_of(&directory, 3);
        let closed = log.close().unwrap();
        assert_eq!(closed.log_end, offset(3));
        assert!(log.append(batch(&["x"]), &context()).is_err());
        directory.shut_down(7, &[(partition(0), closed)]).unwrap();
    }
    for _ in 0..2 {
        // The second time round it was not used in between.
        let directory = directory(&io);
        assert_eq!(directory.clean_broker_epoch(), 7);
        let log = reopen(&directory, config());
        assert_eq!(log.positions().log_end, offset(3));
        assert_eq!(log.positions().log_start, offset(0));
        assert!(!log.view().is_opened());
        let closed = log.close().unwrap();
        directory.shut_down(7, &[(partition(0), closed)]).unwrap();
    }
    let directory = directory(&io);
    let log = reopen(&directory, config());
    assert_eq!(records(&log, 0).len(), 3);
    assert_eq!(append(&log, &["x"]).base_offset, offset(3));
}

#[test]
fn retention_opens_a_partition_only_when_something_of_it_goes() {
    let io = memory();
    {
        let directory = directory(&io);
        let closed = log_of(&directory, 3).close().unwrap();
        directory.shut_down(7, &[(partition(0), closed)]).unwrap();
    }
    let directory = directory(&io);
    let log = reopen(&directory, config());
    let one = io.metadata(&log.path().join("00000000000000000000.log"));
    let keep_all = 3 * one.unwrap().len + 1;
    for kept in [
        config(),
        LogConfig {
            retention_ms: Some(2_000),
            ..config()
        },
        LogConfig {
            retention_bytes: Some(keep_all),
            ..config()
        },
        LogConfig {
            retention_ms: Some(0),
            cleanup_delete: false,
            ..config()
        },
    ] {
        assert_eq!(retain(&log, kept.clone(), 3_000), 0);
        assert!(!log.view().is_opened(), "{kept:?}");
    }
    let expired = LogConfig {
        retention_ms: Some(1_500),
        ..config()
    };
    assert_eq!(retain(&log, expired, 3_000), 1);
    assert_eq!(log.positions().log_start, offset(1));
    assert_eq!(records(&log, 1).len(), 2);
}

#[test]
fn producers_are_known_after_a_kill_though_retention_removed_all_their_records() {
    let memory = memory();
    let directory = directory(&memory);
    let log = create(&directory, config());
    log.append(from_producer(0, &["a", "b"]), &context())
        .unwrap();
    log.flush().unwrap();
    let config = LogConfig {
        retention_ms: Some(1),
        ..config()
    };
    assert_eq!(retain(&log, config.clone(), 2_000_000), 1);
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    for seed in 0..5 {
        let directory = super::super::testing::directory(&memory.crash(seed));
        let log = reopen(&directory, config.clone());
        let retried = log.append(from_producer(0, &["a", "b"]), &context());
        assert!(retried.unwrap().duplicate, "cut {seed}");
    }
}
