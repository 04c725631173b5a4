//! [`Partitions`]: the partition replicas of this broker, kept equal to the metadata image.
//!
//! Keyed by topic id and partition, so that a request for a deleted topic never reaches its
//! namesake. A topic's partitions are brought in line with the image one topic at a time
//! ([`Partitions::reconcile`]); doing it twice, or for an image that is already ahead, changes nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::ErrorKind,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use millstream_log::{DataDirectory, Offline, PartitionLog, StorageError};
use millstream_proto::{BrokerId, PartitionIndex, TopicId, TopicPartition};
use tokio::{sync::watch, time::sleep};

use super::{AppendGate, Replica, ReplicaConfig, TrafficCounts, quarantine::quarantine};
use crate::{
    config::topic::{TopicConfig, TopicConfigError},
    quorum::{
        MetadataChange, MetadataImage, MetadataRecord, MetadataSubscription, PartitionImage,
        TopicImage,
    },
};

/// Pause between two attempts to create partitions that could not be created.
const CREATION_RETRY: Duration = Duration::from_secs(2);

/// A partition as requests name it.
pub type PartitionKey = (TopicId, PartitionIndex);

/// The partition replicas of this broker.
#[derive(Debug)]
pub struct Partitions {
    pub(super) directory: Arc<DataDirectory>,
    pub(super) local: BrokerId,
    /// Defaults for topics as this broker is configured.
    configured_defaults: TopicConfig,
    /// The same with what was changed since, as of the metadata that was applied last.
    topic_defaults: RwLock<Arc<TopicConfig>>,
    gate: AppendGate,
    replicas: RwLock<HashMap<PartitionKey, Arc<Replica>>>,
    /// Partitions whose directory could not be created; tried again.
    uncreated: Mutex<HashSet<PartitionKey>>,
    /// Index of the newest metadata that the replicas show.
    applied: watch::Sender<u64>,
}

impl Partitions {
    /// No partition yet.
    #[must_use]
    pub fn new(
        directory: Arc<DataDirectory>,
        local: BrokerId,
        topic_defaults: TopicConfig,
        gate: AppendGate,
    ) -> Self {
        Self {
            directory,
            local,
            topic_defaults: RwLock::new(Arc::new(topic_defaults.clone())),
            configured_defaults: topic_defaults,
            gate,
            replicas: RwLock::default(),
            uncreated: Mutex::default(),
            applied: watch::Sender::new(0),
        }
    }

    /// The data directory that holds them.
    #[must_use]
    pub fn directory(&self) -> &Arc<DataDirectory> {
        &self.directory
    }

    /// This broker.
    #[must_use]
    pub fn local(&self) -> BrokerId {
        self.local
    }

    /// Whether appends may run on the async workers.
    #[must_use]
    pub fn append_gate(&self) -> &AppendGate {
        &self.gate
    }

