//! F7 with the real binaries: a bit flips in a file of a stopped broker. `log verify` reports it;
//! the broker serves right bytes or an error.
//!
//! `MILLSTREAM_BIT_FLIPS` makes it longer, `MILLSTREAM_BIT_FLIP_SEED` repeats a run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{
    DaemonOptions, Native,
    numbered::{Numbered, copy_directory, verify},
    scale,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

const FLIPS: u64 = 24;
const BATCHES: u64 = 40;
const RECORDS_PER_BATCH: u64 = 500;
const TOPIC: &str = "flipped";
/// What F7 names; each is flipped as often as the others.
const EXTENSIONS: [&str; 4] = ["log", "index", "timeindex", "snapshot"];

/// A data directory with three segments, cleanly stopped.
async fn written(directory: &Path) -> Result<Numbered> {
    let mut daemon = DaemonOptions::default().data_dir(directory).start()?;
    let client = Native::connect(daemon.native()).await?;
    let small = [("segment.bytes", "1048576")];
    let topic = Numbered::create(&client, TOPIC, 1, RECORDS_PER_BATCH, &small).await?;
    topic.write(&client, 0, 0..BATCHES).await?;
    ensure!(
        client.offsets(TOPIC, 0).await?.segments >= 3,
        "several segments"
    );
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    Ok(topic)
}

/// The files of the partition with this extension that hold anything.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.join(format!("{TOPIC}-0")))? {
        let path = entry?.path();
        let is_wanted = path.extension().is_some_and(|found| found == extension);
        if is_wanted && path.metadata()?.len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn flipped_bits_are_reported_and_never_served() -> Result<()> {
    let flips = scale::from_environment("MILLSTREAM_BIT_FLIPS", FLIPS);
    let seed = scale::from_environment("MILLSTREAM_BIT_FLIP_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_BIT_FLIP_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir()?;
    let good = home.path().join("good");
    let topic = written(&good).await?;
    let prepared = DaemonOptions::default().data_dir(&good).prepare()?;
    let (code, text) = verify(&prepared, &good)?;
    ensure!(code == Some(0), "undamaged: {code:?} {text}");
    let mut served = 0;
    for flip in 0..flips {
        let extension = EXTENSIONS[usize::try_from(flip)? % EXTENSIONS.len()];
        let damaged = home.path().join("damaged");
        copy_directory(&good, &damaged)?;
        let files = files(&damaged, extension)?;
        let path = files
            .choose(&mut rng)
            .with_context(|| format!("a .{extension} file"))?;
        let mut bytes = fs::read(path)?;
        let bit = rng.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, bytes)?;
        let what = format!("bit {bit} of {}", path.display());
        let (code, text) = verify(&prepared, &damaged)?;
        ensure!(code == Some(1), "{what} is not reported: {code:?} {text}");
        let daemon = DaemonOptions::default()
            .data_dir(&damaged)
            .start()
            .context(what.clone())?;
        let client = Native::connect(daemon.native()).await?;
        let right = topic.read_right_or_fail(&client, 0, BATCHES).await;
        served += right.context(what)?;
        drop(daemon);
        fs::remove_dir_all(&damaged)?;
    }
    ensure!(
        served > flips * RECORDS_PER_BATCH,
        "only {served} records were served at all"
    );
    println!("{flips} flips, all reported, 0 wrong bytes in {served} records served");
    Ok(())
}
