//! Configurations as clients of Kafka change them: the defaults for topics, which a broker takes over while it
//! runs.

use anyhow::{Context as _, Result};
use kafka_protocol::{
    messages::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        alter_configs_request::{self, AlterConfigsResource},
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{self, AlterableConfig},
    },
    protocol::StrBytes,
};
use millstream_tests::{Daemon, Kafka, kafka, native};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// The daemon's id by default.
const BROKER_ID: &str = "1";
const SET: i8 = 0;
const DELETE: i8 = 1;
/// Sources of values: the topic, a broker that runs, nobody.
const FROM_TOPIC: i8 = 1;
const FROM_RUNNING_BROKER: i8 = 2;
const FROM_DEFAULT: i8 = 5;
const OK: &str = "error 0";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Changes one key of the broker; answers the error's name and message.
async fn alter(
    client: &mut Kafka,
    operation: i8,
    name: &str,
    value: &str,
) -> Result<(String, String)> {
    let config = AlterableConfig::default()
        .with_name(text(name))
        .with_config_operation(operation)
        .with_value((operation == SET).then(|| text(value)));
    let broker = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(BROKER_ID))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![broker]);
    let responses = client.call(1, &request).await?.responses;
    let answer = responses.first().context("one result a resource")?;
    let message = answer.error_message.clone().unwrap_or_default();
    Ok((kafka::error_name(answer.error_code), message.to_string()))
}

/// Has the broker hold these values and no others, as clients before Kafka 2.3 do.
async fn alter_all(client: &mut Kafka, values: &[(&str, &str)]) -> Result<String> {
    let configs = values.iter().map(|(name, value)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    let broker = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(BROKER_ID))
        .with_configs(configs.collect());
    let request = AlterConfigsRequest::default().with_resources(vec![broker]);
    let responses = client.call(2, &request).await?.responses;
    let answer = responses.first().context("one result a resource")?;
    Ok(kafka::error_name(answer.error_code))
}

/// A key's value, its source, and whether it can only be read.
async fn describe(
    client: &mut Kafka,
    (resource_type, resource): (i8, &str),
    key: &str,
) -> Result<(String, i8, bool)> {
    let asked = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
    let results = client.call(4, &request).await?.results;
    let result = results.first().context("one a resource")?;
    let found = result.configs.first().context("one a key")?;
    let value = found.value.clone().unwrap_or_default();
    Ok((value.to_string(), found.config_source, found.read_only))
}

/// What becomes of a record of 3,000 bytes.
async fn produce(client: &mut Kafka, topic: &str) -> Result<String> {
    let batch = native::batch(Default::default(), 1, ["x".repeat(3_000)]);
    let produced = client.produce(topic, 0, batch).await?;
    Ok(kafka::error_name(produced.error_code))
}

#[tokio::test]
async fn a_default_changed_over_the_wire_holds_at_once_and_after_a_kill() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let own = [("max.message.bytes", "5000")];
    client.create_topic("own", 1, &own).await?;
    client.create_topic("default", 1, &[]).await?;
    assert_eq!(produce(&mut client, "default").await?, OK);
    let (error, _) = alter(&mut client, SET, "message.max.bytes", "2000").await?;
    assert_eq!(error, OK);
    for _ in ["at once", "after a kill"] {
        let key = "message.max.bytes";
        let found = describe(&mut client, (BROKER, BROKER_ID), key).await?;
        assert_eq!(found, ("2000".to_owned(), FROM_RUNNING_BROKER, false));
        let key = "max.message.bytes";
        let found = describe(&mut client, (TOPIC, "default"), key).await?;
        assert_eq!(found, ("2000".to_owned(), FROM_RUNNING_BROKER, false));
        let found = describe(&mut client, (TOPIC, "own"), key).await?;
        assert_eq!(found, ("5000".to_owned(), FROM_TOPIC, false));
        assert_eq!(produce(&mut client, "default").await?, "MessageTooLarge");
        assert_eq!(produce(&mut client, "own").await?, OK);
        daemon.kill()?;
        daemon.restart()?;
        client = Kafka::connect(daemon.kafka()).await?;
    }
    let (error, _) = alter(&mut client, DELETE, "message.max.bytes", "").await?;
    assert_eq!(error, OK);
    assert_eq!(produce(&mut client, "default").await?, OK);
    Ok(())
}

/// Found by the tests of the crate rdkafka.
#[tokio::test]
async fn what_an_old_client_does_not_name_goes_back_to_its_default() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let broker = (BROKER, BROKER_ID);
    let messages = "log.flush.interval.messages";
    let (default, source, read_only) = describe(&mut client, broker, messages).await?;
    assert_eq!((source, read_only), (FROM_DEFAULT, false));
    assert_eq!(alter_all(&mut client, &[(messages, "1234")]).await?, OK);
    let found = describe(&mut client, broker, messages).await?;
    assert_eq!(found, ("1234".to_owned(), FROM_RUNNING_BROKER, false));
    let other = ("log.flush.interval.ms", "60000");
    assert_eq!(alter_all(&mut client, &[other]).await?, OK);
    let found = describe(&mut client, broker, messages).await?;
    assert_eq!(found, (default, FROM_DEFAULT, false));
    Ok(())
}

#[tokio::test]
async fn what_is_no_default_of_topics_or_contradicts_one_of_them_is_refused() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let lag = [("max.compaction.lag.ms", "5")];
    client.create_topic("compacted", 1, &lag).await?;
    for (name, value, expected) in [
        ("num.partitions", "3", "configuration of a broker cannot be"),
        (
            "log.retention.ms",
            "soon",
            "topic config retention.ms has value",
        ),
        (
            "log.cleaner.min.compaction.lag.ms",
            "10",
            "of topic compacted",
        ),
    ] {
        let before = describe(&mut client, (BROKER, BROKER_ID), name).await?;
        let (error, message) = alter(&mut client, SET, name, value).await?;
        assert_eq!(error, "InvalidConfig", "{name}");
        assert!(message.contains(expected), "{name}: {message}");
        let after = describe(&mut client, (BROKER, BROKER_ID), name).await?;
        assert_eq!(after, before);
    }
    Ok(())
}
