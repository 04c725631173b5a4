//! Requests that name topics, configurations, transactions or the client itself.

use kafka_protocol::{
    messages::{
        AlterConfigsRequest, ApiKey, ApiVersionsRequest, BrokerId, CreatePartitionsRequest,
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
        DescribeLogDirsRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest,
        FetchRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, ListOffsetsRequest,
        MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, RequestKind,
        SaslHandshakeRequest, TransactionalId, alter_configs_request,
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_producers_request,
        describe_topic_partitions_request::{self, Cursor},
        incremental_alter_configs_request,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    protocol::StrBytes,
};
use millstream_tests::{
    kafka::{self, FETCH_VERSION, PRODUCE_VERSION, text, topic_name},
    native,
};

use super::every_api::{Case, TARGET, answered, refused, short};

/// Types of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
/// What is done to a key; there is no operation 9.
const SET: i8 = 0;
const APPEND: i8 = 2;
const UNKNOWN: i8 = 9;
/// A key of topics that takes a number, and one that takes a list.
const NUMBER: &str = "retention.ms";
const LIST: &str = "cleanup.policy";

/// All of them.
#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    refused(ApiKey::CreateTopics, 7, "name", |it| create(it, NUMBER, "1000", 1)),
    refused(ApiKey::CreateTopics, 7, "name twice", |it| create(it, NUMBER, "1000", 2)),
    refused(ApiKey::CreateTopics, 7, "config key", |it| create("fresh", it, "1000", 1)),
    refused(ApiKey::CreateTopics, 7, "config value", |it| create("fresh", NUMBER, it, 1)),
    refused(ApiKey::DeleteTopics, 6, "name", delete),
    refused(ApiKey::CreatePartitions, 3, "name", add_partitions),
    refused(ApiKey::Metadata, 12, "name", metadata),
    refused(ApiKey::DescribeTopicPartitions, 0, "name", |it| describe(Some(it), None)),
    answered(ApiKey::DescribeTopicPartitions, 0, "cursor", |it| describe(None, Some(it))),
    answered(ApiKey::DescribeLogDirs, 4, "topic", log_dirs),
    refused(ApiKey::Produce, PRODUCE_VERSION, "topic", |it| produce(it).into()),
    answered(ApiKey::Produce, PRODUCE_VERSION, "transactional id", |it| {
        produce(TARGET).with_transactional_id(Some(TransactionalId(text(it)))).into()
    }),
    refused(ApiKey::Fetch, FETCH_VERSION, "topic", |it| fetch(it).into()),
    answered(ApiKey::Fetch, FETCH_VERSION, "rack and cluster id", |it| {
        fetch(TARGET).with_rack_id(text(it)).with_cluster_id(Some(text(it))).into()
    }),
    refused(ApiKey::ListOffsets, 10, "topic", list_offsets),
    refused(ApiKey::OffsetForLeaderEpoch, 4, "topic", epoch_end),
    refused(ApiKey::DeleteRecords, 2, "topic", delete_records),
    refused(ApiKey::DescribeProducers, 0, "topic", describe_producers),
    refused(ApiKey::InitProducerId, 5, "transactional id", |it| init_producer_id(it).into()),
    refused(ApiKey::DescribeConfigs, 4, "topic", |it| describe_configs(TOPIC, it, None)),
    answered(ApiKey::DescribeConfigs, 4, "broker", |it| describe_configs(BROKER, it, None)),
    answered(ApiKey::DescribeConfigs, 4, "group", |it| describe_configs(GROUP, it, None)),
    answered(ApiKey::DescribeConfigs, 4, "key", |it| describe_configs(TOPIC, TARGET, Some(it))),
    refused(ApiKey::IncrementalAlterConfigs, 1, "topic", |it| change(TOPIC, it, NUMBER, SET, "1")),
    refused(ApiKey::IncrementalAlterConfigs, 1, "broker", |it| change(BROKER, it, NUMBER, SET, "1")),
    refused(ApiKey::IncrementalAlterConfigs, 1, "group", |it| change(GROUP, it, NUMBER, SET, "1")),
    refused(ApiKey::IncrementalAlterConfigs, 1, "key", |it| change(TOPIC, TARGET, it, SET, "1")),
    refused(ApiKey::IncrementalAlterConfigs, 1, "key of an operation that is none", |it| {
        change(TOPIC, TARGET, it, UNKNOWN, "1")
    }),
    refused(ApiKey::IncrementalAlterConfigs, 1, "value", |it| change(TOPIC, TARGET, NUMBER, SET, it)),
    answered(ApiKey::IncrementalAlterConfigs, 1, "item of a list", |it| {
        change(TOPIC, TARGET, LIST, APPEND, it)
    }),
    refused(ApiKey::AlterConfigs, 2, "topic", |it| replace(TOPIC, it, NUMBER, "1")),
    refused(ApiKey::AlterConfigs, 2, "broker", |it| replace(BROKER, it, NUMBER, "1")),
    refused(ApiKey::AlterConfigs, 2, "group", |it| replace(GROUP, it, NUMBER, "1")),
    refused(ApiKey::AlterConfigs, 2, "key", |it| replace(TOPIC, TARGET, it, "1")),
    refused(ApiKey::AlterConfigs, 2, "value", |it| replace(TOPIC, TARGET, NUMBER, it)),
    answered(ApiKey::ApiVersions, 4, "software name and version", |it| software(it, it)),
    answered(ApiKey::ApiVersions, 4, "software version", |it| software("test", it)),
    refused(ApiKey::SaslHandshake, 1, "mechanism", |it| {
        SaslHandshakeRequest::default().with_mechanism(text(short(it))).into()
    }),
];

