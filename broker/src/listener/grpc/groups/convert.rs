//! Messages of `GroupService` to what the service takes, and back.

use bytes::Bytes;
use millstream_proto::{TopicId, grpc::v1};

use super::wire;
use crate::service::{
    ServiceError,
    groups::{
        Assignment, GroupType, OffsetReader, PartitionId,
        admin::GroupListing,
        describe::{GroupDescription, GroupMember, GroupPartition, Rebalance},
        members::{Joining, Subscription, TopicPartitions},
        offsets::{AskedPartition, CommitRequest, FoundCommit, NewCommit},
    },
};

/// Stands for "none" and "unknown" in offsets and lags.
const UNKNOWN: i64 = -1;

pub(super) fn joining(join: v1::MemberJoin, client_host: String) -> Result<Joining, ServiceError> {
    Ok(Joining {
        owned: assignment(&join.owned)?,
        group_id: join.group_id,
        member_id: join.member_id,
        member_epoch: join.member_epoch,
        instance_id: not_empty(join.instance_id),
        rack_id: not_empty(join.rack_id),
        client_id: join.client_id,
        client_host,
        session_timeout_ms: join.session_timeout_ms,
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        subscription: subscription(join.subscription.unwrap_or_default()),
        assignor: join.assignor,
    })
}

pub(super) fn subscription(subscription: v1::MemberSubscription) -> Subscription {
    Subscription {
        topics: subscription.topics,
        topic_regex: Some(subscription.topic_regex),
    }
}

pub(super) fn assignment(topics: &[v1::TopicPartitions]) -> Result<Assignment, ServiceError> {
    let mut assignment = Assignment::new();
    for topic in topics {
        let topic_id = wire::topic_id(&topic.topic_id)?;
        let partitions = topic.partitions.iter();
        assignment.extend(partitions.map(|partition| PartitionId::new(topic_id, *partition)));
    }
    Ok(assignment)
}

pub(super) fn topic_partitions(topics: Vec<TopicPartitions>) -> Vec<v1::TopicPartitions> {
    let to_wire = |topic: TopicPartitions| v1::TopicPartitions {
        topic_id: id_bytes(topic.topic_id),
        topic: topic.topic,
        partitions: topic.partitions,
    };
    topics.into_iter().map(to_wire).collect()
}

pub(super) fn commits(request: v1::CommitOffsetsRequest) -> CommitRequest {
    let commit = |offset: v1::OffsetCommit| NewCommit {
        topic_id: wire::topic_id(&offset.topic_id),
        partition: offset.partition,
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata,
    };
    CommitRequest {
        group_id: request.group_id,
        member_id: request.member_id,
        instance_id: None,
        member_epoch: request.member_epoch,
        retention_ms: None,
        commits: request.offsets.into_iter().map(commit).collect(),
    }
}

/// Without an id or with a negative epoch it is somebody who is no member.
pub(super) fn reader(member_id: String, member_epoch: i32) -> OffsetReader {
    if member_id.is_empty() || member_epoch < 0 {
        OffsetReader::Anybody
    } else {
        OffsetReader::Member(member_id.into(), member_epoch)
    }
}

pub(super) fn asked(topic: v1::TopicPartitions) -> Vec<AskedPartition> {
    let topic_id = if topic.topic_id.is_empty() {
        Ok(None)
    } else {
        wire::topic_id(&topic.topic_id).map(Some)
    };
    let asked = |partition| AskedPartition {
        topic_id: topic_id.clone(),
        topic: topic.topic.clone(),
        partition,
    };
    topic.partitions.into_iter().map(asked).collect()
}

pub(super) fn found_commit(found: FoundCommit) -> v1::CommittedOffset {
    let (committed, error) = match found.committed {
        Ok(committed) => (committed, None),
        Err(error) => (None, Some(wire::error(error))),
    };
    let mut answer = v1::CommittedOffset {
        topic_id: found.topic_id.map(id_bytes).unwrap_or_default(),
        topic: found.topic,
        partition: found.partition,
        offset: UNKNOWN,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp_ms: 0,
        error,
    };
    if let Some(committed) = committed {
        answer.offset = committed.offset;
        answer.leader_epoch = committed.leader_epoch;
        answer.metadata = committed.metadata;
        answer.commit_timestamp_ms = committed.commit_timestamp_ms;
    }
    answer
}

