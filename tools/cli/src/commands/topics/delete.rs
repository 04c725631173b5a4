//! `millstream topics delete NAME...`.

use millstream::admin::TopicDescription;
use serde_json::{Value, json};

use crate::{
    confirm::confirm,
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::counted,
    session::Session,
};

/// Options of `topics delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream topics delete flights --dry-run
  millstream topics delete flights --yes")]
pub(crate) struct Options {
    /// The topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Deletes the topics, all known ones or none: an unknown name stops before anything is deleted.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let mut found = Vec::with_capacity(options.names.len());
    for name in &options.names {
        found.push(session.describe(name, true).await?);
    }
    let plans: Vec<_> = found.iter().map(plan).collect();
    let plan = format!("deleting {}", plans.join(", "));
    if options.dry_run {
        match session.output {
            OutputFormat::Table => output::line(&format!("{plan} would succeed"))?,
            OutputFormat::Json => output::json(&to_json(&found, false))?,
        }
        return Ok(Outcome::Positive);
    }
    confirm(&plan, options.yes)?;
    let names: Vec<_> = options.names.iter().map(String::as_str).collect();
    let mut refused = Vec::new();
    for (name, result) in session.admin().delete_topics(&names, false).await? {
        if let Err(error) = result {
            found.retain(|found| found.name != name);
            refused.push((name, error));
        }
    }
    match session.output {
        OutputFormat::Table => {
            for topic in &found {
                output::line(&format!("deleted topic {}", topic.name))?;
            }
        }
        OutputFormat::Json => output::json(&to_json(&found, true))?,
    }
    match refused.into_iter().next() {
        Some((name, error)) => Err(session.about_topic(&name, error).await),
        None => Ok(Outcome::Positive),
    }
}

fn to_json(topics: &[TopicDescription], deleted: bool) -> Vec<Value> {
    let topics = topics.iter().map(|topic| {
        json!({
            "name": topic.name,
            "topic_id": topic.topic_id.to_string(),
            "partitions": topic.partitions.len(),
            "records": records(topic),
            "deleted": deleted,
        })
    });
    topics.collect()
}

/// What goes with the topic.
fn plan(topic: &TopicDescription) -> String {
    format!(
        "topic {} ({}, {})",
        topic.name,
        counted(topic.partitions.len() as u64, "partition"),
        counted(records(topic), "record"),
    )
}

/// Offsets between start and high watermark, as far as partitions say.
fn records(topic: &TopicDescription) -> u64 {
    let logs = topic.partitions.iter().filter_map(|it| it.log.as_ref());
    let records = logs.map(|log| log.high_watermark.saturating_sub(log.log_start_offset));
    u64::try_from(records.sum::<i64>()).unwrap_or(0)
}
