//! Metadata and DescribeTopicPartitions: topics, their partitions, and who leads them.

use std::collections::BTreeSet;

use kafka_protocol::{
    messages::{
        BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
        MetadataResponse, TopicName, describe_topic_partitions_response as page,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, TopicId};
use uuid::Uuid;

use super::{authorized, client::Client, cluster};
use crate::service::{
    ServiceError,
    topics::{PartitionDescription, TopicDescription, TopicRef},
};

/// The first version in which a missing list of topics, and not an empty one, asks for all.
const EMPTY_IS_NONE: i16 = 1;

pub(super) async fn metadata(client: Client, request: MetadataRequest) -> MetadataResponse {
    let of_cluster = authorized::if_asked(
        request.include_cluster_authorized_operations,
        authorized::OF_CLUSTER,
    );
    let of_topic = authorized::if_asked(
        request.include_topic_authorized_operations,
        authorized::OF_TOPIC,
    );
    let mut topics = match wanted(client.version, request.topics) {
        None => all(&client),
        Some(wanted) => {
            let creates = request.allow_auto_topic_creation;
            let mut topics = Vec::with_capacity(wanted.len());
            for topic in wanted {
                topics.push(described(&client, topic, creates).await);
            }
            topics
        }
    };
    // Under an id that nobody has there is no topic to do something with.
    for topic in topics.iter_mut().filter(|topic| topic.name.is_some()) {
        topic.topic_authorized_operations = of_topic;
    }
    let local = client.services().local_broker();
    let brokers = cluster::nodes(&client).into_iter().map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(node.id)
            .with_host(node.host)
            .with_port(node.port)
            .with_rack(node.rack)
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(local.cluster_id)))
        .with_controller_id(BrokerId(local.id.0))
        .with_cluster_authorized_operations(of_cluster)
        .with_topics(topics)
}

/// The topics asked for; `None` for all.
fn wanted(
    version: i16,
    topics: Option<Vec<MetadataRequestTopic>>,
) -> Option<Vec<MetadataRequestTopic>> {
    topics.filter(|topics| version >= EMPTY_IS_NONE || !topics.is_empty())
}

fn all(client: &Client) -> Vec<MetadataResponseTopic> {
    let services = client.services();
    let context = client.context();
    let topics = services.list_topics(&context, true);
    let described = topics.iter().filter_map(|topic| {
        // One that is deleted meanwhile is gone.
        let topic = TopicRef::Id(topic.topic_id);
        services.describe_topic(&context, &topic, false).ok()
    });
    described.map(shown).collect()
}

async fn described(
    client: &Client,
    asked: MetadataRequestTopic,
    creates: bool,
) -> MetadataResponseTopic {
    let topic = match &asked.name {
        // Whoever gives an id need not leave the name out: Java's consumers send an empty one.
        Some(name) if asked.topic_id.is_nil() => TopicRef::Name(name.to_string()),
        _ => TopicRef::Id(TopicId::from_bytes(asked.topic_id.into_bytes())),
    };
    let services = client.services();
    let context = client.context();
    let mut found = services.describe_topic(&context, &topic, false);
    if let (TopicRef::Name(name), Err(error)) = (&topic, &found)
        && creates
        && error.code == ErrorCode::UnknownTopicOrPartition
    {
        found = match services.auto_create_topic(&context, name).await {
            Ok(()) => services.describe_topic(&context, &topic, false),
            Err(error) => Err(error),
        };
    }
    match found {
        Ok(topic) => shown(topic),
        Err(error) => refused(asked, &error),
    }
}

fn refused(asked: MetadataRequestTopic, error: &ServiceError) -> MetadataResponseTopic {
    let by_name = asked.topic_id.is_nil();
    MetadataResponseTopic::default()
        .with_error_code(error.code.number())
        .with_name(asked.name.filter(|_| by_name))
        .with_topic_id(asked.topic_id)
}

