//! [`Event`]: what happens to a coordinator of groups.

use std::sync::Arc;

use millstream_proto::TopicId;

use super::{Assignment, ClassicJoin, ClassicLeave, ClassicMemberRef, ClassicSync, Topics};

/// Names the answer to one request; chosen by the caller, unique while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names one stream of a member; chosen by the caller, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What time it is, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock: timeouts count on it.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970: written into records, and what offsets expire by.
    pub timestamp_ms: i64,
}

/// A member and its group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberRef {
    /// The group.
    pub group_id: Arc<str>,
    /// The member.
    pub member_id: Arc<str>,
}

/// Topics that a member asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// By name.
    pub topics: Vec<String>,
    /// Topics whose whole name matches are added. The caller has checked that it is a regular
    /// expression, as the engine cannot. `Some("")` is none.
    pub topic_regex: Option<String>,
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    /// The partitions.
    pub partitions: Assignment,
    /// The sequence of the last push that the member has carried out, on a stream: what it says about
    /// earlier pushes frees nothing, since a later one may have given the partition back. `None`
    /// where it answers all that it was told, as in a request that joins or resumes.
    pub sequence: Option<u64>,
}

/// A heartbeat as KIP-848 defines it; also the first message of a member's stream. A field that is
/// `None` did not change since the last heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub member: MemberRef,
    /// 0 joins; otherwise the epoch that the member was told last. Leaving is [`Leave`].
    pub member_epoch: i32,
    /// The member's stream where it opens one. Its assignments are then pushed, none is in the reply.
    pub stream: Option<StreamId>,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// How long it may be silent; 0 for the default.
    pub session_timeout_ms: Option<u32>,
    /// How long it may take to give up partitions; 0 for the default.
    pub rebalance_timeout_ms: Option<u32>,
    /// What it subscribes to.
    pub subscription: Option<Subscription>,
    /// Name of the assignor it prefers; empty for the default.
    pub assignor: Option<String>,
    /// What it holds.
    pub owned: Option<Owned>,
}

/// Something that a member says on its stream; with nothing set it is alive, no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    /// Who.
    pub member: MemberRef,
    /// On which stream.
    pub stream: StreamId,
    /// A new subscription.
    pub subscription: Option<Subscription>,
    /// What it holds.
    pub owned: Option<Owned>,
}

/// A member goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// Who.
    pub member: MemberRef,
    /// Name of a static member, where the request carries it.
    pub instance_id: Option<String>,
    /// It is a static member that will be back within its session timeout (epoch -2 of KIP-848).
    pub keeps_partitions: bool,
}

/// An offset to commit. The caller has found the topic and checked that the partition exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Which life of the name.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 for none.
    pub leader_epoch: i32,
    /// The application's own.
    pub metadata: String,
}

/// A request to commit offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommits {
    /// The group.
    pub group_id: Arc<str>,
    /// Who commits; empty for somebody who is no member.
    pub member_id: Arc<str>,
    /// Name of a static member of a classic group, where the request says it.
    pub instance_id: Option<String>,
    /// The member's epoch, or its generation in a classic group; negative for somebody who is no
    /// member.
    pub member_epoch: i32,
    /// For how long to keep the offsets from now on, where an old client says so.
    pub retention_ms: Option<i64>,
    /// What to commit.
    pub offsets: Vec<OffsetToCommit>,
}

/// Names a timer. A member or group has at most one of each kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The member was not heard of.
    Session(MemberRef),
    /// The member did not give up its partitions.
    Rebalance(MemberRef),
    /// Members of the classic group had time to join.
    Join(Arc<str>),
    /// Members of the classic group had time to ask for their assignments.
    Sync(Arc<str>),
}

impl Timer {
    /// The group.
    pub(super) const fn group_id(&self) -> &Arc<str> {
        match self {
            Self::Session(member) | Self::Rebalance(member) => &member.group_id,
            Self::Join(group_id) | Self::Sync(group_id) => group_id,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Every record was replayed: members get a new session each.
    Loaded,
    /// A member's heartbeat, or the beginning of its stream.
    Heartbeat(Ticket, Box<Heartbeat>),
    /// Something on a member's stream.
    StreamReport(Ticket, Box<StreamReport>),
    /// A member's stream ended without a leave.
    StreamBroken(MemberRef, StreamId),
    /// A member goes.
    Leave(Ticket, Leave),
    /// Somebody joins a classic group, or its next generation.
    ClassicJoin(Ticket, Box<ClassicJoin>),
    /// A member of a classic group asks for its assignment, or the leader tells those of all.
    ClassicSync(Ticket, ClassicSync),
    /// A member of a classic group is alive.
    ClassicHeartbeat(Ticket, ClassicMemberRef),
    /// Members of a classic group go.
    ClassicLeave(Ticket, ClassicLeave),
    /// A timer that was scheduled is due.
    TimerDue(Timer),
    /// Offsets are committed.
    CommitOffsets(Ticket, OffsetCommits),
    /// Committed offsets are to be forgotten.
    DeleteOffsets {
        /// Names the answer.
        ticket: Ticket,
        /// The group.
        group_id: Arc<str>,
        /// Topic and partition of each.
        partitions: Vec<(Arc<str>, i32)>,
    },
    /// A group is to be forgotten.
    DeleteGroup(Ticket, Arc<str>),
    /// The answer to [`Action::ResolveRegex`](super::Action).
    RegexResolved {
        /// The group that asked.
        group_id: Arc<str>,
        /// The regular expression.
        regex: Arc<str>,
        /// Names of the topics that match.
        topics: Vec<String>,
        /// Version of the topics that were looked at.
        version: i64,
    },
    /// Topics began or ceased to exist, or got partitions.
    TopicsChanged {
        /// All topics now.
        topics: Arc<Topics>,
        /// Names of topics that were deleted since the last such event; their offsets are forgotten.
        deleted: Vec<Arc<str>>,
    },
    /// Look for offsets that expired, from time to time.
    ExpireOffsets,
}
