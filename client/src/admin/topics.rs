//! Topics: create, delete, list, describe, add partitions.

use std::collections::BTreeMap;

use millstream_proto::TopicId;

use super::Admin;
use crate::error::{Error, Result};

/// A topic to create.
///
/// ```
/// use millstream::NewTopic;
///
/// let topic = NewTopic::new("flights").partitions(8).config("retention.ms", "-1");
/// # drop(topic);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replication_factor: i32,
    configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 0,
            replication_factor: 0,
            configs: BTreeMap::new(),
        }
    }

    /// Number of partitions.
    pub const fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Number of replicas.
    pub const fn replication_factor(mut self, replicas: i32) -> Self {
        self.replication_factor = replicas;
        self
    }

    /// Sets a configuration key under Kafka's name.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }
}

/// A topic that was created, or with `validate_only` could be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id; `None` with `validate_only`.
    pub topic_id: Option<TopicId>,
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i32,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A topic as [`Admin::list_topics`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i32,
    /// Whether it belongs to the cluster itself.
    pub internal: bool,
}

/// A topic as [`Admin::describe_topics`] shows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: TopicId,
    /// Whether it belongs to the cluster itself.
    pub internal: bool,
    /// Its partitions in order.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition of a topic.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// The partition.
    pub partition: i32,
    /// Why it is offline; `None` while it serves.
    pub error: Option<Error>,
    /// Who leads it; `None` while nobody does.
    pub leader: Option<Leader>,
    /// Broker ids of its replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of its in-sync replicas.
    pub in_sync_replicas: Vec<i32>,
    /// Offsets and sizes, where asked for.
    pub log: Option<PartitionLog>,
}

/// Who leads a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// The broker.
    pub broker_id: i32,
    /// The leadership.
    pub leader_epoch: i32,
    /// `host:port` of its native listener; empty while unknown.
    pub address: String,
}

/// Where the log of a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionLog {
    /// First offset there is.
    pub log_start_offset: i64,
    /// End of what read_committed shows.
    pub last_stable_offset: i64,
    /// End of what the in-sync set has.
    pub high_watermark: i64,
    /// End of what is on the leader's disk.
    pub flushed_offset: i64,
    /// Offset that the next record gets.
    pub log_end_offset: i64,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// Number of its segments.
    pub segments: u32,
}

impl Admin {
    /// Creates one topic.
    ///
    /// # Errors
    /// What kept the topic from being created.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<CreatedTopic> {
        let _ = topic;
        todo!()
    }

    /// Creates topics, or with `validate_only` checks whether they could be. One result per topic,
    /// in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<Vec<(String, Result<CreatedTopic>)>> {
        let _ = (topics, validate_only);
        todo!()
    }

    /// Deletes topics, or with `validate_only` checks whether they could be. One result per name, in
    /// order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn delete_topics(
        &self,
        names: &[&str],
        validate_only: bool,
    ) -> Result<Vec<(String, Result<()>)>> {
        let _ = (names, validate_only);
        todo!()
    }

    /// Raises the number of a topic's partitions to `total`, or with `validate_only` checks whether
    /// that could be.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn create_partitions(
        &self,
        name: &str,
        total: i32,
        validate_only: bool,
    ) -> Result<()> {
        let _ = (name, total, validate_only);
        todo!()
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn list_topics(&self, include_internal: bool) -> Result<Vec<TopicListing>> {
        let _ = include_internal;
        todo!()
    }

    /// Describes topics, with `include_log` also offsets and sizes of their partitions. One result
    /// per name, in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn describe_topics(
        &self,
        names: &[&str],
        include_log: bool,
    ) -> Result<Vec<(String, Result<TopicDescription>)>> {
        let _ = (names, include_log);
        todo!()
    }
}
