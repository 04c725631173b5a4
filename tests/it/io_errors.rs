//! F11: the disk answers EIO. Nothing is acknowledged after a failed flush, the partition is
//! offline with its reason, the others serve, and a restart heals.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_proto::grpc::v1;
use millstream_tests::{
    DaemonOptions, Native,
    checker::{self, ValueId},
    native,
    numbered::Numbered,
    retry,
};

const RECORDS_PER_BATCH: u64 = 20;
/// How long it may take until the fault shows: a `replicated` topic flushes on an interval.
const FAULT_WITHIN: Duration = Duration::from_secs(20);
/// How long after a refusal the partition may be listed as online.
const OFFLINE_WITHIN: Duration = Duration::from_secs(2);
const FLUSH_INTERVAL: &str = "20ms";

fn batch(first: u64) -> Bytes {
    let values = (first..first + RECORDS_PER_BATCH).map(|id| checker::encode(ValueId(id)));
    native::batch(Default::default(), 1, values)
}

/// Produces until the first refusal; returns the records acknowledged and the refusal.
async fn until_refused(client: &Native, topic_id: &Bytes) -> Result<(u64, v1::Error)> {
    let mut stream = client.produce().await?;
    let mut acknowledged = 0;
    let start = Instant::now();
    while start.elapsed() < FAULT_WITHIN {
        stream.send(topic_id, 0, batch(acknowledged)).await?;
        let ack = stream.ack().await?;
        match ack.error {
            None => acknowledged += RECORDS_PER_BATCH,
            Some(error) => return Ok((acknowledged, error)),
        }
    }
    anyhow::bail!("the fault never showed in {FAULT_WITHIN:?}")
}

/// Every record from 0 on is the one with its number, and `at_least` are there.
async fn read_back(client: &Native, topic_id: &Bytes, at_least: u64) -> Result<u64> {
    let found = client.fetch().await?.read_to_end(topic_id, 0, 0).await?;
    for (index, record) in found.iter().enumerate() {
        let value = record.value.as_deref().and_then(checker::decode);
        let expected = Some(ValueId(index as u64));
        ensure!(value == expected, "offset {}: {value:?}", record.offset);
    }
    let found = u64::try_from(found.len())?;
    ensure!(found >= at_least, "{at_least} acknowledged, {found} there");
    Ok(found)
}

async fn fault_in(operation: &str, nth: u64, durability: &str) -> Result<()> {
    let mut daemon = DaemonOptions::default()
        .set("log.flush_interval", FLUSH_INTERVAL)
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let configs = [("millstream.durability", durability)];
    let victim = client.create_topic("victim", 1, &configs).await?;
    let other = client.create_topic("other", 1, &configs).await?;
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");

    let fault = format!("fail:{operation}:eio:victim-0/:{nth}");
    daemon.restart_with(&[("MILLSTREAM_TEST_IO", &fault)])?;
    let client = Native::connect(daemon.native()).await?;
    let (acknowledged, error) = until_refused(&client, &victim).await?;
    ensure!(error.name == "KAFKA_STORAGE_ERROR", "{error:?}");
    let again = client.produce().await?.produce(&victim, 0, batch(0)).await;
    ensure!(
        again.is_err(),
        "an offline partition takes nothing more after {error:?}"
    );
    let reason = retry::until_async("the partition is offline", OFFLINE_WITHIN, async || {
        let described = client.describe_topic("victim").await.ok()?;
        described.partitions.into_iter().next()?.error
    })
    .await?;
    ensure!(reason.name == "KAFKA_STORAGE_ERROR", "{reason:?}");
    ensure!(
        !reason.retriable,
        "nobody else has the partition: {reason:?}"
    );
    client
        .produce()
        .await?
        .produce(&other, 0, batch(0))
        .await
        .context("the other partition")?;
    read_back(&client, &other, RECORDS_PER_BATCH).await?;
    daemon.kill()?;

    daemon.restart()?;
    let client = Native::connect(daemon.native()).await?;
    let found = read_back(&client, &victim, acknowledged).await?;
    client
        .produce()
        .await?
        .produce(&victim, 0, batch(found))
        .await
        .context("healed")?;
    let healed = read_back(&client, &victim, found + RECORDS_PER_BATCH).await?;
    println!(
        "{operation} failed at {nth}: {acknowledged} acknowledged, {found} kept, {healed} now"
    );
    Ok(())
}

#[tokio::test]
async fn a_failed_flush_takes_the_partition_offline_until_a_restart() -> Result<()> {
    for nth in [1, 2, 7, 30] {
        for durability in ["fsync", "replicated"] {
            fault_in("sync-data", nth, durability)
                .await
                .with_context(|| format!("flush {nth} of a {durability} topic"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_write_loses_nothing_acknowledged() -> Result<()> {
    for nth in [2, 5, 30] {
        fault_in("write", nth, "fsync")
            .await
            .with_context(|| format!("write {nth}"))?;
    }
    Ok(())
}

/// A disk that cannot be read: the partition says so, or it has what is right; the others serve.
async fn fault_in_reading(operation: &str, path: &str, must_show: bool) -> Result<()> {
    let mut daemon = DaemonOptions::default().start()?;
    let client = Native::connect(daemon.native()).await?;
    let victim = Numbered::create(&client, "victim", 1, RECORDS_PER_BATCH, &[]).await?;
    let other = Numbered::create(&client, "other", 1, RECORDS_PER_BATCH, &[]).await?;
    for topic in [&victim, &other] {
        topic.write(&client, 0, 0..3).await?;
    }
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");

    let fault = format!("fail:{operation}:eio:{path}");
    daemon.restart_with(&[("MILLSTREAM_TEST_IO", &fault)])?;
    let client = Native::connect(daemon.native()).await?;
    let mut fetch = client.fetch().await?;
    match fetch.read_to_end(&victim.topic_id, 0, 0).await {
        Ok(records) => {
            ensure!(!must_show, "the fault did not show");
            victim.check(0, &records)?;
        }
        Err(error) => ensure!(
            error.to_string().contains("KAFKA_STORAGE_ERROR"),
            "{error:#}"
        ),
    }
    // Acknowledged or not: what is, has to be there later.
    let acknowledged = match victim.write(&client, 0, 3..4).await {
        Ok(()) => 4,
        Err(_) => 3,
    };
    other.write(&client, 0, 3..4).await?;
    ensure!(other.read_right_or_fail(&client, 0, 4).await? == 4 * RECORDS_PER_BATCH);
    daemon.kill()?;

    daemon.restart()?;
    let client = Native::connect(daemon.native()).await?;
    let right = victim.read_right_or_fail(&client, 0, acknowledged).await?;
    ensure!(right == acknowledged * RECORDS_PER_BATCH, "{right} records");
    victim.write(&client, 0, acknowledged..5).await?;
    println!("{operation} failed at {path}: {acknowledged} batches acknowledged, all there");
    Ok(())
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_serves_nothing_wrong_and_loses_nothing() -> Result<()> {
    let log = "victim-0/00000000000000000000.log";
    for (operation, path, must_show) in [
        ("open", "victim-0/", true),
        ("read", "victim-0/", true),
        ("open", log, true),
        ("read", log, true),
        // There is another way to read.
        ("map", log, false),
    ] {
        fault_in_reading(operation, path, must_show)
            .await
            .with_context(|| format!("{operation} at {path}"))?;
    }
    Ok(())
}
