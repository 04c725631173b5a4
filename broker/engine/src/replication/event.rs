//! [`Event`]: what happens to a partition's leadership.

use std::collections::BTreeSet;

use millstream_proto::{BrokerId, LeaderEpoch, Offset};

/// How safe records must be before they count, per topic (`millstream.durability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// On disk: a power cut cannot take them back.
    Fsync,
    /// In the page cache of every in-sync replica, as Kafka does it.
    Replicated,
}

/// Whose copies an acknowledgement waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acks {
    /// The leader's.
    Leader,
    /// The whole in-sync set's: the high watermark.
    All,
}

/// Names one acknowledgement that is waited for; chosen by the caller, unique while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How far one replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Exclusive end of what it appended.
    pub log_end: Offset,
    /// Exclusive end of what its fsyncs cover; never above `log_end`.
    pub flushed: Offset,
}

/// One thing that happened. Times are milliseconds of a monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The leader's own log grew or was flushed. Values below the known ones are ignored, so reports
    /// of different threads may overtake each other.
    LocalProgress(Progress),
    /// Someone waits until everything below `end` is as safe as `acks` and the durability ask.
    AckWanted {
        /// Names the wait in the action that ends it.
        ticket: Ticket,
        /// Exclusive end of the batch.
        end: Offset,
        /// Whose copies are waited for.
        acks: Acks,
    },
    /// Whoever waited has gone; no action will name the ticket.
    AckForgotten {
        /// The wait.
        ticket: Ticket,
    },
    /// A follower asked for records, which tells how far it is.
    FollowerFetched {
        /// The follower.
        follower: BrokerId,
        /// Epoch of the leader it believes in.
        leader_epoch: LeaderEpoch,
        /// How far it is.
        progress: Progress,
        /// When.
        now_ms: u64,
    },
    /// Time passed: followers that lag are proposed to leave the in-sync set.
    Tick {
        /// Now.
        now_ms: u64,
    },
    /// The controller decided on an in-sync set.
    InSyncSetChanged {
        /// Version of the decision; older ones are ignored.
        partition_epoch: i32,
        /// Its members; the leader is always one.
        in_sync: BTreeSet<BrokerId>,
    },
    /// The controller refused the proposal that was made at this partition epoch.
    ProposalRefused {
        /// The epoch that the proposal named.
        partition_epoch: i32,
    },
    /// The topic's configuration changed.
    RulesChanged(super::Rules),
}
