//! Values about one member of a consumer group (KIP-848): what it asks for, gets, and holds.
//!
//! ```text
//! type  key              value, version 0, flexible
//!   5   group | member   instance id string? | rack id string? | client id string | client host string
//!                          | topic names strings | topic regex string? | rebalance timeout i32
//!                          | assignor string? | tag 0: classic member, nullable
//!   7   group | member   partitions: topic id uuid | partitions i32s
//!   8   group | member   member epoch i32 | previous member epoch i32 | state i8
//!                          | assigned: topic id uuid | partitions i32s | tag 0: epochs i32s?
//!                          | pending revocation, in the same form
//! classic member: session timeout i32 | protocols: name string | metadata bytes
//! ```
//!
//! `?` may be null.

use bytes::Bytes;

use super::{
    GroupRecordError,
    decoder::Decoder,
    encoder::{Encoder, tagged},
    schema::Value,
};
use crate::TopicId;

const TAG_CLASSIC: u32 = 0;

/// A group and a member of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    /// The group.
    pub group_id: String,
    /// The member.
    pub member_id: String,
}

/// What a member said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// Topics it subscribes to by name.
    pub topic_names: Vec<String>,
    /// Topics it subscribes to by a regular expression.
    pub topic_regex: Option<String>,
    /// How long it may take to give up revoked partitions; -1 unknown.
    pub rebalance_timeout_ms: i32,
    /// Name of the assignor it prefers.
    pub assignor: Option<String>,
    /// Set where the member speaks the classic protocol in a consumer group.
    pub classic: Option<ClassicMemberMetadata>,
}

/// What a member of the classic protocol said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassicMemberMetadata {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Protocols that it supports, with its metadata for each, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
}

/// What a member is to hold in the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetMemberValue {
    /// Partitions by topic.
    pub partitions: Vec<AssignedTopic>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedTopic {
    /// The topic.
    pub topic_id: TopicId,
    /// Indexes of its partitions.
    pub partitions: Vec<i32>,
    /// The epoch in which each of `partitions` was assigned, in the same order (KIP-1251). Empty in a
    /// target, and in records of brokers that did not know it.
    pub assignment_epochs: Vec<i32>,
}

/// How far a member is on the way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It has what its epoch gives it.
    Stable,
    /// It has partitions to give up.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// Another number, of a newer broker.
    Unknown(i8),
}

impl MemberState {
    /// The state of a number on the disk.
    #[must_use]
    pub const fn from_number(number: i8) -> Self {
        match number {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            other => Self::Unknown(other),
        }
    }

    /// The number on the disk.
    #[must_use]
    pub const fn number(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown(other) => other,
        }
    }
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentMemberValue {
    /// The member's epoch.
    pub member_epoch: i32,
    /// The one before, which the member may still say.
    pub previous_member_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it holds.
    pub assigned: Vec<AssignedTopic>,
    /// What it has to give up.
    pub pending_revocation: Vec<AssignedTopic>,
}

impl MemberKey {
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, GroupRecordError> {
        Ok(Self {
            group_id: decoder.string("groupId")?,
            member_id: decoder.string("memberId")?,
        })
    }

    pub(super) fn encode(&self, encoder: &mut Encoder) -> Result<(), GroupRecordError> {
        encoder.string("groupId", &self.group_id)?;
        encoder.string("memberId", &self.member_id)
    }
}

impl Value for MemberValue {
    const RECORD: &'static str = "consumer group member";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let mut value = Self {
            instance_id: decoder.nullable_string("instanceId")?,
            rack_id: decoder.nullable_string("rackId")?,
            client_id: decoder.string("clientId")?,
            client_host: decoder.string("clientHost")?,
            topic_names: decoder.list("subscribedTopicNames", |decoder| decoder.string("topic"))?,
            topic_regex: decoder.nullable_string("subscribedTopicRegex")?,
            rebalance_timeout_ms: decoder.i32("rebalanceTimeoutMs")?,
            assignor: decoder.nullable_string("serverAssignor")?,
            classic: None,
        };
        decoder.tagged_fields(|tag, field| {
            if tag == TAG_CLASSIC {
                value.classic = ClassicMemberMetadata::decode_nullable(field)?;
            }
            Ok(())
        })?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.nullable_string("instanceId", self.instance_id.as_deref())?;
        encoder.nullable_string("rackId", self.rack_id.as_deref())?;
        encoder.string("clientId", &self.client_id)?;
        encoder.string("clientHost", &self.client_host)?;
        encoder.list(
            "subscribedTopicNames",
            &self.topic_names,
            |encoder, topic| encoder.string("topic", topic),
        )?;
        encoder.nullable_string("subscribedTopicRegex", self.topic_regex.as_deref())?;
        encoder.i32(self.rebalance_timeout_ms);
        encoder.nullable_string("serverAssignor", self.assignor.as_deref())?;
        let field =
            tagged(|out| ClassicMemberMetadata::encode_nullable(self.classic.as_ref(), out))?;
        encoder.tagged_fields(&[(TAG_CLASSIC, field)])
    }
}

