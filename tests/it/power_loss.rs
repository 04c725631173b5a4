//! Power loss with the real daemon: it runs on a recording file system, and every cut rebuilds the
//! directory from what was flushed by then, with any subset of what was not. The daemon starts on
//! that, in another boot, and must have every record whose acknowledgement came before the cut.
//!
//! `MILLSTREAM_POWER_CUTS` makes it longer, `MILLSTREAM_POWER_SEED` repeats a run (the recording
//! itself is timing: the seed repeats where it is cut).

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use millstream_log::io::Trace;
use millstream_tests::{
    Daemon, DaemonOptions, Native,
    checker::{self, ValueId},
    native, scale,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

const CUTS: usize = 200;
/// How long the recorded daemon is written to at least, and how often: long enough for a `replicated`
/// topic to have flushed, and for several segments.
const RECORDED: Duration = Duration::from_secs(1);
const ROUNDS: usize = 500;
const RECORDS_PER_BATCH: u64 = 100;
/// What a `replicated` topic may lose.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// A flush that is due still has to be done, on a machine that others use too.
const FLUSH_TAKES_MAX: Duration = Duration::from_millis(300);
const SAFE_PARTITIONS: i32 = 2;

/// An acknowledgement, and how much of the trace there was by then.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    stream: usize,
    first: u64,
    trace_bytes: u64,
    at: Instant,
}

/// A partition that is written: numbered values, each at the offset of its number.
#[derive(Debug, Clone)]
struct Target {
    topic: &'static str,
    topic_id: Bytes,
    partition: i32,
    is_safe: bool,
}

/// What a recorded daemon did and said.
struct Recording {
    home: TempDir,
    root: PathBuf,
    trace: Trace,
    targets: Vec<Target>,
    acknowledged: Vec<Acknowledged>,
}

/// What cuts of a recording cost.
#[derive(Debug, Default)]
struct Losses {
    cuts: usize,
    required: u64,
    kept: u64,
    /// Descriptions of records that were acknowledged, durable by contract, and gone.
    lost: Vec<String>,
}

fn batch(first: u64) -> Bytes {
    let values = (first..first + RECORDS_PER_BATCH).map(|id| checker::encode(ValueId(id)));
    native::batch(Default::default(), 1, values)
}

fn options(directory: &Path) -> DaemonOptions {
    DaemonOptions::default()
        .data_dir(directory)
        .set(
            "log.flush_interval",
            format!("{}ms", FLUSH_INTERVAL.as_millis()),
        )
        .set("log.recovery_point_interval", "200ms")
}

/// Runs a daemon on a recording file system with `faults`, writes to it, kills it.
async fn record(faults: &str) -> Result<Recording> {
    let home = TempDir::new()?;
    let root = home.path().join("recorded");
    let path = home.path().join("trace");
    let mut daemon = options(&root)
        .env(
            "MILLSTREAM_TEST_IO",
            format!("record:{}{faults}", path.display()),
        )
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let small = ("segment.bytes", "1048576");
    let safe = client
        .create_topic("safe", SAFE_PARTITIONS, &[small])
        .await?;
    let loose = [small, ("millstream.durability", "replicated")];
    let loose = client.create_topic("loose", 1, &loose).await?;
    let mut targets: Vec<_> = (0..SAFE_PARTITIONS)
        .map(|partition| Target {
            topic: "safe",
            topic_id: safe.clone(),
            partition,
            is_safe: true,
        })
        .collect();
    targets.push(Target {
        topic: "loose",
        topic_id: loose,
        partition: 0,
        is_safe: false,
    });

    let acknowledged = write(&client, &targets, &path).await?;
    daemon.kill()?;
    let trace = Trace::read(&path)?;
    ensure!(
        !trace.is_empty(),
        "the daemon records nothing: is it built with test hooks?"
    );
    Ok(Recording {
        home,
        root,
        trace,
        targets,
        acknowledged,
    })
}

/// Writes batches to all targets in step, so that one that waits for no disk does not run ahead.
async fn write(client: &Native, targets: &[Target], trace: &Path) -> Result<Vec<Acknowledged>> {
    let mut streams = Vec::new();
    for _ in targets {
        streams.push(client.produce().await?);
    }
    let mut acknowledged = Vec::new();
    let start = Instant::now();
    let (mut round, mut first) = (0, 0);
    while round < ROUNDS || start.elapsed() < RECORDED {
        let writes = streams.iter_mut().zip(targets).enumerate();
        let writes = writes.map(async |(stream, (produce, target))| {
            let batch = batch(first);
            produce
                .produce(&target.topic_id, target.partition, batch)
                .await?;
            anyhow::Ok(Acknowledged {
                stream,
                first,
                trace_bytes: fs::metadata(trace)?.len(),
                at: Instant::now(),
            })
        });
        acknowledged.extend(try_join_all(writes).await?);
        round += 1;
        first += RECORDS_PER_BATCH;
    }
    Ok(acknowledged)
}

