//! [`MetadataImage`]: what all committed metadata records add up to, with the look-ups needed.
//!
//! Immutable once published. [`MetadataImage::apply`] is the only thing that changes one, used for
//! proposals, for replay and for snapshots alike; a record that does not fit leaves it as it was.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use millstream_proto::{
    BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, TopicName, TopicPartition,
    metadata_record::{
        BrokerRegistered, MetadataRecord, PartitionRegistration, PartitionsAdded,
        ProducerIdsAllocated, TopicConfigChanged, TopicCreated, TopicDefaultsChanged, TopicDeleted,
    },
};

/// All metadata at one index of the metadata log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataImage {
    index: u64,
    term: u64,
    by_name: BTreeMap<TopicName, Arc<TopicImage>>,
    names_by_id: HashMap<TopicId, TopicName>,
    names_by_collision_key: HashMap<String, TopicName>,
    brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    topic_defaults: BTreeMap<String, String>,
    next_producer_id: i64,
    partition_count: usize,
}

/// A broker as it last registered.
pub type BrokerImage = BrokerRegistered;

/// A partition as it is registered.
pub type PartitionImage = PartitionRegistration;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// Its partitions; position in the vector = partition index.
    pub partitions: Vec<PartitionImage>,
    /// Configs set on the topic itself, under Kafka's names.
    pub configs: BTreeMap<String, String>,
}

impl TopicImage {
    /// The partition of that index.
    #[must_use]
    pub fn partition(&self, partition: PartitionIndex) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(partition.0).ok()?)
    }

    /// Replicas of its first partition.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |p| p.replicas.len())
    }
}

/// Why a record does not fit an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A topic of that name exists.
    #[error("topic {name} exists already with id {topic_id}")]
    TopicExists {
        /// The name.
        name: TopicName,
        /// Id of the topic that has it.
        topic_id: TopicId,
    },
    /// Names that differ only in `.` and `_` collide.
    #[error("topic name {name} collides with topic {existing}: '.' and '_' count as equal")]
    TopicCollides {
        /// The name asked for.
        name: TopicName,
        /// The topic that is there.
        existing: TopicName,
    },
    /// A topic of that id exists.
    #[error("topic id {topic_id} is taken by topic {name}")]
    TopicIdTaken {
        /// The id.
        topic_id: TopicId,
        /// The topic that has it.
        name: TopicName,
    },
    /// No topic has that id.
    #[error("no topic has id {topic_id}")]
    UnknownTopicId {
        /// The id.
        topic_id: TopicId,
    },
    /// Partition indexes do not continue the topic's.
    #[error("topic {name} expects partition {expected} next, found {found}")]
    PartitionIndex {
        /// The topic.
        name: TopicName,
        /// The next index.
        expected: i64,
        /// The index found; -1 for none at all.
        found: i32,
    },
    /// A partition's replicas, in-sync set and leader contradict each other.
    #[error("{partition} has an invalid registration: {reason}")]
    Registration {
        /// The partition.
        partition: TopicPartition,
        /// What contradicts.
        reason: &'static str,
    },
    /// Producer ids do not continue those given.
    #[error("producer id block starts at {found} with {count} ids, expected {expected}")]
    ProducerIds {
        /// The next free id.
        expected: i64,
        /// The first id found.
        found: i64,
        /// How many were asked for.
        count: i64,
    },
    /// A broker epoch is not above the last.
    #[error("broker {broker_id} registers with epoch {found}, its last was {last}")]
    BrokerEpoch {
        /// The broker.
        broker_id: BrokerId,
        /// The epoch it had.
        last: i64,
        /// The epoch found.
        found: i64,
    },
}

