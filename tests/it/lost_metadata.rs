//! Metadata that was acknowledged and is lost, wholly or at its end: the daemon refuses to start, changes
//! nothing, and serves everything again once the metadata is back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{
    Daemon, DaemonOptions, Native, daemon_path,
    numbered::{Numbered, copy_directory, verify},
};

const TOPIC: &str = "kept";
const BATCHES: u64 = 2;
const RECORDS_PER_BATCH: u64 = 10;
const LOG: &str = "metadata/00000000000000000001.log";
/// Bytes of the log's file before its first entry.
const HEADER_BYTES: usize = 16;
/// Exit code of a refusal.
const REFUSED: i32 = 2;

/// One way to lose metadata.
type Loss = fn(&Path) -> Result<()>;

fn cut(directory: &Path, length: impl FnOnce(usize) -> usize) -> Result<()> {
    let path = directory.join(LOG);
    let mut bytes = fs::read(&path)?;
    bytes.truncate(length(bytes.len()));
    Ok(fs::write(path, bytes)?)
}

const LOSSES: [(&str, Loss); 5] = [
    ("the last entry is torn", |directory| {
        cut(directory, |length| length - 20)
    }),
    ("no entry is left", |directory| {
        cut(directory, |_| HEADER_BYTES)
    }),
    ("the file is empty", |directory| cut(directory, |_| 0)),
    ("the file is gone", |directory| {
        Ok(fs::remove_file(directory.join(LOG))?)
    }),
    ("the directory is gone", |directory| {
        Ok(fs::remove_dir_all(directory.join("metadata"))?)
    }),
];

/// Every file below a directory but the lock, which names whoever tried last.
fn contents(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(contents(&path)?);
        } else if !path.ends_with(".lock") {
            found.insert(path.clone(), fs::read(path)?);
        }
    }
    Ok(found)
}

/// A stopped directory with an acknowledged topic and records in it.
async fn written(directory: &Path, is_clean: bool) -> Result<Numbered> {
    let mut daemon = DaemonOptions::default().data_dir(directory).start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic = Numbered::create(&client, TOPIC, 2, RECORDS_PER_BATCH, &[]).await?;
    topic.write(&client, 0, 0..BATCHES).await?;
    if is_clean {
        ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    } else {
        daemon.kill()?;
    }
    Ok(topic)
}

fn refused(daemon: &Daemon, what: &str) -> Result<()> {
    let before = contents(daemon.data_dir())?;
    let output = daemon.command(&daemon_path()?).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(REFUSED),
        "{what}: {:?}\n{text}",
        output.status
    );
    let refusal: Vec<&str> = text.lines().rev().take(2).collect();
    ensure!(
        refusal[1].starts_with("error: metadata ")
            && refusal[0].starts_with("hint: restore the metadata directory from a backup"),
        "{what}: {refusal:?}"
    );
    ensure!(
        contents(daemon.data_dir())? == before,
        "{what}: the refused start changed a file"
    );
    Ok(())
}

#[tokio::test]
async fn lost_metadata_is_refused_until_it_is_back() -> Result<()> {
    for is_clean in [true, false] {
        let home = tempfile::tempdir()?;
        let good = home.path().join("good");
        let topic = written(&good, is_clean).await?;
        for (what, lose) in LOSSES {
            let what = format!("{what}, clean stop: {is_clean}");
            let damaged = home.path().join("damaged");
            copy_directory(&good, &damaged)?;
            lose(&damaged).context(what.clone())?;
            let mut daemon = DaemonOptions::default().data_dir(&damaged).prepare()?;
            refused(&daemon, &what)?;
            let (code, text) = verify(&daemon, &damaged)?;
            ensure!(code == Some(1), "{what} is not reported: {code:?} {text}");
            fs::create_dir_all(damaged.join("metadata"))?;
            fs::copy(good.join(LOG), damaged.join(LOG))?;
            daemon.restart().context(what.clone())?;
            let client = Native::connect(daemon.native()).await?;
            let served = topic.read_right_or_fail(&client, 0, BATCHES).await;
            ensure!(served? == BATCHES * RECORDS_PER_BATCH, "{what}");
            drop(daemon);
            fs::remove_dir_all(&damaged)?;
        }
    }
    Ok(())
}
