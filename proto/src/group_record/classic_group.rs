//! [`ClassicGroupValue`]: a group whose members assign partitions among themselves.
//!
//! ```text
//! key, type 2: group string
//! value: protocol type string | generation i32 | protocol string? | leader string?
//!        | time of the current state i64 (2+) | members
//! member: id string | instance id string? (3+) | client id string | client host string
//!        | rebalance timeout i32 (1+) | session timeout i32 | subscription bytes | assignment bytes
//! ```
//!
//! Version 4 is the first flexible one; Kafka 4.3.1 reads it and writes 3. `?` may be null.

use bytes::Bytes;

use super::{GroupRecordError, decoder::Decoder, encoder::Encoder, schema::Value};

/// State of a classic group after a rebalance, or when it became empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicGroupValue {
    /// `consumer`, or the application's own; empty for a group that only commits offsets.
    pub protocol_type: String,
    /// Number of the rebalance.
    pub generation: i32,
    /// The assignment strategy chosen, none while the group is empty.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// Since when the group is in its state, in milliseconds since 1970; -1 unknown.
    pub current_state_timestamp_ms: i64,
    /// The members of this generation.
    pub members: Vec<ClassicMember>,
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// Chosen by the coordinator.
    pub member_id: String,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// How long it may take to join again; version 0 has none and means the session timeout.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Subscription, in the format of the protocol.
    pub subscription: Bytes,
    /// Assignment, in the format of the protocol.
    pub assignment: Bytes,
}

impl Value for ClassicGroupValue {
    const RECORD: &'static str = "classic group";
    const VERSION_MAX: i16 = 4;
    const FLEXIBLE_FROM: i16 = 4;

    fn version(&self) -> i16 {
        3
    }

    fn decode(decoder: &mut Decoder<'_>, version: i16) -> Result<Self, GroupRecordError> {
        let value = Self {
            protocol_type: decoder.string("protocolType")?,
            generation: decoder.i32("generation")?,
            protocol: decoder.nullable_string("protocol")?,
            leader: decoder.nullable_string("leader")?,
            current_state_timestamp_ms: if version >= 2 {
                decoder.i64("currentStateTimestamp")?
            } else {
                -1
            },
            members: decoder.list("members", |decoder| ClassicMember::decode(decoder, version))?,
        };
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(value)
    }

    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), GroupRecordError> {
        encoder.string("protocolType", &self.protocol_type)?;
        encoder.i32(self.generation);
        encoder.nullable_string("protocol", self.protocol.as_deref())?;
        encoder.nullable_string("leader", self.leader.as_deref())?;
        if version >= 2 {
            encoder.i64(self.current_state_timestamp_ms);
        }
        encoder.list("members", &self.members, |encoder, member| {
            member.encode(encoder, version)
        })?;
        encoder.tagged_fields(&[])
    }
}

impl ClassicMember {
    fn decode(decoder: &mut Decoder<'_>, version: i16) -> Result<Self, GroupRecordError> {
        let member_id = decoder.string("memberId")?;
        let instance_id = if version >= 3 {
            decoder.nullable_string("groupInstanceId")?
        } else {
            None
        };
        let client_id = decoder.string("clientId")?;
        let client_host = decoder.string("clientHost")?;
        let rebalance = if version >= 1 {
            Some(decoder.i32("rebalanceTimeout")?)
        } else {
            None
        };
        let session_timeout_ms = decoder.i32("sessionTimeout")?;
        let member = Self {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: decoder.bytes("subscription")?,
            assignment: decoder.bytes("assignment")?,
        };
        decoder.tagged_fields(|_, _| Ok(()))?;
        Ok(member)
    }

    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), GroupRecordError> {
        encoder.string("memberId", &self.member_id)?;
        if version >= 3 {
            encoder.nullable_string("groupInstanceId", self.instance_id.as_deref())?;
        }
        encoder.string("clientId", &self.client_id)?;
        encoder.string("clientHost", &self.client_host)?;
        if version >= 1 {
            encoder.i32(self.rebalance_timeout_ms);
        }
        encoder.i32(self.session_timeout_ms);
        encoder.bytes("subscription", &self.subscription)?;
        encoder.bytes("assignment", &self.assignment)?;
        encoder.tagged_fields(&[])
    }
}
