//! [`Offsets`]: what a group committed, by topic and partition.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::{
    PartitionIndex, TopicId,
    group_record::{GroupRecord, OffsetCommitKey, OffsetCommitValue},
};

use super::{Committed, Topics};

/// What a group committed.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    by_topic: BTreeMap<Arc<str>, BTreeMap<i32, OffsetCommitValue>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, key: &OffsetCommitKey, value: Option<&OffsetCommitValue>) {
        let PartitionIndex(partition) = key.partition;
        let Some(value) = value else {
            if let Some(partitions) = self.by_topic.get_mut(&*key.topic) {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    self.by_topic.remove(&*key.topic);
                }
            }
            return;
        };
        match self.by_topic.get_mut(&*key.topic) {
            Some(partitions) => {
                partitions.insert(partition, value.clone());
            }
            None => {
                let partitions = BTreeMap::from([(partition, value.clone())]);
                self.by_topic.insert(Arc::from(&*key.topic), partitions);
            }
        }
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        let partitions = self.by_topic.get(topic);
        partitions.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Every topic, partition and commit.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &OffsetCommitValue)> {
        self.by_topic.iter().flat_map(|(topic, partitions)| {
            let entries = partitions.iter();
            entries.map(move |(partition, value)| (topic, *partition, value))
        })
    }

    /// Commits for these partitions, or for all, without those for an earlier life of a topic's name.
    pub(super) fn committed(
        &self,
        partitions: Option<&[(Arc<str>, i32)]>,
        topics: &Topics,
    ) -> Vec<Committed> {
        let is_current = |topic: &str, value: &OffsetCommitValue| {
            let now = topics.get(topic).map(|topic| topic.id);
            value.topic_id.is_none() || now.is_none() || value.topic_id == now
        };
        let Some(asked) = partitions else {
            let current = self
                .iter()
                .filter(|(topic, _, value)| is_current(topic, value));
            return current
                .map(|(topic, at, value)| committed(topic, at, value))
                .collect();
        };
        let find = |(topic, at): &(Arc<str>, i32)| {
            let value = self.by_topic.get(topic)?.get(at)?;
            is_current(topic, value).then(|| committed(topic, *at, value))
        };
        asked.iter().filter_map(find).collect()
    }
}

fn committed(topic: &Arc<str>, partition: i32, value: &OffsetCommitValue) -> Committed {
    Committed {
        topic: Arc::clone(topic),
        topic_id: value.topic_id,
        partition,
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.clone(),
        commit_timestamp_ms: value.commit_timestamp_ms,
    }
}

/// The record of a commit; `None` forgets it.
pub(super) fn offset_record(
    group_id: &str,
    topic: &str,
    partition: i32,
    value: Option<OffsetCommitValue>,
) -> GroupRecord {
    let key = OffsetCommitKey {
        group_id: group_id.to_owned(),
        topic: topic.to_owned(),
        partition: PartitionIndex(partition),
    };
    GroupRecord::OffsetCommit(key, value)
}

/// Which topic a commit is for: the one it names, or else the one that has the name now.
pub(super) fn topic_id_of(named: Option<TopicId>, topic: &str, topics: &Topics) -> Option<TopicId> {
    named.or_else(|| topics.get(topic).map(|topic| topic.id))
}
