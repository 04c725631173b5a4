//! Topics as clients of Kafka create and change them: what the broker must refuse.

use anyhow::{Context as _, Result};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, MetadataRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    metadata_request::MetadataRequestTopic,
};
use millstream_tests::{
    Daemon, Kafka,
    kafka::{self, ConfigOperation, ConfigOwner},
};
use uuid::Uuid;

/// The daemon's id by default.
const BROKER: BrokerId = BrokerId(1);

/// Raises `topic` to `total` partitions, with as many assignments to the broker; answers the error's name.
async fn add(client: &mut Kafka, topic: &str, total: i32, assigned: usize) -> Result<String> {
    let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BROKER]);
    let topic = CreatePartitionsTopic::default()
        .with_name(kafka::topic_name(topic))
        .with_count(total)
        .with_assignments(Some(vec![assignment; assigned]));
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let results = client.call(3, &request).await?.results;
    let result = results.first().context("one result a topic")?;
    Ok(kafka::error_name(result.error_code))
}

/// Found by the tests of the crate rdkafka: two assignments for one partition were taken.
#[tokio::test]
async fn every_added_partition_is_assigned_and_no_other() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    client.create_topic("grown", 1, &[]).await?;
    for (total, assigned, expected) in [
        (2, 2, "InvalidReplicaAssignment"),
        (3, 1, "InvalidReplicaAssignment"),
        (1, 1, "InvalidPartitions"),
        (3, 2, "error 0"),
        (3, 2, "InvalidPartitions"),
    ] {
        let found = add(&mut client, "grown", total, assigned).await?;
        assert_eq!(found, expected, "{assigned} assigned for {total}");
    }
    let unknown = add(&mut client, "unknown", 2, 2).await?;
    assert_eq!(unknown, "UnknownTopicOrPartition");
    Ok(())
}

#[tokio::test]
async fn a_key_without_a_value_is_refused() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let config = |name, value: Option<&str>| {
        CreatableTopicConfig::default()
            .with_name(kafka::text(name))
            .with_value(value.map(kafka::text))
    };
    let configs = vec![
        config("segment.bytes", None),
        config("retention.ms", Some("60000")),
        config("segment.ms", None),
    ];
    let topic = CreatableTopic::default()
        .with_name(kafka::topic_name("nothing"))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let answer = client.call(7, &request).await?;
    let refused = answer.topics.first().context("one result a topic")?;
    assert_eq!(kafka::error_name(refused.error_code), "InvalidConfig");
    assert_eq!(
        refused.error_message.as_deref(),
        Some("Null value not supported for topic configs: segment.bytes,segment.ms")
    );
    let created = client.create_topic("nothing", 1, &[]).await?;
    assert_eq!(created.error_code, 0, "it is not there yet: {created:?}");
    Ok(())
}

/// Found by Java's consumer with a regular expression: it asks by id, and sends an empty name with it.
#[tokio::test]
async fn topic_is_described_by_its_id_whatever_name_comes_with_it() -> Result<()> {
    const METADATA: i16 = 12;
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let id = client.create_topic("by-id", 1, &[]).await?.topic_id;
    for (asked, name, error) in [
        (id, Some("by-id"), "error 0"),
        (Uuid::from_u128(7), None, "UnknownTopicId"),
    ] {
        for sent in [Some(kafka::topic_name("")), None] {
            let topic = MetadataRequestTopic::default()
                .with_topic_id(asked)
                .with_name(sent);
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            let topics = client.call(METADATA, &request).await?.topics;
            let found = topics.first().context("one result a topic")?;
            assert_eq!(kafka::error_name(found.error_code), error);
            assert_eq!(found.name.as_ref().map(|name| &***name), name);
            assert_eq!(found.topic_id, asked);
        }
    }
    Ok(())
}

/// Deletes all records of a topic's first partition; answers the error's name.
async fn delete_records(client: &mut Kafka, topic: &str) -> Result<String> {
    const VERSION: i16 = 2;
    const ALL: i64 = -1;
    let partition = DeleteRecordsPartition::default().with_offset(ALL);
    let topic = DeleteRecordsTopic::default()
        .with_name(kafka::topic_name(topic))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let answer = client.call(VERSION, &request).await?;
    let topic = answer.topics.first().context("one result a topic")?;
    let result = topic.partitions.first().context("one result a partition")?;
    Ok(kafka::error_name(result.error_code))
}

#[tokio::test]
async fn what_is_kept_by_key_alone_is_not_deleted_by_offset() -> Result<()> {
    const TOPIC: &str = "compacted";
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let policy = [("cleanup.policy", "compact")];
    client.create_topic(TOPIC, 1, &policy).await?;
    let refused = delete_records(&mut client, TOPIC).await?;
    assert_eq!(refused, "PolicyViolation");
    let (owner, value) = (ConfigOwner::Topic(TOPIC), "delete");
    let append = ConfigOperation::Append;
    let altered = client.alter_config(owner, append, "cleanup.policy", value);
    assert_eq!(altered.await?.error_code, 0);
    assert_eq!(delete_records(&mut client, TOPIC).await?, "error 0");
    Ok(())
}
