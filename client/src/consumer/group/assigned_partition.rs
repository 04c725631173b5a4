//! [`AssignedPartition`]: a partition as a group assigns it, by the id of its topic, so that a topic
//! that was deleted and created again is another one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_proto::{
    TopicId, TopicName,
    grpc::{topic_id_from_wire, v1},
};

/// A partition of one life of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AssignedPartition {
    pub(crate) topic: TopicName,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: i32,
}

impl AssignedPartition {
    /// Whether both go by the same name, be they the same or not.
    pub(super) fn is_namesake(&self, other: &Self) -> bool {
        self.partition == other.partition && self.topic == other.topic
    }

    /// The topic's id as requests carry it.
    pub(crate) fn id_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.topic_id.as_bytes())
    }
}

/// Reads what a broker assigned; else says what is wrong with it.
pub(super) fn from_wire(
    topics: Vec<v1::TopicPartitions>,
) -> Result<BTreeSet<AssignedPartition>, String> {
    let mut assigned = BTreeSet::new();
    for topic in topics {
        let topic_id = topic_id_from_wire(&topic.topic_id)
            .map_err(|found| format!("topic id has {found} bytes, expected 16"))?;
        let name = TopicName::new(&topic.topic).map_err(|error| error.to_string())?;
        assigned.extend(
            topic
                .partitions
                .into_iter()
                .map(|partition| AssignedPartition {
                    topic: name.clone(),
                    topic_id,
                    partition,
                }),
        );
    }
    Ok(assigned)
}

/// Writes partitions, topic by topic.
pub(super) fn to_wire(partitions: &BTreeSet<AssignedPartition>) -> Vec<v1::TopicPartitions> {
    let mut topics: BTreeMap<(&TopicName, TopicId), Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let of_topic = topics.entry((&partition.topic, partition.topic_id));
        of_topic.or_default().push(partition.partition);
    }
    let to_wire =
        |((topic, topic_id), partitions): ((&TopicName, TopicId), Vec<i32>)| v1::TopicPartitions {
            topic_id: Bytes::copy_from_slice(topic_id.as_bytes()),
            topic: topic.to_string(),
            partitions,
        };
    topics.into_iter().map(to_wire).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, id: u8, partition: i32) -> AssignedPartition {
        AssignedPartition {
            topic: TopicName::new(topic).unwrap(),
            topic_id: TopicId::from_bytes([id; 16]),
            partition,
        }
    }

    #[test]
    fn partitions_come_back_from_the_wire_as_they_went() {
        let all = BTreeSet::from([place("a", 1, 0), place("a", 1, 7), place("b", 2, 0)]);
        let wire = to_wire(&all);
        assert_eq!(wire.len(), 2);
        assert_eq!(from_wire(wire), Ok(all));
    }

    #[test]
    fn short_ids_and_bad_names_are_refused() {
        let mut wire = to_wire(&BTreeSet::from([place("a", 1, 0)]));
        wire[0].topic_id = Bytes::from_static(&[1; 15]);
        assert!(from_wire(wire.clone()).unwrap_err().contains("15 bytes"));
        wire[0].topic_id = Bytes::from_static(&[1; 16]);
        wire[0].topic = "a/b".to_owned();
        assert!(from_wire(wire).is_err());
    }

    #[test]
    fn a_topic_created_again_is_another_by_the_same_name() {
        let (old, new) = (place("a", 1, 0), place("a", 2, 0));
        assert!(old.is_namesake(&new) && old != new);
        assert!(!old.is_namesake(&place("a", 1, 1)));
    }
}
