//! Streams of one connection, and slow clients: nobody suffers for another.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_proto::grpc::v1;
use millstream_tests::{Daemon, Native, native, retry};

/// A value that fills windows quickly.
const VALUE_BYTES: usize = 64 << 10;
/// Calls that are timed.
const CALLS: usize = 50;
/// What any call may take while another stream stalls. Alone it takes a few milliseconds.
const CALL_WITHIN: Duration = Duration::from_secs(2);

fn large_batch() -> Bytes {
    native::batch(Default::default(), 1, (0..4).map(|_| vec![7; VALUE_BYTES]))
}

async fn fill(client: &Native, topic_id: &Bytes, batches: usize) -> Result<()> {
    let mut stream = client.produce().await?;
    for _ in 0..batches {
        stream.produce(topic_id, 0, large_batch()).await?;
    }
    Ok(())
}

/// Produces, reads and asks for metadata; returns the longest call.
async fn exercise(client: &Native, topic: &str, topic_id: &Bytes) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut produce = client.produce().await?;
    for call in 0..CALLS {
        let start = Instant::now();
        let batch = native::batch(Default::default(), 1, [format!("{call}")]);
        let ack = tokio::time::timeout(CALL_WITHIN, produce.produce(topic_id, 0, batch))
            .await
            .context("produce hangs")??;
        longest = longest.max(start.elapsed());
        let start = Instant::now();
        let described = tokio::time::timeout(CALL_WITHIN, client.describe_topic(topic))
            .await
            .context("metadata hangs")??;
        longest = longest.max(start.elapsed());
        assert_eq!(described.partitions.len(), 1);
        if call % 10 == 0 {
            let start = Instant::now();
            let read = async {
                client
                    .fetch()
                    .await?
                    .read_to_end(topic_id, 0, ack.base_offset)
                    .await
            };
            let read = tokio::time::timeout(CALL_WITHIN, read)
                .await
                .context("fetch hangs")??;
            longest = longest.max(start.elapsed());
            ensure!(!read.is_empty(), "what was acknowledged can be read");
        }
    }
    Ok(longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_fetch_disturbs_nothing_on_its_connection() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let big = client.create_topic("big", 1, &[]).await?;
    let live = client.create_topic("live", 1, &[]).await?;
    fill(&client, &big, 100).await?;
    // Each asks for all it may and never reads: as many stalled streams as the connection's
    // window could be filled by.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = client.fetch().await?;
        let credit = stream.opened.credit_bytes_max;
        stream.add(&big, 0, 0, credit.min(8 << 20)).await?;
        stalled.push(stream);
    }
    let longest = exercise(&client, "live", &live).await?;
    println!("longest call beside three stalled fetches: {longest:?}");
    // They were only stalled: what was granted still arrives.
    for stream in &mut stalled {
        while stream.data().await?.batches.is_empty() {}
    }
    Ok(())
}

