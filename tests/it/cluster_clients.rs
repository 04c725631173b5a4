//! Who is connected, as `millstream cluster clients` tells: both listeners, names and versions.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::{messages::ApiVersionsRequest, protocol::StrBytes};
use millstream_tests::{Cli, Daemon, Kafka, retry};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);
/// The first version of ApiVersions in which a client says what it is.
const VERSION: i16 = 3;

fn clients(daemon: &Daemon) -> Result<Vec<Value>> {
    let line = ["cluster", "clients", "--output", "json"];
    let output = Cli::new(daemon, line)?.stdout()?;
    Ok(serde_json::from_slice(&output)?)
}

#[tokio::test]
async fn clients_of_both_listeners_are_listed_while_they_are_connected() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut kafka = Kafka::connect(daemon.kafka()).await?;
    kafka.set_client_id("probe");
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test-client"))
        .with_client_software_version(StrBytes::from_static_str("1.2.3"));
    kafka.call(VERSION, &request).await?;

    let listed = clients(&daemon)?;
    let of = |listener: &str| listed.iter().find(|client| client["listener"] == listener);
    let probe = of("kafka").context("the Kafka client")?;
    assert_eq!(probe["client_id"], "probe", "{probe}");
    assert_eq!(probe["software_name"], "test-client", "{probe}");
    assert_eq!(probe["software_version"], "1.2.3", "{probe}");
    assert_eq!(probe["requests"], 1, "{probe}");
    let address = probe["address"].as_str().unwrap_or_default();
    ensure!(address.starts_with("127.0.0.1:"), "{probe}");
    let command = of("native").context("the command's own connection")?;
    assert_eq!(command["software_name"], "millstream", "{command}");
    assert_eq!(command["software_version"], env!("CARGO_PKG_VERSION"));
    ensure!(command["requests"].as_u64() > Some(0), "{command}");

    drop(kafka);
    retry::until("the Kafka client is gone", PATIENCE, || {
        let listed = clients(&daemon).ok()?;
        let is_there = listed.iter().any(|client| client["listener"] == "kafka");
        (!is_there).then_some(())
    })
}
