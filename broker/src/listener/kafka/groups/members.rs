//! ConsumerGroupHeartbeat (KIP-848).

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_request,
        consumer_group_heartbeat_response::{Assignment as Assigned, TopicPartitions},
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, TopicId};
use uuid::Uuid;

use super::super::client::Client;
use crate::service::groups::{
    Assignment, PartitionId,
    members::{Beat, HeartbeatAnswer, Subscribing},
};

pub(in super::super) async fn consumer_group_heartbeat(
    client: Client,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let text = |text: StrBytes| text.to_string();
    let beat = Beat {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        member_epoch: request.member_epoch,
        instance_id: request.instance_id.map(text),
        rack_id: request.rack_id.map(text),
        client_id: client.client_id.to_string(),
        client_host: client.host(),
        rebalance_timeout_ms: u32::try_from(request.rebalance_timeout_ms).ok(),
        subscribing: Subscribing {
            topics: request
                .subscribed_topic_names
                .map(|names| names.iter().map(|name| name.to_string()).collect()),
            topic_regex: request.subscribed_topic_regex.map(text),
        },
        assignor: request.server_assignor.map(text),
        owned: request.topic_partitions.map(owned),
    };
    let answer = client.services().heartbeat(&client.context(), beat).await;
    match answer {
        Ok(HeartbeatAnswer::Alive(alive)) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(StrBytes::from_string(alive.member_id.to_string())))
            .with_member_epoch(alive.member_epoch)
            .with_heartbeat_interval_ms(
                i32::try_from(alive.heartbeat_interval_ms).unwrap_or(i32::MAX),
            )
            .with_assignment(alive.assignment.as_ref().map(assigned)),
        Ok(HeartbeatAnswer::Left {
            member_id,
            member_epoch,
        }) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(StrBytes::from_string(member_id)))
            .with_member_epoch(member_epoch),
        Err(error) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(as_kafka_has_it(error.code).number())
            .with_error_message(Some(StrBytes::from_string(error.message))),
    }
}

/// To Kafka a group with members of the classic protocol that does not change its kind is no group here.
const fn as_kafka_has_it(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::InconsistentGroupProtocol => ErrorCode::GroupIdNotFound,
        code => code,
    }
}

fn owned(topics: Vec<consumer_group_heartbeat_request::TopicPartitions>) -> Assignment {
    let partitions = topics.into_iter().flat_map(|topic| {
        let topic_id = TopicId::from_bytes(topic.topic_id.into_bytes());
        let partitions = topic.partitions.into_iter();
        partitions.map(move |partition| PartitionId {
            topic_id,
            partition,
        })
    });
    partitions.collect()
}

fn assigned(assignment: &Assignment) -> Assigned {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for partition in assignment {
        let of_topic = topics.entry(partition.topic_id).or_default();
        of_topic.push(partition.partition);
    }
    let topics = topics.into_iter().map(|(topic_id, partitions)| {
        TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(*topic_id.as_bytes()))
            .with_partitions(partitions)
    });
    Assigned::default().with_topic_partitions(topics.collect())
}
