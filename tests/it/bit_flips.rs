//! F7 with the real binaries: a bit flips in a file of a stopped broker. `log verify` reports it;
//! the broker serves right bytes or an error.
//!
//! `MILLSTREAM_BIT_FLIPS` makes it longer, `MILLSTREAM_BIT_FLIP_SEED` repeats a run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_proto::{ProducerEpoch, ProducerId, record::BatchOptions, record::ProducerIdentity};
use millstream_tests::{
    Cli, Daemon, DaemonOptions, Native,
    checker::{self, ValueId},
    native::{self, FetchStream},
    scale,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

const FLIPS: u64 = 24;
const BATCHES: u64 = 40;
const RECORDS_PER_BATCH: u64 = 500;
const TOPIC: &str = "flipped";
/// How long a fetch may take until data or an error comes.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What F7 names; each is flipped as often as the others.
const EXTENSIONS: [&str; 4] = ["log", "index", "timeindex", "snapshot"];

fn batch(producer: (i64, i16), number: u64) -> Result<Bytes> {
    let first = number * RECORDS_PER_BATCH;
    let identity = ProducerIdentity {
        id: ProducerId(producer.0),
        epoch: ProducerEpoch(producer.1),
        base_sequence: i32::try_from(first)?,
    };
    let options = BatchOptions {
        producer: Some(identity),
        ..Default::default()
    };
    let values = (first..first + RECORDS_PER_BATCH).map(|id| checker::encode(ValueId(id)));
    Ok(native::batch(
        options,
        i64::try_from(1_000_000 + number)?,
        values,
    ))
}

/// A data directory with three segments, cleanly stopped.
async fn written(directory: &Path) -> Result<Bytes> {
    let mut daemon = DaemonOptions::default().data_dir(directory).start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client
        .create_topic(TOPIC, 1, &[("segment.bytes", "1048576")])
        .await?;
    let producer = client.init_producer_id().await?;
    let mut stream = client.produce().await?;
    for number in 0..BATCHES {
        stream
            .produce(&topic_id, 0, batch(producer, number)?)
            .await?;
    }
    ensure!(
        client.offsets(TOPIC, 0).await?.segments >= 3,
        "several segments"
    );
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    Ok(topic_id)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
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

fn verify(daemon: &Daemon, directory: &Path) -> Result<(Option<i32>, String)> {
    let path = directory.to_string_lossy().into_owned();
    let output = Cli::new(daemon, ["log", "verify", &path])?.run()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

/// Reads everything batch by batch; returns the records that came, all of them right.
async fn read_right_or_fail(daemon: &Daemon, topic_id: &Bytes) -> Result<u64> {
    let client = Native::connect(daemon.native()).await?;
    let end = client.offsets(TOPIC, 0).await?.log_end_offset;
    ensure!(
        end == i64::try_from(BATCHES * RECORDS_PER_BATCH)?,
        "truncated to {end}"
    );
    let mut right = 0;
    for number in 0..BATCHES {
        let offset = i64::try_from(number * RECORDS_PER_BATCH)?;
        let mut stream = client.fetch().await?;
        stream.add(topic_id, 0, offset, 1).await?;
        // An error is an answer; wrong bytes are not.
        let Ok(batches) = first_batches(&mut stream).await else {
            continue;
        };
        for record in native::records(batches).context("a broken batch was served")? {
            let value = record.value.as_deref().and_then(checker::decode);
            let expected = ValueId(u64::try_from(record.offset.get())?);
            ensure!(
                value == Some(expected),
                "offset {}: {value:?}",
                record.offset
            );
            right += 1;
        }
    }
    Ok(right)
}

/// What comes first beside news of offsets.
async fn first_batches(stream: &mut FetchStream) -> Result<Bytes> {
    loop {
        let data = tokio::time::timeout(ANSWER_WITHIN, stream.data()).await??;
        if !data.batches.is_empty() {
            return Ok(data.batches);
        }
    }
}

#[tokio::test]
async fn flipped_bits_are_reported_and_never_served() -> Result<()> {
    let flips = scale::from_environment("MILLSTREAM_BIT_FLIPS", FLIPS);
    let seed = scale::from_environment("MILLSTREAM_BIT_FLIP_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_BIT_FLIP_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir()?;
    let good = home.path().join("good");
    let topic_id = written(&good).await?;
    let prepared = DaemonOptions::default().data_dir(&good).prepare()?;
    let (code, text) = verify(&prepared, &good)?;
    ensure!(code == Some(0), "undamaged: {code:?} {text}");
    let mut served = 0;
    for flip in 0..flips {
        let extension = EXTENSIONS[usize::try_from(flip)? % EXTENSIONS.len()];
        let damaged = home.path().join("damaged");
        copy(&good, &damaged)?;
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
        served += read_right_or_fail(&daemon, &topic_id).await.context(what)?;
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
