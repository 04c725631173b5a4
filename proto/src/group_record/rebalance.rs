//! [`RebalanceValue`]: our own record of why a group was rebalanced.
//!
//! ```text
//! key, type 0x4000: group string | slot i32
//! value, version 0, flexible: group epoch i32 | time i64 | members i32 | reason string
//! ```
//!
//! A group's history is a ring of slots, so that compaction keeps it bounded.

use super::{GroupRecordError, decoder::Decoder, encoder::Encoder, schema::Value};

/// A group and a place in its ring of rebalances.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RebalanceKey {
    /// The group.
    pub group_id: String,
    /// The place.
    pub slot: i32,
}

/// One rebalance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebalanceValue {
    /// The group epoch that it began.
    pub group_epoch: i32,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// How many members the group had then.
    pub members: i32,
    /// What made it necessary.
    pub reason: String,
}

impl RebalanceKey {
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, GroupRecordError> {
        Ok(Self {
            group_id: decoder.string("groupId")?,
            slot: decoder.i32("slot")?,
        })
    }

    pub(super) fn encode(&self, encoder: &mut Encoder) -> Result<(), GroupRecordError> {
        encoder.string("groupId", &self.group_id)?;
        encoder.i32(self.slot);
        Ok(())
    }
}

impl Value for RebalanceValue {
    const RECORD: &'static str = "rebalance";
    const VERSION_MAX: i16 = 0;
    const FLEXIBLE_FROM: i16 = 0;

    fn version(&self) -> i16 {
        0
    }

    fn decode(decoder: &mut Decoder<'_>, _version: i16) -> Result<Self, GroupRecordError> {
        let value = Self {
            group_epoch: decoder.i32("groupEpoch")?,
            timestamp_ms: decoder.i64("timestamp")?,
            members: decoder.i32("members")?,
            reason: decoder.string("reason")?,
        };
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, _version: i16) -> Result<(), GroupRecordError> {
        encoder.i32(self.group_epoch);
        encoder.i64(self.timestamp_ms);
        encoder.i32(self.members);
        encoder.string("reason", &self.reason)?;
        encoder.tagged_fields(&[])
    }
}
