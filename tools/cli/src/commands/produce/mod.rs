//! `millstream produce TOPIC [FILE]`: rows of text become records.
//!
//! A thread of its own reads ([`input`]) and parses (a file for each format), [`sending`] hands what
//! it finds to the producer and waits for the acknowledgements, and [`patience`] says what it waits
//! for where that takes long. Here are the options and the summary.

mod csv;
mod input;
mod json;
mod lines;
mod patience;
mod progress;
mod sending;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::ValueEnum;
use millstream::{Acks, Compression, Durability, Producer};
use serde_json::json;

use crate::{
    args::Global,
    failure::{Failure, Outcome, Result},
    number,
    output::{self, OutputFormat},
    quantity::{Throughput, count, counted},
    session::Session,
};
use progress::Progress;
use sending::{Delivered, Sending};

/// Longest `--linger-ms`.
const LINGER_MS_MAX: u32 = 60_000;
/// Longest `--timeout`, a day.
const TIMEOUT_S_MAX: u32 = 24 * 60 * 60;
/// Largest `--record-bytes-max`: what the queue of the producer holds.
const RECORD_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// Options of `produce`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Formats:
  lines  each line is the value of a record, without its line end (LF or CRLF)
  csv    the header names the columns and is no record; the value is the row as
         it stands, quoted line ends included, without the line end that closes
         it; an empty key cell is a null key
  json   each line is an object {\"key\", \"value\", \"headers\", \"timestamp\",
         \"partition\"}, as 'millstream consume --format json' writes them

Retention counts from the time of a record: where --timestamp gives old ones, records older than the \
topic's retention.ms (7 days by default) are deleted soon after they came. Keep them with \
retention.ms=-1.

Examples:
  echo hello | millstream produce greetings
  zcat flights.csv.gz | millstream produce flights --format csv --key tailnum
  millstream topics create history --config retention.ms=-1
  millstream produce history 2013.csv --format csv --timestamp time_hour
  millstream consume a --format json | millstream produce b --format json")]
pub(crate) struct Options {
    /// The topic
    topic: String,
    /// Where the rows are; standard input without it
    file: Option<PathBuf>,
    /// What the input looks like
    #[arg(long, value_enum, default_value = "lines")]
    format: Format,
    /// CSV column that is the key
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// CSV column that is the time: RFC 3339, a date, or milliseconds since the epoch
    #[arg(long, value_name = "COLUMN")]
    timestamp: Option<String>,
    /// Codec of the batches
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
    /// When a record counts as delivered
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksOption,
    /// Longest wait of a batch that is not full
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 5,
        value_parser = number::within(0..=LINGER_MS_MAX),
        allow_hyphen_values = true
    )]
    linger_ms: u32,
    /// Largest record
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1024 * 1024,
        value_parser = number::within(1..=RECORD_BYTES_MAX),
        allow_hyphen_values = true
    )]
    record_bytes_max: u32,
    /// How long a record may wait for its acknowledgement, retries included (Kafka's
    /// delivery.timeout.ms)
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 120,
        value_parser = number::within(1..=TIMEOUT_S_MAX),
        allow_hyphen_values = true
    )]
    timeout: u32,
}

/// What the input looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Lines,
    Csv,
    Json,
}

/// Names of the codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

/// Names of the acknowledgement modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksOption {
    /// The whole in-sync set has it
    All,
    /// The leader has it
    Leader,
    /// It was sent; nothing is known of it
    None,
}

impl From<AcksOption> for Acks {
    fn from(acks: AcksOption) -> Self {
        match acks {
            AcksOption::All => Self::All,
            AcksOption::Leader => Self::Leader,
            AcksOption::None => Self::None,
        }
    }
}

/// Produces the input's records.
pub(crate) async fn run(options: Options, global: &Global) -> Result<Outcome> {
    check(&options)?;
    // Open the file first: a wrong path needs no broker to be told.
    let source = input::Source::open(options.file.as_deref())?;
    let session = Session::connect(global).await?;
    session.describe(&options.topic, false).await?;
    let producer = producer(&options, &session)?;
    let progress = Progress::start(source.length());
    let batches = input::spawn(source, parser(&options), record_bytes_max(&options));
    let sending = Sending::new(producer, progress, timeout(&options))?;
    let sent = sending.run(batches).await;
    let Some(failure) = sent.failure else {
        report(session.output, sent.throughput, sent.delivered)?;
        return Ok(Outcome::Positive);
    };
    output::talk(&format!(
        "{} before the error: {} of {}",
        match options.acks {
            AcksOption::None => "sent",
            _ => "acknowledged",
        },
        count(sent.delivered.records),
        counted(sent.throughput.records, "record"),
    ));
    Err(match failure {
        sending::Failed::Input(failure) => failure,
        sending::Failed::Delivery(error) => session.about_topic(&options.topic, error).await,
    })
}

fn producer(options: &Options, session: &Session) -> Result<Producer> {
    let producer = session.client.producer();
    let producer = producer
        .acks(options.acks.into())
        .compression(options.compression.into())
        .linger(linger(options))
        .record_bytes_max(record_bytes_max(options))
        // Records that wait for room say less of what they wait for than those in the room.
        .max_block(timeout(options))
        .delivery_timeout(timeout(options));
    Ok(producer.build()?)
}

fn timeout(options: &Options) -> Duration {
    Duration::from_secs(options.timeout.into())
}

/// A record does not linger until it is given up.
fn linger(options: &Options) -> Duration {
    Duration::from_millis(options.linger_ms.into()).min(timeout(options) / 2)
}

fn record_bytes_max(options: &Options) -> usize {
    usize::try_from(options.record_bytes_max).unwrap_or(usize::MAX)
}

fn check(options: &Options) -> Result<()> {
    for (flag, value) in [("--key", &options.key), ("--timestamp", &options.timestamp)] {
        if value.is_some() && options.format != Format::Csv {
            return Err(Failure::new(
                format!("{flag} names a column, which only CSV has"),
                "pass --format csv; JSON rows carry key and timestamp themselves",
            ));
        }
    }
    Ok(())
}

fn parser(options: &Options) -> Box<dyn input::Parse> {
    let topic: Arc<str> = Arc::from(options.topic.as_str());
    match options.format {
        Format::Lines => Box::new(lines::Lines::new(topic)),
        Format::Json => Box::new(json::JsonLines::new(topic)),
        Format::Csv => Box::new(csv::Csv::new(
            topic,
            options.key.clone(),
            options.timestamp.clone(),
        )),
    }
}

fn report(format: OutputFormat, throughput: Throughput, delivered: Delivered) -> Result<()> {
    let replicas = counted(delivered.replicas.into(), "replica");
    let durability = match delivered.durability {
        Durability::Flushed => format!("; flushed on {replicas}"),
        Durability::Memory => format!("; in memory of {replicas}"),
        _ => String::new(),
    };
    output::talk(&format!("produced {throughput}{durability}"));
    if format == OutputFormat::Json {
        output::json(&json!({
            "records": delivered.records,
            "bytes": throughput.bytes,
            "seconds": throughput.time.as_secs_f64(),
            "records_per_s": throughput.records_per_s(),
            "mb_per_s": throughput.mb_per_s(),
            "durability": match delivered.durability {
                Durability::Flushed => "flushed",
                Durability::Memory => "memory",
                _ => "unknown",
            },
            "replicas": delivered.replicas,
        }))?;
    }
    Ok(())
}
