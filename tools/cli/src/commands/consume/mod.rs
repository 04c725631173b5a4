//! `millstream consume TOPIC`: records become text.

mod format;

use std::io::{self, BufWriter, Write};

use millstream::{
    Assignment, ConsumedRecord, Consumer, IsolationLevel, OffsetReset, Start,
    admin::{PartitionLog, TopicDescription},
};

use crate::{
    args::Global,
    failure::{Failure, Outcome, Result},
    session::Session,
    time,
};
use format::Format;

/// Bytes of output that are collected before they are written, where more records are at hand.
const OUTPUT_BUFFER_BYTES: usize = 256 * 1024;

/// Options of `consume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Formats:
  value     each record's value and a line end, and nothing else; null values are empty lines
  json      {\"topic\", \"partition\", \"offset\", \"timestamp\", \"key\", \"value\", \"headers\"} per line; bytes
            that are no UTF-8 as base64, with \"value_encoding\": \"base64\"
  TEMPLATE  text with {topic} {partition} {offset} {timestamp} {time} {key} {value} {headers}, and
            \\n, \\t, \\\\, {{ and }}; timestamp is in milliseconds, time is RFC 3339, null is null

Records of one partition come in the order of their offsets. It ends at the end of the log, as it was
when the command started, unless it follows.

Examples:
  millstream consume flights --limit 10
  millstream consume flights --from 2013-01-31T20:00:00Z --format json
  millstream consume flights --partition 3 --from 1000 --format '{offset}\\t{key}\\t{value}'
  millstream consume flights --from latest --follow")]
pub(crate) struct Options {
    /// The topic
    topic: String,
    /// Where to start: earliest, latest, an offset, or a time (the first record at or after it)
    #[arg(long, value_name = "WHERE", default_value = "earliest", value_parser = parse_start, allow_hyphen_values = true)]
    from: Start,
    /// Only this partition
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..), allow_hyphen_values = true)]
    partition: Option<i32>,
    /// End after this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Wait for new records at the end of the log instead of ending
    #[arg(long, short)]
    follow: bool,
    /// How records are written: value, json, or a TEMPLATE
    #[arg(long, default_value = "value", value_parser = format::parse)]
    format: Format,
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

/// Where `--from` starts.
fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(offset) = text.parse::<i64>() {
        return if offset >= 0 {
            Ok(Start::Offset(offset))
        } else {
            Err("an offset is 0 or more".to_owned())
        };
    }
    time::parse(text)
        .map(Start::TimestampMs)
        .ok_or_else(|| format!("expected earliest, latest, an offset, or {}", time::FORMS))
}

/// Prints the records.
pub(crate) async fn run(options: &Options, global: &Global) -> Result<Outcome> {
    let session = Session::connect(global).await?;
    let mut consumer = assign(options, &session).await?;
    let mut output = BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, io::stdout());
    let result = print(options, &mut consumer, &mut output).await;
    // What was received is shown, whatever came after it.
    output.flush()?;
    result.map(|()| Outcome::Positive)
}

async fn assign(options: &Options, session: &Session) -> Result<Consumer> {
    let topic = session.describe(&options.topic, true).await?;
    if let Start::Offset(offset) = options.from {
        check_offset(offset, options.partition, &topic)?;
    }
    let mut consumer = session
        .client
        .consumer()
        .isolation(match options.isolation {
            Isolation::ReadUncommitted => IsolationLevel::ReadUncommitted,
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
        })
        .offset_reset(OffsetReset::Fail)
        .build()?;
    let topic = options.topic.clone();
    let mut assignment = match options.partition {
        Some(partition) => Assignment::partition(topic, partition),
        None => Assignment::topic(topic),
    };
    assignment = assignment.start(options.from);
    if !options.follow {
        assignment = assignment.until_end();
    }
    consumer.assign([assignment]).await?;
    Ok(consumer)
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

async fn print(options: &Options, consumer: &mut Consumer, output: &mut impl Write) -> Result<()> {
    let mut line = Vec::new();
    let mut left = options.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(record) = next(consumer, output).await? else {
            return Ok(());
        };
        line.clear();
        options.format.write(&record, &mut line);
        line.push(b'\n');
        output.write_all(&line)?;
        left -= 1;
    }
    Ok(())
}

/// The next record; `None` at the end, and after Ctrl-C. What is collected is written before waiting.
async fn next(consumer: &mut Consumer, output: &mut impl Write) -> Result<Option<ConsumedRecord>> {
    if let Some(record) = consumer.try_recv()? {
        return Ok(Some(record));
    }
    output.flush()?;
    tokio::select! {
        record = consumer.recv() => Ok(record?),
        interrupted = tokio::signal::ctrl_c() => match interrupted {
            Ok(()) => Ok(None),
            Err(error) => Err(Failure::io("cannot wait for Ctrl-C", &error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_from_is_understood() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("0", Start::Offset(0)),
            ("1357034400000", Start::Offset(1_357_034_400_000)),
            (
                "2013-01-01T10:00:00Z",
                Start::TimestampMs(1_357_034_400_000),
            ),
            ("2013-01-01", Start::TimestampMs(1_356_998_400_000)),
        ] {
            assert_eq!(parse_start(text), Ok(start), "{text}");
        }
        assert!(parse_start("-1").is_err());
        assert!(parse_start("yesterday").is_err());
    }
}
