//! Requests about groups: each has a group of its own.

use std::iter;

use anyhow::{Result, ensure};
use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
        DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
        JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
        OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
        sync_group_request::SyncGroupRequestAssignment,
    },
};
use millstream_tests::{
    Kafka,
    kafka::{error_name, group_id, text, topic_name},
};

use super::{Scene, TOPIC};

/// The first versions with which a request looks otherwise.
const SEVERAL_KEYS: i16 = 4;
const SEVERAL_GROUPS: i16 = 8;
const SEVERAL_LEAVE: i16 = 3;
/// The first version of JoinGroup that wants a member to have an id (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;
/// Versions of the requests that come before the one that is meant.
const COMMIT_VERSION: i16 = 9;
const JOIN_VERSION: i16 = MEMBER_ID_REQUIRED - 1;
const SYNC_VERSION: i16 = 5;
const CONSUMER_HEARTBEAT_VERSION: i16 = 0;
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// A subscription to nothing, and an assignment of nothing: version, topics, user data.
const NOTHING: &[u8] = &[0; 10];

/// The id of a classic group, and what its only member was told.
type GroupAndMember = (String, JoinGroupResponse);

fn ensure_fine(code: i16) -> Result<()> {
    ensure!(code == 0, "before it: {}", error_name(code));
    Ok(())
}

pub(super) async fn find_coordinator(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let (request, group) = (FindCoordinatorRequest::default(), text("group"));
    let request = match version {
        SEVERAL_KEYS.. => request.with_coordinator_keys(vec![group]),
        _ => request.with_key(group),
    };
    let answer = scene.client.call(version, &request).await?;
    let coordinators = answer.coordinators.iter();
    let codes = coordinators.map(|coordinator| coordinator.error_code);
    Ok(iter::once(answer.error_code).chain(codes).collect())
}

fn commit_request(group: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_topics(vec![topic])
}

async fn commit(client: &mut Kafka, version: i16, group: &str) -> Result<Vec<i16>> {
    let answer = client.call(version, &commit_request(group)).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.error_code).collect())
}

/// Makes a group that has committed an offset, and returns its id.
async fn committed(scene: &mut Scene, api: &str, version: i16) -> Result<String> {
    let group = format!("{api}-{version}");
    for code in commit(&mut scene.client, COMMIT_VERSION, &group).await? {
        ensure_fine(code)?;
    }
    Ok(group)
}

pub(super) async fn offset_commit(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let group = format!("offset-commit-{version}");
    commit(&mut scene.client, version, &group).await
}

fn fetch_request(version: i16, group: &str) -> OffsetFetchRequest {
    let group = group_id(group);
    if version < SEVERAL_GROUPS {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partition_indexes(vec![0]);
        return OffsetFetchRequest::default()
            .with_group_id(group)
            .with_topics(Some(vec![topic]));
    }
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group)
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![group])
}

pub(super) async fn offset_fetch(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let group = committed(scene, "offset-fetch", version).await?;
    let request = fetch_request(version, &group);
    let answer = scene.client.call(version, &request).await?;
    let mut codes = vec![answer.error_code];
    for topic in &answer.topics {
        codes.extend(topic.partitions.iter().map(|found| found.error_code));
    }
    for group in &answer.groups {
        codes.push(group.error_code);
        for topic in &group.topics {
            codes.extend(topic.partitions.iter().map(|found| found.error_code));
        }
    }
    Ok(codes)
}

pub(super) async fn offset_delete(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let group = committed(scene, "offset-delete", version).await?;
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id(&group))
        .with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|partition| partition.error_code);
    Ok(iter::once(answer.error_code).chain(codes).collect())
}

pub(super) async fn delete_groups(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let group = committed(scene, "delete-groups", version).await?;
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
    let answer = scene.client.call(version, &request).await?;
    let groups = answer.results.iter();
    Ok(groups.map(|group| group.error_code).collect())
}

