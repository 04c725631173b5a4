//! [`TopicMetadata`] and its cache: what a client knows of topics until a broker says otherwise.
//!
//! An entry is one broker's answer: id, partitions, leaders. It is used until it is old or an error
//! says that it is wrong, and is then replaced as a whole, never patched.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_proto::{
    TopicName,
    grpc::{topic_id_from_wire, v1},
};

use super::config::join_address;
use crate::error::{Error, Result};

/// Topics remembered at a time; beyond it the cache starts over.
const TOPICS_MAX: usize = 100_000;

/// What is known of a topic.
#[derive(Debug)]
pub(crate) struct TopicMetadata {
    pub(crate) name: TopicName,
    /// The topic's id as requests carry it, 16 bytes.
    pub(crate) id_bytes: Bytes,
    /// By partition.
    pub(crate) partitions: Vec<PartitionMetadata>,
    asked_at: Instant,
}

/// What is known of a partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionMetadata {
    /// `None` while nobody leads.
    pub(crate) leader: Option<PartitionLeader>,
}

/// Who leads a partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionLeader {
    pub(crate) address: Arc<str>,
    pub(crate) epoch: i32,
}

impl TopicMetadata {
    /// Reads a broker's answer; `answered_by` is the address of a leader that does not tell its own.
    pub(crate) fn from_wire(
        topic: v1::TopicDescription,
        answered_by: &str,
        asked_at: Instant,
    ) -> Result<Self> {
        if let Some(error) = topic.error {
            return Err(Error::from_wire(error));
        }
        let invalid = |reason: String| Error::Protocol {
            broker: answered_by.to_owned(),
            reason,
        };
        topic_id_from_wire(&topic.topic_id)
            .map_err(|found| invalid(format!("topic id has {found} bytes, expected 16")))?;
        let name = TopicName::new(&topic.name).map_err(|error| invalid(error.to_string()))?;
        let mut partitions = topic.partitions;
        partitions.sort_by_key(|partition| partition.partition);
        let is_complete = (0_i32..)
            .zip(&partitions)
            .all(|(expected, found)| expected == found.partition);
        if !is_complete {
            return Err(invalid(format!("partitions of topic {name} have gaps")));
        }
        let partitions = partitions
            .into_iter()
            .map(|partition| PartitionMetadata {
                leader: partition.leader.map(|leader| PartitionLeader {
                    address: join_address(&leader.host, leader.port)
                        .map_or_else(|| Arc::from(answered_by), Arc::from),
                    epoch: leader.leader_epoch,
                }),
            })
            .collect();
        Ok(Self {
            name,
            id_bytes: topic.topic_id,
            partitions,
            asked_at,
        })
    }

    /// Number of partitions.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Who leads a partition, as far as is known.
    pub(crate) fn leader(&self, partition: i32) -> Option<&PartitionLeader> {
        let partition = usize::try_from(partition).ok()?;
        self.partitions.get(partition)?.leader.as_ref()
    }

    /// Refuses a partition that the topic does not have.
    pub(crate) fn check_partition(&self, partition: i32) -> Result<()> {
        if (0..self.partition_count()).contains(&partition) {
            return Ok(());
        }
        Err(Error::UnknownPartition {
            topic: self.name.to_string(),
            partition,
            partitions: self.partition_count(),
        })
    }
}

/// What is known of topics, by name.
#[derive(Debug)]
pub(crate) struct MetadataCache {
    age_max: Duration,
    topics: Mutex<HashMap<Box<str>, Arc<TopicMetadata>>>,
    /// Held while a broker is asked, so that many callers ask once.
    pub(super) asking: tokio::sync::Mutex<()>,
}

impl MetadataCache {
    pub(crate) fn new(age_max: Duration) -> Self {
        Self {
            age_max,
            topics: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// What is known of a topic and younger than the maximum age.
    pub(crate) fn fresh(&self, name: &str, now: Instant) -> Option<Arc<TopicMetadata>> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.get(name)?;
        (now.saturating_duration_since(topic.asked_at) < self.age_max).then(|| Arc::clone(topic))
    }

    /// What is known of a topic, however old.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<TopicMetadata>> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).map(Arc::clone)
    }

    /// What is known of a topic and was asked for at `since` or later.
    pub(crate) fn known_since(&self, name: &str, since: Instant) -> Option<Arc<TopicMetadata>> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics
            .get(name)
            .filter(|topic| topic.asked_at >= since)
            .map(Arc::clone)
    }

    pub(crate) fn insert(&self, topic: Arc<TopicMetadata>) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= TOPICS_MAX {
            topics.clear();
        }
        topics.insert(topic.name.as_str().into(), topic);
    }

    /// Forgets a topic.
    pub(crate) fn remove(&self, name: &str) {
        self.topics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(partitions: &[i32]) -> v1::TopicDescription {
        v1::TopicDescription {
            name: "flights".to_owned(),
            topic_id: Bytes::from_static(&[7; 16]),
            partitions: partitions
                .iter()
                .map(|partition| v1::PartitionDescription {
                    partition: *partition,
                    leader: Some(v1::Leader {
                        leader_epoch: 4,
                        ..v1::Leader::default()
                    }),
                    ..v1::PartitionDescription::default()
                })
                .collect(),
            ..v1::TopicDescription::default()
        }
    }

    #[test]
    fn a_leader_without_address_is_who_answered() {
        let topic =
            TopicMetadata::from_wire(description(&[1, 0]), "here:1", Instant::now()).unwrap();
        let leader = topic.leader(1).unwrap();
        assert_eq!((&*leader.address, leader.epoch), ("here:1", 4));
        assert!(topic.leader(2).is_none() && topic.leader(-1).is_none());
        assert!(topic.check_partition(1).is_ok());
        assert!(matches!(
            topic.check_partition(2),
            Err(Error::UnknownPartition { partitions: 2, .. })
        ));
    }

    #[test]
    fn gaps_and_short_ids_are_refused() {
        let now = Instant::now();
        assert!(TopicMetadata::from_wire(description(&[0, 2]), "here:1", now).is_err());
        let short = v1::TopicDescription {
            topic_id: Bytes::from_static(&[7; 15]),
            ..description(&[0])
        };
        assert!(TopicMetadata::from_wire(short, "here:1", now).is_err());
    }

    #[test]
    fn what_is_old_is_not_fresh() {
        let asked_at = Instant::now();
        let cache = MetadataCache::new(Duration::from_secs(60));
        cache.insert(Arc::new(
            TopicMetadata::from_wire(description(&[0]), "here:1", asked_at).unwrap(),
        ));
        assert!(
            cache
                .fresh("flights", asked_at + Duration::from_secs(59))
                .is_some()
        );
        assert!(
            cache
                .fresh("flights", asked_at + Duration::from_secs(60))
                .is_none()
        );
        assert!(cache.known_since("flights", asked_at).is_some());
        assert!(
            cache
                .known_since("flights", asked_at + Duration::from_millis(1))
                .is_none()
        );
        cache.remove("flights");
        assert!(cache.fresh("flights", asked_at).is_none());
    }
}
