//! `millstream offsets commit GROUP`.

use clap::builder::NonEmptyStringValueParser;
use millstream::CommitOffset;
use serde_json::json;

use super::refuse_failed;
use crate::{
    commands::{groups::members, topics::log_of},
    failure::{Failure, Outcome, Result},
    number,
    output::{self, OutputFormat},
    session::Session,
};

/// Options of `offsets commit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A group that does not exist yet begins with its first commit. Many offsets are moved at once with \
millstream offsets reset.

Examples:
  millstream offsets commit readers --topic flights --partition 3 --offset 1000
  millstream offsets commit audit --topic flights --partition 0 --offset 0 --metadata 'run 17'")]
pub(crate) struct Options {
    /// The group
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// The topic
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// The partition
    #[arg(long, value_name = "P", value_parser = number::within(0..=i32::MAX), allow_hyphen_values = true)]
    partition: i32,
    /// The next offset to read
    #[arg(long, value_name = "N", value_parser = number::within(0..=i64::MAX), allow_hyphen_values = true)]
    offset: i64,
    /// A text that is kept with the offset
    #[arg(long, value_name = "TEXT", default_value = "")]
    metadata: String,
}

/// Commits the offset, which has to be in the log.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let Options {
        group,
        topic,
        partition,
        offset,
        metadata,
    } = options;
    let found = session.find_group(group).await?;
    found.as_ref().map_or(Ok(()), members::refuse)?;
    let log = log_of(&session.describe(topic, true).await?, *partition)?;
    let range = log.log_start_offset..=log.high_watermark;
    if !range.contains(offset) {
        return Err(Failure::new(
            format!(
                "offset {offset} is out of range in {topic}-{partition}, expected {} to {}",
                range.start(),
                range.end()
            ),
            "commit an offset in range, or the nearest one with millstream offsets reset",
        ));
    }
    let commit = CommitOffset::new(topic, *partition, *offset).metadata(metadata);
    let results = session
        .admin()
        .commit_group_offsets(group, &[commit])
        .await?;
    refuse_failed("committed", &[options], results, |_| {
        format!("{topic}-{partition}")
    })?;
    match session.output {
        OutputFormat::Table => output::line(&format!(
            "committed offset {offset} of {topic}-{partition} for {}group {group}",
            if found.is_none() { "the new " } else { "" }
        ))?,
        OutputFormat::Json => output::json(&json!({
            "group": group,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "metadata": metadata,
        }))?,
    }
    Ok(Outcome::Positive)
}
