//! Requests that name groups, their members, and what is committed.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, RequestKind, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    sync_group_request::SyncGroupRequestAssignment,
};
use millstream_tests::kafka::{group_id, text, topic_name};

use super::every_api::{Case, READERS, TARGET, answered, refused, short};

/// Versions of what tests ask by themselves, too.
pub(super) const COMMIT: i16 = 9;
pub(super) const FETCH: i16 = 9;
pub(super) const BEAT: i16 = 1;

/// All of them.
#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    answered(ApiKey::FindCoordinator, 6, "group", |it| find_coordinator(it, 0)),
    answered(ApiKey::FindCoordinator, 6, "transactional id", |it| find_coordinator(it, 1)),
    answered(ApiKey::OffsetCommit, COMMIT, "group", |it| commit(it, TARGET, "").into()),
    answered(ApiKey::OffsetCommit, COMMIT, "member", |it| {
        let commit = commit(READERS, TARGET, "").with_member_id(text(it));
        commit.with_generation_id_or_member_epoch(3).into()
    }),
    answered(ApiKey::OffsetCommit, COMMIT, "instance", |it| {
        commit(READERS, TARGET, "").with_group_instance_id(Some(text(it))).into()
    }),
    refused(ApiKey::OffsetCommit, COMMIT, "topic", |it| commit(READERS, it, "").into()),
    answered(ApiKey::OffsetCommit, COMMIT, "metadata", |it| commit(READERS, TARGET, it).into()),
    answered(ApiKey::OffsetFetch, FETCH, "group", |it| committed(it, TARGET, None).into()),
    answered(ApiKey::OffsetFetch, FETCH, "member", |it| committed(READERS, TARGET, Some(it)).into()),
    answered(ApiKey::OffsetFetch, FETCH, "topic", |it| committed(READERS, it, None).into()),
    answered(ApiKey::OffsetDelete, 0, "group", |it| delete_offsets(short(it), TARGET)),
    answered(ApiKey::OffsetDelete, 0, "topic", |it| delete_offsets(READERS, short(it))),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "group", |it| beat(it, "m").into()),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "member", |it| beat("members", it).into()),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "instance", |it| {
        beat("instances", "m").with_instance_id(Some(text(it))).into()
    }),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "rack", |it| {
        beat("racks", "m").with_rack_id(Some(text(it))).into()
    }),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "topic", |it| {
        beat("topics", "m").with_subscribed_topic_names(Some(vec![topic_name(it)])).into()
    }),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "regular expression", |it| {
        beat("expressions", "m").with_subscribed_topic_regex(Some(text(it))).into()
    }),
    answered(ApiKey::ConsumerGroupHeartbeat, BEAT, "assignor", |it| {
        beat("assignors", "m").with_server_assignor(Some(text(it))).into()
    }),
    answered(ApiKey::JoinGroup, 9, "all texts", join),
    answered(ApiKey::JoinGroup, 9, "member", |it| {
        joining("joiners", "range").with_member_id(text(it)).into()
    }),
    refused(ApiKey::SyncGroup, 5, "all texts", sync),
    refused(ApiKey::Heartbeat, 4, "all texts", heartbeat),
    refused(ApiKey::LeaveGroup, 5, "all texts", leave),
    answered(ApiKey::DescribeGroups, 6, "group", |it| {
        DescribeGroupsRequest::default().with_groups(vec![group_id(it)]).into()
    }),
    answered(ApiKey::ConsumerGroupDescribe, 1, "group", |it| {
        ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(it)]).into()
    }),
    answered(ApiKey::ListGroups, 5, "state", |it| {
        ListGroupsRequest::default().with_states_filter(vec![text(it)]).into()
    }),
    answered(ApiKey::ListGroups, 5, "type", |it| {
        ListGroupsRequest::default().with_types_filter(vec![text(it)]).into()
    }),
    answered(ApiKey::DeleteGroups, 2, "group", |it| {
        DeleteGroupsRequest::default().with_groups_names(vec![group_id(it)]).into()
    }),
];

fn find_coordinator(key: &str, key_type: i8) -> RequestKind {
    FindCoordinatorRequest::default()
        .with_key_type(key_type)
        .with_coordinator_keys(vec![text(key)])
        .into()
}

/// Offset 1 of partition 0, by nobody who is a member.
pub(super) fn commit(group: &str, topic: &str, metadata: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(1)
        .with_committed_metadata(Some(text(metadata)));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_topics(vec![topic])
}

/// What is committed for partition 0, asked by nobody or by a member in its epoch 3.
pub(super) fn committed(group: &str, topic: &str, member: Option<&str>) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(group))
        .with_member_id(member.map(text))
        .with_member_epoch(member.map_or(-1, |_| 3))
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![group])
}

fn delete_offsets(group: &str, topic: &str) -> RequestKind {
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
    OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(vec![topic])
        .into()
}

/// Joins a group, or comes back to it.
pub(super) fn beat(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![topic_name(TARGET)]))
        .with_topic_partitions(Some(Vec::new()))
}

/// Of a member with an id, or without one.
fn joining(group: &str, protocol: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text(protocol))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"));
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// A static member, alone in a group that no other request names: nobody is waited for.
fn join(name: &str) -> RequestKind {
    joining(&format!("j{name}"), name)
        .with_group_instance_id(Some(text(name)))
        .with_protocol_type(text(name))
        .with_reason(Some(text(name)))
        .into()
}

fn sync(name: &str) -> RequestKind {
    let assignment = SyncGroupRequestAssignment::default().with_member_id(text(name));
    SyncGroupRequest::default()
        .with_group_id(group_id(name))
        .with_member_id(text(name))
        .with_group_instance_id(Some(text(name)))
        .with_protocol_type(Some(text(name)))
        .with_protocol_name(Some(text(name)))
        .with_assignments(vec![assignment])
        .into()
}

fn heartbeat(name: &str) -> RequestKind {
    HeartbeatRequest::default()
        .with_group_id(group_id(name))
        .with_member_id(text(name))
        .with_group_instance_id(Some(text(name)))
        .into()
}

fn leave(name: &str) -> RequestKind {
    let member = MemberIdentity::default()
        .with_member_id(text(name))
        .with_group_instance_id(Some(text(name)))
        .with_reason(Some(text(name)));
    LeaveGroupRequest::default()
        .with_group_id(group_id(name))
        .with_members(vec![member])
        .into()
}
