//! Compaction in the daemon: under kill -9, as clients see it, beside a steady producer, and when a pass fails.

mod clients;
mod load;
mod trouble;

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use millstream::Client;
use millstream_log::{
    inspect::{VerifyOptions, verify},
    io::DiskIo,
};
use millstream_tests::{CompactedTopic, Daemon, DaemonOptions, http, retry, scale};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const TOPIC: &str = "compacted";
const KILLS: u64 = 16;
/// Records of a few segments.
const RECORDS_PER_ROUND: u64 = 5_000;
/// How long it may take until the daemon dies in a compaction, or has compacted.
const WITHIN: Duration = Duration::from_secs(60);
/// A swap passes the phase so often, and a little more when it merges segments.
const PHASES_PER_SWAP: u64 = 7;
/// A random kill comes within this time.
const RANDOM_KILL_WITHIN_MS: u64 = 400;

fn eager_daemon() -> Result<Daemon> {
    DaemonOptions::default()
        .set("log.compaction_check_interval", "20ms")
        .set("log.recovery_point_interval", "100ms")
        // A pass that is killed again and again must still keep up with the writers.
        .set("log.compaction_bytes_per_second", "0B")
        .start()
}

/// How the daemon dies in one round.
fn kill(daemon: &mut Daemon, round: u64, rng: &mut StdRng) -> Result<&'static str> {
    let status = if round % 4 == 3 {
        daemon.spawn(&[])?;
        std::thread::sleep(Duration::from_millis(
            rng.random_range(0..RANDOM_KILL_WITHIN_MS),
        ));
        daemon.kill()?;
        return Ok("random");
    } else {
        let nth = rng.random_range(1..=2 * PHASES_PER_SWAP);
        daemon.spawn(&[("MILLSTREAM_KILL_AT", &format!("compaction:{nth}"))])?;
        daemon.wait_end(WITHIN)?
    };
    ensure!(status.signal() == Some(9), "it ended with {status}");
    Ok("compaction")
}

/// Writes a few segments, and waits until all but the active one are compacted.
async fn compact_more(daemon: &Daemon, client: &Client, topic: &mut CompactedTopic) -> Result<()> {
    let passes = || {
        let page = daemon.metrics().ok()?;
        let passes = http::metric(&page, "millstream_compactions_total")?;
        let dirty = http::metric(&page, "millstream_compaction_dirty_ratio_max")?;
        Some((passes, dirty))
    };
    let (before, _) = passes().context("there are metrics")?;
    topic.check(client).await?;
    let goal = topic.acknowledged() + RECORDS_PER_ROUND;
    retry::until_async("records are written", WITHIN, || async {
        (topic.acknowledged() >= goal).then_some(())
    })
    .await?;
    topic.pause().await?;
    retry::until_async(
        "all but the active segment is compacted",
        WITHIN,
        || async { passes().filter(|(passes, dirty)| *passes > before && *dirty == 0.0) },
    )
    .await
    .with_context(|| daemon.log_tail())?;
    Ok(())
}

/// `MILLSTREAM_COMPACTION_KILLS` and `MILLSTREAM_KILL_SEED` make it longer and repeat a run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_keeps_the_newest_of_each_key_through_kills() -> Result<()> {
    let kills = scale::from_environment("MILLSTREAM_COMPACTION_KILLS", KILLS);
    let seed = scale::from_environment("MILLSTREAM_KILL_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_KILL_SEED={seed}, {kills} kills");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut daemon = eager_daemon()?;
    let client = Client::connect(&daemon.native().to_string()).await?;
    let mut topic = CompactedTopic::start(&client, TOPIC, seed).await?;
    let mut deaths: BTreeMap<&str, u64> = BTreeMap::new();
    topic.check(&client).await?;
    daemon.kill()?;
    for round in 0..kills {
        let cause = tokio::task::block_in_place(|| kill(&mut daemon, round, &mut rng))
            .with_context(|| format!("kill {round}:\n{}", daemon.log_tail()))?;
        *deaths.entry(cause).or_default() += 1;
        daemon.restart()?;
        topic
            .check(&client)
            .await
            .with_context(|| format!("after kill {round}, {cause}:\n{}", daemon.log_tail()))?;
        daemon.kill()?;
    }
    daemon.restart()?;
    // One pass stamps what is deleted, a later one removes it.
    for _ in 0..3 {
        compact_more(&daemon, &client, &mut topic).await?;
    }
    let found = topic.check(&client).await?;
    let written = topic.acknowledged();
    topic.finish().await?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log_tail());
    let report = verify(
        &DiskIo,
        &daemon.partition_dir(TOPIC, 0),
        VerifyOptions::default(),
    )?;
    println!("{deaths:?}; {written} writes, at the end {found}");
    assert!(report.is_intact(), "{:?}", report.findings);
    assert!(u64::try_from(found.records)? * 2 < written, "{found}");
    assert!(found.values > 0 && found.gone > 0, "{found}");
    Ok(())
}
