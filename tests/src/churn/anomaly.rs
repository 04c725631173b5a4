//! [`Anomaly`]: one contradiction between what a coordinator promises and what members of its group
//! saw, and [`Report`]: all of a run's.

use std::{collections::BTreeMap, fmt};

use millstream_proto::TopicPartition;

use super::MemberNumber;

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// A partition went to a member while another was to work on it still.
    TwoOwners {
        /// The partition.
        partition: TopicPartition,
        /// Who had it.
        holder: MemberNumber,
        /// Who got it.
        newcomer: MemberNumber,
    },
    /// A commit was accepted of a member that did not own the partition any more.
    StaleCommit {
        /// The partition.
        partition: TopicPartition,
        /// Who committed.
        member: MemberNumber,
        /// The offset.
        offset: i64,
    },
    /// What is committed went back: an earlier offset was accepted, or read.
    CommitRegressed {
        /// The partition.
        partition: TopicPartition,
        /// What had been committed.
        before: i64,
        /// What was accepted or read then; `None` for nothing.
        after: Option<i64>,
    },
    /// A commit covers records that no member got before.
    CommitAhead {
        /// The partition.
        partition: TopicPartition,
        /// The first such record.
        unseen: i64,
        /// The offset committed.
        offset: i64,
    },
    /// Records that no member ever got.
    Unseen {
        /// The partition.
        partition: TopicPartition,
        /// The first of them.
        first: i64,
        /// How many.
        count: usize,
    },
    /// A member got a record out of turn while it held the partition.
    PollOutOfTurn {
        /// The partition.
        partition: TopicPartition,
        /// Who.
        member: MemberNumber,
        /// The offset that was due.
        expected: i64,
        /// The offset it got.
        found: i64,
    },
    /// A membership was ended that the broker had no reason to end.
    FencedWithoutCause {
        /// Whose.
        member: MemberNumber,
    },
}

impl Anomaly {
    /// Its name, in the manner of Jepsen's.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TwoOwners { .. } => "two-owners",
            Self::StaleCommit { .. } => "stale-commit",
            Self::CommitRegressed { .. } => "commit-regressed",
            Self::CommitAhead { .. } => "commit-ahead",
            Self::Unseen { .. } => "unseen",
            Self::PollOutOfTurn { .. } => "poll-out-of-turn",
            Self::FencedWithoutCause { .. } => "fenced-without-cause",
        }
    }
}

impl Anomaly {
    /// The partition that it is about.
    #[must_use]
    pub const fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::TwoOwners { partition, .. }
            | Self::StaleCommit { partition, .. }
            | Self::CommitRegressed { partition, .. }
            | Self::CommitAhead { partition, .. }
            | Self::Unseen { partition, .. }
            | Self::PollOutOfTurn { partition, .. } => Some(partition),
            Self::FencedWithoutCause { .. } => None,
        }
    }

    /// The member whose doing it is, or who suffered it.
    #[must_use]
    pub const fn member(&self) -> Option<MemberNumber> {
        match self {
            Self::TwoOwners { holder, .. } => Some(*holder),
            Self::StaleCommit { member, .. }
            | Self::PollOutOfTurn { member, .. }
            | Self::FencedWithoutCause { member } => Some(*member),
            Self::CommitRegressed { .. } | Self::CommitAhead { .. } | Self::Unseen { .. } => None,
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self:?}", self.name())
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records got, again and again where a partition changed hands.
    pub polled: usize,
    /// Partitions given to members.
    pub gained: usize,
    /// Commits accepted.
    pub commits_accepted: usize,
    /// Commits of members that did not own the partition any more, all refused if nothing is wrong.
    pub stale_commits_sent: usize,
    /// Contradictions, each once.
    pub anomalies: Vec<Anomaly>,
    /// What was observed around some of them.
    pub excerpts: Vec<String>,
}

impl Report {
    /// How many anomalies there are of each name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for anomaly in &self.anomalies {
            *counts.entry(anomaly.name()).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records read, {} partitions given, {} commits accepted, {} stale commits refused, \
             {} anomalies {:?}",
            self.polled,
            self.gained,
            self.commits_accepted,
            self.stale_commits_sent,
            self.anomalies.len(),
            self.counts()
        )?;
        self.anomalies
            .iter()
            .take(20)
            .try_for_each(|anomaly| write!(f, "\n  {anomaly}"))?;
        self.excerpts
            .iter()
            .try_for_each(|excerpt| write!(f, "\n{excerpt}"))
    }
}
