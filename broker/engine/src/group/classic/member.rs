//! [`Member`]: one member of a classic group: what it said, what it was assigned, what it waits for.

use bytes::Bytes;
use millstream_proto::group_record::{ClassicMember, ClassicMemberMetadata, MemberValue};

use super::embedded::{read_said, write_assignment};
use crate::group::{Assignment, ClassicJoin, Ticket, Topics, consumer};

/// One member of a classic group.
#[derive(Debug, Default)]
pub(in crate::group) struct Member {
    /// Name of a static member.
    pub(in crate::group) instance_id: Option<String>,
    pub(in crate::group) client_id: String,
    pub(in crate::group) client_host: String,
    /// How long it may be silent.
    pub(super) session_timeout_ms: u32,
    /// How long it may take to join another generation.
    pub(super) rebalance_timeout_ms: u32,
    /// Protocols with its metadata for each, the preferred one first.
    pub(super) protocols: Vec<(String, Bytes)>,
    /// In the format of the protocol.
    pub(super) assignment: Bytes,
    /// Its join that waits for the generation to begin.
    pub(super) joining: Option<Ticket>,
    /// Its sync that waits for the leader's.
    pub(super) syncing: Option<Ticket>,
    /// It was told of the generation and has to ask for its assignment.
    pub(super) owes_sync: bool,
    /// It was told of no generation yet: it cannot send heartbeats, and is not waited for forever.
    pub(super) is_new: bool,
    /// When it will have been silent for too long.
    pub(super) silent_at_ms: Option<u64>,
}

impl Member {
    /// A member that joins.
    pub(super) fn new(join: &ClassicJoin) -> Self {
        let mut member = Self {
            instance_id: join.instance_id.clone(),
            is_new: true,
            ..Self::default()
        };
        member.say(join);
        member
    }

    /// What a record says, of which the generation has this protocol.
    pub(super) fn read(member: &ClassicMember, protocol: &str) -> Self {
        Self {
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: as_u32(member.session_timeout_ms),
            rebalance_timeout_ms: as_u32(member.rebalance_timeout_ms),
            protocols: vec![(protocol.to_owned(), member.subscription.clone())],
            assignment: member.assignment.clone(),
            ..Self::default()
        }
    }

    /// A member that a consumer group had; `None` where it speaks the consumer protocol.
    pub(in crate::group) fn of_consumer(
        member: &consumer::Member,
        topics: &Topics,
    ) -> Option<Self> {
        let (said, classic) = (member.said()?, member.classic()?);
        let preferred = classic.protocols.first();
        let version = preferred
            .and_then(|(_, metadata)| read_said(metadata))?
            .version;
        let holds: Assignment = member.holds().collect();
        Some(Self {
            instance_id: said.instance_id.clone(),
            client_id: said.client_id.clone(),
            client_host: said.client_host.clone(),
            session_timeout_ms: as_u32(classic.session_timeout_ms),
            rebalance_timeout_ms: as_u32(said.rebalance_timeout_ms),
            protocols: classic.protocols.clone(),
            assignment: write_assignment(version, &holds, topics),
            ..Self::default()
        })
    }

    /// The member as one of a consumer group; `None` where it is no consumer.
    pub(in crate::group) fn as_consumer(&self) -> Option<MemberValue> {
        let (_, metadata) = self.protocols.first()?;
        let said = read_said(metadata)?;
        Some(MemberValue {
            instance_id: self.instance_id.clone(),
            topic_names: said.topic_names(),
            rack_id: said.rack,
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            topic_regex: None,
            rebalance_timeout_ms: as_i32(self.rebalance_timeout_ms),
            assignor: None,
            classic: Some(ClassicMemberMetadata {
                session_timeout_ms: as_i32(self.session_timeout_ms),
                protocols: self.protocols.clone(),
            }),
        })
    }

    /// Takes in what the member says of itself.
    pub(super) fn say(&mut self, join: &ClassicJoin) {
        self.client_id.clone_from(&join.client_id);
        self.client_host.clone_from(&join.client_host);
        self.session_timeout_ms = join.session_timeout_ms;
        self.rebalance_timeout_ms = join.rebalance_timeout_ms.unwrap_or(join.session_timeout_ms);
        self.protocols.clone_from(&join.protocols);
    }

    /// What it said for a protocol.
    pub(in crate::group) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        let mut protocols = self.protocols.iter();
        let found = protocols.find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata)
    }

    /// Whether its silence means that it is gone. Who waits for others is not asked to show that it
    /// is alive.
    pub(super) const fn is_expected(&self) -> bool {
        self.is_new || (self.joining.is_none() && self.syncing.is_none())
    }
}

pub(super) fn as_i32(ms: u32) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}

fn as_u32(ms: i32) -> u32 {
    u32::try_from(ms).unwrap_or(0)
}