impl ClassicMemberMetadata {
    /// A tagged structure that may be null starts with a varint: 0 for null, 1 where it follows. Kafka
    /// writes the null too.
    fn decode_nullable(decoder: &mut Decoder<'_>) -> Result<Option<Self>, GroupRecordError> {
        if decoder.unsigned_varint("classicMemberMetadata")? == 0 {
            return Ok(None);
        }
        let session_timeout_ms = decoder.i32("sessionTimeoutMs")?;
        let protocols = decoder.list("supportedProtocols", |decoder| {
            let name = decoder.string("name")?;
            let metadata = decoder.bytes("metadata")?;
            decoder.tagged_fields(|_, _| Ok(()))?;
            Ok((name, metadata))
        })?;
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(Some(Self {
            session_timeout_ms,
            protocols,
        }))
    }

    fn encode_nullable(
        metadata: Option<&Self>,
        encoder: &mut Encoder,
    ) -> Result<(), GroupRecordError> {
        let Some(metadata) = metadata else {
            encoder.unsigned_varint(0);
            return Ok(());
        };
        encoder.unsigned_varint(1);
        encoder.i32(metadata.session_timeout_ms);
        let write_protocol = |encoder: &mut Encoder, protocol: &(String, Bytes)| {
            encoder.string("name", &protocol.0)?;
            encoder.bytes("metadata", &protocol.1)?;
            encoder.tagged_fields(&[])
        };
        encoder.list("supportedProtocols", &metadata.protocols, write_protocol)?;
        encoder.tagged_fields(&[])
    }
}

impl Value for TargetMemberValue {
    const RECORD: &'static str = "target assignment of a member";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let partitions = decoder.list("topicPartitions", AssignedTopic::decode)?;
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(Self { partitions })
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.list("topicPartitions", &self.partitions, |encoder, topic| {
            topic.encode(encoder)
        })?;
        encoder.tagged_fields(&[])
    }
}

impl AssignedTopic {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, GroupRecordError> {
        let mut topic = Self {
            topic_id: decoder.topic_id("topicId")?,
            partitions: decoder.list("partitions", |decoder| decoder.i32("partition"))?,
            assignment_epochs: Vec::new(),
        };
        decoder.tagged_fields(|tag, field| {
            if tag == 0 {
                let epochs = field.nullable_list("assignmentEpochs", |field| field.i32("epoch"))?;
                topic.assignment_epochs = epochs.unwrap_or_default();
            }
            Ok(())
        })?;
        Ok(topic)
    }

    fn encode(&self, encoder: &mut Encoder) -> Result<(), GroupRecordError> {
        encoder.topic_id(self.topic_id);
        write_numbers(encoder, "partitions", &self.partitions)?;
        if self.assignment_epochs.is_empty() {
            return encoder.tagged_fields(&[]);
        }
        let field = tagged(|out| write_numbers(out, "assignmentEpochs", &self.assignment_epochs))?;
        encoder.tagged_fields(&[(0, field)])
    }
}

fn write_numbers(
    encoder: &mut Encoder,
    field: &'static str,
    numbers: &[i32],
) -> Result<(), GroupRecordError> {
    encoder.list(field, numbers, |encoder, number| {
        encoder.i32(*number);
        Ok(())
    })
}

impl Value for CurrentMemberValue {
    const RECORD: &'static str = "current assignment of a member";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let value = Self {
            member_epoch: decoder.i32("memberEpoch")?,
            previous_member_epoch: decoder.i32("previousMemberEpoch")?,
            state: MemberState::from_number(decoder.i8("state")?),
            assigned: decoder.list("assignedPartitions", AssignedTopic::decode)?,
            pending_revocation: decoder
                .list("partitionsPendingRevocation", AssignedTopic::decode)?,
        };
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.i32(self.member_epoch);
        encoder.i32(self.previous_member_epoch);
        encoder.i8(self.state.number());
        let write = |encoder: &mut Encoder, topic: &AssignedTopic| topic.encode(encoder);
        encoder.list("assignedPartitions", &self.assigned, write)?;
        encoder.list(
            "partitionsPendingRevocation",
            &self.pending_revocation,
            write,
        )?;
        encoder.tagged_fields(&[])
    }
}
