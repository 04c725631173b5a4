//! Passes that fail: where there is no room, and where they panic.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{
    Daemon, DaemonOptions, Kafka, http,
    kafka::{ConfigOperation, ConfigOwner},
    retry,
};

use crate::disk_full;

const WITHIN: Duration = Duration::from_secs(20);
const DISK_BYTES: u64 = 48 << 20;
/// Every record but the newest of its key goes at once.
const COMPACT: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "1"),
    ("min.cleanable.dirty.ratio", "0"),
    ("retention.ms", "-1"),
];

fn eager() -> DaemonOptions {
    DaemonOptions::default()
        .set("log.compaction_check_interval", "20ms")
        .set("log.retention_check_interval", "20ms")
}

/// Why the last pass of a partition failed, if it did.
fn failing(daemon: &Daemon, partition: &str) -> Option<String> {
    let page = daemon.metrics().ok()?;
    let start = format!("millstream_compaction_failing{{partition=\"{partition}\",reason=\"");
    let line = page.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(line.strip_suffix("\"} 1")?.to_owned())
}

#[tokio::test]
async fn a_pass_that_found_no_room_is_made_once_there_is_some() -> Result<()> {
    const LAG: &str = "min.compaction.lag.ms";
    let daemon = eager()
        .tmpfs(DISK_BYTES)
        .set("log.disk_reserve", "4MiB")
        .start()
        .context("needs a mount namespace with a tmpfs: root, or unprivileged user namespaces")?;
    let mut kafka = Kafka::connect(daemon.kafka()).await?;
    let not_yet = [COMPACT.as_slice(), &[(LAG, "3600000")]].concat();
    kafka.create_topic("t", 1, &not_yet).await?;
    kafka.put("t", &["a=1", "a=2", "b=1"]).await?;
    let filler = daemon.data_dir_inside().join("filler");
    disk_full::fill(&filler)?;
    let (topic, set) = (ConfigOwner::Topic("t"), ConfigOperation::Set);
    let changed = kafka.alter_config(topic, set, LAG, "0").await?;
    ensure!(changed.error_code == 0, "{changed:?}");
    let reason = retry::until("the pass fails", WITHIN, || failing(&daemon, "t-0"))?;
    ensure!(reason.contains("bytes beside the log"), "{reason}");
    ensure!(kafka.pairs("t").await? == ["a=1", "a=2", "b=1"]);
    // Another failure would be tried again ten minutes later.
    fs::remove_file(&filler)?;
    kafka.wait_for_pairs("t", &["a=2", "b=1"]).await?;
    retry::until("nothing fails any more", WITHIN, || {
        failing(&daemon, "t-0").is_none().then_some(())
    })
}

#[tokio::test]
async fn a_pass_that_panics_ends_neither_the_others_nor_its_partition() -> Result<()> {
    let copy = format!("bad-0/{:020}.log.cleaned", 0);
    let daemon = eager()
        .env("MILLSTREAM_TEST_IO", format!("fail:open:only-panic:{copy}"))
        .start()?;
    let mut kafka = Kafka::connect(daemon.kafka()).await?;
    kafka.create_topic("bad", 1, &COMPACT).await?;
    kafka.put("bad", &["a=1", "a=2", "b=1"]).await?;
    let reason = retry::until("the pass panics", WITHIN, || failing(&daemon, "bad-0"))?;
    ensure!(reason == "it panicked, see the log", "{reason}");
    let panics = http::metric(&daemon.metrics()?, "millstream_panics_total");
    ensure!(panics == Some(1.0), "{panics:?} panics");
    kafka.create_topic("good", 1, &COMPACT).await?;
    kafka.put("good", &["a=1", "a=2", "b=1"]).await?;
    kafka.wait_for_pairs("good", &["a=2", "b=1"]).await?;
    kafka.put("bad", &["c=1"]).await?;
    ensure!(kafka.pairs("bad").await? == ["a=1", "a=2", "b=1", "c=1"]);
    Ok(())
}