impl MetadataImage {
    /// Index of the last proposal it holds; 0 when there is none.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Term of that proposal.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, topic_id: TopicId) -> Option<&Arc<TopicImage>> {
        self.by_name.get(self.names_by_id.get(&topic_id)?)
    }

    /// The topic whose name collides with `name`, or is `name`.
    #[must_use]
    pub fn topic_colliding(&self, name: &TopicName) -> Option<&Arc<TopicImage>> {
        let existing = self.names_by_collision_key.get(&name.collision_key())?;
        self.by_name.get(existing)
    }

    /// All topics in order of name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// Number of topics.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// Number of partitions of all topics.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The broker of that id.
    #[must_use]
    pub fn broker(&self, broker_id: BrokerId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&broker_id)
    }

    /// All brokers in order of id.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &Arc<BrokerImage>> {
        self.brokers.values()
    }

    /// Defaults of topic configs that were changed while brokers ran, under Kafka's names.
    #[must_use]
    pub fn topic_defaults(&self) -> &BTreeMap<String, String> {
        &self.topic_defaults
    }

    /// The first producer id that no block holds.
    #[must_use]
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.next_producer_id)
    }

    /// Says which index and term the image stands at after what was applied.
    pub fn advance_to(&mut self, index: u64, term: u64) {
        debug_assert!(index >= self.index, "indexes only grow");
        self.index = index;
        self.term = term;
    }

    /// Applies all records, or none.
    ///
    /// # Errors
    /// The first record that does not fit; the image is as before.
    pub fn apply_all(&mut self, records: &[MetadataRecord]) -> Result<(), ImageError> {
        if let [record] = records {
            return self.apply(record);
        }
        let mut next = self.clone();
        records.iter().try_for_each(|record| next.apply(record))?;
        *self = next;
        Ok(())
    }

    /// Applies one record.
    ///
    /// # Errors
    /// Why it does not fit; the image is as before.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ImageError> {
        match record {
            MetadataRecord::TopicCreated(record) => self.create_topic(record),
            MetadataRecord::PartitionsAdded(record) => self.add_partitions(record),
            MetadataRecord::TopicConfigChanged(record) => self.change_config(record),
            MetadataRecord::TopicDeleted(record) => self.delete_topic(*record),
            MetadataRecord::ProducerIdsAllocated(record) => self.allocate_producer_ids(*record),
            MetadataRecord::BrokerRegistered(record) => self.register_broker(record),
            MetadataRecord::TopicDefaultsChanged(record) => {
                change_configs(&mut self.topic_defaults, &record.changes);
                Ok(())
            }
        }
    }

    /// The records that rebuild this image from an empty one: the content of a snapshot.
    #[must_use]
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let brokers = self.brokers.values().map(|broker| {
            let broker = BrokerRegistered::clone(broker);
            MetadataRecord::BrokerRegistered(broker)
        });
        let topics = self.by_name.values().map(|topic| {
            MetadataRecord::TopicCreated(TopicCreated {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.clone(),
                configs: topic.configs.clone(),
            })
        });
        let defaults = self.topic_defaults.iter();
        let defaults = defaults.map(|(key, value)| (key.clone(), Some(value.clone())));
        let defaults = (!self.topic_defaults.is_empty()).then(|| {
            let changes = defaults.collect();
            MetadataRecord::TopicDefaultsChanged(TopicDefaultsChanged { changes })
        });
        let producer_ids = (self.next_producer_id > 0).then_some({
            MetadataRecord::ProducerIdsAllocated(ProducerIdsAllocated {
                broker_id: BrokerId(-1),
                first: ProducerId(0),
                count: self.next_producer_id,
            })
        });
        let others = defaults.into_iter().chain(producer_ids);
        brokers.chain(topics).chain(others).collect()
    }

    fn create_topic(&mut self, record: &TopicCreated) -> Result<(), ImageError> {
        if let Some(existing) = self.by_name.get(&record.name) {
            return Err(ImageError::TopicExists {
                name: record.name.clone(),
                topic_id: existing.topic_id,
            });
        }
        let collision_key = record.name.collision_key();
        if let Some(existing) = self.names_by_collision_key.get(&collision_key) {
            return Err(ImageError::TopicCollides {
                name: record.name.clone(),
                existing: existing.clone(),
            });
        }
        if let Some(name) = self.names_by_id.get(&record.topic_id) {
            return Err(ImageError::TopicIdTaken {
                topic_id: record.topic_id,
                name: name.clone(),
            });
        }
        check_partitions(&record.name, 0, &record.partitions)?;
        self.names_by_id
            .insert(record.topic_id, record.name.clone());
        self.names_by_collision_key
            .insert(collision_key, record.name.clone());
        self.partition_count += record.partitions.len();
        let topic = TopicImage {
            name: record.name.clone(),
            topic_id: record.topic_id,
            partitions: record.partitions.clone(),
            configs: record.configs.clone(),
        };
        self.by_name.insert(record.name.clone(), Arc::new(topic));
        Ok(())
    }

    fn add_partitions(&mut self, record: &PartitionsAdded) -> Result<(), ImageError> {
        let topic = self.topic_mut(record.topic_id)?;
        check_partitions(&topic.name, topic.partitions.len(), &record.partitions)?;
        let topic = Arc::make_mut(topic);
        topic.partitions.extend_from_slice(&record.partitions);
        self.partition_count += record.partitions.len();
        Ok(())
    }

    fn change_config(&mut self, record: &TopicConfigChanged) -> Result<(), ImageError> {
        let topic = Arc::make_mut(self.topic_mut(record.topic_id)?);
        change_configs(&mut topic.configs, &record.changes);
        Ok(())
    }

    fn delete_topic(&mut self, record: TopicDeleted) -> Result<(), ImageError> {
        let topic_id = record.topic_id;
        let name = self
            .names_by_id
            .remove(&topic_id)
            .ok_or(ImageError::UnknownTopicId { topic_id })?;
        self.names_by_collision_key.remove(&name.collision_key());
        let topic = self.by_name.remove(&name);
        self.partition_count -= topic.map_or(0, |topic| topic.partitions.len());
        Ok(())
    }

    fn allocate_producer_ids(&mut self, record: ProducerIdsAllocated) -> Result<(), ImageError> {
        let end = record.first.0.checked_add(record.count);
        match end {
            Some(end) if record.first.0 == self.next_producer_id && record.count > 0 => {
                self.next_producer_id = end;
                Ok(())
            }
            _ => Err(ImageError::ProducerIds {
                expected: self.next_producer_id,
                found: record.first.0,
                count: record.count,
            }),
        }
    }

    fn register_broker(&mut self, record: &BrokerRegistered) -> Result<(), ImageError> {
        let last = self.broker(record.broker_id).map_or(0, |b| b.broker_epoch);
        if record.broker_epoch <= last {
            return Err(ImageError::BrokerEpoch {
                broker_id: record.broker_id,
                last,
                found: record.broker_epoch,
            });
        }
        self.brokers
            .insert(record.broker_id, Arc::new(record.clone()));
        Ok(())
    }

    fn topic_mut(&mut self, topic_id: TopicId) -> Result<&mut Arc<TopicImage>, ImageError> {
        self.names_by_id
            .get(&topic_id)
            .and_then(|name| self.by_name.get_mut(name))
            .ok_or(ImageError::UnknownTopicId { topic_id })
    }
}

