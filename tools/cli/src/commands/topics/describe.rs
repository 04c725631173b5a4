//! `millstream topics describe NAME`.

use millstream::admin::{PartitionDescription, TopicDescription};
use serde_json::{Value, json};

use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::{bytes, counted},
    session::Session,
};

const HEADER: &[&str] = &[
    "PARTITION",
    "LEADER",
    "REPLICAS",
    "IN-SYNC",
    "START",
    "HIGH-WATERMARK",
    "FLUSHED",
    "END",
    "SEGMENTS",
    "SIZE",
];
const NUMBERS: &[usize] = &[0, 1, 4, 5, 6, 7, 8, 9];

/// Options of `topics describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
START is the first offset there is, END the offset that the next record gets; records below \
HIGH-WATERMARK are visible, records below FLUSHED are on the leader's disk.

Example:
  millstream topics describe flights")]
pub(crate) struct Options {
    /// The topic
    name: String,
}

/// Describes the topic and each of its partitions.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let topic = session.describe(&options.name, true).await?;
    match session.output {
        OutputFormat::Json => output::json(&to_json(&topic))?,
        OutputFormat::Table => print_table(&topic)?,
    }
    Ok(Outcome::Positive)
}

fn print_table(topic: &TopicDescription) -> Result<()> {
    let partitions = counted(topic.partitions.len() as u64, "partition");
    output::line(&format!(
        "{}: {partitions}, id {}",
        topic.name, topic.topic_id
    ))?;
    output::table(HEADER, NUMBERS, topic.partitions.iter().map(row).collect())?;
    for partition in &topic.partitions {
        if let Some(error) = &partition.error {
            output::talk(&format!("warning: {error}"));
        }
    }
    Ok(())
}

fn row(partition: &PartitionDescription) -> Vec<String> {
    let leader = partition.leader.as_ref();
    let mut row = vec![
        partition.partition.to_string(),
        leader.map_or_else(|| "none".to_owned(), |leader| leader.broker_id.to_string()),
        ids(&partition.replicas),
        ids(&partition.in_sync_replicas),
    ];
    match &partition.log {
        Some(log) => row.extend([
            log.log_start_offset.to_string(),
            log.high_watermark.to_string(),
            log.flushed_offset.to_string(),
            log.log_end_offset.to_string(),
            log.segments.to_string(),
            bytes(log.size_bytes),
        ]),
        None => row.extend(std::iter::repeat_n("?".to_owned(), 6)),
    }
    row
}

fn ids(brokers: &[i32]) -> String {
    let texts: Vec<_> = brokers.iter().map(i32::to_string).collect();
    texts.join(",")
}

fn to_json(topic: &TopicDescription) -> Value {
    let partitions: Vec<_> = topic.partitions.iter().map(partition_json).collect();
    json!({
        "name": topic.name,
        "topic_id": topic.topic_id.to_string(),
        "internal": topic.internal,
        "partitions": partitions,
    })
}

fn partition_json(partition: &PartitionDescription) -> Value {
    let log = partition.log.as_ref().map(|log| {
        json!({
            "log_start_offset": log.log_start_offset,
            "last_stable_offset": log.last_stable_offset,
            "high_watermark": log.high_watermark,
            "flushed_offset": log.flushed_offset,
            "log_end_offset": log.log_end_offset,
            "size_bytes": log.size_bytes,
            "segments": log.segments,
        })
    });
    json!({
        "partition": partition.partition,
        "error": partition.error.as_ref().map(ToString::to_string),
        "leader": partition.leader.as_ref().map(|leader| leader.broker_id),
        "leader_epoch": partition.leader.as_ref().map(|leader| leader.leader_epoch),
        "leader_address": partition.leader.as_ref().map(|leader| leader.address.clone()),
        "replicas": partition.replicas,
        "in_sync_replicas": partition.in_sync_replicas,
        "log": log,
    })
}
