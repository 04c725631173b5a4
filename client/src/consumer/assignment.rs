//! [`Assignment`]: which partitions a consumer reads, from where, and how far.

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// The first record there is.
    #[default]
    Earliest,
    /// The next record that is written.
    Latest,
    /// This offset.
    Offset(i64),
    /// The first record with this time or a later one, in milliseconds since the epoch; the end of
    /// the log where there is none.
    TimestampMs(i64),
    /// The offset that the consumer's group has committed; where there is none, the builder's initial
    /// offset.
    Committed,
}

/// Where reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub(crate) enum Until {
    /// Never.
    #[default]
    Forever,
    /// The end of the log at the time of the call.
    End,
    /// Before this offset.
    Offset(i64),
}

/// What a consumer does when its offset is not in the log, for instance because retention passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OffsetReset {
    /// Goes on at the first record there is.
    #[default]
    Earliest,
    /// Goes on at the end of the log.
    Latest,
    /// Stops reading the partition and returns [`crate::Error::OffsetOutOfRange`].
    Fail,
}

/// One partition, or all partitions of a topic, with where to start and where to end.
///
/// ```
/// use millstream::{Assignment, Start};
///
/// let all = Assignment::topic("flights").start(Start::Earliest).until_end();
/// let one = Assignment::partition("flights", 3).start(Start::Offset(1_000));
/// # drop((all, one));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Assignment {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) start: Start,
    pub(crate) until: Until,
}

impl Assignment {
    /// All partitions that the topic has at the time of the call.
    pub fn topic(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            start: Start::default(),
            until: Until::default(),
        }
    }

    /// One partition.
    pub fn partition(topic: impl Into<String>, partition: i32) -> Self {
        Self {
            partition: Some(partition),
            ..Self::topic(topic)
        }
    }

    /// Where to start. Default [`Start::Earliest`].
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Ends each partition where its log ends at the time of the call.
    pub const fn until_end(mut self) -> Self {
        self.until = Until::End;
        self
    }

    /// Ends each partition before this offset.
    pub const fn until_offset(mut self, offset: i64) -> Self {
        self.until = Until::Offset(offset);
        self
    }
}
