//! [`OffsetCommitKey`] and [`OffsetCommitValue`]: what a group committed for a partition.
//!
//! ```text
//! key, type 0 or 1: group string | topic string | partition i32
//! value: offset i64 | leader epoch i32 (3+) | metadata string | commit time i64
//!        | expire time i64 (version 1 only) | tag 0: topic id uuid (4+)
//! ```
//!
//! Version 4 is the first flexible one. Old brokers wrote keys of type 0; they mean the same.

use super::{
    GroupRecordError,
    decoder::Decoder,
    encoder::{Encoder, tagged},
    schema::Value,
};
use crate::{PartitionIndex, TopicId};

const TAG_TOPIC_ID: u32 = 0;

/// A group and a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetCommitKey {
    /// The group.
    pub group_id: String,
    /// Name of the topic. Offsets can outlive their topic.
    pub topic: String,
    /// The partition of it.
    pub partition: PartitionIndex,
}

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 for none.
    pub leader_epoch: i32,
    /// The application's own.
    pub metadata: String,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp_ms: i64,
    /// When it expires, for commits of old clients that said so.
    pub expire_timestamp_ms: Option<i64>,
    /// Which life of the topic name; older brokers did not say.
    pub topic_id: Option<TopicId>,
}

impl OffsetCommitKey {
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, GroupRecordError> {
        Ok(Self {
            group_id: decoder.string("group")?,
            topic: decoder.string("topic")?,
            partition: PartitionIndex(decoder.i32("partition")?),
        })
    }

    pub(super) fn encode(&self, encoder: &mut Encoder) -> Result<(), GroupRecordError> {
        encoder.string("group", &self.group_id)?;
        encoder.string("topic", &self.topic)?;
        encoder.i32(self.partition.0);
        Ok(())
    }
}

impl Value for OffsetCommitValue {
    const RECORD: &'static str = "offset commit";
    const VERSION_MAX: i16 = 4;
    const FLEXIBLE_FROM: i16 = 4;

    /// Only version 1 has an expiry; it has no leader epoch and no topic id.
    fn version(&self) -> i16 {
        if self.expire_timestamp_ms.is_some() {
            1
        } else {
            4
        }
    }

    fn decode(decoder: &mut Decoder<'_>, version: i16) -> Result<Self, GroupRecordError> {
        let offset = decoder.i64("offset")?;
        let leader_epoch = if version >= 3 {
            decoder.i32("leaderEpoch")?
        } else {
            -1
        };
        let mut value = Self {
            offset,
            leader_epoch,
            metadata: decoder.string("metadata")?,
            commit_timestamp_ms: decoder.i64("commitTimestamp")?,
            expire_timestamp_ms: None,
            topic_id: None,
        };
        if version == 1 {
            let expire = decoder.i64("expireTimestamp")?;
            value.expire_timestamp_ms = Some(expire).filter(|expire| *expire != -1);
        }
        decoder.tagged_fields(|tag, field| {
            if tag == TAG_TOPIC_ID {
                let id = field.topic_id("topicId")?;
                value.topic_id = Some(id).filter(|id| *id.as_bytes() != [0; 16]);
            }
            Ok(())
        })?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), GroupRecordError> {
        encoder.i64(self.offset);
        if version >= 3 {
            encoder.i32(self.leader_epoch);
        }
        encoder.string("metadata", &self.metadata)?;
        encoder.i64(self.commit_timestamp_ms);
        if version == 1 {
            encoder.i64(self.expire_timestamp_ms.unwrap_or(-1));
        }
        let mut fields = Vec::new();
        if let Some(id) = self.topic_id.filter(|id| *id.as_bytes() != [0; 16]) {
            let field = tagged(|out| {
                out.topic_id(id);
                Ok(())
            })?;
            fields.push((TAG_TOPIC_ID, field));
        }
        encoder.tagged_fields(&fields)
    }
}