fn shown(topic: TopicDescription) -> MetadataResponseTopic {
    let is_internal = topic.name.is_internal();
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(
            topic.name.to_string(),
        ))))
        .with_topic_id(Uuid::from_bytes(*topic.topic_id.as_bytes()))
        .with_is_internal(is_internal)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn partition(partition: PartitionDescription) -> MetadataResponsePartition {
    let ids = |ids: &[millstream_proto::BrokerId]| ids.iter().map(|id| BrokerId(id.0)).collect();
    let is_served = partition.error.is_none() && partition.leader.is_some();
    let (error, leader, offline) = match partition.leader {
        Some(leader) if is_served => (ErrorCode::None, leader.0, Vec::new()),
        _ => (ErrorCode::LeaderNotAvailable, -1, ids(&partition.replicas)),
    };
    MetadataResponsePartition::default()
        .with_error_code(error.number())
        .with_partition_index(partition.partition.0)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.in_sync))
        .with_offline_replicas(offline)
}

/// Partitions of one answer at most, where the client allows more (Kafka's default).
const PARTITIONS_MAX: usize = 2_000;

/// Topics page by page, in order of name (KIP-966).
pub(super) async fn describe_topic_partitions(
    client: Client,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let (services, context) = (client.services(), client.context());
    let mut names: BTreeSet<String> = match request.topics.is_empty() {
        false => request
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .collect(),
        true => {
            let all = services.list_topics(&context, true);
            all.iter().map(|topic| topic.name.to_string()).collect()
        }
    };
    let mut skipped = 0;
    if let Some(cursor) = &request.cursor {
        names = names.split_off(&cursor.topic_name.to_string());
        if names
            .first()
            .is_some_and(|name| **name == **cursor.topic_name)
        {
            skipped = usize::try_from(cursor.partition_index).unwrap_or(0);
        }
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(PARTITIONS_MAX);
    let mut left = limit.clamp(1, PARTITIONS_MAX);
    let mut topics = Vec::new();
    for name in names {
        if left == 0 {
            let cursor = page::Cursor::default().with_topic_name(topic_name(name));
            return paged(topics, Some(cursor));
        }
        let found = services.describe_topic(&context, &TopicRef::Name(name.clone()), false);
        let skip = std::mem::take(&mut skipped);
        let topic = match found {
            Ok(found) => found,
            Err(error) => {
                topics.push(
                    page::DescribeTopicPartitionsResponseTopic::default()
                        .with_error_code(error.code.number())
                        .with_name(Some(topic_name(name)))
                        .with_topic_authorized_operations(authorized::OF_TOPIC),
                );
                continue;
            }
        };
        let count = topic.partitions.len().saturating_sub(skip).min(left);
        let next = skip + count;
        let is_cut = next < topic.partitions.len();
        topics.push(page_of(shown(topic), skip, count));
        left -= count;
        if is_cut {
            let cursor = page::Cursor::default()
                .with_topic_name(topic_name(name))
                .with_partition_index(i32::try_from(next).unwrap_or(i32::MAX));
            return paged(topics, Some(cursor));
        }
    }
    paged(topics, None)
}

fn topic_name(name: String) -> TopicName {
    TopicName(StrBytes::from_string(name))
}

fn paged(
    topics: Vec<page::DescribeTopicPartitionsResponseTopic>,
    next: Option<page::Cursor>,
) -> DescribeTopicPartitionsResponse {
    DescribeTopicPartitionsResponse::default()
        .with_topics(topics)
        .with_next_cursor(next)
}

fn page_of(
    topic: MetadataResponseTopic,
    skip: usize,
    count: usize,
) -> page::DescribeTopicPartitionsResponseTopic {
    let partitions = topic.partitions.into_iter().skip(skip).take(count);
    let partitions = partitions.map(|partition| {
        page::DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(partition.error_code)
            .with_partition_index(partition.partition_index)
            .with_leader_id(partition.leader_id)
            .with_leader_epoch(partition.leader_epoch)
            .with_replica_nodes(partition.replica_nodes)
            .with_isr_nodes(partition.isr_nodes)
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
            .with_offline_replicas(partition.offline_replicas)
    });
    page::DescribeTopicPartitionsResponseTopic::default()
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_is_internal(topic.is_internal)
        .with_topic_authorized_operations(authorized::OF_TOPIC)
        .with_partitions(partitions.collect())
}
