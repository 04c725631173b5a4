//! Metadata: topics, their partitions, and who leads them.

use kafka_protocol::{
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, TopicId};
use uuid::Uuid;

use super::{client::Client, cluster};
use crate::service::{
    ServiceError,
    topics::{PartitionDescription, TopicDescription, TopicRef},
};

/// The first version in which a missing list of topics, and not an empty one, asks for all.
const EMPTY_IS_NONE: i16 = 1;

pub(super) async fn metadata(client: Client, request: MetadataRequest) -> MetadataResponse {
    let topics = match wanted(client.version, request.topics) {
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
    let by_id = asked.name.is_none();
    let topic = match &asked.name {
        Some(name) => TopicRef::Name(name.to_string()),
        None => TopicRef::Id(TopicId::from_bytes(asked.topic_id.into_bytes())),
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
        Err(error) => refused(asked, by_id, &error),
    }
}

fn refused(
    asked: MetadataRequestTopic,
    by_id: bool,
    error: &ServiceError,
) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code.number())
        // Versions below 12 have no topic without a name.
        .with_name(asked.name.or_else(|| (!by_id).then(TopicName::default)))
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
