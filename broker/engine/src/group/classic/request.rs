//! What members of classic groups ask for, in the order of their life: join, sync, heartbeat, leave.

use std::sync::Arc;

use bytes::Bytes;

use crate::group::MemberRef;

/// Somebody joins a classic group, or a member joins its next generation. Answered with
/// [`Joined`](super::Joined) once everybody has joined, or
/// [`Reply::MemberIdRequired`](crate::group::Reply).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicJoin {
    /// Who; the member id is empty for somebody who has none yet.
    pub member: MemberRef,
    /// The id that somebody without one gets. Chosen by the caller, since the engine has no
    /// randomness, and never used before.
    pub fresh_member_id: Arc<str>,
    /// Whether somebody without a member id and without an instance id is only told an id, to join
    /// again with it (KIP-394).
    pub requires_member_id: bool,
    /// Whether a leader can be told that there is nothing to assign (KIP-814).
    pub can_skip_assignment: bool,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// How long it may be silent.
    pub session_timeout_ms: u32,
    /// How long it may take to join another generation; the session timeout where the request has
    /// none.
    pub rebalance_timeout_ms: Option<u32>,
    /// `consumer`, or the application's own.
    pub protocol_type: String,
    /// Protocols that it supports, with its metadata for each, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// Why it joins, in its own words; may be empty.
    pub reason: String,
}

/// A member asks for its assignment, and the leader tells those of all. Answered with
/// [`Synced`](super::Synced) once the leader has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicSync {
    /// Who, in which generation.
    pub member: ClassicMemberRef,
    /// The protocol type that it was told, where the request says it.
    pub protocol_type: Option<String>,
    /// The protocol that it was told, where the request says it.
    pub protocol: Option<String>,
    /// What the leader assigns, by member id; of others it is ignored.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member as its requests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMemberRef {
    /// The member.
    pub member: MemberRef,
    /// Name of a static member, where the request says it.
    pub instance_id: Option<String>,
    /// The generation that it was told last.
    pub generation: i32,
}

/// Members go, or are put out by an operator. Answered with one result for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicLeave {
    /// The group.
    pub group_id: Arc<str>,
    /// Who goes.
    pub members: Vec<Leaver>,
}

impl ClassicLeave {
    /// What the first of them that gives a reason says.
    pub(in crate::group) fn words(&self) -> &str {
        let mut words = self.members.iter().map(|leaver| &*leaver.reason);
        words.find(|words| !words.is_empty()).unwrap_or_default()
    }
}

/// A member that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// The member; empty where only the instance id is known.
    pub member_id: Arc<str>,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// Why, in its own words; may be empty.
    pub reason: String,
}
