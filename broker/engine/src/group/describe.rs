//! What can be read of groups: listings, descriptions, committed offsets.
//!
//! Reads see the state of everything appended, so their answers wait, as replies do, until that is
//! below the high watermark.

use std::sync::Arc;

use bytes::Bytes;
use millstream_proto::TopicId;

use super::{Assignment, Holding};

/// What kind of group it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupType {
    /// Offsets only, nobody joins.
    Simple,
    /// Members assign partitions among themselves.
    Classic,
    /// The broker assigns partitions (KIP-848).
    Consumer,
}

impl GroupType {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// A group in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// The group.
    pub group_id: Arc<str>,
    /// Its kind.
    pub group_type: GroupType,
    /// Its state in Kafka's words: `Empty`, `Stable`, and `Assigning`, `Reconciling`, or of a classic
    /// group `PreparingRebalance`, `CompletingRebalance`.
    pub state: &'static str,
    /// Number of members.
    pub members: usize,
    /// `consumer` for groups of consumers, empty for a group that only commits offsets, or what a
    /// classic group said.
    pub protocol_type: Arc<str>,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// In short.
    pub listing: GroupListing,
    /// Epoch of the group; the generation of a classic group; 0 for a simple one.
    pub group_epoch: i32,
    /// The epoch that the target assignment was computed for.
    pub assignment_epoch: i32,
    /// Name of the assignor, or the protocol of a classic group; empty for a group without members.
    pub assignor: Arc<str>,
    /// Its members, by id.
    pub members: Vec<MemberDescription>,
    /// Its last rebalances, the newest last.
    pub rebalances: Vec<Rebalance>,
}

/// A member in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// The member.
    pub member_id: Arc<str>,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// Whether it speaks the classic protocol, which a member of a consumer group may, too (KIP-848).
    pub is_classic: bool,
    /// Its epoch; -2 for a static member that is away; the generation in a classic group.
    pub member_epoch: i32,
    /// Names that it subscribes to.
    pub topics: Vec<String>,
    /// Regular expression that it subscribes with.
    pub topic_regex: Option<String>,
    /// What it holds: what it was told to hold, and what it did not give up yet. In a classic group
    /// what it was assigned, where the group is stable and has consumers.
    pub holds: Holding,
    /// What it is to hold in the end.
    pub target: Assignment,
    /// `Stable`, `Unrevoked` or `Unreleased`.
    pub state: &'static str,
    /// In a stable classic group, what it said for the protocol chosen; else empty.
    pub metadata: Bytes,
    /// In a stable classic group, what it was assigned, in the format of the protocol; else empty.
    pub assignment: Bytes,
}

/// Why a group was rebalanced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// The group epoch that began.
    pub group_epoch: i32,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Members that the group had then.
    pub members: i32,
    /// What made it necessary.
    pub reason: Arc<str>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Which life of the name it was committed for, where that is known.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 for none.
    pub leader_epoch: i32,
    /// The application's own.
    pub metadata: String,
    /// When, in milliseconds since 1970.
    pub commit_timestamp_ms: i64,
}

/// Who reads committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OffsetReader {
    /// Somebody who is no member.
    Anybody,
    /// A member at an epoch.
    Member(Arc<str>, i32),
}
