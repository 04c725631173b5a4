//! F10: the disk fills up and is freed again. A state, not an accident.
//!
//! The data directory is a tmpfs of its own. `MILLSTREAM_DISK_FULL_CYCLES` makes it longer.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_proto::grpc::v1;
use millstream_tests::{
    Daemon, DaemonOptions, Native,
    checker::{self, ValueId},
    http,
    native::{self, ProduceStream},
    scale,
};

const CYCLES: usize = 20;
const DISK_BYTES: u64 = 48 << 20;
const RECORDS_PER_BATCH: u64 = 400;
/// Batches that a full disk may take before it refuses: what is preallocated.
const BATCHES_UNTIL_REFUSED_MAX: usize = 2_000;
/// How long after the disk is freed produce may be refused still.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A producer of numbered values.
struct Numbered {
    topic_id: Bytes,
    /// Values acknowledged, in the order of their offsets.
    acknowledged: Vec<ValueId>,
    next: u64,
}

impl Numbered {
    /// Produces one batch; a refusal is an answer.
    async fn batch(&mut self, stream: &mut ProduceStream) -> Result<Option<v1::Error>> {
        let ids: Vec<_> = (self.next..self.next + RECORDS_PER_BATCH)
            .map(ValueId)
            .collect();
        let batch = native::batch(
            Default::default(),
            1,
            ids.iter().map(|id| checker::encode(*id)),
        );
        stream.send(&self.topic_id, 0, batch).await?;
        let ack = stream.ack().await?;
        if ack.error.is_none() {
            ensure!(
                ack.base_offset == i64::try_from(self.acknowledged.len())?,
                "{ack:?}"
            );
            self.next += RECORDS_PER_BATCH;
            self.acknowledged.extend(ids);
        }
        Ok(ack.error)
    }

    async fn read_back(&self, client: &Native) -> Result<()> {
        let found = client
            .fetch()
            .await?
            .read_to_end(&self.topic_id, 0, 0)
            .await?;
        let found: Option<Vec<_>> = found
            .iter()
            .map(|record| checker::decode(record.value.as_deref()?))
            .collect();
        ensure!(
            found.as_deref() == Some(&self.acknowledged[..]),
            "the log differs"
        );
        Ok(())
    }
}

/// Takes all the room there is.
pub(crate) fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    for size in [1 << 20, 4 << 10] {
        loop {
            match file.write_all(&vec![1; size]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_produce_and_nothing_else() -> Result<()> {
    let cycles = scale::from_environment("MILLSTREAM_DISK_FULL_CYCLES", CYCLES);
    let daemon = DaemonOptions::default()
        .tmpfs(DISK_BYTES)
        .set("log.disk_reserve", "4MiB")
        .start()
        .context("needs a mount namespace with a tmpfs: root, or unprivileged user namespaces")?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client
        .create_topic("filled", 1, &[("retention.ms", "-1")])
        .await?;
    let mut numbered = Numbered {
        topic_id,
        acknowledged: Vec::new(),
        next: 0,
    };
    let mut slowest = Duration::ZERO;
    for cycle in 0..cycles {
        let took = cycle_once(&daemon, &client, &mut numbered, cycle)
            .await
            .with_context(|| format!("cycle {cycle}:\n{}", daemon.log_tail()))?;
        slowest = slowest.max(took);
    }
    println!(
        "{cycles} times full, {} records acknowledged, back within {slowest:?}",
        numbered.acknowledged.len()
    );
    Ok(())
}

async fn cycle_once(
    daemon: &Daemon,
    client: &Native,
    numbered: &mut Numbered,
    cycle: usize,
) -> Result<Duration> {
    let filler = daemon.data_dir_inside().join("filler");
    let mut stream = client.produce().await?;
    ensure!(
        numbered.batch(&mut stream).await?.is_none(),
        "there is room"
    );
    fill(&filler)?;
    let mut refused = None;
    for _ in 0..BATCHES_UNTIL_REFUSED_MAX {
        refused = numbered.batch(&mut stream).await?;
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.context("a full disk takes everything")?;
    ensure!(
        refused.name == "KAFKA_STORAGE_ERROR" && refused.retriable,
        "{refused:?}"
    );
    let directory = daemon.data_dir().display().to_string();
    ensure!(
        refused.message.contains(&directory),
        "names the directory: {}",
        refused.message
    );

    numbered
        .read_back(client)
        .await
        .context("fetch while the disk is full")?;
    let live = http::get(daemon.http(), "/live", Duration::from_secs(1))?;
    ensure!(live.status == 200, "/live: {}", live.status);
    let extra = format!("extra-{cycle}");
    client
        .create_topic(&extra, 1, &[])
        .await
        .context("admin while the disk is full")?;
    client
        .delete_topic(&extra)
        .await
        .context("deletion while the disk is full")?;

    fs::remove_file(&filler)?;
    let freed = Instant::now();
    while let Some(refused) = numbered.batch(&mut stream).await? {
        ensure!(freed.elapsed() < BACK_WITHIN, "still refused: {refused:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = freed.elapsed();
    numbered.read_back(client).await?;
    Ok(took)
}
