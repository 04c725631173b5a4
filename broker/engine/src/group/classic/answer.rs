//! What members of classic groups are told.

use std::sync::Arc;

use bytes::Bytes;

/// A generation has begun, and the member is one of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member.
    pub member_id: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// `consumer`, or the application's own.
    pub protocol_type: Arc<str>,
    /// The protocol chosen.
    pub protocol: Arc<str>,
    /// Member id of the leader.
    pub leader: Arc<str>,
    /// Whether the leader is to assign nothing, as what was assigned is still good.
    pub skips_assignment: bool,
    /// All members, for the leader; nobody else is told.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member_id: Arc<str>,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// What it said for the protocol chosen.
    pub metadata: Bytes,
}

/// What a member is to do in its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// `consumer`, or the application's own.
    pub protocol_type: Arc<str>,
    /// The protocol chosen.
    pub protocol: Arc<str>,
    /// The member's assignment, in the format of the protocol; empty where the leader gave it none.
    pub assignment: Bytes,
}