fn join_request(group: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text(PROTOCOL))
        .with_metadata(Bytes::from_static(NOTHING));
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text(PROTOCOL_TYPE))
        .with_protocols(vec![protocol])
}

/// Of the only member, which leads its group.
fn sync_request(group: &str, member: &JoinGroupResponse) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(member.member_id.clone())
        .with_assignment(Bytes::from_static(NOTHING));
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(member.generation_id)
        .with_member_id(member.member_id.clone())
        .with_protocol_type(Some(text(PROTOCOL_TYPE)))
        .with_protocol_name(Some(text(PROTOCOL)))
        .with_assignments(vec![assignment])
}

/// Makes a group with a member that has joined.
async fn joined(scene: &mut Scene, api: &str, version: i16) -> Result<GroupAndMember> {
    let group = format!("{api}-{version}");
    let request = join_request(&group);
    let member = scene.client.call(JOIN_VERSION, &request).await?;
    ensure_fine(member.error_code)?;
    Ok((group, member))
}

/// Makes a group with a member that has its assignment.
async fn synced(scene: &mut Scene, api: &str, version: i16) -> Result<GroupAndMember> {
    let (group, member) = joined(scene, api, version).await?;
    let request = sync_request(&group, &member);
    let answer = scene.client.call(SYNC_VERSION, &request).await?;
    ensure_fine(answer.error_code)?;
    Ok((group, member))
}

pub(super) async fn join_group(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = join_request(&format!("join-group-{version}"));
    let first = scene.client.call(version, &request).await?;
    if version < MEMBER_ID_REQUIRED {
        return Ok(vec![first.error_code]);
    }
    let required = ResponseError::MemberIdRequired.code();
    ensure!(first.error_code == required, "{first:?}");
    let request = request.with_member_id(first.member_id);
    let second = scene.client.call(version, &request).await?;
    Ok(vec![second.error_code])
}

pub(super) async fn sync_group(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let (group, member) = joined(scene, "sync-group", version).await?;
    let request = sync_request(&group, &member);
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn heartbeat(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let (group, member) = synced(scene, "heartbeat", version).await?;
    let request = HeartbeatRequest::default()
        .with_group_id(group_id(&group))
        .with_generation_id(member.generation_id)
        .with_member_id(member.member_id);
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn leave_group(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let (group, member) = synced(scene, "leave-group", version).await?;
    let request = LeaveGroupRequest::default().with_group_id(group_id(&group));
    let request = match version {
        SEVERAL_LEAVE.. => {
            let member = MemberIdentity::default().with_member_id(member.member_id);
            request.with_members(vec![member])
        }
        _ => request.with_member_id(member.member_id),
    };
    let answer = scene.client.call(version, &request).await?;
    let codes = answer.members.iter().map(|member| member.error_code);
    Ok(iter::once(answer.error_code).chain(codes).collect())
}

pub(super) async fn describe_groups(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let (group, _) = synced(scene, "describe-groups", version).await?;
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    let answer = scene.client.call(version, &request).await?;
    let groups = answer.groups.iter();
    Ok(groups.map(|group| group.error_code).collect())
}

pub(super) async fn list_groups(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = ListGroupsRequest::default();
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

/// A member's first heartbeat.
fn consumer_request(group: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text("member"))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name(TOPIC)]))
        .with_topic_partitions(Some(Vec::new()))
}

pub(super) async fn consumer_group_heartbeat(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = consumer_request(&format!("consumer-heartbeat-{version}"));
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn consumer_group_describe(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let group = format!("consumer-describe-{version}");
    let request = consumer_request(&group);
    let client = &mut scene.client;
    let joined = client.call(CONSUMER_HEARTBEAT_VERSION, &request).await?;
    ensure_fine(joined.error_code)?;
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(&group)]);
    let answer = client.call(version, &request).await?;
    let groups = answer.groups.iter();
    Ok(groups.map(|group| group.error_code).collect())
}
