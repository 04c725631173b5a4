//! What is accepted, refused, and recognised as sent before.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_proto::{
    ErrorCode, LeaderEpoch, ProducerEpoch, ProducerId,
    record::{
        BatchBuilder, BatchOptions, BatchView, Compression, ProducerIdentity, TimestampType,
        control::{EndTransactionMarker, TransactionResult},
    },
};

use super::super::testing::*;
use crate::{
    AppendContext, AppendError, CompressionPolicy, LogConfig, Origin, PartitionLog, ReadRequest,
    TimestampPolicy,
};

fn refusal(log: &PartitionLog, batch: Bytes) -> AppendError {
    let before = log.positions();
    let error = log.append(batch, &context()).unwrap_err();
    assert_eq!(
        log.positions(),
        before,
        "nothing of a refused batch is in the log"
    );
    error
}

fn changed(batch: &Bytes, change: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut bytes = BytesMut::from(&**batch);
    change(&mut bytes);
    // The CRC covers everything from byte 21.
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

#[test]
fn appended_records_come_back_from_memory_and_from_the_file() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, LogConfig::default());
    let first = append(&log, &["a", "b"]);
    let second = append(&log, &["c"]);
    assert_eq!(
        (first.base_offset, first.last_offset),
        (offset(0), offset(1))
    );
    assert_eq!(second.base_offset, offset(2));
    let expected = vec![(0, "a".into()), (1, "b".into()), (2, "c".into())];
    assert_eq!(records(&log, 0), expected);
    forget_tail(&log);
    assert_eq!(records(&log, 0), expected);
    assert_eq!(records(&log, 1)[0].0, 0, "whole batches");
}

#[test]
fn a_batch_that_breaks_a_rule_is_refused_with_its_code() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    let good = batch(&["a", "b"]);
    let cases: Vec<(&str, Bytes, ErrorCode)> = vec![
        (
            "cut off",
            good.slice(..good.len() - 1),
            ErrorCode::CorruptMessage,
        ),
        ("empty", Bytes::new(), ErrorCode::CorruptMessage),
        (
            "two batches",
            Bytes::from([&good[..], &good[..]].concat()),
            ErrorCode::CorruptMessage,
        ),
        (
            "magic 1",
            changed(&good, |bytes| bytes[16] = 1),
            ErrorCode::UnsupportedForMessageFormat,
        ),
        (
            "flipped bit",
            {
                let mut bytes = BytesMut::from(&*good);
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                bytes.freeze()
            },
            ErrorCode::CorruptMessage,
        ),
        (
            "base offset 7",
            changed(&good, |bytes| bytes[7] = 7),
            ErrorCode::InvalidRecord,
        ),
        (
            "count 3 for delta 1",
            changed(&good, |bytes| bytes[60] = 3),
            ErrorCode::InvalidRecord,
        ),
        (
            "control",
            changed(&good, |bytes| bytes[22] |= 0x20),
            ErrorCode::InvalidRecord,
        ),
        (
            "delete horizon",
            changed(&good, |bytes| bytes[22] |= 0x40),
            ErrorCode::InvalidRecord,
        ),
        (
            "log append time",
            changed(&good, |bytes| bytes[22] |= 0x08),
            ErrorCode::InvalidTimestamp,
        ),
        (
            "codec 7",
            changed(&good, |bytes| bytes[22] |= 0x07),
            ErrorCode::UnsupportedCompressionType,
        ),
        (
            "transaction without producer",
            changed(&good, |bytes| bytes[22] |= 0x10),
            ErrorCode::InvalidRecord,
        ),
        (
            "producer with sequence -1",
            changed(&from_producer(0, &["a"]), |bytes| {
                bytes[53..57].copy_from_slice(&(-1i32).to_be_bytes());
            }),
            ErrorCode::InvalidRecord,
        ),
        (
            "far future",
            batch_at(1_000_000 + 3_600_001, &["a"]),
            ErrorCode::InvalidTimestamp,
        ),
        (
            "too large",
            batch(&[&"x".repeat(2 << 20)]),
            ErrorCode::MessageTooLarge,
        ),
    ];
    for (name, bytes, code) in cases {
        assert_eq!(refusal(&log, bytes).code(), code, "{name}");
    }
    append(&log, &["still served"]);
}

