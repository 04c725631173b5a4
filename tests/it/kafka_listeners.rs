//! Kafka listeners for several networks: clients are told the address of the one that they came through.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use kafka_protocol::messages::{DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest};
use millstream_tests::{Daemon, DaemonOptions, Kafka, kafka, port};

/// What clients of the first listener are told.
const OUTSIDE: (&str, i32) = ("broker.example", 19_092);
/// What those of the second are told.
const INSIDE: (&str, i32) = ("broker.internal", 9_093);
const METADATA_VERSION: i16 = 12;
const DESCRIBE_CLUSTER_VERSION: i16 = 1;
/// The last version that asks for one key, and one that asks for several.
const FIND_ONE: i16 = 3;
const FIND_SEVERAL: i16 = 4;

/// A daemon with two listeners, and where the second one is.
fn start(options: DaemonOptions) -> Result<(Daemon, SocketAddr)> {
    let second = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?));
    let outside = format!("{}:{}", OUTSIDE.0, OUTSIDE.1);
    let inside = format!("{second}={}:{}", INSIDE.0, INSIDE.1);
    let daemon = options
        .set("listeners.kafka_advertised", outside)
        .set("listeners.kafka_more", inside)
        .start()?;
    Ok((daemon, second))
}

/// Every address of the broker in answers to this client.
async fn told(client: &mut Kafka) -> Result<Vec<(String, i32)>> {
    let request = MetadataRequest::default();
    let metadata = client.call(METADATA_VERSION, &request).await?;
    let request = DescribeClusterRequest::default();
    let cluster = client.call(DESCRIBE_CLUSTER_VERSION, &request).await?;
    let request = FindCoordinatorRequest::default().with_key(kafka::text("group"));
    let one = client.call(FIND_ONE, &request).await?;
    let keys = vec![kafka::text("group")];
    let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
    let several = client.call(FIND_SEVERAL, &request).await?.coordinators;

    let mut told = vec![(one.host.to_string(), one.port)];
    let brokers = metadata.brokers.iter();
    told.extend(brokers.map(|broker| (broker.host.to_string(), broker.port)));
    let brokers = cluster.brokers.iter();
    told.extend(brokers.map(|broker| (broker.host.to_string(), broker.port)));
    told.extend(several.iter().map(|it| (it.host.to_string(), it.port)));
    ensure!(told.len() == 4, "one address in each answer: {told:?}");
    Ok(told)
}

#[tokio::test]
async fn clients_are_told_the_address_of_the_listener_that_they_came_through() -> Result<()> {
    let (mut daemon, second) = start(DaemonOptions::default())?;
    for (address, (host, port)) in [(daemon.kafka(), OUTSIDE), (second, INSIDE)] {
        let mut client = Kafka::connect(address).await?;
        let expected = vec![(host.to_owned(), port); 4];
        assert_eq!(told(&mut client).await?, expected, "at {address}");
    }
    daemon.terminate()?;
    let log = daemon.log();
    let announced = "kafka=broker.example:19092,broker.internal:9093";
    ensure!(log.contains(announced), "{log}");
    Ok(())
}

#[tokio::test]
async fn what_is_produced_through_one_listener_is_fetched_through_the_other() -> Result<()> {
    let (daemon, second) = start(DaemonOptions::default())?;
    let mut outside = Kafka::connect(daemon.kafka()).await?;
    let mut inside = Kafka::connect(second).await?;
    outside.create_topic("shared", 1, &[]).await?;
    outside.put("shared", &["from=outside"]).await?;
    inside.put("shared", &["from2=inside"]).await?;
    let expected = ["from=outside", "from2=inside"];
    assert_eq!(inside.pairs("shared").await?, expected);
    assert_eq!(outside.pairs("shared").await?, expected);
    Ok(())
}

#[tokio::test]
async fn connections_of_all_listeners_count_together() -> Result<()> {
    let options = DaemonOptions::default().set("limits.connections_max", 2);
    let (daemon, second) = start(options)?;
    let mut outside = Kafka::connect(daemon.kafka()).await?;
    let mut inside = Kafka::connect(second).await?;
    // Once they are answered they have been let in.
    told(&mut outside).await?;
    told(&mut inside).await?;
    for address in [daemon.kafka(), second] {
        let mut third = Kafka::connect(address).await?;
        let request = MetadataRequest::default();
        let answer = third.call(METADATA_VERSION, &request);
        ensure!(answer.await.is_err(), "a third was let in at {address}");
    }
    Ok(())
}
