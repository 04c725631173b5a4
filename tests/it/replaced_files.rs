//! F8 with the real binaries: segments of a stopped broker are swapped, also between partitions, taken
//! from an older copy, or missing. `log verify` reports it; the broker serves right bytes or an error.
//!
//! 1,000 runs of it are among the log's own tests (`partition/tests/damage.rs`). A directory that claims to be
//! another topic's is not taken for an empty one either.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{
    Cli, Daemon, DaemonOptions, Native,
    numbered::{Numbered, copy_directory, verify},
};

const PARTITIONS: i32 = 2;
const RECORDS_PER_BATCH: u64 = 500;
/// Batches when the older copy is taken, and at the end.
const OLDER: u64 = 24;
const BATCHES: u64 = 48;

/// A data directory with some segments in each partition, cleanly stopped, and an older copy of it.
async fn written(good: &Path, older: &Path) -> Result<Numbered> {
    let mut daemon = DaemonOptions::default().data_dir(good).start()?;
    let client = Native::connect(daemon.native()).await?;
    let small = [("segment.bytes", "1048576")];
    let topic = Numbered::create(&client, "moved", PARTITIONS, RECORDS_PER_BATCH, &small).await?;
    for numbers in [0..OLDER, OLDER..BATCHES] {
        let client = Native::connect(daemon.native()).await?;
        for partition in 0..PARTITIONS {
            topic.write(&client, partition, numbers.clone()).await?;
        }
        ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
        if numbers.end == OLDER {
            copy_directory(good, older)?;
            daemon.restart()?;
        }
    }
    Ok(topic)
}

/// The segments of a partition, in order.
fn segments(directory: &Path, partition: i32) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.join(format!("moved-{partition}")))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn swap(one: &Path, other: &Path) -> Result<()> {
    let beside = one.with_extension("swapped");
    fs::rename(one, &beside)?;
    fs::rename(other, one)?;
    Ok(fs::rename(beside, other)?)
}

/// One way to damage a directory.
type Damage = fn(&Path, &Path) -> Result<()>;

const DAMAGES: [(&str, Damage); 6] = [
    ("swapped between partitions", |directory, _| {
        swap(&segments(directory, 0)?[1], &segments(directory, 1)?[1])
    }),
    ("last ones swapped between partitions", |directory, _| {
        let (one, other) = (segments(directory, 0)?, segments(directory, 1)?);
        swap(
            one.last().context("a segment")?,
            other.last().context("a segment")?,
        )
    }),
    ("swapped within a partition", |directory, _| {
        let segments = segments(directory, 0)?;
        swap(&segments[0], &segments[1])
    }),
    ("first segment missing", |directory, _| {
        Ok(fs::remove_file(&segments(directory, 0)?[0])?)
    }),
    ("segment missing in between", |directory, _| {
        Ok(fs::remove_file(&segments(directory, 0)?[1])?)
    }),
    ("replaced by an older copy", |directory, older| {
        // What was the last one then has grown since.
        let older = segments(older, 0)?;
        let last = older.last().context("a segment")?;
        let name = last.file_name().context("a name")?;
        fs::copy(last, directory.join("moved-0").join(name))?;
        Ok(())
    }),
];

#[tokio::test]
async fn swapped_older_and_missing_segments_are_reported_and_never_served() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (good, older) = (home.path().join("good"), home.path().join("older"));
    let topic = written(&good, &older).await?;
    for partition in 0..PARTITIONS {
        ensure!(segments(&good, partition)?.len() >= 3, "several segments");
    }
    let prepared = DaemonOptions::default().data_dir(&good).prepare()?;
    let (code, text) = verify(&prepared, &good)?;
    ensure!(code == Some(0), "undamaged: {code:?} {text}");
    let everything = BATCHES * RECORDS_PER_BATCH;
    for (what, damage) in DAMAGES {
        let damaged = home.path().join("damaged");
        copy_directory(&good, &damaged)?;
        damage(&damaged, &older).context(what)?;
        let (code, text) = verify(&prepared, &damaged)?;
        ensure!(code == Some(1), "{what} is not reported: {code:?} {text}");
        let mut daemon = DaemonOptions::default()
            .data_dir(&damaged)
            .start()
            .context(what)?;
        // The second start follows a kill, without the marker of a clean stop.
        for start in ["start", "start after a kill"] {
            let client = Native::connect(daemon.native()).await?;
            let mut served = Vec::new();
            for partition in 0..PARTITIONS {
                let right = topic.read_right_or_fail(&client, partition, BATCHES).await;
                served.push(right.with_context(|| format!("{what}, {start}"))?);
            }
            println!("{what}, {start}: {served:?} of {everything} records served, all right");
            let total: u64 = served.iter().sum();
            ensure!(
                total < 2 * everything,
                "{what}, {start}: everything was served"
            );
            ensure!(
                !served.contains(&0),
                "{what}, {start}: a partition serves nothing"
            );
            daemon.kill()?;
            daemon.restart()?;
        }
        drop(daemon);
        fs::remove_dir_all(&damaged)?;
    }
    Ok(())
}

/// What `log dump` prints of a file.
fn dump(daemon: &Daemon, path: &Path) -> Result<String> {
    let path = path.to_string_lossy().into_owned();
    let output = Cli::new(daemon, ["log", "dump", &path])?.run()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long the recovery point may take to reach what was acknowledged.
const NOTED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn records_do_not_vanish_with_a_flipped_bit_in_the_topic_id() -> Result<()> {
    let mut daemon = DaemonOptions::default()
        .set("log.recovery_point_interval", "50ms")
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic = Numbered::create(&client, "named", 1, RECORDS_PER_BATCH, &[]).await?;
    topic.write(&client, 0, 0..1).await?;
    let points = daemon.data_dir().join("recovery-points");
    let noted = format!("recovery_point={RECORDS_PER_BATCH}");
    let until = Instant::now() + NOTED_WITHIN;
    while !dump(&daemon, &points)?.contains(&noted) {
        ensure!(Instant::now() < until, "the recovery point stays behind");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.kill()?;
    let metadata = daemon.partition_dir("named", 0).join("partition.metadata");
    let mut bytes = fs::read(&metadata)?;
    let within_the_id = bytes.len() - 4;
    bytes[within_the_id] ^= 2;
    fs::write(&metadata, bytes)?;
    daemon.restart()?;
    let client = Native::connect(daemon.native()).await?;
    let read = topic.read_right_or_fail(&client, 0, 1).await;
    let refusal = read.expect_err("the partition is offline").to_string();
    ensure!(refusal.contains("has topic id"), "{refusal}");
    ensure!(
        topic.write(&client, 0, 1..2).await.is_err(),
        "an offset is used again"
    );
    Ok(())
}
