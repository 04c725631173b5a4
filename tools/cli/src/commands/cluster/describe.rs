//! `millstream cluster describe`.

use std::time::Duration;

use millstream::admin::{BrokerDescription, ClusterDescription, DataDirectory};
use serde_json::{Value, json};

use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::bytes,
    session::Session,
};

/// Options of `cluster describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
STATE is full while the disk takes no records, degraded while partitions are offline (millstream \
topics describe says why), else ok.

Example:
  millstream cluster describe --output json")]
pub(crate) struct Options {}

/// Describes the cluster.
pub(crate) async fn run(_options: &Options, session: &Session) -> Result<Outcome> {
    let cluster = session.admin().describe_cluster().await?;
    match session.output {
        OutputFormat::Json => output::json(&to_json(&cluster))?,
        OutputFormat::Table => print_tables(&cluster)?,
    }
    Ok(Outcome::Positive)
}

fn print_tables(cluster: &ClusterDescription) -> Result<()> {
    let controller = cluster.controller_id;
    output::line(&format!(
        "cluster {}, controller {controller}",
        cluster.cluster_id
    ))?;
    let brokers = cluster.brokers.iter().map(broker_row).collect();
    let header = ["BROKER", "ADDRESS", "VERSION", "EPOCH", "UPTIME"];
    output::table(&header, &[0, 3, 4], brokers)?;
    let directories = cluster.brokers.iter().flat_map(|broker| {
        let rows = broker.data_directories.iter();
        rows.map(move |directory| directory_row(broker.broker_id, directory))
    });
    let header = [
        "BROKER",
        "DIRECTORY",
        "STATE",
        "PARTITIONS",
        "OFFLINE",
        "LOG",
        "FREE",
        "SIZE",
    ];
    output::line("")?;
    output::table(&header, &[0, 3, 4, 5, 6, 7], directories.collect())
}

fn broker_row(broker: &BrokerDescription) -> Vec<String> {
    vec![
        broker.broker_id.to_string(),
        format!("{}:{}", broker.host, broker.port),
        broker.version.clone(),
        broker.broker_epoch.to_string(),
        uptime(Duration::from_millis(broker.uptime_ms)),
    ]
}

fn directory_row(broker_id: i32, directory: &DataDirectory) -> Vec<String> {
    vec![
        broker_id.to_string(),
        directory.path.clone(),
        state(directory).to_owned(),
        directory.partitions.to_string(),
        directory.offline_partitions.to_string(),
        bytes(directory.log_bytes),
        bytes(directory.available_bytes),
        bytes(directory.total_bytes),
    ]
}

/// What somebody has to do something about, the wider first.
const fn state(directory: &DataDirectory) -> &'static str {
    match (directory.full, directory.offline_partitions) {
        (true, _) => "full",
        (false, 0) => "ok",
        (false, _) => "degraded",
    }
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s` or `6 s`.
fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn to_json(cluster: &ClusterDescription) -> Value {
    let brokers: Vec<_> = cluster.brokers.iter().map(broker_json).collect();
    json!({
        "cluster_id": cluster.cluster_id,
        "controller_id": cluster.controller_id,
        "brokers": brokers,
    })
}

fn broker_json(broker: &BrokerDescription) -> Value {
    let directories: Vec<_> = broker
        .data_directories
        .iter()
        .map(|directory| {
            json!({
                "path": directory.path,
                "directory_id": directory.directory_id,
                "total_bytes": directory.total_bytes,
                "available_bytes": directory.available_bytes,
                "log_bytes": directory.log_bytes,
                "state": state(directory),
                "full": directory.full,
                "partitions": directory.partitions,
                "offline_partitions": directory.offline_partitions,
            })
        })
        .collect();
    json!({
        "broker_id": broker.broker_id,
        "host": broker.host,
        "port": broker.port,
        "rack": broker.rack,
        "version": broker.version,
        "broker_epoch": broker.broker_epoch,
        "uptime_ms": broker.uptime_ms,
        "data_directories": directories,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_shows_its_two_largest_units() {
        for (seconds, text) in [
            (6, "6 s"),
            (306, "5 min 6 s"),
            (14_700, "4 h 5 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }
}
