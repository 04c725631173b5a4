//! [`Outcome`]: what a coordinator asks its surroundings to do, and its answers.

use std::sync::Arc;

use millstream_proto::group_record::GroupRecord;

use super::{Assignment, Joined, MemberRef, Refusal, StreamId, Synced, Ticket, Timer};

/// What came of one event.
///
/// The records are already part of the coordinator's state: they are appended, in order and as one
/// record batch, and are not replayed again. If the append or a later flush fails, the coordinator is
/// dropped and loaded anew. Replies and pushes tell of state that is only safe once everything
/// appended so far is below the high watermark, whether or not this event wrote a record: they wait
/// for that. Timers may be set at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "the records are already replayed and have to be appended"]
pub struct Outcome {
    /// To be appended to the partition.
    pub records: Vec<GroupRecord>,
    /// Answers, of this request or of ones that were waiting.
    pub replies: Vec<(Ticket, Reply)>,
    /// What else to do, in this order.
    pub actions: Vec<Action>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing was done.
    Refused(Refusal),
    /// To a heartbeat or a report on a stream.
    Alive(Box<Alive>),
    /// To a leave, with the epoch that KIP-848 answers with: -1, or -2 where partitions are kept.
    Left {
        /// The epoch.
        member_epoch: i32,
    },
    /// To a join of a classic group, once the generation begins.
    Joined(Box<Joined>),
    /// To a join of a classic group: join again with this member id (KIP-394).
    MemberIdRequired {
        /// The member id.
        member_id: Arc<str>,
    },
    /// To a sync of a classic group, once the leader has assigned.
    Synced(Synced),
    /// To a heartbeat of a member of a classic group.
    Heard {
        /// Whether it has to join the next generation.
        is_rebalancing: bool,
    },
    /// To a leave of members of a classic group: one result for each, in the order given.
    MembersLeft(Vec<Result<(), Refusal>>),
    /// To a commit: one result for each offset, in the order given.
    Committed(Vec<Result<(), Refusal>>),
    /// To a deletion of offsets: one result for each partition, in the order given.
    OffsetsDeleted(Vec<Result<(), Refusal>>),
    /// To the deletion of a group.
    GroupDeleted,
}

/// The member is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// The member.
    pub member_id: Arc<str>,
    /// Its epoch.
    pub member_epoch: i32,
    /// When to be heard of again.
    pub heartbeat_interval_ms: u32,
    /// How long it may be silent.
    pub session_timeout_ms: u32,
    /// How long it may take to give up partitions.
    pub rebalance_timeout_ms: u32,
    /// What it is to hold now, for a member without a stream, where that changed or where the
    /// request was a full one.
    pub assignment: Option<Assignment>,
}

/// What a member is to hold, told on its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Who.
    pub member: MemberRef,
    /// On which stream.
    pub stream: StreamId,
    /// Counts the pushes of this stream from 1; the member repeats it when it has carried it out.
    pub sequence: u64,
    /// The member's epoch, which its commits carry.
    pub member_epoch: i32,
    /// All of what it is to hold.
    pub assignment: Assignment,
    /// Why the group was rebalanced last.
    pub reason: Arc<str>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell a member what to hold.
    Push(Push),
    /// End a member's stream: the member is none any more, or has another stream.
    CloseStream {
        /// Who.
        member: MemberRef,
        /// The stream.
        stream: StreamId,
        /// Why.
        refusal: Refusal,
    },
    /// Hand [`Event::TimerDue`](super::Event) back at this time of the monotonic clock. Replaces the
    /// timer of the same name.
    Schedule {
        /// Which.
        timer: Timer,
        /// When.
        at_ms: u64,
    },
    /// Forget the timer.
    Cancel(Timer),
    /// Find the topics whose whole name matches, and hand
    /// [`Event::RegexResolved`](super::Event) back.
    ResolveRegex {
        /// The group that asks.
        group_id: Arc<str>,
        /// The regular expression.
        regex: Arc<str>,
    },
    /// More offsets have expired than one event may delete: hand
    /// [`Event::ExpireOffsets`](super::Event) back soon.
    ExpireMore,
}
