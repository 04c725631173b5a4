//! Answers to produce in every version, as `kafka-protocol` reads them.

use std::ops::RangeInclusive;

use kafka_protocol::{
    messages::{
        ApiKey, ProduceResponse, TopicName,
        produce_response::{
            BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, Offset, TopicId};
use uuid::Uuid;

use super::super::{Outcome, answer};
use crate::{
    listener::kafka::{
        answer::oracle::decoded,
        codec::{self, ProducePartition, ProduceRequest, ProduceTopic, TopicRef},
    },
    service::{
        ServiceError,
        produce::{AcksWanted, Produced},
    },
};

const CORRELATION_ID: i32 = 0x0102_0304;
const LOG_START: i64 = 3;
/// Versions before it are advertised and refused.
const SERVED_FROM: i16 = 3;
/// More elements than a varint of one byte counts.
const MANY: i32 = 200;

/// What became of a partition: to be written, and as it is read.
type Row = (Outcome, PartitionProduceResponse);

fn versions() -> RangeInclusive<i16> {
    let produce = ApiKey::Produce as i16;
    let served = codec::served().find(|api| api.api_key == produce).unwrap();
    SERVED_FROM..=served.version_max
}

/// A topic as the version names it: in a request, and as it is read.
fn topic(version: i16, name: &'static str, id: Uuid) -> (TopicRef, TopicProduceResponse) {
    let read = TopicProduceResponse::default();
    match version {
        13.. => {
            let named = TopicRef::Id(TopicId::from_bytes(id.into_bytes()));
            (named, read.with_topic_id(id))
        }
        _ => {
            let named = TopicRef::Name(name.as_bytes().into());
            let name = TopicName(StrBytes::from_static_str(name));
            (named, read.with_name(name))
        }
    }
}

fn appended(version: i16, index: i32, base_offset: i64, append_time_ms: Option<i64>) -> Row {
    let produced = Produced {
        base_offset: Offset::new(base_offset).unwrap(),
        log_append_time_ms: append_time_ms,
        log_start_offset: Offset::new(LOG_START).unwrap(),
        duplicate: false,
        acknowledgement: None,
    };
    let read = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(base_offset)
        .with_log_append_time_ms(append_time_ms.unwrap_or(-1));
    let read = match version {
        5.. => read.with_log_start_offset(LOG_START),
        _ => read,
    };
    (Ok(produced), read)
}

fn refused(version: i16, index: i32, code: ErrorCode, message: &str) -> Row {
    let read = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.number())
        .with_base_offset(-1);
    let read = match version {
        8.. => read.with_error_message(Some(StrBytes::from_string(message.to_owned()))),
        _ => read,
    };
    (Err(ServiceError::new(code, message, "hint")), read)
}

/// Of a batch in which one record is at fault.
fn refused_for(version: i16, index: i32, record: u32, message: &str) -> Row {
    let (outcome, read) = refused(version, index, ErrorCode::InvalidRecord, message);
    let named = BatchIndexAndErrorMessage::default()
        .with_batch_index(record.cast_signed())
        .with_batch_index_error_message(Some(StrBytes::from_string(message.to_owned())));
    let read = match version {
        8.. => read.with_record_errors(vec![named]),
        _ => read,
    };
    let outcome = outcome.map_err(|error| ServiceError {
        record: Some(record),
        ..error
    });
    (outcome, read)
}

/// Has the answer to a request with these topics written and read; returns the errors that are counted.
async fn assert_read_as_meant(
    version: i16,
    topics: Vec<(&'static str, Vec<Row>)>,
) -> Vec<ErrorCode> {
    let mut request = ProduceRequest {
        acks: -1,
        timeout_ms: 1_000,
        topics: Vec::new(),
        partitions: Vec::new(),
    };
    let (mut outcomes, mut expected) = (Vec::new(), Vec::new());
    for (id, (name, rows)) in (1..).zip(topics) {
        let start = request.partitions.len();
        let mut responses = Vec::new();
        for (outcome, response) in rows {
            request.partitions.push(ProducePartition {
                index: response.index,
                records: None,
            });
            outcomes.push(outcome);
            responses.push(response);
        }
        let (name, response) = topic(version, name, Uuid::from_u128(id));
        request.topics.push(ProduceTopic {
            name,
            partitions: start..request.partitions.len(),
        });
        expected.push(response.with_partition_responses(responses));
    }
    let acks = Ok(AcksWanted::All);
    let written = answer(CORRELATION_ID, version, &request, acks, outcomes).await;
    let answer = written.unwrap().expect("it is acknowledged");
    let read: ProduceResponse = decoded(&answer, CORRELATION_ID, version);
    let expected = ProduceResponse::default().with_responses(expected);
    assert_eq!(read, expected, "version {version}");
    answer.errors
}

#[tokio::test]
async fn offsets_times_and_refusals_are_read_as_they_were_meant() {
    let message = "ü".repeat(100);
    for version in versions() {
        let first = vec![
            appended(version, 0, 0, None),
            appended(version, i32::MAX, i64::MAX, Some(1_700_000_000_000)),
            refused(version, 1, ErrorCode::UnknownTopicOrPartition, ""),
        ];
        let third = vec![
            refused(version, 7, ErrorCode::MessageTooLarge, &message),
            appended(version, 2, 128, None),
            refused_for(version, 9, 300, &message),
        ];
        let topics = vec![("first", first), ("second", Vec::new()), ("third", third)];
        let errors = assert_read_as_meant(version, topics).await;
        let counted = [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::MessageTooLarge,
            ErrorCode::InvalidRecord,
        ];
        assert_eq!(errors, counted, "version {version}");
    }
}

#[tokio::test]
async fn a_disk_that_is_behind_is_told_as_an_error_after_which_clients_try_again() {
    for version in versions() {
        let (_, read) = refused(version, 0, ErrorCode::KafkaStorageError, "behind");
        let (behind, _) = refused(version, 0, ErrorCode::ThrottlingQuotaExceeded, "behind");
        let errors = assert_read_as_meant(version, vec![("t", vec![(behind, read)])]).await;
        assert_eq!(errors, [ErrorCode::KafkaStorageError], "version {version}");
    }
}

#[tokio::test]
async fn an_answer_about_nothing_is_read_as_one() {
    for version in versions() {
        assert_eq!(assert_read_as_meant(version, Vec::new()).await, []);
    }
}

#[tokio::test]
async fn many_topics_and_partitions_are_read_as_they_were_meant() {
    for version in versions() {
        let large = (0..MANY).map(|index| appended(version, index, index.into(), None));
        let mut topics = vec![("large", large.collect::<Vec<_>>())];
        topics.extend((0..MANY).map(|_| ("small", vec![appended(version, 0, 1, None)])));
        assert_eq!(assert_read_as_meant(version, topics).await, []);
    }
}
