//! Topics as clients of Kafka create and change them: what the broker must refuse.

use anyhow::{Context as _, Result};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
};
use millstream_tests::{Daemon, Kafka, kafka};

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
