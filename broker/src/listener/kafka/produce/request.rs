//! [`Request`]: a produce request of version 3 and later, read by hand in one go. Names and batches stay
//! where they are in the message; nothing is allocated per partition.

use std::ops::Range;

use bytes::Bytes;
use millstream_proto::TopicId;

use super::super::{codec::DecodeError, wire::Cursor};

/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 9;
/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;

/// A produce request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) acks: i16,
    pub(super) timeout_ms: i32,
    pub(super) topics: Vec<Topic>,
    /// Of all topics, one after the other.
    pub(super) partitions: Vec<Partition>,
}

/// A topic of a request.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: TopicRef,
    /// Which of the request's partitions are its own.
    partitions: Range<usize>,
}

/// A topic as the request names it.
#[derive(Debug)]
pub(super) enum TopicRef {
    /// By name, up to version 12.
    Name(Bytes),
    /// By id.
    Id(TopicId),
}

/// What is to be appended to a partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: i32,
    pub(super) records: Option<Bytes>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// Bytes that are none.
    pub(super) fn parse(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body, version >= FLEXIBLE);
        read(&mut cursor, version)
            .filter(|_| cursor.is_at_end())
            .ok_or(DecodeError::Undecodable {
                api: "Produce",
                version,
                reason: "the message does not follow its schema".into(),
            })
    }

    pub(super) fn partitions_of(&self, topic: &Topic) -> &[Partition] {
        let partitions = topic.partitions.clone();
        self.partitions.get(partitions).unwrap_or_default()
    }
}

fn read(cursor: &mut Cursor, version: i16) -> Option<Request> {
    let _transactional_id = cursor.text()?;
    let mut request = Request {
        acks: cursor.i16()?,
        timeout_ms: cursor.i32()?,
        topics: Vec::new(),
        partitions: Vec::new(),
    };
    for _ in 0..cursor.count()?? {
        let topic = read_topic(cursor, version, &mut request.partitions)?;
        request.topics.push(topic);
    }
    cursor.tagged_fields()?;
    Some(request)
}

fn read_topic(cursor: &mut Cursor, version: i16, partitions: &mut Vec<Partition>) -> Option<Topic> {
    let start = partitions.len();
    let name = match version {
        TOPIC_IDS.. => TopicRef::Id(cursor.topic_id()?),
        _ => TopicRef::Name(cursor.text()??),
    };
    for _ in 0..cursor.count()?? {
        partitions.push(Partition {
            index: cursor.i32()?,
            records: cursor.records()?,
        });
        cursor.tagged_fields()?;
    }
    cursor.tagged_fields()?;
    let partitions = start..partitions.len();
    Some(Topic { name, partitions })
}