/// The same topic so many times, with one key.
fn create(name: &str, key: &str, value: &str, times: usize) -> RequestKind {
    let config = CreatableTopicConfig::default()
        .with_name(text(key))
        .with_value(Some(text(value)));
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    CreateTopicsRequest::default()
        .with_topics(vec![topic; times])
        .with_timeout_ms(30_000)
        .into()
}

fn delete(name: &str) -> RequestKind {
    let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
    DeleteTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
        .into()
}

fn add_partitions(name: &str) -> RequestKind {
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(2)
        .with_assignments(None);
    CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
        .into()
}

fn metadata(name: &str) -> RequestKind {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true)
        .into()
}

/// One topic, or all from one on.
fn describe(name: Option<&str>, from: Option<&str>) -> RequestKind {
    let topic = |name| {
        describe_topic_partitions_request::TopicRequest::default().with_name(topic_name(name))
    };
    let cursor = |name| Cursor::default().with_topic_name(topic_name(name));
    DescribeTopicPartitionsRequest::default()
        .with_topics(name.into_iter().map(topic).collect())
        .with_cursor(from.map(cursor))
        .into()
}

fn log_dirs(name: &str) -> RequestKind {
    let topic = DescribableLogDirTopic::default()
        .with_topic(topic_name(name))
        .with_partitions(vec![0]);
    DescribeLogDirsRequest::default()
        .with_topics(Some(vec![topic]))
        .into()
}

fn produce(topic: &str) -> ProduceRequest {
    kafka::produce_request(topic, 0, native::batch(Default::default(), 1, ["x"]))
}

fn fetch(topic: &str) -> FetchRequest {
    kafka::fetch_request(topic, 0, 0, 1).with_max_wait_ms(0)
}

fn list_offsets(name: &str) -> RequestKind {
    let latest = ListOffsetsPartition::default().with_timestamp(-1);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(name))
        .with_partitions(vec![latest]);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic])
        .into()
}

fn epoch_end(name: &str) -> RequestKind {
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(name))
        .with_partitions(vec![OffsetForLeaderPartition::default()]);
    OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic])
        .into()
}

fn delete_records(name: &str) -> RequestKind {
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(name))
        .with_partitions(vec![DeleteRecordsPartition::default()]);
    DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
        .into()
}

fn describe_producers(name: &str) -> RequestKind {
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name(name))
        .with_partition_indexes(vec![0]);
    DescribeProducersRequest::default()
        .with_topics(vec![topic])
        .into()
}

/// A transactional producer, which the daemon's log tells of, too.
pub(super) fn init_producer_id(transactional_id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(transactional_id))))
        .with_transaction_timeout_ms(10_000)
}

fn describe_configs(resource_type: i8, name: &str, key: Option<&str>) -> RequestKind {
    let keys: Option<Vec<StrBytes>> = key.map(|key| vec![text(key)]);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .into()
}

fn change(resource_type: i8, name: &str, key: &str, operation: i8, value: &str) -> RequestKind {
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(operation)
        .with_value(Some(text(value)));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .into()
}

fn replace(resource_type: i8, name: &str, key: &str, value: &str) -> RequestKind {
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text(key))
        .with_value(Some(text(value)));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    AlterConfigsRequest::default()
        .with_resources(vec![resource])
        .into()
}

fn software(name: &str, version: &str) -> RequestKind {
    ApiVersionsRequest::default()
        .with_client_software_name(text(name))
        .with_client_software_version(text(version))
        .into()
}