/// Batches after which a broker that still takes them has no bound: the acknowledgements that nobody
/// reads would fill any window.
const UNREAD_MAX: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_acknowledgements_harms_only_itself() -> Result<()> {
    let daemon = Daemon::start()?;
    let greedy = Native::connect(daemon.native()).await?;
    let other = Native::connect(daemon.native()).await?;
    let flooded = greedy.create_topic("flooded", 1, &[]).await?;
    let live = other.create_topic("live", 1, &[]).await?;
    let before = daemon.memory_kib()?;
    let stream = greedy.produce().await?;
    let batch = native::batch(Default::default(), 1, ["x"]);
    // Far more acknowledgements than any window or queue holds; ends when nothing is taken any more.
    let mut sent = 0u64;
    while sent < UNREAD_MAX {
        let request = v1::ProduceRequest {
            request_id: sent,
            topic_id: flooded.clone(),
            partition: 0,
            acks: v1::Acks::All.into(),
            leader_epoch: -1,
            timeout_ms: 0,
            batch: batch.clone(),
        };
        let send = stream.send_request(request);
        match tokio::time::timeout(Duration::from_secs(1), send).await {
            Ok(sent_it) => sent_it?,
            Err(_) => break,
        }
        sent += 1;
    }
    ensure!(sent < UNREAD_MAX, "the broker took all {sent}");
    let on_another = exercise(&other, "live", &live).await?;
    let on_the_same = exercise(&greedy, "live", &live).await?;
    let grown = daemon.memory_kib()?.saturating_sub(before);
    println!(
        "{sent} produced without reading; longest call on another connection {on_another:?}, on \
         the same {on_the_same:?}; {grown} KiB more memory"
    );
    ensure!(grown < 64 << 10, "memory grew by {grown} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_waits_for_credit_and_then_goes_on() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("credited", 1, &[]).await?;
    fill(&client, &topic_id, 4).await?;
    let mut stream = client.fetch().await?;
    let fetch_id = stream.add(&topic_id, 0, 0, 1).await?;
    // Credit may go negative by one batch: one batch comes, and no second.
    let mut bytes = 0;
    let first = loop {
        let data = stream.data().await?;
        if !data.batches.is_empty() {
            break data;
        }
    };
    bytes += first.batches.len();
    assert_eq!(native::records(first.batches)?.len(), 4);
    // Another partition of the same stream is served meanwhile.
    let other = client.create_topic("other", 1, &[]).await?;
    fill(&client, &other, 1).await?;
    let other_id = stream.add(&other, 0, 0, 1).await?;
    loop {
        let data = stream.data().await?;
        if data.fetch_id == other_id && !data.batches.is_empty() {
            break;
        }
        ensure!(data.batches.is_empty(), "data came without credit");
    }
    stream.grant(fetch_id, u64::try_from(bytes)? * 4).await?;
    let mut records = 4;
    while records < 16 {
        let data = stream.data().await?;
        ensure!(data.fetch_id == fetch_id || data.batches.is_empty());
        records += native::records(data.batches)?.len();
    }
    Ok(())
}

/// A slow disk slows produce down, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_a_hundred_times_slower_leaves_readiness_quick() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("slow", 1, &[]).await?;
    fill(&client, &topic_id, 2).await?;
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    daemon.restart_with(&[("MILLSTREAM_TEST_IO", "delay:100x")])?;
    let http = daemon.http();
    let producing = tokio::spawn({
        let client = Native::connect(daemon.native()).await?;
        let topic_id = topic_id.clone();
        async move {
            let start = Instant::now();
            let mut produced = 0;
            let mut stream = client.produce().await?;
            while start.elapsed() < Duration::from_secs(3) {
                stream.send(&topic_id, 0, large_batch()).await?;
                stream.send(&topic_id, 0, large_batch()).await?;
                for _ in 0..2 {
                    ensure!(
                        stream.ack().await?.error.is_none(),
                        "a slow disk refuses nothing"
                    );
                    produced += 1;
                }
            }
            Ok((produced, start.elapsed()))
        }
    });
    let probing = tokio::task::spawn_blocking(move || -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            let probe = Instant::now();
            let response = millstream_tests::http::get(http, "/ready", Duration::from_secs(5))?;
            assert_eq!(response.status, 200, "{}", response.body);
            took.push(probe.elapsed());
        }
        Ok(took)
    });
    let (produced, elapsed) = producing.await??;
    let mut took = probing.await??;
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    let longest = took.last().copied().unwrap_or_default();
    println!(
        "/ready on a slow disk: p99 {p99:?}, longest {longest:?} of {}; {produced} batches in \
         {elapsed:?}",
        took.len()
    );
    ensure!(took.len() > 50, "few probes: {}", took.len());
    ensure!(p99 < Duration::from_millis(50), "/ready takes {p99:?}");
    // Time-bound figures are asserted at ten times their value where machines are shared.
    ensure!(
        longest < Duration::from_millis(500),
        "/ready takes {longest:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_stream_to_a_dead_daemon_ends() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("short", 1, &[]).await?;
    let mut fetch = client.fetch().await?;
    fetch.add(&topic_id, 0, 0, 1 << 20).await?;
    fetch.data().await?;
    daemon.kill()?;
    let ended = retry::until_async("the stream ends", Duration::from_secs(5), async || {
        client.describe_topic("short").await.err()
    });
    ended.await?;
    assert!(
        tokio::time::timeout(Duration::from_secs(5), fetch.next())
            .await?
            .is_err()
    );
    Ok(())
}
