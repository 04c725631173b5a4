//! F27: a thousand connections that do nothing useful, and one client that does.
//!
//! `MILLSTREAM_IDLE_CONNECTIONS` makes it longer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use millstream_tests::{DaemonOptions, Native, native, retry, scale};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};

const CONNECTIONS: usize = 1_000;
/// Memory that an idle connection may cost.
const KIB_PER_CONNECTION_MAX: u64 = 32;
const CALLS: usize = 300;
/// What a client says first: the preface of HTTP/2 and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Time-bound figures are asserted at ten times their value where machines are shared.
const SLACK: u32 = 10;

/// The 99th percentile of produce calls.
async fn p99(client: &Native, topic_id: &Bytes) -> Result<Duration> {
    let mut stream = client.produce().await?;
    let mut took = Vec::new();
    for _ in 0..CALLS {
        let batch = native::batch(Default::default(), 1, ["healthy"]);
        let start = Instant::now();
        stream.produce(topic_id, 0, batch).await?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took[CALLS * 99 / 100])
}

/// Two sockets a connection, one on each side: only this side's are ours to allow.
fn allow_descriptors(count: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.current.unwrap_or(u64::MAX).max(count);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

/// Keeps a connection busy with one byte of its preface after the other, for ever.
fn dribble(mut stream: TcpStream) -> JoinHandle<()> {
    tokio::spawn(async move {
        for byte in PREFACE.iter().cycle() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_half_open_and_slow_connections_cost_little_and_disturb_nobody() -> Result<()> {
    let connections = scale::from_environment("MILLSTREAM_IDLE_CONNECTIONS", CONNECTIONS);
    allow_descriptors(u64::try_from(connections)? + 500)?;
    let limit = connections + 100;
    let daemon = DaemonOptions::default()
        .set("limits.connections_max", limit)
        .set("limits.connections_per_address_max", limit)
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("healthy", 1, &[]).await?;
    p99(&client, &topic_id).await?;
    let alone = p99(&client, &topic_id).await?;
    let before = daemon.memory_kib()?;

    let mut idle = Vec::new();
    let mut slow = Vec::new();
    for number in 0..connections {
        let mut stream = TcpStream::connect(daemon.native()).await?;
        match number % 3 {
            0 => stream.write_all(PREFACE).await?,
            1 => stream.write_all(&PREFACE[..10]).await?,
            _ => {
                slow.push(dribble(stream));
                continue;
            }
        }
        idle.push(stream);
    }
    // Readers that never read: each asks for everything of a log that fills their windows.
    let mut deaf = Vec::new();
    for _ in 0..10 {
        let reader = Native::connect(daemon.native()).await?;
        let mut stream = reader.fetch().await?;
        stream.add(&topic_id, 0, 0, 1 << 20).await?;
        deaf.push(stream);
    }
    let crowded = p99(&client, &topic_id).await?;
    let grown = daemon.memory_kib()?.saturating_sub(before);
    let each = grown / u64::try_from(connections)?;
    println!(
        "{connections} idle connections: {each} KiB each; p99 alone {alone:?}, crowded {crowded:?}"
    );
    ensure!(each <= KIB_PER_CONNECTION_MAX, "{each} KiB a connection");
    ensure!(
        crowded <= alone * 2 * SLACK,
        "p99 alone {alone:?}, crowded {crowded:?}"
    );
    slow.into_iter().for_each(|task| task.abort());
    drop((idle, deaf));
    // They go as they came.
    retry::until_async(
        "a new client is served",
        Duration::from_secs(5),
        async || {
            Native::connect(daemon.native())
                .await
                .ok()?
                .list_topics()
                .await
                .ok()
        },
    )
    .await?;
    Ok(())
}
