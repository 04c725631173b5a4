//! OffsetCommit and OffsetFetch.

use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::{
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
        TopicName,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_request::{OffsetFetchRequestTopic, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, TopicId};

use super::super::client::Client;
use crate::service::{
    ServiceError,
    groups::{
        OffsetReader,
        offsets::{AskedPartition, CommitRequest, FoundCommit, NewCommit},
    },
};

/// Stands for the retention of the broker.
const BY_DEFAULT: i64 = -1;
/// The first version of OffsetFetch whose answer has an error of the whole group.
const GROUP_ERROR: i16 = 2;
/// The first version of OffsetFetch that asks for several groups.
const SEVERAL_GROUPS: i16 = 8;

pub(in super::super) async fn offset_commit(
    client: Client,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut commits = Vec::new();
    for topic in &request.topics {
        let topic_id = client.services().topic_id(&topic.name);
        let of_topic = topic.partitions.iter();
        commits.extend(of_topic.map(|partition| new_commit(topic_id.clone(), partition)));
    }
    let asked = CommitRequest {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
        member_epoch: request.generation_id_or_member_epoch,
        retention_ms: Some(request.retention_time_ms).filter(|ms| *ms != BY_DEFAULT),
        commits,
    };
    let context = client.context();
    let results = match client.services().commit_offsets(&context, asked).await {
        Ok(committing) => committing.committed().await,
        Err(error) => Err(error),
    };
    let mut results = match results {
        Ok(results) => results.into_iter(),
        Err(error) => {
            let count = request.topics.iter().map(|topic| topic.partitions.len());
            vec![Err(error); count.sum()].into_iter()
        }
    };
    let mut answer = |partition: &OffsetCommitRequestPartition| {
        let code = match results.next() {
            Some(Err(error)) => error.code,
            _ => ErrorCode::None,
        };
        OffsetCommitResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(code.number())
    };
    let topics = request.topics.into_iter().map(|topic| {
        OffsetCommitResponseTopic::default()
            .with_partitions(topic.partitions.iter().map(&mut answer).collect())
            .with_name(topic.name)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn new_commit(
    topic_id: Result<TopicId, ServiceError>,
    partition: &OffsetCommitRequestPartition,
) -> NewCommit {
    let metadata = partition.committed_metadata.as_ref();
    NewCommit {
        topic_id,
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: metadata.map(ToString::to_string).unwrap_or_default(),
    }
}

pub(in super::super) async fn offset_fetch(
    client: Client,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if client.version >= SEVERAL_GROUPS {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let reader = match &group.member_id {
                Some(member_id) if group.member_epoch >= 0 => {
                    OffsetReader::Member(Arc::from(&**member_id), group.member_epoch)
                }
                _ => OffsetReader::Anybody,
            };
            let found = fetch(&client, &group.group_id, &reader, group.topics).await;
            let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
            groups.push(match found {
                Ok(found) => answer.with_topics(by_topic(found).map(topics_answer).collect()),
                Err(error) => answer.with_error_code(error.code.number()),
            });
        }
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name.clone())
                .with_partition_indexes(topic.partition_indexes.clone())
        });
        topics.collect()
    });
    let reader = OffsetReader::Anybody;
    match fetch(&client, &request.group_id, &reader, topics).await {
        Ok(found) => {
            OffsetFetchResponse::default().with_topics(by_topic(found).map(topic_answer).collect())
        }
        Err(error) => {
            let asked = request.topics.unwrap_or_default();
            group_refused(client.version, asked, error.code)
        }
    }
}

/// Refuses all that was asked for; below the version that has a place for it, partition by partition.
fn group_refused(
    version: i16,
    asked: Vec<OffsetFetchRequestTopic>,
    error: ErrorCode,
) -> OffsetFetchResponse {
    if version >= GROUP_ERROR {
        return OffsetFetchResponse::default().with_error_code(error.number());
    }
    let topics = asked.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.into_iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition)
                .with_committed_offset(-1)
                .with_error_code(error.number())
        });
        OffsetFetchResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

