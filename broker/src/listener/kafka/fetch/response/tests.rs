//! Answers to fetch in every version, as `kafka-protocol` reads them.

use std::{ops::RangeInclusive, slice};

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        ApiKey, FetchResponse, ProducerId, TopicName,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
        },
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, LeaderEpoch, Offset};
use uuid::Uuid;

use super::{
    super::{Asked, Slot, Topic},
    write,
};
use crate::{
    listener::kafka::{answer::oracle::decoded, codec},
    service::{
        ServiceError,
        fetch::{Aborted, CheckedSlice, FetchRefusal, Fetched, Offsets},
    },
};

const CORRELATION_ID: i32 = 0x0102_0304;
const SESSION_ID: i32 = 0x0506_0708;
/// Where a partition stands.
const LOG_START: i64 = 3;
const LAST_STABLE: i64 = 8;
const HIGH_WATERMARK: i64 = 10;
/// More elements than a varint of one byte counts.
const MANY: i32 = 200;

fn versions() -> RangeInclusive<i16> {
    let fetch = ApiKey::Fetch as i16;
    let served = codec::served().find(|api| api.api_key == fetch).unwrap();
    served.version_min..=served.version_max
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn offsets() -> Offsets {
    Offsets {
        log_start: offset(LOG_START),
        last_stable: offset(LAST_STABLE),
        high_watermark: offset(HIGH_WATERMARK),
    }
}

/// A topic as the version names it: to be written, and as it is read.
fn topic(version: i16, name: &'static str, id: Uuid) -> (Topic, FetchableTopicResponse) {
    let name = TopicName(StrBytes::from_static_str(name));
    let read = FetchableTopicResponse::default();
    match version {
        13.. => (Topic::Id(id), read.with_topic_id(id)),
        _ => (Topic::Name(name.clone()), read.with_topic(name)),
    }
}

fn slot(topic: &Topic, partition: i32, read: Result<Fetched<CheckedSlice>, FetchRefusal>) -> Slot {
    Slot {
        topic: topic.clone(),
        asked: Asked {
            partition,
            offset: 0,
            leader_epoch: -1,
            last_fetched_epoch: -1,
            bytes_max: 1 << 20,
        },
        reader: None,
        read,
        is_full: false,
        diverging: None,
    }
}

/// Batches that were read, and transactions: producer id and first offset of each.
fn fetched(batches: &[Bytes], aborted: &[(i64, i64)]) -> Fetched<CheckedSlice> {
    let transactions = aborted.iter().map(|(producer_id, first)| Aborted {
        producer_id: *producer_id,
        first_offset: offset(*first),
    });
    Fetched {
        batches: batches.iter().cloned().map(CheckedSlice::Memory).collect(),
        size_bytes: batches.iter().map(Bytes::len).sum(),
        offsets: offsets(),
        aborted: transactions.collect(),
    }
}

fn refused(code: ErrorCode, offsets: Option<Offsets>) -> FetchRefusal {
    FetchRefusal {
        error: ServiceError::new(code, "refused", "hint"),
        offsets,
    }
}

/// A partition that stands where [`offsets`] says, as it is read.
fn standing(version: i16, partition: i32) -> PartitionData {
    let read = PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(HIGH_WATERMARK)
        .with_last_stable_offset(LAST_STABLE);
    match version {
        5.. => read.with_log_start_offset(LOG_START),
        _ => read,
    }
}

/// The same, with transactions.
fn with_aborted(read: PartitionData, aborted: &[(i64, i64)]) -> PartitionData {
    let transactions = aborted.iter().map(|(producer_id, first)| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(*producer_id))
            .with_first_offset(*first)
    });
    read.with_aborted_transactions(Some(transactions.collect()))
}

/// An answer without an error of its own.
fn response(version: i16, topics: Vec<FetchableTopicResponse>) -> FetchResponse {
    let read = FetchResponse::default().with_responses(topics);
    match version {
        7.. => read.with_session_id(SESSION_ID),
        _ => read,
    }
}

