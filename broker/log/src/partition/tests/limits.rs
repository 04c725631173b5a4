//! Open files and maps stay within their bounds, and an idle partition holds neither.

use std::sync::Arc;

use millstream_proto::Offset;

use super::super::testing::*;
use crate::{LogConfig, LogLimits, PartitionLog, ReadRequest};

#[test]
fn a_thousand_partitions_share_few_files_and_little_mapped_memory() {
    let io = memory();
    let limits = LogLimits {
        open_segments_max: 32,
        mapped_bytes_max: 20_000,
        ..limits()
    };
    let directory = directory_with(Arc::new(io), limits);
    let config = Arc::new(LogConfig {
        segment_bytes: 500,
        ..LogConfig::default()
    });
    let logs: Vec<_> = (0..1000)
        .map(|index| {
            PartitionLog::create(
                &directory,
                partition(index),
                topic_id(),
                Arc::clone(&config),
            )
            .unwrap()
        })
        .collect();
    let check = || {
        let figures = directory.figures();
        assert!(figures.open_segments <= 32, "{figures:?}");
        assert!(figures.mapped_bytes <= 20_000, "{figures:?}");
    };
    let text = "x".repeat(200);
    for round in 0..4 {
        for log in &logs {
            assert_eq!(append(log, &[&text]).base_offset, offset(round));
            check();
        }
    }
    for log in &logs {
        forget_tail(log);
        assert_eq!(records(log, 0).len(), 4);
        check();
    }
    // The first call sees that they were used, the second that they were not since.
    directory.flush_dirty();
    for _ in 0..2 {
        logs.iter().for_each(|log| log.release_idle_resources());
    }
    let figures = directory.figures();
    assert_eq!((figures.open_segments, figures.mapped_bytes), (0, 0));
    assert_eq!(append(&logs[0], &["again"]).base_offset, offset(4));
}

#[test]
fn an_idle_partition_is_small() {
    assert!(
        size_of::<PartitionLog>() < 1024,
        "{}",
        size_of::<PartitionLog>()
    );
}

#[test]
fn a_partition_in_use_keeps_a_descriptor_with_unflushed_bytes() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    append(&log, &["a"]);
    for _ in 0..2 {
        log.release_idle_resources();
    }
    assert_eq!(directory.figures().open_segments, 1);
    log.flush().unwrap();
    log.release_idle_resources();
    assert_eq!(directory.figures().open_segments, 0);
}

#[test]
fn appends_beyond_the_unflushed_bound_flush_first() {
    let limits = LogLimits {
        unflushed_bytes_max: 1000,
        ..limits()
    };
    let directory = directory_with(Arc::new(memory()), limits);
    let log = create(&directory, LogConfig::default());
    for _ in 0..50 {
        append(&log, &[&"x".repeat(300)]);
        assert!(directory.figures().unflushed_bytes <= 1400);
    }
    assert!(log.positions().flushed > offset(40));
}

#[test]
fn a_map_that_would_pass_the_bound_alone_is_read_instead() {
    let limits = LogLimits {
        mapped_bytes_max: 100,
        ..limits()
    };
    let directory = directory_with(Arc::new(memory()), limits);
    let config = LogConfig {
        segment_bytes: 1000,
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    for _ in 0..10 {
        append(&log, &[&"x".repeat(300)]);
    }
    forget_tail(&log);
    let request = ReadRequest {
        offset: Offset::ZERO,
        max_bytes: 10_000,
        end_exclusive: Offset::MAX,
    };
    let read = log.read(&request).unwrap();
    assert_eq!(read.next_offset, offset(10));
    assert_eq!(directory.figures().mapped_bytes, 0);
    assert!(read.load().unwrap().size_bytes > 3000);
}
