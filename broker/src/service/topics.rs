//! Topics: create, delete, grow, list, describe.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName,
};

use super::{RequestContext, ServiceError, Services};
use crate::{
    config::topic::{Durability, TopicConfig, TopicConfigError},
    partition::Replica,
    quorum::{
        MetadataImage, MetadataRecord, PartitionImage, PartitionRegistration, PartitionsAdded,
        TopicCreated, TopicDeleted, TopicImage,
    },
    uuid,
};

/// The topic that Kafka's controllers keep their metadata in.
const KAFKA_METADATA_TOPIC: &str = "__cluster_metadata";

/// A topic to create.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name, as the client sent it.
    pub name: String,
    /// Partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Replicas; `None` for the broker's default.
    pub replication_factor: Option<i32>,
    /// Its own configs, under Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// A topic that was created, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; `None` when it was only checked.
    pub topic_id: Option<TopicId>,
    /// Partitions.
    pub partitions: usize,
    /// Replicas of each.
    pub replication_factor: usize,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A topic by name or by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    /// Its name, as the client sent it.
    Name(String),
    /// Its id.
    Id(TopicId),
}

/// One partition as a client needs it.
#[derive(Debug, Clone)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: PartitionIndex,
    /// Why it does not serve here; `None` while it does.
    pub error: Option<ServiceError>,
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who holds it.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync.
    pub in_sync: Vec<BrokerId>,
    /// Its log, where that was asked for and this broker holds it.
    pub log: Option<PartitionLogDescription>,
}

/// Where a partition's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLogDescription {
    /// First readable offset.
    pub log_start: Offset,
    /// Exclusive end for read_committed.
    pub last_stable: Offset,
    /// Exclusive end of what readers see.
    pub high_watermark: Offset,
    /// Exclusive end of what is on disk.
    pub flushed: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// Its segments.
    pub segments: usize,
}

/// A topic as a client needs it.
#[derive(Debug, Clone)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
}

impl Services {
    /// Creates a topic, or only checks that it could be. Returns once its partitions serve.
    ///
    /// # Errors
    /// A bad name, size or config; a limit; a name that is taken.
    ///
    /// # Cancel safety
    /// When it is dropped the topic may or may not be created.
    pub async fn create_topic(
        &self,
        _context: &RequestContext,
        topic: &NewTopic,
        validate_only: bool,
    ) -> Result<CreatedTopic, ServiceError> {
        let name = TopicName::new(&topic.name).map_err(|error| ServiceError::topic_name(&error))?;
        Self::refuse_own_topic(&name.collision_key(), "the first group creates it")?;
        refuse_metadata_topic(&name)?;
        let image = self.quorum.image();
        check_name_is_free(&name, &image)?;
        let partitions = self.partitions_wanted(topic.partitions)?;
        let replication_factor = self.replication_factor_wanted(topic, &image)?;
        self.check_topic_limits(&image, partitions)?;
        let config = self.topic_config(&topic.configs)?;
        let mut created = CreatedTopic {
            topic_id: None,
            partitions,
            replication_factor,
            warnings: warnings(&name, &config, replication_factor),
        };
        if validate_only {
            return Ok(created);
        }
        let topic_id = TopicId::from_bytes(uuid::random());
        let record = MetadataRecord::TopicCreated(TopicCreated {
            name,
            topic_id,
            partitions: self.registrations(0, partitions),
            configs: as_stored(&topic.configs, &config),
        });
        self.change_metadata(record).await?;
        created.warnings.extend(self.offline_warnings(topic_id));
        created.topic_id = Some(topic_id);
        Ok(created)
    }

