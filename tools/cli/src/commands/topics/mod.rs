//! `millstream topics`.

pub(crate) mod alter;
mod create;
mod delete;
mod describe;
mod list;

use clap::Subcommand;
use millstream::admin::{PartitionLog, TopicDescription};

use crate::{
    failure::{Failure, Outcome, Result},
    session::Session,
};

/// What to do with topics.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream topics create flights --partitions 8
  millstream topics describe flights
  millstream topics alter flights --config retention.ms=86400000")]
pub(crate) enum Verb {
    /// Create a topic
    Create(create::Options),
    /// List all topics
    List(list::Options),
    /// Show partitions, leaders, offsets and sizes of a topic
    Describe(describe::Options),
    /// Add partitions to a topic, or change its configuration
    Alter(alter::Options),
    /// Delete topics and all their records
    Delete(delete::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::Create(options) => create::run(options, session).await,
        Verb::List(options) => list::run(&options, session).await,
        Verb::Describe(options) => describe::run(&options, session).await,
        Verb::Alter(options) => alter::run(options, session).await,
        Verb::Delete(options) => delete::run(&options, session).await,
    }
}

/// A `key=value` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Splits `key=value`; the value may hold further `=`.
pub(crate) fn parse_setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Setting {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Which offsets a partition has now.
///
/// # Errors
/// When the topic has no such partition, or it is offline.
pub(crate) fn log_of(topic: &TopicDescription, partition: i32) -> Result<PartitionLog> {
    let mut partitions = topic.partitions.iter();
    let Some(found) = partitions.find(|described| described.partition == partition) else {
        let last = topic.partitions.len().saturating_sub(1);
        return Err(Failure::new(
            format!(
                "topic {} has no partition {partition}, expected 0 to {last}",
                topic.name
            ),
            format!("see them with: millstream topics describe {}", topic.name),
        ));
    };
    found.log.ok_or_else(|| match &found.error {
        Some(error) => error.clone().into(),
        None => Failure::new(
            format!(
                "the broker does not say where {}-{partition} ends",
                topic.name
            ),
            format!("see more with: millstream topics describe {}", topic.name),
        ),
    })
}

/// The only result of a call for one item.
fn single<T>(
    results: Vec<(String, millstream::Result<T>)>,
) -> Result<Result<T, millstream::Error>> {
    let first = results.into_iter().next().map(|(_, result)| result);
    first.ok_or_else(|| Failure::new("the broker answered nothing", "see the broker's log"))
}
