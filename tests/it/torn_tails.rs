//! F6 with the real daemon: the active segment is cut inside its last three batches, with and without
//! zeros or noise behind. The broker keeps exactly the whole batches, and goes on behind them.
//!
//! Every byte of them is cut in the log's own tests (`recovery/tests/torn.rs`).
//! `MILLSTREAM_TORN_TAILS` makes it longer, `MILLSTREAM_TORN_SEED` repeats a run.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use millstream_proto::record::OwnedBatchIter;
use millstream_tests::{
    Daemon, DaemonOptions, Native,
    numbered::{Numbered, copy_directory},
    scale,
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

/// Cuts for each kind of boot, beside those at the boundaries.
const TAILS: usize = 8;
const RECORDS_PER_BATCH: u64 = 7;
/// Below the recovery point.
const DURABLE: u64 = 5;
const BATCHES: u64 = DURABLE + 3;
const LOG: &str = "torn-0/00000000000000000000.log";

fn options(directory: &Path) -> DaemonOptions {
    // So that what is written after a start stays above the recovery point.
    let options = DaemonOptions::default().data_dir(directory);
    options.set("log.recovery_point_interval", "1h")
}

/// A directory whose last three batches lie above the recovery point, killed.
async fn killed(directory: &Path) -> Result<Numbered> {
    let mut daemon = options(directory).start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic = Numbered::create(&client, "torn", 1, RECORDS_PER_BATCH, &[]).await?;
    topic.write(&client, 0, 0..DURABLE).await?;
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    daemon.restart()?;
    let client = Native::connect(daemon.native()).await?;
    topic.write(&client, 0, DURABLE..BATCHES).await?;
    daemon.kill()?;
    Ok(topic)
}

/// Where each batch of a segment ends.
fn ends(bytes: &[u8]) -> Result<Vec<usize>> {
    let mut end = 0;
    OwnedBatchIter::new(bytes.to_vec().into())
        .map(|batch| {
            end += batch?.bytes().len();
            Ok(end)
        })
        .collect()
}

/// A tail to find: so many bytes of the segment, and what is behind them.
struct Tail {
    length: usize,
    behind: Vec<u8>,
}

fn tails(ends: &[usize], tails: usize, rng: &mut StdRng) -> Vec<Tail> {
    let above = &ends[usize::try_from(DURABLE - 1).unwrap_or(0)..];
    let (first, last) = (above[0], above[above.len() - 1]);
    let mut lengths = above.to_vec();
    lengths.extend((0..tails).map(|_| rng.random_range(first..last)));
    let mut found = Vec::new();
    for (index, length) in lengths.into_iter().enumerate() {
        let mut noise = vec![0; 300];
        rng.fill_bytes(&mut noise);
        let behind = match index % 3 {
            0 => Vec::new(),
            1 => vec![0; 700],
            _ => noise,
        };
        found.push(Tail { length, behind });
    }
    found
}

/// Exactly the whole batches are there, and the next one follows them.
async fn keeps_the_whole_batches(daemon: &Daemon, topic: &Numbered, whole: u64) -> Result<()> {
    let client = Native::connect(daemon.native()).await?;
    let mut fetch = client.fetch().await?;
    let found = fetch.read_to_end(&topic.topic_id, 0, 0).await?;
    topic.check(0, &found)?;
    let expected = usize::try_from(whole * RECORDS_PER_BATCH)?;
    ensure!(
        found.len() == expected,
        "{} records, expected {expected}",
        found.len()
    );
    topic.write(&client, 0, whole..whole + 1).await?;
    let found = fetch.read_to_end(&topic.topic_id, 0, 0).await?;
    topic.check(0, &found)
}

#[tokio::test]
async fn a_torn_tail_leaves_exactly_the_whole_batches() -> Result<()> {
    let count = scale::from_environment("MILLSTREAM_TORN_TAILS", TAILS);
    let seed = scale::from_environment("MILLSTREAM_TORN_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_TORN_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir()?;
    let good = home.path().join("good");
    let topic = killed(&good).await?;
    let bytes = fs::read(good.join(LOG))?;
    let ends = ends(&bytes)?;
    ensure!(u64::try_from(ends.len())? == BATCHES, "{ends:?}");
    let boot_id = home.path().join("boot-id");
    fs::write(&boot_id, "00000000-0000-4000-8000-000000000000\n")?;
    let mut cuts = 0;
    for is_other_boot in [false, true] {
        for Tail { length, behind } in tails(&ends, count, &mut rng) {
            let torn = home.path().join("torn");
            copy_directory(&good, &torn)?;
            fs::write(torn.join(LOG), [&bytes[..length], &behind].concat())?;
            let whole = ends.iter().filter(|end| **end <= length).count();
            let mut options = options(&torn);
            if is_other_boot {
                options = options.boot_id(&boot_id);
            }
            let what = format!(
                "cut at {length} of {ends:?}, {} bytes behind, other boot: {is_other_boot}",
                behind.len()
            );
            let daemon = options.start().context(what.clone())?;
            let kept = keeps_the_whole_batches(&daemon, &topic, u64::try_from(whole)?).await;
            kept.context(what)?;
            drop(daemon);
            fs::remove_dir_all(&torn)?;
            cuts += 1;
        }
    }
    println!("{cuts} torn tails, each left its whole batches");
    Ok(())
}
