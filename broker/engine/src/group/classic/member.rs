//! [`Member`]: one member of a classic group: what it said, what it was assigned, what it waits for.

use bytes::Bytes;

use crate::group::{ClassicJoin, Ticket};

/// One member of a classic group.
#[derive(Debug)]
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
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            owes_sync: false,
            is_new: true,
            silent_at_ms: None,
        };
        member.say(join);
        member
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