    /// Creates a topic because a client asked for it, with the defaults of the configuration.
    ///
    /// # Errors
    /// `topics.auto_create` is off: the topic is unknown; as [`Services::create_topic`].
    ///
    /// # Cancel safety
    /// When it is dropped the topic may or may not be created.
    pub async fn auto_create_topic(
        &self,
        context: &RequestContext,
        name: &str,
    ) -> Result<(), ServiceError> {
        if !self.config.topics.auto_create {
            return self.topic_named(name).map(drop);
        }
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: None,
            replication_factor: None,
            configs: BTreeMap::new(),
        };
        match self.create_topic(context, &topic, false).await {
            // Somebody else asked for it, too.
            Err(error) if error.code == ErrorCode::TopicAlreadyExists => Ok(()),
            created => created.map(drop),
        }
    }

    /// The id of a topic.
    ///
    /// # Errors
    /// A bad name, an unknown topic.
    pub fn topic_id(&self, name: &str) -> Result<TopicId, ServiceError> {
        self.topic_named(name).map(|topic| topic.topic_id)
    }

    /// Deletes a topic, or only checks that it could be. Returns once none of its partitions serves.
    ///
    /// # Errors
    /// An unknown topic.
    ///
    /// # Cancel safety
    /// When it is dropped the topic may or may not be deleted.
    pub async fn delete_topic(
        &self,
        _context: &RequestContext,
        name: &str,
        validate_only: bool,
    ) -> Result<TopicId, ServiceError> {
        Self::refuse_own_topic(name, "it is not deleted")?;
        let topic_id = self.topic_named(name)?.topic_id;
        if !validate_only {
            let record = MetadataRecord::TopicDeleted(TopicDeleted { topic_id });
            self.change_metadata(record).await?;
        }
        Ok(topic_id)
    }

    /// Raises the number of partitions of a topic to `total`.
    ///
    /// # Errors
    /// An unknown topic; a total that is no more than there are, or above a limit.
    ///
    /// # Cancel safety
    /// When it is dropped the partitions may or may not be added.
    pub async fn create_partitions(
        &self,
        _context: &RequestContext,
        name: &str,
        total: i32,
        validate_only: bool,
    ) -> Result<(), ServiceError> {
        Self::refuse_own_topic(name, "its number of partitions is fixed")?;
        let topic = self.topic_named(name)?;
        let existing = topic.partitions.len();
        let image = self.quorum.image();
        let total = self.partitions_wanted(Some(total))?;
        if total <= existing {
            return Err(ServiceError::new(
                ErrorCode::InvalidPartitions,
                format!(
                    "topic {} with {total} partitions, expected more than the {existing} it has",
                    topic.name
                ),
                "partitions are added and never removed: ask for more, or create another topic \
                 with fewer and copy the records into it",
            ));
        }
        self.check_partitions_max(&image, total - existing)?;
        if validate_only {
            return Ok(());
        }
        let record = MetadataRecord::PartitionsAdded(PartitionsAdded {
            topic_id: topic.topic_id,
            partitions: self.registrations(existing, total - existing),
        });
        self.change_metadata(record).await
    }

    /// All topics in order of name.
    #[must_use]
    pub fn list_topics(
        &self,
        _context: &RequestContext,
        include_internal: bool,
    ) -> Vec<Arc<TopicImage>> {
        let image = self.quorum.image();
        let topics = image.topics();
        let visible = topics.filter(|topic| include_internal || !topic.name.is_internal());
        visible.map(Arc::clone).collect()
    }

    /// What a client needs to produce to and fetch from a topic.
    ///
    /// # Errors
    /// A bad name, an unknown topic.
    pub fn describe_topic(
        &self,
        _context: &RequestContext,
        topic: &TopicRef,
        include_log: bool,
    ) -> Result<TopicDescription, ServiceError> {
        let topic = match topic {
            TopicRef::Name(name) => self.topic_named(name)?,
            TopicRef::Id(id) => {
                let image = self.quorum.image();
                let topic = image.topic_by_id(*id);
                Arc::clone(topic.ok_or_else(|| ServiceError::unknown_topic_id(*id))?)
            }
        };
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|p| self.describe_partition(&topic, p, include_log));
        Ok(TopicDescription {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        })
    }

    fn describe_partition(
        &self,
        topic: &TopicImage,
        registration: &PartitionImage,
        include_log: bool,
    ) -> PartitionDescription {
        let replica = self.replica(topic.topic_id, registration.partition);
        let described = replica.and_then(|replica| describe_log(&replica));
        let (log, error) = match described {
            Ok(log) => (include_log.then_some(log), None),
            Err(error) => (None, Some(error)),
        };
        PartitionDescription {
            partition: registration.partition,
            error,
            leader: registration.leader,
            leader_epoch: registration.leader_epoch,
            replicas: registration.replicas.clone(),
            in_sync: registration.in_sync.clone(),
            log,
        }
    }

    /// Commits one record and waits until this broker's partitions show it.
    pub(super) async fn change_metadata(&self, record: MetadataRecord) -> Result<(), ServiceError> {
        let committed = self.quorum.propose(vec![record]).await;
        let committed = committed.map_err(|error| ServiceError::propose(&error))?;
        self.partitions.applied(committed.index).await;
        Ok(())
    }

    pub(super) fn topic_named(&self, name: &str) -> Result<Arc<TopicImage>, ServiceError> {
        let name = TopicName::new(name).map_err(|error| ServiceError::topic_name(&error))?;
        let image = self.quorum.image();
        match image.topic(&name) {
            Some(topic) => Ok(Arc::clone(topic)),
            None => Err(ServiceError::unknown_topic(&name, &image)),
        }
    }

    pub(super) fn topic_config(
        &self,
        configs: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, ServiceError> {
        let merged = self.partitions.topic_defaults().with_configs(configs);
        merged.map_err(|errors| invalid_config(&errors))
    }

    fn partitions_wanted(&self, wanted: Option<i32>) -> Result<usize, ServiceError> {
        let limits = &self.config.limits;
        let default = self.config.topics.partitions;
        let found = wanted.map_or(i64::from(default), i64::from);
        let max = limits.partitions_per_topic_max;
        match usize::try_from(found) {
            Ok(count) if (1..=i64::from(max)).contains(&found) => Ok(count),
            _ => Err(ServiceError::new(
                ErrorCode::InvalidPartitions,
                format!("topic with {found} partitions, expected 1 to {max}"),
                "ask for a number in that range, or raise limits.partitions_per_topic_max",
            )),
        }
    }

    fn replication_factor_wanted(
        &self,
        topic: &NewTopic,
        image: &MetadataImage,
    ) -> Result<usize, ServiceError> {
        let default = i32::from(self.config.topics.replication_factor);
        let found = topic.replication_factor.unwrap_or(default);
        let brokers = image.brokers().len().max(1);
        match usize::try_from(found) {
            Ok(count) if (1..=brokers).contains(&count) => Ok(count),
            _ => Err(ServiceError::new(
                ErrorCode::InvalidReplicationFactor,
                match brokers {
                    1 => format!("replication factor is {found}, expected 1 on a single broker"),
                    _ => format!("replication factor is {found}, expected 1 to {brokers}"),
                },
                match topic.replication_factor {
                    None => {
                        "the request leaves it to topics.replication_factor: set that to no \
                             more than there are brokers, and restart"
                    }
                    Some(_) => {
                        "ask for no more replicas than the cluster has brokers (millstream \
                                cluster describe)"
                    }
                },
            )),
        }
    }

    fn check_topic_limits(
        &self,
        image: &MetadataImage,
        partitions: usize,
    ) -> Result<(), ServiceError> {
        let max = self.config.limits.topics_max;
        if image.topic_count() >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(ServiceError::new(
                ErrorCode::PolicyViolation,
                format!("cluster has {max} topics, which is the limit"),
                "delete topics, or raise limits.topics_max",
            ));
        }
        self.check_partitions_max(image, partitions)
    }

    fn check_partitions_max(
        &self,
        image: &MetadataImage,
        added: usize,
    ) -> Result<(), ServiceError> {
        let max = self.config.limits.partitions_max;
        let total = image.partition_count().saturating_add(added);
        if total > usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(ServiceError::new(
                ErrorCode::PolicyViolation,
                format!("cluster would have {total} partitions, at most {max} are allowed"),
                "ask for fewer, or raise limits.partitions_max",
            ));
        }
        Ok(())
    }

    /// New partitions, all on this broker.
    fn registrations(&self, first: usize, count: usize) -> Vec<PartitionRegistration> {
        let local = self.partitions.local();
        let indexes = (first..first.saturating_add(count)).filter_map(|i| i32::try_from(i).ok());
        let registration = |index| PartitionRegistration::sole(PartitionIndex(index), local);
        indexes.map(registration).collect()
    }

    fn offline_warnings(&self, topic_id: TopicId) -> Vec<String> {
        let replicas = self.partitions.all().into_iter();
        let offline = replicas
            .filter(|replica| replica.topic_id() == topic_id)
            .filter_map(|replica| Some((replica.partition().clone(), replica.offline_reason()?)));
        offline
            .map(|(partition, reason)| format!("{partition} is offline: {}", reason.reason))
            .collect()
    }
}

