//! [`Assignment`] and [`Holding`]: sets of partitions, the latter with the epoch each was given in.

use std::collections::{BTreeMap, BTreeSet};

use millstream_proto::{
    TopicId,
    group_record::{AssignedTopic, TargetMemberValue},
};

/// A partition by the id of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The topic.
    pub topic_id: TopicId,
    /// Its partition, from 0.
    pub partition: i32,
}

impl PartitionId {
    /// A partition of a topic.
    #[must_use]
    pub const fn new(topic_id: TopicId, partition: i32) -> Self {
        Self {
            topic_id,
            partition,
        }
    }
}

/// Partitions, in the order of topic id and partition.
pub type Assignment = BTreeSet<PartitionId>;

/// Partitions that a member holds, and the member epoch in which it got each (KIP-1251).
pub type Holding = BTreeMap<PartitionId, i32>;

/// The partitions as a record lists them.
pub(super) fn target_value(assignment: &Assignment) -> TargetMemberValue {
    let mut value = TargetMemberValue::default();
    for partition in assignment {
        push(&mut value.partitions, *partition, None);
    }
    value
}

/// The partitions with their epochs as a record lists them.
pub(super) fn holding_value(holding: &Holding) -> Vec<AssignedTopic> {
    let mut topics = Vec::new();
    for (partition, epoch) in holding {
        push(&mut topics, *partition, Some(*epoch));
    }
    topics
}

fn push(topics: &mut Vec<AssignedTopic>, partition: PartitionId, epoch: Option<i32>) {
    if topics.last().map(|topic| topic.topic_id) != Some(partition.topic_id) {
        topics.push(AssignedTopic {
            topic_id: partition.topic_id,
            partitions: Vec::new(),
            assignment_epochs: Vec::new(),
        });
    }
    if let Some(topic) = topics.last_mut() {
        topic.partitions.push(partition.partition);
        topic.assignment_epochs.extend(epoch);
    }
}

/// What a record lists.
pub(super) fn read_assignment(topics: &[AssignedTopic]) -> Assignment {
    let partitions = |topic: &AssignedTopic| {
        let id = topic.topic_id;
        topic
            .partitions
            .clone()
            .into_iter()
            .map(move |partition| PartitionId::new(id, partition))
    };
    topics.iter().flat_map(partitions).collect()
}

/// What a record lists; a partition without an epoch of its own was given in `member_epoch`, so that
/// only commits of that epoch are good for it.
pub(super) fn read_holding(topics: &[AssignedTopic], member_epoch: i32) -> Holding {
    let mut holding = Holding::new();
    for topic in topics {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let epoch = topic.assignment_epochs.get(index).copied();
            holding.insert(
                PartitionId::new(topic.topic_id, *partition),
                epoch.unwrap_or(member_epoch),
            );
        }
    }
    holding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_give_back_what_was_written() {
        let id = |byte| TopicId::from_bytes([byte; 16]);
        let holding: Holding = [(id(1), 0, 3), (id(1), 2, 4), (id(2), 0, 5)]
            .into_iter()
            .map(|(id, partition, epoch)| (PartitionId::new(id, partition), epoch))
            .collect();
        let written = holding_value(&holding);
        assert_eq!(written.len(), 2, "one entry a topic");
        assert_eq!(read_holding(&written, 9), holding);
        let assignment: Assignment = holding.keys().copied().collect();
        let target = target_value(&assignment);
        assert!(
            target
                .partitions
                .iter()
                .all(|topic| topic.assignment_epochs.is_empty())
        );
        assert_eq!(read_assignment(&target.partitions), assignment);
        let without_epochs = read_holding(&target.partitions, 9);
        assert!(without_epochs.values().all(|epoch| *epoch == 9));
    }
}
