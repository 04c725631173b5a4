//! Topics: create, delete, list, describe, add partitions.
//!
//! The types are the broker's answers in the client's words: ids, partitions with their leaders, and
//! on request where each log stands. Calls for several topics return a result for each; the last
//! impl block is the calls, what is before it the types and how they are read.

use std::collections::BTreeMap;

use millstream_proto::{
    TopicId,
    grpc::v1::{self, topic_service_client::TopicServiceClient},
};
use tonic::transport::Channel;

use super::{Admin, pair, refusal, topic_id};
use crate::{
    connection::{ANSWER_BYTES_MAX, Broker, Repeat, join_address},
    error::{Error, Result},
};

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

impl NewTopic {
    fn into_wire(self) -> v1::NewTopic {
        v1::NewTopic {
            name: self.name,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            configs: self.configs.into_iter().collect(),
        }
    }
}

impl CreatedTopic {
    fn from_wire(topic: v1::CreateTopicResult, broker: &str) -> Result<Self> {
        refusal(topic.error)?;
        let id = &topic.topic_id;
        let topic_id = if id.is_empty() {
            None
        } else {
            Some(topic_id(id, broker)?)
        };
        Ok(Self {
            name: topic.name,
            topic_id,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            warnings: topic.warnings,
        })
    }
}

impl TopicDescription {
    fn from_wire(topic: v1::TopicDescription, broker: &str) -> Result<Self> {
        refusal(topic.error)?;
        Ok(Self {
            name: topic.name,
            topic_id: topic_id(&topic.topic_id, broker)?,
            internal: topic.internal,
            partitions: topic
                .partitions
                .into_iter()
                .map(PartitionDescription::from_wire)
                .collect(),
        })
    }
}

impl PartitionDescription {
    fn from_wire(partition: v1::PartitionDescription) -> Self {
        Self {
            partition: partition.partition,
            error: partition.error.map(Error::from_wire),
            leader: partition.leader.map(|leader| Leader {
                broker_id: leader.broker_id,
                leader_epoch: leader.leader_epoch,
                address: join_address(&leader.host, leader.port).unwrap_or_default(),
            }),
            replicas: partition.replicas,
            in_sync_replicas: partition.in_sync_replicas,
            log: partition.log.map(|log| PartitionLog {
                log_start_offset: log.log_start_offset,
                last_stable_offset: log.last_stable_offset,
                high_watermark: log.high_watermark,
                flushed_offset: log.flushed_offset,
                log_end_offset: log.log_end_offset,
                size_bytes: log.size_bytes,
                segments: log.segments,
            }),
        }
    }
}

fn client(broker: &Broker) -> TopicServiceClient<Channel> {
    TopicServiceClient::new(broker.admin.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl Admin {
    /// Creates one topic.
    ///
    /// # Errors
    /// What kept the topic from being created.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the topic created or not.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<CreatedTopic> {
        let results = self.create_topics(vec![topic], false).await?;
        let mut results = results.into_iter().map(|(_, result)| result);
        results
            .next()
            .unwrap_or_else(|| Err(Error::config("topics", "none", "one topic")))
    }

    /// Creates topics, or with `validate_only` checks whether they could be. One result per topic,
    /// in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each topic created or not.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<Vec<(String, Result<CreatedTopic>)>> {
        let names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
        let topics = topics.into_iter().map(NewTopic::into_wire).collect();
        let request = v1::CreateTopicsRequest {
            topics,
            validate_only,
        };
        let (answer, broker) = self
            .ask("creating topics", Repeat::WhileUnsent, |broker| {
                let (mut client, request) = (client(&broker), request.clone());
                async move { client.create_topics(request).await }
            })
            .await?;
        pair(names.into_iter(), answer.results, &broker, |topic| {
            CreatedTopic::from_wire(topic, &broker)
        })
    }

    /// Deletes topics, or with `validate_only` checks whether they could be. One result per name, in
    /// order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each topic deleted or not.
    pub async fn delete_topics(
        &self,
        names: &[&str],
        validate_only: bool,
    ) -> Result<Vec<(String, Result<()>)>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let request = v1::DeleteTopicsRequest {
            names: names.clone(),
            validate_only,
        };
        let (answer, broker) = self
            .ask("deleting topics", Repeat::WhileUnsent, |broker| {
                let (mut client, request) = (client(&broker), request.clone());
                async move { client.delete_topics(request).await }
            })
            .await?;
        pair(names.into_iter(), answer.results, &broker, |topic| {
            refusal(topic.error)
        })
    }

    /// Raises the number of a topic's partitions to `total`, or with `validate_only` checks whether
    /// that could be.
    ///
    /// # Errors
    /// What kept it from being done.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all of the partitions added, or none.
    pub async fn create_partitions(
        &self,
        name: &str,
        total: i32,
        validate_only: bool,
    ) -> Result<()> {
        let request = v1::CreatePartitionsRequest {
            name: name.to_owned(),
            partitions: total,
            validate_only,
        };
        let (answer, _) = self
            .ask("creating partitions", Repeat::WhileUnsent, |broker| {
                let (mut client, request) = (client(&broker), request.clone());
                async move { client.create_partitions(request).await }
            })
            .await?;
        self.connection.metadata.remove(name);
        refusal(answer.error)
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn list_topics(&self, include_internal: bool) -> Result<Vec<TopicListing>> {
        let (answer, broker) = self
            .ask("listing topics", Repeat::Always, |broker| {
                let mut client = client(&broker);
                async move {
                    client
                        .list_topics(v1::ListTopicsRequest { include_internal })
                        .await
                }
            })
            .await?;
        let listing = |topic: v1::TopicListing| {
            Ok(TopicListing {
                topic_id: topic_id(&topic.topic_id, &broker)?,
                name: topic.name,
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                internal: topic.internal,
            })
        };
        answer.topics.into_iter().map(listing).collect()
    }

    /// Describes topics, with `include_log` also offsets and sizes of their partitions. One result
    /// per name, in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn describe_topics(
        &self,
        names: &[&str],
        include_log: bool,
    ) -> Result<Vec<(String, Result<TopicDescription>)>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let request = v1::DescribeTopicsRequest {
            names: names.clone(),
            include_log,
            ..v1::DescribeTopicsRequest::default()
        };
        let (answer, broker) = self
            .ask("describing topics", Repeat::Always, |broker| {
                let (mut client, request) = (client(&broker), request.clone());
                async move { client.describe_topics(request).await }
            })
            .await?;
        pair(names.into_iter(), answer.topics, &broker, |topic| {
            TopicDescription::from_wire(topic, &broker)
        })
    }
}
