//! [`GroupRecord`]: a key with its value, or without one to delete it.

use bytes::Bytes;

use super::{
    ClassicGroupValue, ConsumerGroupValue, CurrentMemberValue, GroupRecordError, MemberKey,
    MemberValue, OffsetCommitKey, OffsetCommitValue, PartitionMetadataValue, RebalanceKey,
    RebalanceValue, RegularExpressionKey, RegularExpressionValue, TargetAssignmentValue,
    TargetMemberValue,
    decoder::Decoder,
    encoder::Encoder,
    schema::{Value, decode_value, encode_value},
};

const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const CLASSIC_GROUP: i16 = 2;
const CONSUMER_GROUP: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_ASSIGNMENT: i16 = 6;
const TARGET_MEMBER: i16 = 7;
const CURRENT_MEMBER: i16 = 8;
const REGULAR_EXPRESSION: i16 = 16;
const REBALANCE: i16 = 0x4000;

/// A record of the offsets topic. `None` deletes what the key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRecord {
    /// What a group committed for a partition.
    OffsetCommit(OffsetCommitKey, Option<OffsetCommitValue>),
    /// A classic group, by its id.
    ClassicGroup(String, Option<ClassicGroupValue>),
    /// Epoch of a consumer group, by its id.
    ConsumerGroup(String, Option<ConsumerGroupValue>),
    /// Topics as a consumer group saw them, by its id; no more written.
    PartitionMetadata(String, Option<PartitionMetadataValue>),
    /// What a member said of itself.
    Member(MemberKey, Option<MemberValue>),
    /// Epoch of a consumer group's target assignment, by its id.
    TargetAssignment(String, Option<TargetAssignmentValue>),
    /// What a member is to hold.
    TargetMember(MemberKey, Option<TargetMemberValue>),
    /// What a member holds.
    CurrentMember(MemberKey, Option<CurrentMemberValue>),
    /// What a regular expression matched.
    RegularExpression(RegularExpressionKey, Option<RegularExpressionValue>),
    /// Why a group was rebalanced.
    Rebalance(RebalanceKey, Option<RebalanceValue>),
}

/// What a record of the offsets topic is to this version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "matched where it is decoded, never kept; a box would cost an allocation a record"
)]
pub enum Decoded {
    /// A record that is understood.
    Known(GroupRecord),
    /// Of a type that this version has no use for, such as share groups; to be skipped.
    Skipped {
        /// The type in the key.
        key_type: i16,
    },
}

