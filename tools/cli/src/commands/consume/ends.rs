//! [`Ends`]: where the partitions of the topic ended when the command started, and what the group has
//! yet to read up to there.

use std::collections::BTreeMap;

use millstream::{IsolationLevel, admin::TopicDescription};

use crate::{commands::topics::log_of, failure::Result};

/// How far a partition is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ends {
    /// By partition, where there is something to read.
    offsets: BTreeMap<i32, i64>,
}

/// What the group has yet to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// Partitions that other members hold.
    OfOthers,
    /// Partitions that this member holds, or nobody.
    Open,
}

/// How far a group is in a partition, and who holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress<'a> {
    pub(super) partition: i32,
    pub(super) committed_offset: Option<i64>,
    pub(super) member_id: Option<&'a str>,
}

impl Ends {
    /// The ends as the isolation level sees them.
    ///
    /// # Errors
    /// When a partition is offline: it would not be read to its end.
    pub(super) fn of(topic: &TopicDescription, isolation: IsolationLevel) -> Result<Self> {
        let mut offsets = BTreeMap::new();
        for described in &topic.partitions {
            let log = log_of(topic, described.partition)?;
            let end = match isolation {
                IsolationLevel::ReadCommitted => log.last_stable_offset,
                _ => log.high_watermark,
            };
            if end > log.log_start_offset {
                offsets.insert(described.partition, end);
            }
        }
        Ok(Self { offsets })
    }

    /// Whether nothing is left to read of the partition.
    pub(super) fn is_reached(&self, partition: i32, position: i64) -> bool {
        self.offsets
            .get(&partition)
            .is_none_or(|end| position >= *end)
    }

    /// What the group has yet to read, from the point of view of one member.
    pub(super) fn rest<'a>(
        &self,
        progress: impl Iterator<Item = Progress<'a>>,
        member_id: &str,
    ) -> Rest {
        let mut unread: BTreeMap<_, Option<&str>> = self
            .offsets
            .keys()
            .map(|partition| (*partition, None))
            .collect();
        for progress in progress {
            let partition = progress.partition;
            let committed_offset = progress.committed_offset.unwrap_or(0);
            if self.is_reached(partition, committed_offset) {
                unread.remove(&partition);
            } else {
                unread.insert(partition, progress.member_id);
            }
        }
        let is_of_other = |holder: &Option<&str>| holder.is_some_and(|holder| holder != member_id);
        if unread.is_empty() {
            Rest::Nothing
        } else if unread.values().all(is_of_other) {
            Rest::OfOthers
        } else {
            Rest::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(progress: &[(i32, Option<i64>, Option<&str>)]) -> Rest {
        let ends = Ends {
            offsets: BTreeMap::from([(0, 10), (1, 20)]),
        };
        let progress = progress
            .iter()
            .map(|(partition, committed_offset, member_id)| Progress {
                partition: *partition,
                committed_offset: *committed_offset,
                member_id: *member_id,
            });
        ends.rest(progress, "me")
    }

    #[test]
    fn nothing_is_left_once_all_ends_are_committed() {
        let (me, other) = (Some("me"), Some("other"));
        assert_eq!(
            rest(&[(0, Some(10), me), (1, Some(25), other)]),
            Rest::Nothing
        );
        // A partition without records, and one that was added since, have no end.
        let more = [(0, Some(10), me), (1, Some(20), None), (7, None, None)];
        assert_eq!(rest(&more), Rest::Nothing);
    }

    #[test]
    fn what_nobody_holds_or_nobody_began_is_not_left_to_others() {
        let (me, other) = (Some("me"), Some("other"));
        assert_eq!(
            rest(&[(0, Some(10), me), (1, Some(3), other)]),
            Rest::OfOthers
        );
        assert_eq!(rest(&[(0, None, other), (1, None, other)]), Rest::OfOthers);
        assert_eq!(rest(&[(0, Some(10), me), (1, Some(3), None)]), Rest::Open);
        assert_eq!(rest(&[(0, Some(10), me)]), Rest::Open);
        assert_eq!(rest(&[(0, Some(3), me), (1, Some(20), None)]), Rest::Open);
    }
}
