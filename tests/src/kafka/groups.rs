//! What a [`Kafka`] client asks about topics and groups: ids, committed offsets, records of several
//! partitions.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, GroupId, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        metadata_request::MetadataRequestTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::OffsetFetchResponseTopics,
    },
    protocol::StrBytes,
};
use millstream_proto::{PartitionIndex, TopicName, TopicPartition};
use uuid::Uuid;

use super::{FETCH_VERSION, Kafka, NO_SESSION, error_name, topic_name};

const METADATA_VERSION: i16 = 12;
/// The first version that says a member's epoch (KIP-848), where others say a generation.
const OFFSET_COMMIT_VERSION: i16 = 9;
const OFFSET_FETCH_VERSION: i16 = 9;
/// Of no member: an epoch.
const NOBODY: i32 = -1;
/// Bytes of one partition in an answer.
const PARTITION_BYTES_MAX: i32 = 256 << 10;

/// A member of a group, as requests name it.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Its group.
    pub group: String,
    /// Empty where it has none yet.
    pub member_id: String,
    /// Its generation or member epoch.
    pub epoch: i32,
    /// Name of a static member.
    pub instance_id: Option<String>,
}

/// A topic as metadata describes it.
#[derive(Debug, Clone)]
pub struct DescribedTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Number of its partitions.
    pub partitions: i32,
}

/// How long the broker may wait for records, and for how many bytes.
#[derive(Debug, Clone, Copy)]
pub struct FetchWait {
    /// How long.
    pub time: Duration,
    /// For how many.
    pub bytes: i32,
}

/// A text on the wire.
#[must_use]
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A group's id on the wire.
#[must_use]
pub fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// Partitions by topic, with what belongs to each.
fn by_topic<'a, T>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<&'a str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&str, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        let topic = topics.entry(partition.topic.as_str()).or_default();
        topic.push((partition.partition.0, value));
    }
    topics
}

fn place(topic: &str, partition: i32) -> Result<TopicPartition> {
    Ok(TopicPartition {
        topic: TopicName::new(topic)?,
        partition: PartitionIndex(partition),
    })
}

impl Kafka {
    /// Describes topics.
    ///
    /// # Errors
    /// As [`Kafka::call`]; a topic that does not exist.
    pub async fn describe_topics(&mut self, names: &[String]) -> Result<Vec<DescribedTopic>> {
        let named = names
            .iter()
            .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(named.collect()))
            .with_allow_auto_topic_creation(false);
        let response = self.call(METADATA_VERSION, &request).await?;
        let mut found = Vec::with_capacity(names.len());
        for topic in response.topics {
            ensure!(topic.error_code == 0, "{}", error_name(topic.error_code));
            found.push(DescribedTopic {
                name: topic.name.context("a topic has a name")?.to_string(),
                id: topic.topic_id,
                partitions: i32::try_from(topic.partitions.len())?,
            });
        }
        Ok(found)
    }

    /// Commits offsets; answers one error or none for each, in the same order.
    ///
    /// # Errors
    /// As [`Kafka::call`]; an answer that leaves a partition out.
    pub async fn commit(
        &mut self,
        member: &Identity,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Vec<Option<ResponseError>>> {
        let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| {
            let partitions = offsets.into_iter().map(|(partition, offset)| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(partition)
                    .with_committed_offset(*offset)
            });
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(partitions.collect())
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&member.group))
            .with_generation_id_or_member_epoch(member.epoch)
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_topics(topics.collect());
        let response = self.call(OFFSET_COMMIT_VERSION, &request).await?;
        let mut codes = BTreeMap::new();
        for topic in response.topics {
            for answered in topic.partitions {
                let partition = place(&topic.name, answered.partition_index)?;
                codes.insert(partition, answered.error_code);
            }
        }
        let code = |partition| codes.get(partition).context("one result a partition");
        let results = offsets.keys().map(|partition| Ok(error(*code(partition)?)));
        results.collect()
    }

    /// What a group has committed of some partitions; `None` for nothing. `reader` is nobody or one of
    /// its members, which has to be of its present epoch.
    ///
    /// # Errors
    /// As [`Kafka::call`]; inside, the refusal of the whole request or of a partition.
    pub async fn committed(
        &mut self,
        group: &str,
        reader: Option<&Identity>,
        partitions: &[TopicPartition],
    ) -> Result<Result<BTreeMap<TopicPartition, Option<i64>>, ResponseError>> {
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())));
        let topics = topics.into_iter().map(|(topic, partitions)| {
            let indexes = partitions.into_iter().map(|(partition, ())| partition);
            OffsetFetchRequestTopics::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(indexes.collect())
        });
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_id(reader.map(|reader| text(&reader.member_id)))
            .with_member_epoch(reader.map_or(NOBODY, |reader| reader.epoch))
            .with_topics(Some(topics.collect()));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]);
        let response = self.call(OFFSET_FETCH_VERSION, &request).await?;
        let answered = response.groups.into_iter().next();
        let answered = answered.context("one answer a group")?;
        match error(answered.error_code) {
            Some(refusal) => Ok(Err(refusal)),
            None => offsets_of(answered.topics),
        }
    }

    /// Fetches from some offsets, without a session; returns what there is of each partition.
    ///
    /// # Errors
    /// As [`Kafka::call`]; an error of the whole request.
    pub async fn fetch_all(
        &mut self,
        offsets: &BTreeMap<TopicPartition, i64>,
        wait: FetchWait,
    ) -> Result<Vec<(TopicPartition, PartitionData)>> {
        let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| {
            let partitions = offsets.into_iter().map(|(partition, offset)| {
                FetchPartition::default()
                    .with_partition(partition)
                    .with_fetch_offset(*offset)
                    .with_partition_max_bytes(PARTITION_BYTES_MAX)
            });
            FetchTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(partitions.collect())
        });
        let (session_id, session_epoch) = NO_SESSION;
        let request = FetchRequest::default()
            .with_min_bytes(wait.bytes)
            .with_max_wait_ms(i32::try_from(wait.time.as_millis())?)
            .with_session_id(session_id)
            .with_session_epoch(session_epoch)
            .with_topics(topics.collect());
        let response = self.call(FETCH_VERSION, &request).await?;
        let code = response.error_code;
        ensure!(code == 0, "{}", error_name(code));
        let mut found = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                found.push((place(&topic.topic, data.partition_index)?, data));
            }
        }
        Ok(found)
    }
}

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

fn offsets_of(
    topics: Vec<OffsetFetchResponseTopics>,
) -> Result<Result<BTreeMap<TopicPartition, Option<i64>>, ResponseError>> {
    let mut found = BTreeMap::new();
    for topic in topics {
        for answered in topic.partitions {
            if let Some(refusal) = error(answered.error_code) {
                return Ok(Err(refusal));
            }
            let offset = answered.committed_offset;
            let partition = place(&topic.name, answered.partition_index)?;
            found.insert(partition, (offset >= 0).then_some(offset));
        }
    }
    Ok(Ok(found))
}