async fn fetch(
    client: &Client,
    group_id: &str,
    reader: &OffsetReader,
    topics: Option<Vec<OffsetFetchRequestTopics>>,
) -> Result<Vec<FoundCommit>, ServiceError> {
    let is_for_none = topics.as_ref().is_some_and(Vec::is_empty);
    if is_for_none {
        return Ok(Vec::new());
    }
    let asked = topics.unwrap_or_default().into_iter().flat_map(|topic| {
        let name = topic.name.to_string();
        let partitions = topic.partition_indexes.into_iter();
        partitions.map(move |partition| AskedPartition {
            topic_id: Ok(None),
            topic: name.clone(),
            partition,
        })
    });
    let (services, context) = (client.services(), client.context());
    services
        .fetch_offsets(&context, group_id, reader, asked.collect())
        .await
}

fn by_topic(found: Vec<FoundCommit>) -> impl Iterator<Item = (String, Vec<FoundCommit>)> {
    let mut topics: BTreeMap<String, Vec<FoundCommit>> = BTreeMap::new();
    for commit in found {
        topics.entry(commit.topic.clone()).or_default().push(commit);
    }
    topics.into_iter()
}

fn topic_name(name: String) -> TopicName {
    TopicName(StrBytes::from_string(name))
}

/// Offset, leader epoch, metadata and error of a partition.
fn values(found: &FoundCommit) -> (i64, i32, Option<StrBytes>, i16) {
    match &found.committed {
        Ok(Some(committed)) => {
            let metadata = StrBytes::from_string(committed.metadata.clone());
            (committed.offset, committed.leader_epoch, Some(metadata), 0)
        }
        Ok(None) => (-1, -1, Some(StrBytes::default()), 0),
        Err(error) => (-1, -1, Some(StrBytes::default()), error.code.number()),
    }
}

fn topics_answer((name, found): (String, Vec<FoundCommit>)) -> OffsetFetchResponseTopics {
    let partitions = found.iter().map(|found| {
        let (offset, leader_epoch, metadata, error) = values(found);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(found.partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(leader_epoch)
            .with_metadata(metadata)
            .with_error_code(error)
    });
    OffsetFetchResponseTopics::default()
        .with_partitions(partitions.collect())
        .with_name(topic_name(name))
}

fn topic_answer((name, found): (String, Vec<FoundCommit>)) -> OffsetFetchResponseTopic {
    let partitions = found.iter().map(|found| {
        let (offset, leader_epoch, metadata, error) = values(found);
        OffsetFetchResponsePartition::default()
            .with_partition_index(found.partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(leader_epoch)
            .with_metadata(metadata)
            .with_error_code(error)
    });
    OffsetFetchResponseTopic::default()
        .with_partitions(partitions.collect())
        .with_name(topic_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(version: i16) -> OffsetFetchResponse {
        let asked = OffsetFetchRequestTopic::default()
            .with_name(topic_name("t".to_owned()))
            .with_partition_indexes(vec![0, 3]);
        group_refused(version, vec![asked], ErrorCode::NotCoordinator)
    }

    #[test]
    fn a_group_that_is_refused_is_so_in_each_partition_before_version_2() {
        let error = ErrorCode::NotCoordinator.number();
        let response = refused(1);
        assert_eq!(response.error_code, 0, "version 1 has no place for it");
        assert_eq!(&*response.topics[0].name.0, "t");
        let partitions = response.topics[0].partitions.iter();
        let found: Vec<_> = partitions
            .map(|found| {
                (
                    found.partition_index,
                    found.committed_offset,
                    found.error_code,
                )
            })
            .collect();
        assert_eq!(found, [(0, -1, error), (3, -1, error)]);
    }

    #[test]
    fn a_group_that_is_refused_is_so_as_a_whole_from_version_2() {
        let response = refused(2);
        assert_eq!(response.error_code, ErrorCode::NotCoordinator.number());
        assert!(response.topics.is_empty());
    }
}
