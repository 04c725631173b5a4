//! How long a group takes: from the eviction of a member to its successor's first record, and between
//! two records of a partition that stays where it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use millstream_proto::TopicPartition;

use super::{MemberNumber, Observation, Observed};

/// What became of the partitions of members whose streams broke.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Per partition, from when it was to be given to another to the first record that one got. None
    /// is shorter than 0: a successor that is early is an anomaly.
    pub times: Vec<Duration>,
    /// Partitions that nobody read again.
    pub pending: usize,
}

/// Measures evictions.
#[must_use]
pub fn evictions(history: &[Observed]) -> Evictions {
    let mut held: HashMap<MemberNumber, BTreeSet<&TopicPartition>> = HashMap::new();
    let mut orphaned: BTreeMap<&TopicPartition, (MemberNumber, Duration)> = BTreeMap::new();
    let mut times = Vec::new();
    for observed in history {
        match &observed.what {
            Observation::Gained { member, partitions } => {
                held.entry(*member).or_default().extend(partitions);
            }
            Observation::GaveUp { member, partitions } => {
                let held = held.entry(*member).or_default();
                held.retain(|partition| !partitions.contains(partition));
            }
            Observation::Left { member } | Observation::Fenced { member } => {
                held.remove(member);
            }
            Observation::Broke { member, evicted_at } => {
                let partitions = held.remove(member).unwrap_or_default();
                let orphans = partitions
                    .into_iter()
                    .map(|partition| (partition, (*member, *evicted_at)));
                orphaned.extend(orphans);
            }
            Observation::Polled {
                member, partition, ..
            } => match orphaned.get(partition) {
                Some((gone, evicted_at)) if gone != member => {
                    times.push(observed.at.saturating_sub(*evicted_at));
                    orphaned.remove(partition);
                }
                _ => {}
            },
            _ => {}
        }
    }
    Evictions {
        times,
        pending: orphaned.len(),
    }
}

/// The times between two records in a row of a partition that one member held all the while, except
/// where the daemon was down in between, or the member stood still.
#[must_use]
pub fn pauses(history: &[Observed]) -> Vec<Duration> {
    let mut last: BTreeMap<(MemberNumber, &TopicPartition), Duration> = BTreeMap::new();
    let mut pauses = Vec::new();
    for observed in history {
        match &observed.what {
            Observation::Polled {
                member, partition, ..
            } => {
                if let Some(before) = last.insert((*member, partition), observed.at) {
                    pauses.push(observed.at.saturating_sub(before));
                }
            }
            Observation::GaveUp { member, partitions } => {
                last.retain(|(holder, partition), _| {
                    holder != member || !partitions.contains(partition)
                });
            }
            Observation::Left { member }
            | Observation::Fenced { member }
            | Observation::StoodStill { member } => last.retain(|(holder, _), _| holder != member),
            Observation::DaemonDown | Observation::DaemonUp => last.clear(),
            _ => {}
        }
    }
    pauses
}

/// The time that so many of a hundred do not exceed; zero of none.
#[must_use]
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
