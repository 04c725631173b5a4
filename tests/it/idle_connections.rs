//! F27: a thousand connections that do nothing useful, and one client that does; and the end of one that
//! does nothing for long.
//!
//! `MILLSTREAM_IDLE_CONNECTIONS` makes it longer.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_tests::{
    Daemon, DaemonOptions, Kafka, Native, http, kafka, native, native::FetchStream, retry, scale,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
    task::JoinHandle,
    time::timeout,
};

const CONNECTIONS: usize = 1_000;
/// Memory that an idle connection may cost.
const KIB_PER_CONNECTION_MAX: u64 = 32;
const CALLS: usize = 300;
/// Where the healthy client writes.
const TOPIC: &str = "healthy";
/// A topic of more than the windows of those who do not read: so many batches of half a MiB.
const MUCH: &str = "much";
const BATCHES: usize = 40;
/// Readers that never read, and the requests for a MiB each that those of Kafka send at once.
const DEAF: usize = 10;
const FETCHES: usize = 20;
/// What a native client says first: the preface of HTTP/2 and empty settings.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What a Kafka client says first: ApiVersions of version 0, without a client id.
const API_VERSIONS: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff";
/// Time-bound figures are asserted at ten times their value where machines are shared.
const SLACK: u32 = 10;
/// A p99 below this says more of a machine that was idle for once than of the broker.
const QUICK: Duration = Duration::from_millis(5);

/// One door after the other is crowded: all sockets are in this process, which may not have so many twice.
static CROWD: Mutex<()> = Mutex::const_new(());

/// Which door is crowded. The healthy client uses the same.
#[derive(Debug, Clone, Copy)]
enum Door {
    Native,
    Kafka,
}

/// A client that does something useful.
enum Healthy {
    Native(Native, Bytes),
    Kafka(Kafka),
}

impl Healthy {
    async fn start(daemon: &Daemon, door: Door) -> Result<Self> {
        let native = Native::connect(daemon.native()).await?;
        let topic_id = native.create_topic(TOPIC, 1, &[]).await?;
        Ok(match door {
            Door::Native => Self::Native(native, topic_id),
            Door::Kafka => Self::Kafka(Kafka::connect(daemon.kafka()).await?),
        })
    }

    /// The 99th percentile of produce calls.
    async fn p99(&mut self) -> Result<Duration> {
        let mut took = Vec::new();
        match self {
            Self::Native(native, topic_id) => {
                let mut stream = native.produce().await?;
                for _ in 0..CALLS {
                    let start = Instant::now();
                    stream.produce(topic_id, 0, batch()).await?;
                    took.push(start.elapsed());
                }
            }
            Self::Kafka(kafka) => {
                for _ in 0..CALLS {
                    let start = Instant::now();
                    let produced = kafka.produce(TOPIC, 0, batch()).await?;
                    ensure!(produced.error_code == 0, "error {}", produced.error_code);
                    took.push(start.elapsed());
                }
            }
        }
        took.sort_unstable();
        Ok(took[CALLS * 99 / 100])
    }
}

fn batch() -> Bytes {
    native::batch(Default::default(), 1, ["healthy"])
}

/// Whoever asks for everything of a log that fills its windows, and never reads the answer.
enum Deaf {
    Native { _stream: FetchStream },
    Kafka { _client: Kafka },
}

impl Deaf {
    async fn start(daemon: &Daemon, door: Door, topic_id: &Bytes) -> Result<Self> {
        match door {
            Door::Native => {
                let mut stream = Native::connect(daemon.native()).await?.fetch().await?;
                stream.add(topic_id, 0, 0, 1 << 20).await?;
                Ok(Self::Native { _stream: stream })
            }
            Door::Kafka => {
                let mut kafka = Kafka::connect(daemon.kafka()).await?;
                for _ in 0..FETCHES {
                    kafka.send_fetch(MUCH, 1 << 20).await?;
                }
                Ok(Self::Kafka { _client: kafka })
            }
        }
    }
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
    )
    .with_context(|| format!("{count} descriptors are needed (ulimit -Hn)"))?;
    Ok(())
}