/// The topic's own configs in the form in which their values are printed.
fn as_stored(
    configs: &BTreeMap<String, String>,
    effective: &TopicConfig,
) -> BTreeMap<String, String> {
    let stored = |(name, value): (&String, &String)| {
        let value = effective.value(name).unwrap_or(value);
        (name.clone(), value.to_owned())
    };
    configs.iter().map(stored).collect()
}

/// Kafka creates its metadata log for nobody, and says so in this way.
fn refuse_metadata_topic(name: &TopicName) -> Result<(), ServiceError> {
    if name.as_str() != KAFKA_METADATA_TOPIC {
        return Ok(());
    }
    Err(ServiceError::new(
        ErrorCode::TopicAuthorizationFailed,
        format!("topic name {name} is reserved for the metadata log of Kafka"),
        "choose another name",
    ))
}

fn check_name_is_free(name: &TopicName, image: &MetadataImage) -> Result<(), ServiceError> {
    match image.topic_colliding(name) {
        None => Ok(()),
        Some(existing) if existing.name == *name => Err(ServiceError::new(
            ErrorCode::TopicAlreadyExists,
            format!("topic {name} exists already"),
            format!("use it (millstream topics describe {name}), or choose another name"),
        )),
        Some(existing) => Err(ServiceError::new(
            ErrorCode::InvalidTopicException,
            format!(
                "topic name {name} collides with topic {}: '.' and '_' count as equal",
                existing.name
            ),
            "choose another name",
        )),
    }
}

