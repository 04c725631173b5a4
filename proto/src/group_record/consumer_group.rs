//! Values about a whole consumer group, whose partitions the broker assigns (KIP-848).
//!
//! ```text
//! type  key                    value, version 0, flexible
//!   3   group                  epoch i32 | tag 0: metadata hash i64
//!   4   group                  topics: id uuid | name string | partition count i32
//!                                | partition racks: partition i32 | racks strings
//!   6   group                  assignment epoch i32 | tag 0: assignment time i64
//!  16   group | regex string   topics strings | version i64 | time i64
//! ```

use super::{
    GroupRecordError,
    decoder::Decoder,
    encoder::{Encoder, tagged},
    schema::Value,
};
use crate::{PartitionIndex, TopicId};

/// The group's epoch: it grows whenever a new target assignment is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerGroupValue {
    /// The group epoch.
    pub epoch: i32,
    /// Hash of the subscribed topics' metadata (KIP-1101); 0 where it was not computed.
    pub metadata_hash: i64,
}

/// Metadata of the subscribed topics. Kafka writes it no more, since 4.1, but deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadataValue {
    /// One entry a topic.
    pub topics: Vec<TopicMetadata>,
}

/// A topic, as a group saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Which life of the name.
    pub topic_id: TopicId,
    /// The name.
    pub topic: String,
    /// How many partitions.
    pub partitions: i32,
    /// Racks of the replicas, by partition.
    pub partition_racks: Vec<(PartitionIndex, Vec<String>)>,
}

/// Which group epoch the target assignment was computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetAssignmentValue {
    /// The group epoch.
    pub assignment_epoch: i32,
    /// When it was computed, in milliseconds since 1970; 0 unknown.
    pub assignment_timestamp_ms: i64,
}

/// A group and a regular expression that a member subscribes with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegularExpressionKey {
    /// The group.
    pub group_id: String,
    /// The expression.
    pub regular_expression: String,
}

/// What a regular expression matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegularExpressionValue {
    /// Names of topics.
    pub topics: Vec<String>,
    /// Version of the metadata it was resolved against.
    pub version: i64,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Value for ConsumerGroupValue {
    const RECORD: &'static str = "consumer group";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let mut value = Self {
            epoch: decoder.i32("epoch")?,
            metadata_hash: 0,
        };
        decoder.tagged_fields(|tag, field| {
            if tag == 0 {
                value.metadata_hash = field.i64("metadataHash")?;
            }
            Ok(())
        })?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.i32(self.epoch);
        tagged_i64(encoder, self.metadata_hash)
    }
}

impl Value for TargetAssignmentValue {
    const RECORD: &'static str = "target assignment";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let mut value = Self {
            assignment_epoch: decoder.i32("assignmentEpoch")?,
            assignment_timestamp_ms: 0,
        };
        decoder.tagged_fields(|tag, field| {
            if tag == 0 {
                value.assignment_timestamp_ms = field.i64("assignmentTimestamp")?;
            }
            Ok(())
        })?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.i32(self.assignment_epoch);
        tagged_i64(encoder, self.assignment_timestamp_ms)
    }
}

/// Ends a structure whose only tagged field has tag 0 and default 0.
fn tagged_i64(encoder: &mut Encoder, value: i64) -> Result<(), GroupRecordError> {
    if value == 0 {
        return encoder.tagged_fields(&[]);
    }
    let field = tagged(|out| {
        out.i64(value);
        Ok(())
    })?;
    encoder.tagged_fields(&[(0, field)])
}

impl Value for PartitionMetadataValue {
    const RECORD: &'static str = "consumer group partition metadata";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let topics = decoder.list("topics", TopicMetadata::decode)?;
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(Self { topics })
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.list("topics", &self.topics, |encoder, topic| {
            topic.encode(encoder)
        })?;
        encoder.tagged_fields(&[])
    }
}

impl TopicMetadata {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, GroupRecordError> {
        let topic = Self {
            topic_id: decoder.topic_id("topicId")?,
            topic: decoder.string("topicName")?,
            partitions: decoder.i32("numPartitions")?,
            partition_racks: decoder.list("partitionMetadata", |decoder| {
                let partition = PartitionIndex(decoder.i32("partition")?);
                let racks = decoder.list("racks", |decoder| decoder.string("rack"))?;
                decoder.tagged_fields(|_, _| Ok(()))?;
                Ok((partition, racks))
            })?,
        };
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(topic)
    }

    fn encode(&self, encoder: &mut Encoder) -> Result<(), GroupRecordError> {
        encoder.topic_id(self.topic_id);
        encoder.string("topicName", &self.topic)?;
        encoder.i32(self.partitions);
        let write_racks = |encoder: &mut Encoder, entry: &(PartitionIndex, Vec<String>)| {
            let (partition, racks) = entry;
            encoder.i32(partition.0);
            encoder.list("racks", racks, |encoder, rack| encoder.string("rack", rack))?;
            encoder.tagged_fields(&[])
        };
        encoder.list("partitionMetadata", &self.partition_racks, write_racks)?;
        encoder.tagged_fields(&[])
    }
}

impl RegularExpressionKey {
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, GroupRecordError> {
        Ok(Self {
            group_id: decoder.string("groupId")?,
            regular_expression: decoder.string("regularExpression")?,
        })
    }

    pub(super) fn encode(&self, encoder: &mut Encoder) -> Result<(), GroupRecordError> {
        encoder.string("groupId", &self.group_id)?;
        encoder.string("regularExpression", &self.regular_expression)
    }
}

impl Value for RegularExpressionValue {
    const RECORD: &'static str = "regular expression";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let value = Self {
            topics: decoder.list("topics", |decoder| decoder.string("topic"))?,
            version: decoder.i64("version")?,
            timestamp_ms: decoder.i64("timestamp")?,
        };
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.list("topics", &self.topics, |encoder, topic| {
            encoder.string("topic", topic)
        })?;
        encoder.i64(self.version);
        encoder.i64(self.timestamp_ms);
        encoder.tagged_fields(&[])
    }
}
