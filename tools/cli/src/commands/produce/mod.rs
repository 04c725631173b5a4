//! `millstream produce TOPIC [FILE]`: rows of text become records.
//!
//! A thread of its own reads and parses ([`input`]); this task sends what it finds, and another one
//! waits for the acknowledgements. What is between them is bounded: [`input::BATCHES_QUEUED_MAX`]
//! batches of parsed records, the producer's `buffer_memory`, and [`DELIVERIES_MAX`] deliveries.

mod csv;
mod input;
mod json;
mod lines;
mod progress;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::ValueEnum;
use millstream::{Acks, Compression, Delivery, Durability, Producer, Record};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    args::Global,
    failure::{Failure, Outcome, Result},
    output::{self, OutputFormat},
    quantity::{Throughput, counted},
    session::Session,
};
use input::Parsed;
use progress::Progress;

/// Records sent whose acknowledgement has not been looked at.
const DELIVERIES_MAX: usize = 64 * 1024;
/// How long the last records may take after the input has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(150);

/// Options of `produce`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Formats:
  lines  each line is the value of a record, without its line end (LF or CRLF)
  csv    the header names the columns and is no record; the value is the row as it stands, quoted
         line ends included, without the line end that closes it; an empty key cell is a null key
  json   each line is an object {\"key\", \"value\", \"headers\", \"timestamp\", \"partition\"}, as
         'millstream consume --format json' writes them

Examples:
  echo hello | millstream produce greetings
  zcat flights.csv.gz | millstream produce flights --format csv --key tailnum
  millstream produce flights flights.csv --format csv --key carrier --timestamp time_hour
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
    #[arg(long, value_name = "MS", default_value_t = 5)]
    linger_ms: u64,
    /// Largest record
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    record_bytes_max: usize,
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
    let producer = session
        .client
        .producer()
        .acks(options.acks.into())
        .compression(options.compression.into())
        .linger(Duration::from_millis(options.linger_ms))
        .record_bytes_max(options.record_bytes_max)
        .build()?;
    let mut progress = Progress::start(source.length());
    let batches = input::spawn(source, parser(&options), options.record_bytes_max);
    let delivered = send_all(&session, &options.topic, producer, batches, &mut progress).await;
    let throughput = progress.finish();
    match delivered {
        Ok(delivered) => report(session.output, throughput, delivered)?,
        Err(failure) => {
            let sent = counted(throughput.records, "record");
            output::talk(&format!("sent before the error: {sent}"));
            return Err(failure);
        }
    }
    Ok(Outcome::Positive)
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

/// How safe what was delivered is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivered {
    records: u64,
    durability: Durability,
    replicas: u32,
}

async fn send_all(
    session: &Session,
    topic: &str,
    producer: Producer,
    mut batches: mpsc::Receiver<Result<Parsed>>,
    progress: &mut Progress,
) -> Result<Delivered> {
    let (deliveries, waiting) = mpsc::channel(DELIVERIES_MAX);
    let mut waiter = tokio::spawn(wait_for(waiting));
    let sent = tokio::select! {
        sent = send_batches(&producer, &mut batches, &deliveries, progress) => sent,
        // The waiter ends early on the first refused record only.
        failed = &mut waiter => {
            let error = flatten(failed);
            return match error {
                Ok(delivered) => Ok(delivered),
                Err(error) => Err(session.about_topic(topic, error).await),
            };
        }
        _ = tokio::signal::ctrl_c() => {
            output::talk("interrupted: what was read is still sent");
            Ok(())
        }
    };
    drop(deliveries);
    let flushed = producer.close(CLOSE_TIMEOUT).await;
    let delivered = flatten(waiter.await);
    match (sent, delivered) {
        (Err(failure), _) => Err(failure),
        (Ok(()), Err(error)) => Err(session.about_topic(topic, error).await),
        (Ok(()), Ok(delivered)) => flushed.map(|()| delivered).map_err(Failure::from),
    }
}

async fn send_batches(
    producer: &Producer,
    batches: &mut mpsc::Receiver<Result<Parsed>>,
    deliveries: &mpsc::Sender<Delivery>,
    progress: &mut Progress,
) -> Result<()> {
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let records = batch.records.len();
        for record in batch.records {
            let delivery = send(producer, record).await?;
            if deliveries.send(delivery).await.is_err() {
                // The waiter has ended with an error, which the caller is about to see.
                std::future::pending::<()>().await;
            }
        }
        progress.add(records as u64, batch.bytes);
    }
    Ok(())
}

async fn send(producer: &Producer, record: Record) -> Result<Delivery> {
    Ok(producer.send(record).await?)
}

/// Waits for every delivery; ends with the first error.
async fn wait_for(mut deliveries: mpsc::Receiver<Delivery>) -> millstream::Result<Delivered> {
    let mut delivered = Delivered {
        records: 0,
        durability: Durability::Unknown,
        replicas: 0,
    };
    while let Some(delivery) = deliveries.recv().await {
        let acknowledgement = delivery.await?;
        delivered.records += 1;
        delivered.durability = acknowledgement.durability;
        delivered.replicas = acknowledgement.replicas;
    }
    Ok(delivered)
}

fn flatten(
    joined: Result<millstream::Result<Delivered>, tokio::task::JoinError>,
) -> millstream::Result<Delivered> {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
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