pub(super) fn invalid_config(errors: &[TopicConfigError]) -> ServiceError {
    let message: Vec<String> = errors.iter().map(ToString::to_string).collect();
    ServiceError::new(
        ErrorCode::InvalidConfig,
        message.join("; "),
        "millstream configs describe shows every key with its value and what it takes",
    )
}

fn warnings(name: &TopicName, config: &TopicConfig, replication_factor: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.durability == Durability::Replicated && replication_factor == 1 {
        warnings.push(format!(
            "topic {name} has one replica and millstream.durability=replicated: a power cut can \
             take back acknowledged records of the last log.flush_interval"
        ));
    }
    let in_sync_min = usize::try_from(config.min_insync_replicas).unwrap_or(usize::MAX);
    if in_sync_min > replication_factor {
        warnings.push(format!(
            "topic {name} has {replication_factor} replica(s) and \
             min.insync.replicas={in_sync_min}: every produce with acks=all will be refused"
        ));
    }
    warnings
}

fn describe_log(replica: &Replica) -> Result<PartitionLogDescription, ServiceError> {
    let refused = |error| ServiceError::of_partition(replica.partition(), &error);
    let log = replica.log().map_err(refused)?;
    let positions = log.positions();
    let offsets = replica.offsets_at(&positions);
    Ok(PartitionLogDescription {
        log_start: offsets.log_start,
        last_stable: offsets.last_stable,
        high_watermark: offsets.high_watermark,
        flushed: positions.flushed,
        log_end: positions.log_end,
        size_bytes: log.size_bytes(),
        segments: log.segment_count(),
    })
}