impl GroupRecord {
    /// Reads a record. Bytes behind the last field of key or value are ignored, as Kafka does.
    ///
    /// # Errors
    ///
    /// Without a key, where the bytes are no such record, and where the value has a later version.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, GroupRecordError> {
        let mut decoder = Decoder::new(key.ok_or(GroupRecordError::NoKey)?);
        let key_type = decoder.i16("key type")?;
        let key = &mut decoder;
        let record = match key_type {
            LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
                Self::OffsetCommit(OffsetCommitKey::decode(key)?, optional(value)?)
            }
            CLASSIC_GROUP => Self::ClassicGroup(key.string("group")?, optional(value)?),
            CONSUMER_GROUP => Self::ConsumerGroup(key.string("groupId")?, optional(value)?),
            PARTITION_METADATA => Self::PartitionMetadata(key.string("groupId")?, optional(value)?),
            MEMBER => Self::Member(MemberKey::decode(key)?, optional(value)?),
            TARGET_ASSIGNMENT => Self::TargetAssignment(key.string("groupId")?, optional(value)?),
            TARGET_MEMBER => Self::TargetMember(MemberKey::decode(key)?, optional(value)?),
            CURRENT_MEMBER => Self::CurrentMember(MemberKey::decode(key)?, optional(value)?),
            REGULAR_EXPRESSION => {
                Self::RegularExpression(RegularExpressionKey::decode(key)?, optional(value)?)
            }
            REBALANCE => Self::Rebalance(RebalanceKey::decode(key)?, optional(value)?),
            key_type => return Ok(Decoded::Skipped { key_type }),
        };
        Ok(Decoded::Known(record))
    }

    /// Key and value of the record.
    ///
    /// # Errors
    ///
    /// Where a text is longer than 32,767 bytes.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), GroupRecordError> {
        Ok((self.encode_key()?, self.encode_value()?))
    }

    /// The group that the record is about.
    #[must_use]
    pub fn group_id(&self) -> &str {
        match self {
            Self::OffsetCommit(key, _) => &key.group_id,
            Self::ClassicGroup(group_id, _)
            | Self::ConsumerGroup(group_id, _)
            | Self::PartitionMetadata(group_id, _)
            | Self::TargetAssignment(group_id, _) => group_id,
            Self::Member(key, _) | Self::TargetMember(key, _) | Self::CurrentMember(key, _) => {
                &key.group_id
            }
            Self::RegularExpression(key, _) => &key.group_id,
            Self::Rebalance(key, _) => &key.group_id,
        }
    }

    fn key_type(&self) -> i16 {
        match self {
            Self::OffsetCommit(..) => OFFSET_COMMIT,
            Self::ClassicGroup(..) => CLASSIC_GROUP,
            Self::ConsumerGroup(..) => CONSUMER_GROUP,
            Self::PartitionMetadata(..) => PARTITION_METADATA,
            Self::Member(..) => MEMBER,
            Self::TargetAssignment(..) => TARGET_ASSIGNMENT,
            Self::TargetMember(..) => TARGET_MEMBER,
            Self::CurrentMember(..) => CURRENT_MEMBER,
            Self::RegularExpression(..) => REGULAR_EXPRESSION,
            Self::Rebalance(..) => REBALANCE,
        }
    }

    fn encode_key(&self) -> Result<Bytes, GroupRecordError> {
        let mut encoder = Encoder::new();
        encoder.i16(self.key_type());
        match self {
            Self::OffsetCommit(key, _) => key.encode(&mut encoder)?,
            Self::ClassicGroup(group_id, _)
            | Self::ConsumerGroup(group_id, _)
            | Self::PartitionMetadata(group_id, _)
            | Self::TargetAssignment(group_id, _) => encoder.string("groupId", group_id)?,
            Self::Member(key, _) | Self::TargetMember(key, _) | Self::CurrentMember(key, _) => {
                key.encode(&mut encoder)?;
            }
            Self::RegularExpression(key, _) => key.encode(&mut encoder)?,
            Self::Rebalance(key, _) => key.encode(&mut encoder)?,
        }
        Ok(encoder.into_bytes())
    }

    fn encode_value(&self) -> Result<Option<Bytes>, GroupRecordError> {
        match self {
            Self::OffsetCommit(_, value) => encoded(value.as_ref()),
            Self::ClassicGroup(_, value) => encoded(value.as_ref()),
            Self::ConsumerGroup(_, value) => encoded(value.as_ref()),
            Self::PartitionMetadata(_, value) => encoded(value.as_ref()),
            Self::Member(_, value) => encoded(value.as_ref()),
            Self::TargetAssignment(_, value) => encoded(value.as_ref()),
            Self::TargetMember(_, value) => encoded(value.as_ref()),
            Self::CurrentMember(_, value) => encoded(value.as_ref()),
            Self::RegularExpression(_, value) => encoded(value.as_ref()),
            Self::Rebalance(_, value) => encoded(value.as_ref()),
        }
    }
}

fn optional<V: Value>(value: Option<&[u8]>) -> Result<Option<V>, GroupRecordError> {
    value.map(decode_value).transpose()
}

fn encoded<V: Value>(value: Option<&V>) -> Result<Option<Bytes>, GroupRecordError> {
    value.map(encode_value).transpose()
}