impl Recording {
    /// Records of a target that a cut after `entries` entries must leave.
    fn required(&self, stream: usize, entries: usize) -> u64 {
        let before = |ack: &&Acknowledged| self.trace.entries_within(ack.trace_bytes) <= entries;
        // The cut came at this time or later.
        let cut_at = self
            .acknowledged
            .iter()
            .filter(before)
            .map(|ack| ack.at)
            .max();
        let is_old = |ack: &Acknowledged| {
            self.targets[stream].is_safe
                || cut_at.is_some_and(|cut| cut >= ack.at + FLUSH_INTERVAL + FLUSH_TAKES_MAX)
        };
        let own = self.acknowledged.iter().filter(|ack| ack.stream == stream);
        let due = own.filter(before).filter(|ack| is_old(ack));
        due.map(|ack| ack.first + RECORDS_PER_BATCH)
            .max()
            .unwrap_or(0)
    }

    /// Cuts the power `cuts` times, at places in order, and restarts the daemon after each.
    async fn cut(&self, cuts: usize, rng: &mut StdRng, stop_at_loss: bool) -> Result<Losses> {
        let mut places: Vec<_> = (0..cuts)
            .map(|_| rng.random_range(1..=self.trace.len()))
            .collect();
        places.sort_unstable();
        let boot_id = self.home.path().join("boot-id");
        fs::write(&boot_id, "00000000-0000-4000-8000-000000000000\n")?;
        let mut replay = self.trace.replay();
        let mut losses = Losses::default();
        for entries in places {
            replay.advance_to(entries)?;
            let seed = rng.random();
            let image = self.home.path().join("image");
            replay.crash_into(seed, &self.root, &image)?;
            self.restart_on(&image, &boot_id, entries, &mut losses)
                .await
                .with_context(|| format!("cut after {entries} entries, image seed {seed}"))?;
            losses.cuts += 1;
            fs::remove_dir_all(&image)?;
            if stop_at_loss && !losses.lost.is_empty() {
                break;
            }
        }
        Ok(losses)
    }

    async fn restart_on(
        &self,
        image: &Path,
        boot_id: &Path,
        entries: usize,
        losses: &mut Losses,
    ) -> Result<()> {
        let daemon = options(image).boot_id(boot_id).start()?;
        let client = Native::connect(daemon.native()).await?;
        let topics = client.list_topics().await?;
        for (stream, target) in self.targets.iter().enumerate() {
            let required = self.required(stream, entries);
            losses.required += required;
            let (kept, refusal) = if topics.iter().any(|topic| topic == target.topic) {
                match read_back(&daemon, &client, target).await? {
                    Readback::Whole(kept) => (kept, String::new()),
                    // Lost where something was acknowledged, and wrong where nothing was.
                    Readback::Refused(error) if required > 0 => (0, format!(": {error}")),
                    Readback::Refused(error) => bail!("{}: {error}", target.topic),
                }
            } else {
                (0, String::new())
            };
            losses.kept += kept;
            if kept < required {
                losses.lost.push(format!(
                    "{}-{}: {required} records acknowledged before entry {entries}, {kept} \
                     there{refusal}",
                    target.topic, target.partition
                ));
            }
        }
        Ok(())
    }
}

/// What a partition gives back.
enum Readback {
    /// So many records.
    Whole(u64),
    /// The broker does not serve what was there.
    Refused(String),
}

/// Reads a partition: every record is the one with its number. Then writes one more batch.
async fn read_back(daemon: &Daemon, client: &Native, target: &Target) -> Result<Readback> {
    let mut fetch = client.fetch().await?;
    let found = match fetch
        .read_to_end(&target.topic_id, target.partition, 0)
        .await
    {
        Ok(found) => found,
        Err(error) => return Ok(Readback::Refused(format!("{error}\n{}", daemon.log_tail()))),
    };
    for (index, record) in found.iter().enumerate() {
        let value = record.value.as_deref().and_then(checker::decode);
        ensure!(
            record.offset.get() == i64::try_from(index)?
                && value == Some(ValueId(u64::try_from(index)?)),
            "{}-{} has {value:?} at {}",
            target.topic,
            target.partition,
            record.offset
        );
    }
    let kept = u64::try_from(found.len())?;
    let mut produce = client.produce().await?;
    let ack = produce
        .produce(&target.topic_id, target.partition, batch(kept))
        .await?;
    ensure!(
        ack.base_offset == i64::try_from(kept)?,
        "the log goes on at {}",
        ack.base_offset
    );
    Ok(Readback::Whole(kept))
}

fn seed() -> StdRng {
    let seed = scale::from_environment("MILLSTREAM_POWER_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_POWER_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_that_was_promised() -> Result<()> {
    let cuts = scale::from_environment("MILLSTREAM_POWER_CUTS", CUTS);
    let recording = record("").await?;
    let losses = recording.cut(cuts, &mut seed(), false).await?;
    println!(
        "{} power cuts in {} operations: {} acknowledged records were due, {} there, {} losses",
        losses.cuts,
        recording.trace.len(),
        losses.required,
        losses.kept,
        losses.lost.len()
    );
    assert!(losses.lost.is_empty(), "{:#?}", losses.lost);
    assert!(losses.required > 0, "no cut came after an acknowledgement");
    Ok(())
}

/// The test above sees a missing flush: without it, it would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_show_a_missing_flush() -> Result<()> {
    for fault in [",skip-fdatasync:safe-", ",skip-dir-fsync:safe-"] {
        let recording = record(fault).await?;
        let losses = recording.cut(CUTS, &mut seed(), true).await?;
        println!("{fault}: {:?}", losses.lost.first());
        assert!(
            !losses.lost.is_empty(),
            "{} cuts with {fault} lost nothing",
            losses.cuts
        );
    }
    Ok(())
}
