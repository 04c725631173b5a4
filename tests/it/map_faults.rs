//! F12: another process cuts a segment while it is read. That partition fails, and nothing else.
//!
//! `MILLSTREAM_MAP_FAULTS` makes it longer.

use std::fs::OpenOptions;

use anyhow::{Context as _, Result, ensure};
use millstream_proto::grpc::v1::fetch_response::Response;
use millstream_tests::{
    Daemon, DaemonOptions, Native,
    checker::{self, ValueId},
    native, scale,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const RUNS: u64 = 20;
const BATCHES: u64 = 40;
const RECORDS_PER_BATCH: u64 = 500;

fn batch(number: u64) -> bytes::Bytes {
    let first = number * RECORDS_PER_BATCH;
    let values = (first..first + RECORDS_PER_BATCH).map(|id| checker::encode(ValueId(id)));
    native::batch(Default::default(), 1, values)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_cut_under_a_reader_fails_its_partition_only() -> Result<()> {
    let runs = scale::from_environment("MILLSTREAM_MAP_FAULTS", RUNS);
    // A tail cache too small to hide the file.
    let mut daemon = DaemonOptions::default()
        .set("limits.tail_cache_bytes_max", "64KiB")
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let other = client.create_topic("other", 1, &[]).await?;
    let mut failed = 0;
    for run in 0..runs {
        failed += u64::from(
            cut_under_reader(&daemon, &client, run)
                .await
                .with_context(|| format!("run {run}:\n{}", daemon.log_tail()))?,
        );
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
    println!("{runs} segments cut under a reader, {failed} reads failed, 0 deaths");
    ensure!(failed > 0, "no run ever met the cut");
    Ok(())
}

/// Returns whether the reader met the cut.
async fn cut_under_reader(daemon: &Daemon, client: &Native, run: u64) -> Result<bool> {
    let topic = format!("victim-{run}");
    let topic_id = client.create_topic(&topic, 1, &[]).await?;
    let mut produce = client.produce().await?;
    for number in 0..BATCHES {
        produce.produce(&topic_id, 0, batch(number)).await?;
    }
    let path = daemon
        .partition_dir(&topic, 0)
        .join("00000000000000000000.log");
    let size = path.metadata()?.len();
    let mut stream = client.fetch().await?;
    let fetch_id = stream.add(&topic_id, 0, 0, 1).await?;
    let first = stream.data().await?;
    let mut next = verify(first.batches, 0)?;
    let keep = StdRng::seed_from_u64(run).random_range(0..size / 2);
    OpenOptions::new().write(true).open(&path)?.set_len(keep)?;
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

/// Every byte that is sent is right.
fn verify(batches: bytes::Bytes, mut next: u64) -> Result<u64> {
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