#[test]
fn a_retry_of_any_of_five_batches_gets_its_first_offsets() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    for sequence in 0..6 {
        log.append(from_producer(sequence, &["x"]), &context())
            .unwrap();
    }
    for sequence in 1..6 {
        let again = log
            .append(from_producer(sequence, &["x"]), &context())
            .unwrap();
        assert!(again.duplicate);
        assert_eq!(again.base_offset, offset(i64::from(sequence)));
    }
    assert!(matches!(
        refusal(&log, from_producer(0, &["x"])),
        AppendError::OutOfOrderSequence {
            expected: 6,
            found: 0,
            ..
        }
    ));
    assert!(matches!(
        refusal(&log, from_producer(7, &["x"])),
        AppendError::OutOfOrderSequence {
            expected: 6,
            found: 7,
            ..
        }
    ));
    assert_eq!(log.positions().log_end, offset(6));
}

#[test]
fn a_duplicate_is_recognised_after_a_kill_across_a_roll() {
    let io = memory();
    let config = LogConfig {
        segment_bytes: 200,
        ..LogConfig::default()
    };
    {
        let directory = directory(&io);
        let log = create(&directory, config.clone());
        directory.write_recovery_points().unwrap();
        for sequence in 0..5 {
            log.append(from_producer(sequence, &["x"]), &context())
                .unwrap();
            directory.checkpoint().unwrap();
        }
        assert!(log.segment_count() > 2);
    }
    let directory = directory(&io);
    let log = reopen(&directory, config);
    for sequence in 0..5 {
        let again = log
            .append(from_producer(sequence, &["x"]), &context())
            .unwrap();
        assert!(again.duplicate, "sequence {sequence}");
        assert_eq!(again.last_offset, offset(i64::from(sequence)));
    }
}

#[test]
fn an_older_leader_is_fenced_and_epochs_end_where_the_next_begins() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    let in_epoch = |epoch| AppendContext {
        leader_epoch: LeaderEpoch(epoch),
        ..context()
    };
    log.append(batch(&["a", "b"]), &in_epoch(1)).unwrap();
    log.append(batch(&["c"]), &in_epoch(4)).unwrap();
    let error = log.append(batch(&["d"]), &in_epoch(3)).unwrap_err();
    assert!(matches!(error, AppendError::FencedLeaderEpoch { .. }));
    let end = |epoch| {
        let end = log.epoch_end(LeaderEpoch(epoch)).unwrap();
        end.map(|end| (end.leader_epoch.0, end.end_offset.get()))
    };
    assert_eq!(end(1), Some((1, 2)));
    assert_eq!(end(3), Some((1, 2)));
    assert_eq!(end(4), Some((4, 3)));
    assert_eq!(end(5), None);
}

