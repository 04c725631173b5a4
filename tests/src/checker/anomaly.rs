//! [`Anomaly`]: one contradiction, and [`Report`]: all of a partition's.

use std::fmt;

use super::{ReaderId, ValueId};

/// One contradiction between what the broker said and what it did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// An acknowledged value is missing in a later read past its offset.
    LostWrite {
        /// The value.
        value: ValueId,
        /// The offset it was acknowledged at, where the broker said.
        offset: Option<i64>,
    },
    /// An acknowledged value that no read was ever to pass.
    Unseen {
        /// The value.
        value: ValueId,
        /// The offset it was acknowledged at, where the broker said.
        offset: Option<i64>,
    },
    /// One value at several offsets.
    Duplicate {
        /// The value.
        value: ValueId,
        /// Its offsets.
        offsets: Vec<i64>,
    },
    /// Several values at one offset.
    InconsistentOffsets {
        /// The offset.
        offset: i64,
        /// The values.
        values: Vec<ValueId>,
    },
    /// A reader went back, or got an offset again, without a seek.
    NonmonotonicPoll {
        /// Who.
        reader: ReaderId,
        /// The offset before.
        before: i64,
        /// The offset after it.
        after: i64,
    },
    /// A reader passed an offset at which there is a record.
    PollSkip {
        /// Who.
        reader: ReaderId,
        /// The offset it should have got.
        skipped: i64,
        /// The offset it got instead, or the end it reached.
        got: i64,
    },
    /// A value is in the log that the broker said is not.
    AbortedRead {
        /// The value.
        value: ValueId,
        /// Where it was read.
        offset: i64,
    },
    /// Bytes that no one wrote.
    WrongBytes {
        /// Where they were read.
        offset: i64,
    },
}

impl Anomaly {
    /// Jepsen's name; `wrong-bytes` is ours.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LostWrite { .. } => "lost-write",
            Self::Unseen { .. } => "unseen",
            Self::Duplicate { .. } => "duplicate",
            Self::InconsistentOffsets { .. } => "inconsistent-offsets",
            Self::NonmonotonicPoll { .. } => "nonmonotonic-poll",
            Self::PollSkip { .. } => "poll-skip",
            Self::AbortedRead { .. } => "aborted-read",
            Self::WrongBytes { .. } => "wrong-bytes",
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
    /// Acknowledged values.
    pub acknowledged: usize,
    /// Records read, again and again by each reader.
    pub polled: usize,
    /// Contradictions, each once, in order.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// Adds what the check of another partition found.
    pub fn merge(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.polled += other.polled;
        self.anomalies.extend(other.anomalies);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} read, {} anomalies",
            self.acknowledged,
            self.polled,
            self.anomalies.len()
        )?;
        self.anomalies
            .iter()
            .take(20)
            .try_for_each(|anomaly| write!(f, "\n  {anomaly}"))
    }
}