/// Kinds that this version does not know ask for nothing that there is.
pub(super) fn group_types(request: &v1::ListGroupsRequest) -> Vec<GroupType> {
    let known = |group_type| match group_type {
        v1::GroupType::Unspecified => None,
        v1::GroupType::Simple => Some(GroupType::Simple),
        v1::GroupType::Classic => Some(GroupType::Classic),
        v1::GroupType::Consumer => Some(GroupType::Consumer),
    };
    request.types().filter_map(known).collect()
}

const fn group_type(group_type: GroupType) -> v1::GroupType {
    match group_type {
        GroupType::Simple => v1::GroupType::Simple,
        GroupType::Classic => v1::GroupType::Classic,
        GroupType::Consumer => v1::GroupType::Consumer,
    }
}

pub(super) fn listing(group: &GroupListing) -> v1::GroupListing {
    v1::GroupListing {
        group_id: group.group_id.to_string(),
        r#type: group_type(group.group_type).into(),
        state: group.state.to_owned(),
        members: count(group.members),
    }
}

pub(super) fn description(group: GroupDescription) -> v1::GroupDescription {
    let rebalance = |rebalance: Rebalance| v1::Rebalance {
        timestamp_ms: rebalance.timestamp_ms,
        group_epoch: rebalance.group_epoch,
        reason: rebalance.reason.to_string(),
        members: u32::try_from(rebalance.members).unwrap_or(0),
    };
    v1::GroupDescription {
        group_id: group.listing.group_id.to_string(),
        error: None,
        r#type: group_type(group.listing.group_type).into(),
        state: group.listing.state.to_owned(),
        group_epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        assignor: group.assignor.to_string(),
        coordinator_broker_id: group.coordinator.0,
        members: group.members.into_iter().map(member).collect(),
        partitions: group.partitions.into_iter().map(partition).collect(),
        rebalances: group.rebalances.into_iter().map(rebalance).collect(),
    }
}

fn member(member: GroupMember) -> v1::GroupMember {
    let description = member.description;
    v1::GroupMember {
        member_id: description.member_id.to_string(),
        instance_id: description.instance_id.unwrap_or_default(),
        client_id: description.client_id,
        client_host: description.client_host,
        rack_id: description.rack_id.unwrap_or_default(),
        member_epoch: description.member_epoch,
        subscription: Some(v1::MemberSubscription {
            topics: description.topics,
            topic_regex: description.topic_regex.unwrap_or_default(),
        }),
        assigned: topic_partitions(member.assigned),
        target: topic_partitions(member.target),
        state: description.state.to_owned(),
    }
}

fn partition(partition: GroupPartition) -> v1::GroupPartition {
    let lag = partition.lag().unwrap_or(UNKNOWN);
    let behind = partition.behind;
    let lag_ms = behind.and_then(|behind| i64::try_from(behind.ms).ok());
    let log = partition.log;
    let mut answer = v1::GroupPartition {
        topic_id: partition.topic_id.map(id_bytes).unwrap_or_default(),
        topic: partition.topic.to_string(),
        partition: partition.partition,
        committed_offset: UNKNOWN,
        log_start_offset: log.map_or(UNKNOWN, |log| log.log_start.get()),
        log_end_offset: log.map_or(UNKNOWN, |log| log.high_watermark.get()),
        lag,
        lag_ms: lag_ms.unwrap_or(UNKNOWN),
        lag_ms_is_minimum: behind.is_some_and(|behind| behind.is_minimum),
        metadata: String::new(),
        commit_timestamp_ms: 0,
        member_id: partition.owner.map(|id| id.to_string()).unwrap_or_default(),
    };
    if let Some(committed) = partition.committed {
        answer.committed_offset = committed.offset;
        answer.metadata = committed.metadata;
        answer.commit_timestamp_ms = committed.commit_timestamp_ms;
    }
    answer
}

pub(super) fn deleted(
    offsets: Vec<v1::OffsetDelete>,
    results: Vec<Result<(), ServiceError>>,
) -> Vec<v1::OffsetDeleteResult> {
    let result =
        |(offset, result): (v1::OffsetDelete, Result<(), ServiceError>)| v1::OffsetDeleteResult {
            topic: offset.topic,
            partition: offset.partition,
            error: result.err().map(wire::error),
        };
    offsets.into_iter().zip(results).map(result).collect()
}

fn id_bytes(topic_id: TopicId) -> Bytes {
    Bytes::copy_from_slice(topic_id.as_bytes())
}

fn not_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
