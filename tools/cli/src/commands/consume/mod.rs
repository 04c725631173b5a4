//! `millstream consume TOPIC`: records become text. Alone it reads the partitions that it is told; as a
//! member it reads those that its group gives it, and commits what it has printed.

mod alone;
mod ends;
mod format;
mod hand_over;
mod member;
mod printer;

use clap::builder::NonEmptyStringValueParser;
use millstream::{
    IsolationLevel, Start,
    admin::{PartitionLog, TopicDescription},
};

use crate::{
    args::Global,
    failure::{Failure, Outcome, Result},
    number,
    output::OutputFormat,
    session::Session,
    start,
};
use format::Format;

/// Options of `consume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Formats:
  value     each record's value and a line end, and nothing else; null values
            are empty lines
  json      {\"topic\", \"partition\", \"offset\", \"timestamp\", \"key\", \"value\",
            \"headers\"} per line; bytes that are no UTF-8 as base64, with
            \"value_encoding\": \"base64\"
  TEMPLATE  text with {topic} {partition} {offset} {timestamp} {time} {key}
            {value} {headers}, and \\n, \\t, \\\\, {{ and }}; timestamp is in
            milliseconds, time is RFC 3339, null is null

Records of one partition come in the order of their offsets. It ends at the end of the log, as it \
was when the command started, unless it follows; Ctrl-C ends it earlier.

Members of a group share the partitions of the topic, and go on where the group has committed; where \
it has committed nothing they start at --from. What is printed is committed, every few seconds and \
at the end, and nothing else is. A member ends when it has read all that it was given up to the end \
of the log and nothing is left over for it.

Examples:
  millstream consume flights --limit 10
  millstream consume flights --from 2013-01-31T20:00:00Z --format json
  millstream consume flights --partition 3 --from 1000 --format '{offset}\\t{key}\\t{value}'
  millstream consume flights --from latest --follow
  millstream consume flights --group readers --follow")]
pub(crate) struct Options {
    /// The topic
    topic: String,
    /// Read as a member of this group, and commit what is printed
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    group: Option<String>,
    /// Where to start: earliest (the default), latest, an offset, or a time (the first record at or
    /// after it)
    #[arg(long, value_name = "WHERE", value_parser = start::parse, allow_hyphen_values = true)]
    from: Option<Start>,
    /// Only this partition
    #[arg(
        long,
        value_name = "P",
        value_parser = number::within(0..=i32::MAX),
        allow_hyphen_values = true,
        conflicts_with = "group"
    )]
    partition: Option<i32>,
    /// End after this many records
    #[arg(
        long,
        value_name = "N",
        value_parser = number::within(0..=u64::MAX),
        allow_hyphen_values = true
    )]
    limit: Option<u64>,
    /// Wait for new records at the end of the log instead of ending
    #[arg(long, short)]
    follow: bool,
    /// How records are written: value, json, or a TEMPLATE; value without it, json with --output json
    #[arg(long, value_parser = format::parse)]
    format: Option<Format>,
    /// Which records of transactions are shown
    #[arg(long, value_enum, default_value = "read-uncommitted")]
    isolation: Isolation,
}

/// Names of the isolation levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Isolation {
    /// All
    ReadUncommitted,
    /// Those of committed transactions, and all that belong to none
    ReadCommitted,
}

impl From<Isolation> for IsolationLevel {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::ReadUncommitted => Self::ReadUncommitted,
            Isolation::ReadCommitted => Self::ReadCommitted,
        }
    }
}

impl Options {
    fn format(&self, output: OutputFormat) -> Format {
        self.format.clone().unwrap_or(match output {
            OutputFormat::Table => Format::Value,
            OutputFormat::Json => Format::Json,
        })
    }
}

/// Prints the records.
pub(crate) async fn run(options: &Options, global: &Global) -> Result<Outcome> {
    let session = Session::connect(global).await?;
    let topic = session.describe(&options.topic, true).await?;
    let from = options.from.unwrap_or(Start::Earliest);
    if let Start::Offset(offset) = from {
        check_offset(offset, options.partition, &topic)?;
    }
    match &options.group {
        Some(group) => member::run(options, group, &topic, &session).await?,
        None => alone::run(options, from, &session).await?,
    }
    Ok(Outcome::Positive)
}

/// Refuses an offset that none of the partitions has, which would print nothing without a word.
fn check_offset(offset: i64, partition: Option<i32>, topic: &TopicDescription) -> Result<()> {
    let logs: Vec<_> = topic
        .partitions
        .iter()
        .filter(|described| partition.is_none_or(|wanted| wanted == described.partition))
        .filter_map(|described| described.log.map(|log| (described.partition, log)))
        .collect();
    let is_in = |log: &PartitionLog| (log.log_start_offset..=log.high_watermark).contains(&offset);
    if logs.is_empty() || logs.iter().any(|(_, log)| is_in(log)) {
        return Ok(());
    }
    let ranges: Vec<_> = logs
        .iter()
        .map(|(index, log)| {
            format!(
                "{index}: {} to {}",
                log.log_start_offset, log.high_watermark
            )
        })
        .collect();
    Err(Failure::new(
        format!(
            "offset {offset} is out of range in topic {}, expected for partition {}",
            topic.name,
            ranges.join(", ")
        ),
        "pass --from earliest, latest, a time, or an offset in range",
    ))
}
