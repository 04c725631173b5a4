//! [`ProduceRequest`], read by hand in one go: the walk that checks it reads it. Batches stay where they are in
//! the message; nothing is allocated per partition.

use std::ops::Range;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use millstream_proto::TopicId;

use super::{
    apis,
    check::Limits,
    error::{DecodeError, Problem},
    layout::Format,
    walk::{Length, Walk},
};

/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// Length of a topic id.
const TOPIC_ID_BYTES: usize = 16;

/// A produce request.
#[derive(Debug)]
pub struct ProduceRequest {
    /// When it is acknowledged: -1, 0 or 1 if the client is right.
    pub acks: i16,
    /// How long the acknowledgement may take.
    pub timeout_ms: i32,
    /// Its topics, in order.
    pub topics: Vec<ProduceTopic>,
    /// Of all topics, one after the other.
    pub partitions: Vec<ProducePartition>,
}

/// A topic of a request.
#[derive(Debug)]
pub struct ProduceTopic {
    /// Which one.
    pub name: TopicRef,
    /// Which of the request's partitions are its own.
    pub partitions: Range<usize>,
}

/// A topic as the request names it.
#[derive(Debug)]
pub enum TopicRef {
    /// By name, up to version 12; it need not be UTF-8.
    Name(Box<[u8]>),
    /// By id.
    Id(TopicId),
}

/// What is to be appended to a partition.
#[derive(Debug)]
pub struct ProducePartition {
    /// Which one.
    pub index: i32,
    /// Record batches, if there are any.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads a request, and ignores what is behind it. Its batches are all that holds the memory of `body`
    /// afterwards: a single one may be changed where it is.
    ///
    /// # Errors
    /// A version that is not served; the first place where the bytes are no request, or go beyond `limits`.
    pub fn read(body: Bytes, version: i16, limits: &Limits) -> Result<Self, DecodeError> {
        let layout = apis::of_version(ApiKey::Produce as i16, version)?.layout;
        let mut walk = Walk::new(&body, layout.format(version), limits);
        request(&mut walk, &body).map_err(|problem| walk.malformed(layout, problem))
    }

    /// The partitions of a topic of it.
    #[must_use]
    pub fn partitions_of(&self, topic: &ProduceTopic) -> &[ProducePartition] {
        let partitions = topic.partitions.clone();
        self.partitions.get(partitions).unwrap_or_default()
    }
}

fn request(walk: &mut Walk<'_>, body: &Bytes) -> Result<ProduceRequest, Problem> {
    let _transactional_id = walk.field("TransactionalId").bytes(Length::Short)?;
    let acks = walk.field("Acks").cursor.i16()?;
    let timeout_ms = walk.field("TimeoutMs").cursor.i32()?;
    let size_min = topic_size_min(walk.format);
    let count = walk.field("TopicData").count(size_min)?;
    let count = count.ok_or(Problem::Null)?;
    let (mut topics, mut partitions) = (Vec::with_capacity(count), Vec::new());
    for _ in 0..count {
        topics.push(topic(walk, body, &mut partitions)?);
    }
    no_tagged_fields(walk)?;
    Ok(ProduceRequest {
        acks,
        timeout_ms,
        topics,
        partitions,
    })
}

fn topic(
    walk: &mut Walk<'_>,
    body: &Bytes,
    partitions: &mut Vec<ProducePartition>,
) -> Result<ProduceTopic, Problem> {
    let name = match walk.format.version {
        TOPIC_IDS.. => {
            let id = walk.field("TopicId").cursor.array::<TOPIC_ID_BYTES>()?;
            TopicRef::Id(TopicId::from_bytes(id))
        }
        _ => {
            let name = walk.field("Name").bytes(Length::Short)?;
            TopicRef::Name(name.ok_or(Problem::Null)?.into())
        }
    };
    let size_min = partition_size_min(walk.format);
    let count = walk.field("PartitionData").count(size_min)?;
    let (start, count) = (partitions.len(), count.ok_or(Problem::Null)?);
    partitions.reserve(count);
    for _ in 0..count {
        partitions.push(partition(walk, body)?);
    }
    no_tagged_fields(walk)?;
    let partitions = start..partitions.len();
    Ok(ProduceTopic { name, partitions })
}

fn partition(walk: &mut Walk<'_>, body: &Bytes) -> Result<ProducePartition, Problem> {
    let index = walk.field("Index").cursor.i32()?;
    let records = walk.field("Records").bytes(Length::Long)?;
    no_tagged_fields(walk)?;
    Ok(ProducePartition {
        index,
        records: records.map(|records| body.slice_ref(records)),
    })
}

fn no_tagged_fields(walk: &mut Walk<'_>) -> Result<(), Problem> {
    walk.tagged_fields(|_, _| Ok(false))
}

/// Name or id, the count of partitions, and the count of tagged fields.
const fn topic_size_min(format: Format) -> usize {
    match format {
        Format {
            version: TOPIC_IDS..,
            ..
        } => TOPIC_ID_BYTES + 1 + 1,
        Format { flexible: true, .. } => 1 + 1 + 1,
        Format { .. } => 2 + 4,
    }
}

/// Index, the length of the records, and the count of tagged fields.
const fn partition_size_min(format: Format) -> usize {
    match format.flexible {
        true => 4 + 1 + 1,
        false => 4 + 4,
    }
}