#[test]
fn log_append_time_replaces_the_producers_timestamps() {
    let directory = directory(&memory());
    let config = LogConfig {
        timestamps: TimestampPolicy {
            log_append_time: true,
            ..TimestampPolicy::default()
        },
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    // Far in the future: not checked, as it is replaced.
    let appended = log
        .append(batch_at(i64::MAX / 2, &["a"]), &context())
        .unwrap();
    assert_eq!(appended.log_append_time, Some(1_000_000));
    forget_tail(&log);
    let bytes = first_batch(&log);
    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!(view.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(view.max_timestamp(), 1_000_000);
    view.verify_crc().unwrap();
}

fn first_batch(log: &PartitionLog) -> Bytes {
    let request = ReadRequest {
        offset: log.positions().log_start,
        max_bytes: 1,
        end_exclusive: log.positions().log_end,
    };
    log.read(&request).unwrap().load().unwrap().slices.remove(0)
}

#[test]
fn a_topic_with_a_codec_of_its_own_compresses_anew() {
    let directory = directory(&memory());
    let config = LogConfig {
        compression: CompressionPolicy::Fixed(Compression::Zstd),
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    append(&log, &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"; 50]);
    let bytes = first_batch(&log);
    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!(view.compression(), Compression::Zstd);
    assert!(bytes.len() < 300, "{} bytes", bytes.len());
    assert_eq!(records(&log, 0).len(), 50);
}

#[test]
fn a_record_that_is_too_old_is_refused_wherever_it_is_in_its_batch() {
    let directory = directory(&memory());
    let config = LogConfig {
        timestamps: TimestampPolicy {
            before_max_ms: 1_000,
            ..TimestampPolicy::default()
        },
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    let now_ms = context().now_ms;
    let batch = |ages_ms: [i64; 3]| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for age_ms in ages_ms {
            builder.append(now_ms - age_ms, None, None, &[]).unwrap();
        }
        builder.finish().unwrap()
    };
    let error = refusal(&log, batch([0, 1_001, 0]));
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    log.append(batch([0, 1_000, 0]), &context()).unwrap();
}

#[test]
fn a_compacted_topic_refuses_records_without_key() {
    let directory = directory(&memory());
    let config = LogConfig {
        cleanup_compact: true,
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    append(&log, &["with key"]);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(1_000_000, None, Some(b"no key"), &[])
        .unwrap();
    let error = refusal(&log, builder.finish().unwrap());
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
}

#[test]
fn transactions_hold_back_last_stable_until_their_marker_is_below_the_high_watermark() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, LogConfig::default());
    append(&log, &["plain"]);
    let options = BatchOptions {
        producer: Some(ProducerIdentity {
            id: ProducerId(5),
            epoch: ProducerEpoch(1),
            base_sequence: 0,
        }),
        is_transactional: true,
        ..BatchOptions::default()
    };
    log.append(build(options, 1_000_000, &["in transaction"]), &context())
        .unwrap();
    append(&log, &["plain"]);
    let stable = || log.positions().last_stable(log.positions().log_end);
    assert_eq!(stable(), offset(1));
    let marker = EndTransactionMarker::new(TransactionResult::Abort, 0)
        .to_batch(1_000_000, ProducerId(5), ProducerEpoch(1), LeaderEpoch(0))
        .unwrap();
    assert!(matches!(
        log.append(marker.clone(), &context()),
        Err(AppendError::InvalidRecord { .. })
    ));
    let coordinator = AppendContext {
        origin: Origin::Coordinator,
        ..context()
    };
    let appended = log.append(marker, &coordinator).unwrap();
    assert_eq!(
        stable(),
        offset(1),
        "the marker is not below the high watermark"
    );
    log.advance_high_watermark(offset(4));
    assert_eq!(stable(), offset(4));
    let aborted = log.aborted_transactions(offset(0), offset(4)).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!(
        (aborted[0].first_offset, aborted[0].last_offset),
        (offset(1), appended.last_offset)
    );
    drop(log);
    // The index file holds it, too.
    let directory = super::super::testing::directory(&io);
    let log = reopen(&directory, LogConfig::default());
    assert_eq!(
        log.aborted_transactions(offset(0), offset(4)).unwrap(),
        aborted
    );
}

#[test]
fn a_count_of_unflushed_records_asks_for_a_flush_before_the_acknowledgement() {
    let directory = directory(&memory());
    let config = LogConfig {
        flush_messages: Some(3),
        durability: crate::Durability::Replicated,
        ..LogConfig::default()
    };
    let log = create(&directory, config);
    assert!(!append(&log, &["a", "b"]).flush_before_ack);
    assert!(append(&log, &["c"]).flush_before_ack);
    assert!(!append(&log, &["d"]).flush_before_ack);
}

#[test]
fn settings_are_replaced_while_the_log_runs() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    log.set_config(Arc::new(LogConfig {
        max_message_bytes: 70,
        ..LogConfig::default()
    }));
    assert!(matches!(
        refusal(&log, batch(&["a"])),
        AppendError::TooLarge { max: 70, .. }
    ));
}
