//! Requests about topics and their configuration.

use std::iter;

use anyhow::Result;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest,
    MetadataRequest, alter_configs_request, create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic, delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource, describe_topic_partitions_request,
    incremental_alter_configs_request, metadata_request::MetadataRequestTopic,
};
use millstream_tests::kafka::{text, topic_name};

use super::{Scene, TOPIC};

/// What requests about configurations call a topic.
const TOPIC_RESOURCE: i8 = 2;
const KEY: &str = "retention.ms";
const VALUE: &str = "86400000";
/// The first version of DeleteTopics that describes topics instead of naming them.
const DELETED_BY_STATE: i16 = 6;

pub(super) async fn metadata(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let answer = scene.client.call(version, &request).await?;
    let topics = answer.topics.iter().map(|topic| topic.error_code);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let partitions = partitions.map(|partition| partition.error_code);
    let own = iter::once(answer.error_code);
    Ok(own.chain(topics).chain(partitions).collect())
}

pub(super) async fn describe_partitions(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let topic = describe_topic_partitions_request::TopicRequest::default();
    let topic = topic.with_name(topic_name(TOPIC));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let topics = answer.topics.iter().map(|topic| topic.error_code);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let partitions = partitions.map(|partition| partition.error_code);
    Ok(topics.chain(partitions).collect())
}

pub(super) async fn create_topics(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let name = format!("create-topics-{version}");
    let topic = CreatableTopic::default()
        .with_name(topic_name(&name))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let topics = answer.topics.iter();
    Ok(topics.map(|topic| topic.error_code).collect())
}

pub(super) async fn delete_topics(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let name = topic_name(&scene.own_topic("delete-topics", version).await?);
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
    let request = match version {
        DELETED_BY_STATE.. => {
            let topic = DeleteTopicState::default().with_name(Some(name));
            request.with_topics(vec![topic])
        }
        _ => request.with_topic_names(vec![name]),
    };
    let answer = scene.client.call(version, &request).await?;
    let topics = answer.responses.iter();
    Ok(topics.map(|topic| topic.error_code).collect())
}

pub(super) async fn create_partitions(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let name = scene.own_topic("create-partitions", version).await?;
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(&name))
        .with_count(2)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let answer = scene.client.call(version, &request).await?;
    let topics = answer.results.iter();
    Ok(topics.map(|topic| topic.error_code).collect())
}

pub(super) async fn describe_configs(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(TOPIC))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let answer = scene.client.call(version, &request).await?;
    let resources = answer.results.iter();
    Ok(resources.map(|resource| resource.error_code).collect())
}

pub(super) async fn alter_configs(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let name = scene.own_topic("alter-configs", version).await?;
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text(KEY))
        .with_value(Some(text(VALUE)));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(&name))
        .with_configs(vec![config]);
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = scene.client.call(version, &request).await?;
    let resources = answer.responses.iter();
    Ok(resources.map(|resource| resource.error_code).collect())
}

pub(super) async fn incremental_alter(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let name = scene.own_topic("incremental", version).await?;
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(text(KEY))
        .with_value(Some(text(VALUE)));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(&name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = scene.client.call(version, &request).await?;
    let resources = answer.responses.iter();
    Ok(resources.map(|resource| resource.error_code).collect())
}
