//! [`MetadataRecord`]: one change of metadata. Its bytes are in `wire.rs`.
//!
//! A record states what it expects of the metadata it meets, so that replaying the log either
//! reproduces every image exactly or fails loudly.

use std::collections::BTreeMap;

use crate::{BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, TopicName};

/// One change of metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataRecord {
    /// A topic begins. Expects its name, collision key and id to be free.
    TopicCreated(TopicCreated),
    /// A topic grows. Expects indexes that continue the topic's.
    PartitionsAdded(PartitionsAdded),
    /// Configs of a topic change. Expects the topic to exist.
    TopicConfigChanged(TopicConfigChanged),
    /// A topic ends. Expects it to exist.
    TopicDeleted(TopicDeleted),
    /// A block of producer ids is handed out. Expects it to continue the ids given so far.
    ProducerIdsAllocated(ProducerIdsAllocated),
    /// A broker started. Expects an epoch above its last.
    BrokerRegistered(BrokerRegistered),
    /// Defaults of topic configs change, for all topics. Expects nothing.
    TopicDefaultsChanged(TopicDefaultsChanged),
}

/// A topic with all its partitions, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCreated {
    /// Its name.
    pub name: TopicName,
    /// Fences it from later topics of that name.
    pub topic_id: TopicId,
    /// Its partitions: indexes 0, 1, 2, ... in order, at least one.
    pub partitions: Vec<PartitionRegistration>,
    /// Configs set on the topic itself, under Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// Who holds a partition, and who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// Its index in the topic.
    pub partition: PartitionIndex,
    /// Brokers that hold it, the preferred leader first; at least one.
    pub replicas: Vec<BrokerId>,
    /// Replicas that have every committed record.
    pub in_sync: Vec<BrokerId>,
    /// Who leads, one of the in-sync set; `None` while nobody does.
    pub leader: Option<BrokerId>,
    /// Counts leaderships.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes of this registration.
    pub partition_epoch: i32,
}

impl PartitionRegistration {
    /// A new partition that one broker holds.
    #[must_use]
    pub fn sole(partition: PartitionIndex, broker: BrokerId) -> Self {
        Self {
            partition,
            replicas: vec![broker],
            in_sync: vec![broker],
            leader: Some(broker),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
        }
    }
}

/// More partitions for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionsAdded {
    /// The topic.
    pub topic_id: TopicId,
    /// Indexes continue the topic's, in order, at least one.
    pub partitions: Vec<PartitionRegistration>,
}

/// Changed configs of a topic; keys that are not named keep their value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfigChanged {
    /// The topic.
    pub topic_id: TopicId,
    /// New value by Kafka's name; `None` goes back to the default.
    pub changes: BTreeMap<String, Option<String>>,
}

/// Changed defaults of topic configs, of all brokers; keys that are not named keep theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDefaultsChanged {
    /// New default by Kafka's name; `None` goes back to what each broker's own configuration says.
    pub changes: BTreeMap<String, Option<String>>,
}

/// The end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicDeleted {
    /// The topic.
    pub topic_id: TopicId,
}

/// Producer ids `first..first + count` now belong to a broker, to hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdsAllocated {
    /// Who hands them out.
    pub broker_id: BrokerId,
    /// First id: the first that nobody has at that time.
    pub first: ProducerId,
    /// How many, at least one.
    pub count: i64,
}

/// A start of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistered {
    /// The broker.
    pub broker_id: BrokerId,
    /// Counts its starts; above the one before.
    pub broker_epoch: i64,
    /// Id of its data directory (UUID).
    pub directory_id: [u8; 16],
    /// Host under which clients reach its native listener.
    pub host: String,
    /// Port of that.
    pub port: u16,
    /// Failure domain; empty when not configured.
    pub rack: String,
    /// Version and commit of the daemon.
    pub version: String,
}