/// Keeps a connection busy with one byte of what a client says first after the other, for ever: the
/// second between two is what makes it slow.
fn dribble(mut stream: TcpStream, preface: Bytes) -> JoinHandle<()> {
    tokio::spawn(async move {
        for byte in preface.iter().cycle() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
}

/// A third of them say what a client says first, a third half of it, a third say it a byte a second.
async fn crowd(
    address: SocketAddr,
    preface: &Bytes,
    count: usize,
) -> Result<(Vec<TcpStream>, Vec<JoinHandle<()>>)> {
    let (mut idle, mut slow) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut stream = TcpStream::connect(address).await?;
        match number % 3 {
            0 => stream.write_all(preface).await?,
            1 => stream.write_all(&preface[..preface.len() / 2]).await?,
            _ => {
                slow.push(dribble(stream, preface.clone()));
                continue;
            }
        }
        idle.push(stream);
    }
    Ok((idle, slow))
}

async fn write_much(native: &Native) -> Result<Bytes> {
    let topic_id = native.create_topic(MUCH, 1, &[]).await?;
    let mut stream = native.produce().await?;
    let value = vec![b'.'; 512 << 10];
    for _ in 0..BATCHES {
        let batch = native::batch(Default::default(), 1, [&value]);
        stream.produce(&topic_id, 0, batch).await?;
    }
    Ok(topic_id)
}

async fn be_crowded(door: Door) -> Result<()> {
    let _alone = CROWD.lock().await;
    let connections = scale::from_environment("MILLSTREAM_IDLE_CONNECTIONS", CONNECTIONS);
    allow_descriptors(u64::try_from(connections)? + 500)?;
    let limit = connections + 100;
    let daemon = DaemonOptions::default()
        .set("limits.connections_max", limit)
        .set("limits.connections_per_address_max", limit)
        .start()?;
    let native = Native::connect(daemon.native()).await?;
    let much = write_much(&native).await?;
    let mut healthy = Healthy::start(&daemon, door).await?;
    healthy.p99().await?;
    let alone = healthy.p99().await?;
    let before = daemon.memory_kib()?;

    let (address, preface) = match door {
        Door::Native => (daemon.native(), Bytes::from_static(HTTP2_PREFACE)),
        Door::Kafka => (daemon.kafka(), Bytes::from_static(API_VERSIONS)),
    };
    let (idle, slow) = crowd(address, &preface, connections).await?;
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        deaf.push(Deaf::start(&daemon, door, &much).await?);
    }
    let crowded = healthy.p99().await?;
    // The long form runs alone.
    let slack = if connections > CONNECTIONS { 1 } else { SLACK };
    let grown = daemon.memory_kib()?.saturating_sub(before);
    let each = grown / u64::try_from(connections)?;
    println!(
        "{connections} idle connections ({door:?}): {each} KiB each; p99 alone {alone:?}, crowded {crowded:?}"
    );
    ensure!(each <= KIB_PER_CONNECTION_MAX, "{each} KiB a connection");
    ensure!(
        crowded <= alone.max(QUICK) * 2 * slack,
        "p99 alone {alone:?}, crowded {crowded:?}"
    );
    slow.into_iter().for_each(|task| task.abort());
    drop((idle, deaf));
    // They go as they came.
    retry::until_async(
        "only those who do something are left",
        Duration::from_secs(5),
        async || {
            let open = http::metric(&daemon.metrics().ok()?, "millstream_connections")?;
            (open <= 3.0).then_some(())
        },
    )
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_half_open_and_slow_connections_cost_little_and_disturb_nobody() -> Result<()> {
    be_crowded(Door::Native).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_half_open_and_slow_kafka_connections_cost_little_and_disturb_nobody() -> Result<()> {
    be_crowded(Door::Kafka).await
}

/// What a poll waits in the broker, and how long a connection without one may stay silent.
const POLL_MS: i32 = 2_500;
const SILENCE: &str = "1s";

/// Says a byte every so often, in all for longer than silence may last; then there is an answer.
const PACE: Duration = Duration::from_millis(150);

async fn is_answered_slowly(mut stream: TcpStream) -> Result<()> {
    for byte in API_VERSIONS {
        tokio::time::sleep(PACE).await;
        stream.write_all(&[*byte]).await?;
    }
    ensure!(stream.read_i32().await? > 0, "no answer");
    Ok(())
}

/// Waits for the end of a connection on which the broker says nothing.
async fn is_ended(mut stream: TcpStream) -> Result<()> {
    let read = timeout(Duration::from_secs(10), stream.read(&mut [0])).await??;
    ensure!(read == 0, "an answer to nothing");
    Ok(())
}

#[tokio::test]
async fn a_silent_kafka_connection_is_closed_and_one_that_polls_or_is_slow_is_not() -> Result<()> {
    let daemon = DaemonOptions::default()
        .set("network.kafka_idle_timeout", SILENCE)
        .start()?;
    let mut polling = Kafka::connect(daemon.kafka()).await?;
    polling.create_topic(TOPIC, 1, &[]).await?;
    let silent = TcpStream::connect(daemon.kafka()).await?;
    let mut torn = TcpStream::connect(daemon.kafka()).await?;
    torn.write_all(&API_VERSIONS[..API_VERSIONS.len() / 2])
        .await?;
    let slow = TcpStream::connect(daemon.kafka()).await?;
    let poll = kafka::fetch_request(TOPIC, 0, 0, 1 << 20).with_max_wait_ms(POLL_MS);
    let ended = async { tokio::try_join!(is_ended(silent), is_ended(torn)) };
    let polled = async {
        polling.call(kafka::FETCH_VERSION, &poll).await?;
        polling.fetch(TOPIC, 0, 0, 1 << 20).await
    };
    tokio::try_join!(ended, polled, is_answered_slowly(slow))?;
    let idle = http::metric(
        &daemon.metrics()?,
        "millstream_kafka_connections_idle_total",
    );
    ensure!(idle == Some(2.0), "{idle:?} connections were idle");
    Ok(())
}