    /// The replica of a partition.
    #[must_use]
    pub fn get(&self, topic_id: TopicId, partition: PartitionIndex) -> Option<Arc<Replica>> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.get(&(topic_id, partition)).map(Arc::clone)
    }

    /// All replicas, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Replica>> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.values().map(Arc::clone).collect()
    }

    /// What clients produced to a topic and fetched from it.
    #[must_use]
    pub fn traffic_of(&self, topic: &TopicImage) -> TrafficCounts {
        let partitions = topic.partitions.iter();
        let replicas = partitions.filter_map(|p| self.get(topic.topic_id, p.partition));
        replicas.map(|replica| replica.traffic().counts()).sum()
    }

    /// The effective configuration of a topic; the broker's defaults where what is stored cannot be
    /// read any more (a key that this version no longer knows).
    #[must_use]
    pub fn topic_config(&self, topic: &TopicImage) -> TopicConfig {
        let defaults = self.topic_defaults();
        defaults.with_configs(&topic.configs).unwrap_or_else(|errors| {
            let error = errors.first().map(ToString::to_string);
            tracing::error!(topic = %topic.name, error, "topic config unreadable, defaults used");
            TopicConfig::clone(&defaults)
        })
    }

    /// The broker's defaults for topics.
    #[must_use]
    pub fn topic_defaults(&self) -> Arc<TopicConfig> {
        let defaults = self.topic_defaults.read();
        Arc::clone(&defaults.unwrap_or_else(PoisonError::into_inner))
    }

    /// Those of its own configuration, whatever was changed while brokers ran.
    #[must_use]
    pub const fn configured_defaults(&self) -> &TopicConfig {
        &self.configured_defaults
    }

    /// What the defaults for topics become with `changed` over this broker's own.
    ///
    /// # Errors
    /// Every key or value that is refused.
    pub fn topic_defaults_with(
        &self,
        changed: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, Vec<TopicConfigError>> {
        self.configured_defaults.with_configs(changed)
    }

    /// Takes over the defaults that were changed while brokers ran; this broker's own where they cannot be
    /// read.
    pub(super) fn take_topic_defaults(&self, image: &MetadataImage) {
        let defaults = self.topic_defaults_with(image.topic_defaults());
        let defaults = defaults.unwrap_or_else(|errors| {
            let error = errors.first().map(ToString::to_string);
            tracing::error!(
                error,
                "changed defaults of topics unreadable, the configured ones used"
            );
            self.configured_defaults.clone()
        });
        let current = self.topic_defaults.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
    }

    /// Returns once the replicas show the metadata up to `index`.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn applied(&self, index: u64) {
        let mut applied = self.applied.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = applied.wait_for(|done| *done >= index).await;
    }

    /// Follows the metadata until the quorum closes, and sees to partitions that could not be created.
    pub async fn follow(
        self: Arc<Self>,
        mut changes: MetadataSubscription,
        image: impl Fn() -> Arc<MetadataImage> + Send + Sync + 'static,
    ) {
        self.applied.send_replace(changes.start_image().index());
        let image = Arc::new(image);
        loop {
            let change = tokio::select! {
                change = changes.next() => match change {
                    Some(change) => Some(change),
                    None => return,
                },
                () = sleep(CREATION_RETRY), if !self.uncreated().is_empty() => None,
            };
            let (partitions, image) = (Arc::clone(&self), Arc::clone(&image));
            let applied = tokio::task::spawn_blocking(move || match change {
                Some(change) => Some(partitions.apply(&change, &image())),
                None => {
                    partitions.reconcile_all(&image());
                    None
                }
            });
            match applied.await {
                Ok(Some(index)) => drop(self.applied.send_replace(index)),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "applying metadata panicked"),
            }
        }
    }

    /// Brings the replicas in line after a change. Waits for the disk.
    fn apply(&self, change: &MetadataChange, current: &MetadataImage) -> u64 {
        match change {
            MetadataChange::Delta(delta) => {
                for record in &delta.records {
                    if let MetadataRecord::TopicDefaultsChanged(_) = record {
                        self.take_topic_defaults(current);
                        self.reconcile_all(current);
                    } else if let Some(topic_id) = changed_topic(record) {
                        self.reconcile(topic_id, current.topic_by_id(topic_id));
                    }
                }
                delta.index
            }
            MetadataChange::Image(image) => {
                self.take_topic_defaults(image);
                self.reconcile_all(image);
                image.index()
            }
        }
    }

    /// Brings all replicas in line with an image: deletions first, so that names are free again.
    /// Waits for the disk.
    pub fn reconcile_all(&self, image: &MetadataImage) {
        let gone = self.all().into_iter().map(|replica| replica.topic_id());
        let gone = gone.filter(|topic_id| image.topic_by_id(*topic_id).is_none());
        for topic_id in gone.collect::<std::collections::BTreeSet<_>>() {
            self.reconcile(topic_id, None);
        }
        for topic in image.topics() {
            self.reconcile(topic.topic_id, Some(topic));
        }
    }

    /// Brings the replicas of one topic in line with what the image says of it: `None` when it is
    /// gone. Waits for the disk.
    pub fn reconcile(&self, topic_id: TopicId, topic: Option<&Arc<TopicImage>>) {
        let Some(topic) = topic else {
            return self.remove_topic(topic_id);
        };
        let config = ReplicaConfig::new(&self.topic_config(topic));
        for registration in &topic.partitions {
            if !registration.replicas.contains(&self.local) {
                continue;
            }
            let key = (topic_id, registration.partition);
            match self.get(topic_id, registration.partition) {
                Some(replica) if !self.uncreated().contains(&key) => replica.set_config(&config),
                _ => self.create(topic, registration, &config),
            }
        }
    }

    fn create(&self, topic: &TopicImage, registration: &PartitionImage, config: &ReplicaConfig) {
        let partition = TopicPartition {
            topic: topic.name.clone(),
            partition: registration.partition,
        };
        let created = self.create_log(&partition, topic.topic_id, config);
        let replica = match created {
            Ok(log) => Replica::lead(log, topic.topic_id, self.local, registration, config),
            Err(reason) => {
                tracing::error!(%partition, %reason, "partition cannot be created");
                Replica::offline(partition, topic.topic_id, reason)
            }
        };
        self.insert(replica);
    }

    /// Creates a partition's log; a directory of that name that holds something else makes way.
    pub(super) fn create_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: &ReplicaConfig,
    ) -> Result<Arc<PartitionLog>, Offline> {
        let create = || {
            let log = Arc::clone(&config.log);
            PartitionLog::create(&self.directory, partition.clone(), topic_id, log)
        };
        let created = match create() {
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                self.make_way(partition)?;
                create()
            }
            created => created,
        };
        let key = (topic_id, partition.partition);
        match created {
            Ok(log) => {
                if self.uncreated().remove(&key) {
                    tracing::info!(%partition, "partition is created at last");
                }
                Ok(log)
            }
            Err(error) => {
                self.uncreated().insert(key);
                Err(Offline {
                    reason: error.to_string().into(),
                })
            }
        }
    }

    fn uncreated(&self) -> MutexGuard<'_, HashSet<PartitionKey>> {
        self.uncreated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn make_way(&self, partition: &TopicPartition) -> Result<(), Offline> {
        let name = PathBuf::from(partition.to_string());
        let moved = quarantine(self.directory.io().as_ref(), self.directory.path(), &name);
        moved.map(drop).map_err(|error| Offline {
            reason: format!("its directory is taken and cannot be moved away: {error}").into(),
        })
    }

    pub(super) fn insert(&self, replica: Arc<Replica>) {
        let key = (replica.topic_id(), replica.index());
        let mut replicas = self
            .replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        replicas.insert(key, replica);
    }

    fn remove_topic(&self, topic_id: TopicId) {
        let mut gone = self.all();
        gone.retain(|replica| replica.topic_id() == topic_id);
        let names = gone.iter().map(|replica| replica.partition());
        if let Err(error) = self.directory.forget_recovery_points(names) {
            tracing::warn!(%error, "recovery points of a deleted topic stay for now");
        }
        for replica in gone {
            let key = (topic_id, replica.index());
            self.replicas
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&key);
            self.uncreated().remove(&key);
            if let Err(error) = replica.delete() {
                // What stays is found unknown at the next start, and quarantined.
                tracing::error!(partition = %replica.partition(), %error, "deletion failed");
            }
        }
    }
}

fn changed_topic(record: &MetadataRecord) -> Option<TopicId> {
    match record {
        MetadataRecord::TopicCreated(record) => Some(record.topic_id),
        MetadataRecord::PartitionsAdded(record) => Some(record.topic_id),
        MetadataRecord::TopicConfigChanged(record) => Some(record.topic_id),
        MetadataRecord::TopicDeleted(record) => Some(record.topic_id),
        MetadataRecord::TopicDefaultsChanged(_)
        | MetadataRecord::ProducerIdsAllocated(_)
        | MetadataRecord::BrokerRegistered(_) => None,
    }
}
