//! F12: another process cuts a segment while it is read. That partition fails, and nothing else.
//!
//! `MILLSTREAM_MAP_FAULTS` makes it longer.

use std::fs::OpenOptions;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_proto::grpc::v1::fetch_response::Response;
use millstream_tests::{
    Daemon, DaemonOptions, Kafka, Native,
    checker::{self, ValueId},
    kafka, native, scale,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const RUNS: u64 = 20;
const BATCHES: u64 = 40;
const RECORDS_PER_BATCH: u64 = 500;
/// What one fetch request asks for: a few batches.
const FETCH_BYTES: i32 = 64 << 10;

fn batch(number: u64) -> Bytes {
    let first = number * RECORDS_PER_BATCH;
    let values = (first..first + RECORDS_PER_BATCH).map(|id| checker::encode(ValueId(id)));
    native::batch(Default::default(), 1, values)
}

/// A way to read a partition that shares the mapped reader of the log.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// A fetch stream of the native API.
    Native,
    /// Fetch requests of the Kafka protocol, a piece each.
    Kafka,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_cut_under_a_reader_fails_its_partition_only() -> Result<()> {
    cut_segments(Reader::Native).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_cut_under_a_kafka_reader_fails_its_partition_only() -> Result<()> {
    cut_segments(Reader::Kafka).await
}

async fn cut_segments(reader: Reader) -> Result<()> {
    let runs = scale::from_environment("MILLSTREAM_MAP_FAULTS", RUNS);
    // A tail cache too small to hide the file.
    let mut daemon = DaemonOptions::default()
        .set("limits.tail_cache_bytes_max", "64KiB")
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let other = client.create_topic("other", 1, &[]).await?;
    let mut failed = 0;
    for run in 0..runs {
        let topic = format!("victim-{run}");
        let victim = write_victim(&client, &topic).await?;
        let met = match reader {
            Reader::Native => cut_under_stream(&daemon, &client, &topic, &victim, run).await,
            Reader::Kafka => cut_under_fetches(&daemon, &topic, run).await,
        };
        failed += u64::from(met.with_context(|| format!("run {run}:\n{}", daemon.log_tail()))?);
        ensure!(
            daemon.is_running(),
            "run {run} killed the daemon:\n{}",
            daemon.log_tail()
        );
        client
            .produce()
            .await?
            .produce(&other, 0, batch(run))
            .await?;
        let found = client.fetch().await?.read_to_end(&other, 0, 0).await?;
        ensure!(
            found.len() as u64 == (run + 1) * RECORDS_PER_BATCH,
            "the other partition suffers"
        );
    }
    println!("{runs} segments cut under a reader ({reader:?}), {failed} reads failed, 0 deaths");
    ensure!(failed > 0, "no run ever met the cut");
    Ok(())
}

async fn write_victim(client: &Native, topic: &str) -> Result<Bytes> {
    let topic_id = client.create_topic(topic, 1, &[]).await?;
    let mut produce = client.produce().await?;
    for number in 0..BATCHES {
        produce.produce(&topic_id, 0, batch(number)).await?;
    }
    Ok(topic_id)
}

/// Cuts a partition's only segment somewhere in its first half.
fn cut(daemon: &Daemon, topic: &str, run: u64) -> Result<()> {
    let path = daemon
        .partition_dir(topic, 0)
        .join("00000000000000000000.log");
    let size = path.metadata()?.len();
    let keep = StdRng::seed_from_u64(run).random_range(0..size / 2);
    Ok(OpenOptions::new().write(true).open(&path)?.set_len(keep)?)
}

/// Returns whether the reader met the cut.
async fn cut_under_stream(
    daemon: &Daemon,
    client: &Native,
    topic: &str,
    topic_id: &Bytes,
    run: u64,
) -> Result<bool> {
    let mut stream = client.fetch().await?;
    let fetch_id = stream.add(topic_id, 0, 0, 1).await?;
    let first = stream.data().await?;
    let mut next = verify(first.batches, 0)?;
    cut(daemon, topic, run)?;
    stream.grant(fetch_id, 4 << 20).await?;
    while next < BATCHES * RECORDS_PER_BATCH {
        match stream.next().await? {
            Response::Data(data) => next = verify(data.batches, next)?,
            Response::Failed(refused) => {
                let error = refused.error.context("a failed fetch says why")?;
                let known = ["KAFKA_STORAGE_ERROR", "CORRUPT_MESSAGE"];
                ensure!(known.contains(&error.name.as_str()), "{error:?}");
                return Ok(true);
            }
            Response::Opened(_) => {}
        }
    }
    Ok(false)
}

/// Returns whether a fetch met the cut.
async fn cut_under_fetches(daemon: &Daemon, topic: &str, run: u64) -> Result<bool> {
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let mut next = 0;
    while next < BATCHES * RECORDS_PER_BATCH {
        let offset = i64::try_from(next)?;
        let found = client.fetch(topic, 0, offset, FETCH_BYTES).await?;
        if found.error_code != 0 {
            let name = kafka::error_name(found.error_code);
            let known = ["KafkaStorageError", "CorruptMessage"];
            ensure!(known.contains(&name.as_str()), "{name}");
            return Ok(true);
        }
        let before = next;
        next = verify(found.records.context("records")?, next)?;
        ensure!(next > before, "nothing at {offset}");
        if before == 0 {
            cut(daemon, topic, run)?;
        }
    }
    Ok(false)
}

/// Every byte that is sent is right.
fn verify(batches: Bytes, mut next: u64) -> Result<u64> {
    for record in native::records(batches)? {
        let offset = u64::try_from(record.offset.get())?;
        let value = record.value.as_deref().and_then(checker::decode);
        ensure!(
            offset == next && value == Some(ValueId(offset)),
            "wrong bytes at {offset}"
        );
        next += 1;
    }
    Ok(next)
}
