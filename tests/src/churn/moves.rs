//! Which partitions changed hands.

use std::collections::{BTreeMap, BTreeSet};

use millstream_proto::TopicPartition;

use super::{MemberNumber, Observation, Observed};

/// What changed hands in a stretch of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// Partitions that a member gave up.
    pub given_up: BTreeSet<TopicPartition>,
    /// Of these, partitions that went back to the same member with nobody in between: it was stopped
    /// for nothing.
    pub needless: BTreeSet<TopicPartition>,
}

/// Finds what changed hands.
#[must_use]
pub fn moves(history: &[Observed]) -> Moves {
    let mut moves = Moves::default();
    let mut last: BTreeMap<&TopicPartition, MemberNumber> = BTreeMap::new();
    for observed in history {
        match &observed.what {
            Observation::GaveUp { member, partitions } => {
                moves.given_up.extend(partitions.iter().cloned());
                last.extend(partitions.iter().map(|partition| (partition, *member)));
            }
            Observation::Gained { member, partitions } => {
                for partition in partitions {
                    if last.remove(partition) == Some(*member) {
                        moves.needless.insert(partition.clone());
                    }
                }
            }
            _ => {}
        }
    }
    moves
}
