//! [`Recorder`] and [`Observation`]: what members of a group did and were told, in one order.
//!
//! An interval of ownership is recorded shorter than it was, never longer: it begins after the member
//! was told, and ends before the member says that it gave the partition up. So where two intervals
//! overlap, two members were allowed to work at once.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use millstream_proto::TopicPartition;

/// One membership: whoever joins anew gets a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberNumber(pub u64);

impl fmt::Display for MemberNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {}", self.0)
    }
}

/// One attempt to commit an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNumber(pub u64);

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Up to this time the broker has no reason to end the membership: it heard of the member less
    /// than a session ago. Replaces what was said before.
    Trusted {
        /// Who.
        member: MemberNumber,
        /// Since the beginning of the history; `None` for as long as it goes on like this.
        until: Option<Duration>,
    },
    /// The broker gave the member partitions that it did not hold.
    Gained {
        /// Who.
        member: MemberNumber,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// The member works no more on these and is about to say so.
    GaveUp {
        /// Who.
        member: MemberNumber,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// The member ends its membership, or is about to say so.
    Left {
        /// Who.
        member: MemberNumber,
    },
    /// The member was told that its membership is over.
    Fenced {
        /// Who.
        member: MemberNumber,
    },
    /// The member's stream broke, and the member will not be back.
    Broke {
        /// Who.
        member: MemberNumber,
        /// When the broker is to give its partitions to others, since the beginning of the history.
        evicted_at: Duration,
    },
    /// The member did nothing for a time, of its own accord.
    StoodStill {
        /// Who.
        member: MemberNumber,
    },
    /// The broker took the member back in, with everything that it held.
    Resumed {
        /// Who.
        member: MemberNumber,
    },
    /// A member got a record.
    Polled {
        /// Who.
        member: MemberNumber,
        /// Of which partition.
        partition: TopicPartition,
        /// Where.
        offset: i64,
    },
    /// A member is about to send a commit.
    CommitSent {
        /// Which commit.
        commit: CommitNumber,
        /// Who.
        member: MemberNumber,
        /// For which partition.
        partition: TopicPartition,
        /// The next offset to read.
        offset: i64,
    },
    /// The broker took a commit.
    CommitAccepted {
        /// Which.
        commit: CommitNumber,
    },
    /// The broker answered what is committed. From then on no less may be.
    CommittedRead {
        /// When it was asked, as the number of observations then.
        asked: usize,
        /// For which partition.
        partition: TopicPartition,
        /// What it said.
        offset: Option<i64>,
    },
    /// Where a partition ends once nobody writes any more.
    LogEnd {
        /// The partition.
        partition: TopicPartition,
        /// The end, exclusive.
        end: i64,
    },
    /// The daemon is about to be killed.
    DaemonDown,
    /// The daemon is ready again.
    DaemonUp,
}

/// An observation and when it was made, since the beginning of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Observation,
}

/// Takes observations from many tasks and puts them in order.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    observed: Mutex<Vec<Observed>>,
    last_member: AtomicU64,
    last_commit: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            observed: Mutex::default(),
            last_member: AtomicU64::new(0),
            last_commit: AtomicU64::new(0),
        }
    }
}

impl Recorder {
    /// Time since the beginning of the history.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds an observation, made now.
    pub fn record(&self, what: Observation) {
        let mut observed = self.observed();
        let at = self.now();
        observed.push(Observed { at, what });
    }

    /// Number of observations so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.observed().len()
    }

    /// Whether nothing was observed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number for a new membership.
    pub fn member(&self) -> MemberNumber {
        MemberNumber(self.last_member.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Records that a commit is about to be sent, and names it.
    pub fn commit_sent(
        &self,
        member: MemberNumber,
        partition: TopicPartition,
        offset: i64,
    ) -> CommitNumber {
        let commit = CommitNumber(self.last_commit.fetch_add(1, Ordering::Relaxed) + 1);
        self.record(Observation::CommitSent {
            commit,
            member,
            partition,
            offset,
        });
        commit
    }

    /// Everything observed so far.
    pub fn observed(&self) -> MutexGuard<'_, Vec<Observed>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