#[test]
fn batches_transactions_and_refusals_are_read_as_they_were_meant() {
    let (long, short) = (Bytes::from(vec![7; 300]), Bytes::from_static(b"batch"));
    let both = Bytes::from([&long[..], &short[..]].concat());
    let batches = [long, short.clone()];
    let aborted = [(1, 4), (i64::MAX, 0)];
    for version in versions() {
        let (first, read_first) = topic(version, "first", Uuid::from_u128(1));
        let (second, read_second) = topic(version, "second", Uuid::from_u128(u128::MAX));
        let unknown = refused(ErrorCode::UnknownTopicOrPartition, None);
        let offline = refused(ErrorCode::KafkaStorageError, Some(offsets()));
        let slots = vec![
            slot(&first, 0, Ok(fetched(&batches, &aborted))),
            slot(&first, 1, Ok(Fetched::nothing(offsets()))),
            slot(&first, i32::MAX, Err(unknown)),
            slot(&second, 5, Err(offline)),
            slot(&second, 0, Ok(fetched(slice::from_ref(&short), &[]))),
            // In an answer of a session a topic may come twice.
            slot(&first, 2, Ok(Fetched::nothing(offsets()))),
        ];
        let answer = write(CORRELATION_ID, version, ErrorCode::None, SESSION_ID, slots);
        let unknown = PartitionData::default()
            .with_partition_index(i32::MAX)
            .with_error_code(ErrorCode::UnknownTopicOrPartition.number())
            .with_high_watermark(-1);
        let offline = standing(version, 5).with_error_code(ErrorCode::KafkaStorageError.number());
        let expected = vec![
            read_first.clone().with_partitions(vec![
                with_aborted(standing(version, 0), &aborted).with_records(Some(both.clone())),
                standing(version, 1),
                unknown,
            ]),
            read_second.with_partitions(vec![
                offline,
                standing(version, 0).with_records(Some(short.clone())),
            ]),
            read_first.with_partitions(vec![standing(version, 2)]),
        ];
        let read: FetchResponse = decoded(&answer, CORRELATION_ID, version);
        assert_eq!(read, response(version, expected), "version {version}");
        let counted = [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::KafkaStorageError,
        ];
        assert_eq!(answer.errors, counted, "version {version}");
    }
}

#[test]
fn where_logs_part_is_read_where_the_version_has_a_place_for_it() {
    for version in versions() {
        let (first, read_first) = topic(version, "first", Uuid::from_u128(1));
        let mut parting = slot(&first, 0, Ok(Fetched::nothing(offsets())));
        parting.diverging = Some((LeaderEpoch(6), offset(7)));
        let next = slot(&first, 1, Ok(Fetched::nothing(offsets())));
        let slots = vec![parting, next];
        let answer = write(CORRELATION_ID, version, ErrorCode::None, SESSION_ID, slots);
        let end = EpochEndOffset::default().with_epoch(6).with_end_offset(7);
        let parting = match version {
            12.. => standing(version, 0).with_diverging_epoch(end),
            _ => standing(version, 0),
        };
        let expected = read_first.with_partitions(vec![parting, standing(version, 1)]);
        let read: FetchResponse = decoded(&answer, CORRELATION_ID, version);
        assert_eq!(read, response(version, vec![expected]), "version {version}");
    }
}

#[test]
fn a_refusal_of_the_whole_request_is_read_where_the_version_has_a_place_for_it() {
    let refusal = ErrorCode::InvalidFetchSessionEpoch;
    for version in versions() {
        let answer = write(CORRELATION_ID, version, refusal, 0, Vec::new());
        let expected = match version {
            7.. => FetchResponse::default().with_error_code(refusal.number()),
            _ => FetchResponse::default(),
        };
        let read: FetchResponse = decoded(&answer, CORRELATION_ID, version);
        assert_eq!(read, expected, "version {version}");
        assert_eq!(answer.errors, [refusal], "version {version}");
    }
}

#[test]
fn many_topics_partitions_and_transactions_are_read_as_they_were_meant() {
    let aborted: Vec<(i64, i64)> = (0..i64::from(MANY)).map(|at| (at, at)).collect();
    for version in versions() {
        let (first, read_first) = topic(version, "first", Uuid::from_u128(1));
        let (second, read_second) = topic(version, "second", Uuid::from_u128(2));
        let (mut slots, mut partitions, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for partition in 0..MANY {
            slots.push(slot(&first, partition, Ok(fetched(&[], &aborted))));
            partitions.push(with_aborted(standing(version, partition), &aborted));
        }
        expected.push(read_first.clone().with_partitions(partitions));
        for partition in 0..MANY {
            let (named, read) = match partition % 2 {
                0 => (&second, &read_second),
                _ => (&first, &read_first),
            };
            slots.push(slot(named, partition, Ok(Fetched::nothing(offsets()))));
            let partitions = vec![standing(version, partition)];
            expected.push(read.clone().with_partitions(partitions));
        }
        let answer = write(CORRELATION_ID, version, ErrorCode::None, SESSION_ID, slots);
        let read: FetchResponse = decoded(&answer, CORRELATION_ID, version);
        assert_eq!(read, response(version, expected), "version {version}");
        assert_eq!(answer.errors, [], "version {version}");
    }
}