/// Sets what has a value, and removes the rest.
fn change_configs(
    configs: &mut BTreeMap<String, String>,
    changes: &BTreeMap<String, Option<String>>,
) {
    for (key, value) in changes {
        match value {
            Some(value) => configs.insert(key.clone(), value.clone()),
            None => configs.remove(key),
        };
    }
}

/// Checks that `partitions` continue a topic that has `count` of them, and each registration.
fn check_partitions(
    name: &TopicName,
    count: usize,
    partitions: &[PartitionRegistration],
) -> Result<(), ImageError> {
    let expected = |position: usize| i64::try_from(count + position).unwrap_or(i64::MAX);
    if partitions.is_empty() {
        return Err(ImageError::PartitionIndex {
            name: name.clone(),
            expected: expected(0),
            found: -1,
        });
    }
    for (position, registration) in partitions.iter().enumerate() {
        let found = registration.partition.0;
        if i64::from(found) != expected(position) {
            return Err(ImageError::PartitionIndex {
                name: name.clone(),
                expected: expected(position),
                found,
            });
        }
        if let Some(reason) = contradiction(registration) {
            let partition = TopicPartition {
                topic: name.clone(),
                partition: registration.partition,
            };
            return Err(ImageError::Registration { partition, reason });
        }
    }
    Ok(())
}

fn contradiction(registration: &PartitionRegistration) -> Option<&'static str> {
    let PartitionRegistration {
        replicas, in_sync, ..
    } = registration;
    let unique = |ids: &[BrokerId]| {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == ids.len()
    };
    if replicas.is_empty() {
        Some("no replica")
    } else if !unique(replicas) || !unique(in_sync) {
        Some("a broker is named twice")
    } else if !in_sync.iter().all(|id| replicas.contains(id)) {
        Some("an in-sync broker is no replica")
    } else if registration.leader.is_some_and(|id| !in_sync.contains(&id)) {
        Some("the leader is not in sync")
    } else if registration.leader_epoch < LeaderEpoch(0) || registration.partition_epoch < 0 {
        Some("an epoch is negative")
    } else {
        None
    }
}
