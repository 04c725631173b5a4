//! ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups and OffsetDelete.

use kafka_protocol::{
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest,
        DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        TopicName, consumer_group_describe_response as described,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response,
        list_groups_response::ListedGroup,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;
use uuid::Uuid;

use super::super::{authorized, client::Client, wire};
use crate::service::{
    ServiceError,
    groups::{
        GroupType,
        admin::{GroupFilter, GroupListing},
        describe::{GroupDescription, GroupMember, MemberDescription},
        members::TopicPartitions,
    },
};

/// The first version of DescribeGroups that says that a group does not exist.
const NOT_FOUND: i16 = 6;
/// The first version of ConsumerGroupDescribe that says which protocol a member speaks.
const MEMBER_TYPE: i16 = 1;
/// A member that speaks the classic protocol.
const CLASSIC: i8 = 0;
/// A member that speaks the protocol of KIP-848.
const CONSUMER: i8 = 1;

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// Kafka has no word for a group that only commits offsets: it is a classic one.
const fn type_name(group_type: GroupType) -> &'static str {
    match group_type {
        GroupType::Consumer => GroupType::Consumer.name(),
        GroupType::Simple | GroupType::Classic => GroupType::Classic.name(),
    }
}

pub(in super::super) async fn list_groups(
    client: Client,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let filter = GroupFilter {
        states: request
            .states_filter
            .iter()
            .map(|s| s.to_string())
            .collect(),
        types: Vec::new(),
    };
    let is_wanted = |group: &GroupListing| {
        let mut types = request.types_filter.iter();
        let name = type_name(group.group_type);
        request.types_filter.is_empty() || types.any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let (groups, missing) = client
        .services()
        .list_groups(&client.context(), &filter)
        .await;
    let groups = groups.into_iter().filter(is_wanted).map(|group| {
        ListedGroup::default()
            .with_group_id(GroupId(text(&*group.group_id)))
            .with_protocol_type(text(&*group.protocol_type))
            .with_group_state(text(group.state))
            .with_group_type(text(type_name(group.group_type)))
    });
    let error = missing.map_or(ErrorCode::None, |error| error.code);
    ListGroupsResponse::default()
        .with_error_code(error.number())
        .with_groups(groups.collect())
}

pub(in super::super) async fn describe_groups(
    client: Client,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let (services, context) = (client.services(), client.context());
    let operations =
        authorized::if_asked(request.include_authorized_operations, authorized::OF_GROUP);
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let found = services.describe_group(&context, &group_id).await;
        let found = found.and_then(|group| match group.listing.group_type {
            GroupType::Consumer => Err(not_of_type(&group_id, "classic")),
            GroupType::Simple | GroupType::Classic => Ok(group),
        });
        let mut group = classic(client.version, group_id, found);
        if group.error_code == ErrorCode::None.number() {
            group.authorized_operations = operations;
        }
        groups.push(group);
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

fn not_of_type(group_id: &str, wanted: &str) -> ServiceError {
    ServiceError::new(
        ErrorCode::GroupIdNotFound,
        format!("group {} is no {wanted} group", group_id.escape_debug()),
        "",
    )
}

fn classic(
    version: i16,
    group_id: GroupId,
    found: Result<GroupDescription, ServiceError>,
) -> describe_groups_response::DescribedGroup {
    let group = describe_groups_response::DescribedGroup::default().with_group_id(group_id);
    match found {
        Ok(found) => {
            let members = found.members.into_iter().map(|member| member.description);
            group
                .with_group_state(text(found.listing.state))
                .with_protocol_type(text(&*found.listing.protocol_type))
                .with_protocol_data(text(&*found.assignor))
                .with_members(members.map(classic_member).collect())
        }
        Err(error) if error.code == ErrorCode::GroupIdNotFound => {
            let group = group.with_group_state(text("Dead"));
            match version {
                NOT_FOUND.. => group
                    .with_error_code(error.code.number())
                    .with_error_message(wire::error_message(&error)),
                _ => group,
            }
        }
        Err(error) => group.with_error_code(error.code.number()),
    }
}

fn classic_member(member: MemberDescription) -> describe_groups_response::DescribedGroupMember {
    describe_groups_response::DescribedGroupMember::default()
        .with_member_id(text(&*member.member_id))
        .with_group_instance_id(member.instance_id.map(text))
        .with_client_id(text(member.client_id))
        .with_client_host(text(member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}

pub(in super::super) async fn consumer_group_describe(
    client: Client,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let (services, context) = (client.services(), client.context());
    let operations =
        authorized::if_asked(request.include_authorized_operations, authorized::OF_GROUP);
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in request.group_ids {
        let found = services.describe_group(&context, &group_id).await;
        let found = found.and_then(|group| match group.listing.group_type {
            GroupType::Consumer => Ok(group),
            GroupType::Simple | GroupType::Classic => Err(not_of_type(&group_id, "consumer")),
        });
        let group = described::DescribedGroup::default().with_group_id(group_id);
        groups.push(match found {
            Ok(found) => {
                let group = group.with_authorized_operations(operations);
                consumers(client.version, group, found)
            }
            Err(error) => group
                .with_error_code(error.code.number())
                .with_error_message(wire::error_message(&error)),
        });
    }
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

fn consumers(
    version: i16,
    group: described::DescribedGroup,
    found: GroupDescription,
) -> described::DescribedGroup {
    let members = found.members.into_iter().map(|m| member(version, m));
    group
        .with_group_state(text(found.listing.state))
        .with_group_epoch(found.group_epoch)
        .with_assignment_epoch(found.assignment_epoch)
        .with_assignor_name(text(&*found.assignor))
        .with_members(members.collect())
}

fn member(version: i16, member: GroupMember) -> described::Member {
    let GroupMember {
        description,
        assigned,
        target,
    } = member;
    let member_type = match description.is_classic {
        true => CLASSIC,
        false => CONSUMER,
    };
    let topics = description.topics.into_iter();
    let shown = described::Member::default()
        .with_member_id(text(&*description.member_id))
        .with_instance_id(description.instance_id.map(text))
        .with_rack_id(description.rack_id.map(text))
        .with_member_epoch(description.member_epoch)
        .with_client_id(text(description.client_id))
        .with_client_host(text(description.client_host))
        .with_subscribed_topic_names(topics.map(|name| TopicName(text(name))).collect())
        .with_subscribed_topic_regex(description.topic_regex.map(text))
        .with_assignment(assignment(assigned))
        .with_target_assignment(assignment(target));
    match version {
        MEMBER_TYPE.. => shown.with_member_type(member_type),
        _ => shown,
    }
}

fn assignment(topics: Vec<TopicPartitions>) -> described::Assignment {
    let topics = topics.into_iter().map(|topic| {
        described::TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(*topic.topic_id.as_bytes()))
            .with_topic_name(TopicName(text(topic.topic)))
            .with_partitions(topic.partitions)
    });
    described::Assignment::default().with_topic_partitions(topics.collect())
}

pub(in super::super) async fn delete_groups(
    client: Client,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let (services, context) = (client.services(), client.context());
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let deleted = services.delete_group(&context, &group_id).await;
        let error = deleted.map_or_else(|error| error.code, |()| ErrorCode::None);
        results.push(
            DeletableGroupResult::default()
                .with_group_id(group_id)
                .with_error_code(error.number()),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}

pub(in super::super) async fn offset_delete(
    client: Client,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let asked = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.name.to_string(), partition.partition_index))
    });
    let (services, context) = (client.services(), client.context());
    let group_id = request.group_id.to_string();
    let deleted = services.delete_offsets(&context, group_id, asked.collect());
    let mut results = match deleted.await {
        Ok(results) => results.into_iter(),
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code.number()),
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut results);
        let partitions = partitions.map(|(partition, result)| {
            let error = result.map_or_else(|error| error.code, |()| ErrorCode::None);
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error.number())
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
