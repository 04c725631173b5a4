//! F26: batches of a mebibyte that decompress to hundreds or thousands, through both doors and into every
//! kind of topic, from several connections at once. The daemon's own memory grows by 64 MiB at most, and
//! a client beside them is served.

use std::{
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::messages::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use millstream_proto::{ErrorCode, record::Compression};
use millstream_tests::{
    Bomb, Cli, Daemon, DaemonOptions, Kafka, Native, Packing, http, kafka, native, retry,
};
use tokio::task::JoinSet;

/// What the daemon's memory may grow by.
const GROWTH_KIB_MAX: u64 = 64 << 10;
/// Connections to each door that send at once.
const CONNECTIONS: usize = 3;
/// What decoded records may take in all, by `max.message.bytes` at its default.
const PLAIN_BYTES_MAX: usize = 128 * 1_048_588;
/// What a search by time reads of a batch.
const SEARCHED_BYTES_MAX: usize = 256 << 20;
/// Bombs that may be decoded.
const SMALL_BYTES: usize = 96 << 20;
/// How often the daemon's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Beside bombs a client waits for its share of the processors.
const HEALTHY_WITHIN: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(60);

const HEALTHY: &str = "healthy";
const PLAIN: &str = "plain";
const COMPACTED: &str = "compacted";
const ZSTD: &str = "zstd";
const GZIP: &str = "gzip";
const UNCOMPRESSED: &str = "uncompressed";
const TOPICS: [(&str, &[(&str, &str)]); 6] = [
    // Not flushed: what the disk does beside it is not asked.
    (HEALTHY, &[("millstream.durability", "replicated")]),
    (PLAIN, &[("segment.bytes", "1048576")]),
    (COMPACTED, &[("cleanup.policy", "compact")]),
    (ZSTD, &[("compression.type", "zstd")]),
    (GZIP, &[("compression.type", "gzip")]),
    (UNCOMPRESSED, &[("compression.type", "uncompressed")]),
];

/// What the broker says to a bomb.
fn expected(topic: &str, packing: Packing, bomb: &Bomb) -> ErrorCode {
    let target = match topic {
        ZSTD => Compression::Zstd,
        GZIP => Compression::Gzip,
        UNCOMPRESSED => Compression::None,
        _ => packing.codec(),
    };
    let is_decoded = topic == COMPACTED || target != packing.codec();
    if !is_decoded {
        ErrorCode::None
    } else if topic == UNCOMPRESSED {
        ErrorCode::MessageTooLarge
    } else if packing == Packing::ZstdWindow {
        // Its content refers further back than the broker holds.
        ErrorCode::InvalidRecord
    } else if bomb.plain_bytes > PLAIN_BYTES_MAX {
        ErrorCode::MessageTooLarge
    } else {
        ErrorCode::None
    }
}

async fn start() -> Result<Arc<Daemon>> {
    let daemon = DaemonOptions::default()
        // What it holds is no garbage of bombs.
        .set("limits.tail_cache_bytes_max", "1MiB")
        .set("log.compaction_check_interval", "50ms")
        .set("log.compaction_bytes_per_second", "0B")
        .start()?;
    let native = Native::connect(daemon.native()).await?;
    for (name, configs) in TOPICS {
        native.create_topic(name, 1, configs).await?;
    }
    Ok(Arc::new(daemon))
}

/// Watches the daemon's own memory, and a client that writes to it all the time.
struct Watch {
    is_over: Arc<AtomicBool>,
    peak_kib: Arc<AtomicU64>,
    before_kib: u64,
    sampler: thread::JoinHandle<Result<()>>,
    healthy: tokio::task::JoinHandle<Result<Vec<Duration>>>,
}

impl Watch {
    /// Begins once the client was served for a while.
    async fn start(daemon: &Arc<Daemon>) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut client = Kafka::connect(daemon.kafka()).await?;
        for _ in 0..100 {
            produce_healthy(&mut client).await?;
        }
        let over = Arc::clone(&is_over);
        let healthy = tokio::spawn(async move {
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                produce_healthy(&mut client).await?;
                took.push(start.elapsed());
            }
            Ok(took)
        });
        let before_kib = daemon.memory_kib()?;
        let peak_kib = Arc::new(AtomicU64::new(before_kib));
        // It does not keep the daemon of a test that fails.
        let watched = Arc::downgrade(daemon);
        let (over, peak) = (Arc::clone(&is_over), Arc::clone(&peak_kib));
        let sampler = thread::spawn(move || {
            while let Some(daemon) = watched.upgrade()
                && !over.load(Ordering::Relaxed)
            {
                peak.fetch_max(daemon.memory_kib()?, Ordering::Relaxed);
                drop(daemon);
                thread::sleep(LOOK_EVERY);
            }
            Ok(())
        });
        Ok(Self {
            is_over,
            peak_kib,
            before_kib,
            sampler,
            healthy,
        })
    }

    fn growth_kib(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed) - self.before_kib
    }

    /// Checks what was seen.
    async fn finish(self, what: &str) -> Result<()> {
        let growth_kib = self.growth_kib();
        self.is_over.store(true, Ordering::Relaxed);
        self.sampler.join().expect("the sampler does not panic")?;
        let mut took = self.healthy.await??;
        took.sort_unstable();
        let slowest = *took.last().context("the client was served")?;
        println!(
            "{what}: memory grew by {} MiB from {} MiB; {} produce calls beside it, p99 {:?}, slowest {slowest:?}",
            growth_kib >> 10,
            self.before_kib >> 10,
            took.len(),
            took[took.len() * 99 / 100],
        );
        ensure!(
            growth_kib <= GROWTH_KIB_MAX,
            "memory grew by {growth_kib} KiB"
        );
        ensure!(slowest <= HEALTHY_WITHIN, "a client waited for {slowest:?}");
        Ok(())
    }
}

async fn produce_healthy(client: &mut Kafka) -> Result<()> {
    let batch = native::batch(Default::default(), 1, ["healthy"]);
    let produced = client.produce(HEALTHY, 0, batch).await?;
    ensure!(produced.error_code == 0, "error {}", produced.error_code);
    Ok(())
}

/// Sends a bomb to a topic from several connections to both doors, and checks each answer.
async fn send(
    daemon: &Daemon,
    topic: &'static str,
    bomb: &Bomb,
    expected: ErrorCode,
) -> Result<()> {
    let mut senders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut client = Kafka::connect(daemon.kafka()).await?;
        let batch = bomb.batch.clone();
        senders.spawn(async move {
            let produced = client.produce(topic, 0, batch).await?;
            anyhow::Ok(i32::from(produced.error_code))
        });
        let client = Native::connect(daemon.native()).await?;
        let topic_id = client.describe_topic(topic).await?.topic_id;
        let batch = bomb.batch.clone();
        senders.spawn(async move {
            let mut stream = client.produce().await?;
            stream.send(&topic_id, 0, batch).await?;
            let ack = stream.ack().await?;
            Ok(ack.error.map_or(0, |error| error.code))
        });
    }
    while let Some(code) = senders.join_next().await {
        let code = code??;
        ensure!(
            code == i32::from(expected.number()),
            "{topic}: error {code}, expected {expected:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_take_bounded_memory_into_every_kind_of_topic() -> Result<()> {
    let daemon = start().await?;
    for packing in Packing::ALL {
        let watch = Watch::start(&daemon).await?;
        for bomb in [packing.largest(), packing.of_bytes(SMALL_BYTES)] {
            for (topic, _) in &TOPICS[1..] {
                send(&daemon, topic, &bomb, expected(topic, packing, &bomb))
                    .await
                    .with_context(|| format!("{packing:?}"))?;
            }
        }
        watch.finish(&format!("{packing:?}")).await?;
    }
    Ok(())
}

/// Asks for a time that a batch claims and its record does not have; the error code of the answer.
async fn search_by_time(client: &mut Kafka, timestamp_ms: i64) -> Result<i16> {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp_ms);
    let topic = ListOffsetsTopic::default()
        .with_name(kafka::topic_name(PLAIN))
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let response = client.call(6, &request).await?;
    let topic = response.topics.first().context("a topic")?;
    Ok(topic.partitions.first().context("a partition")?.error_code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_stored_bombs_takes_bounded_memory() -> Result<()> {
    let daemon = start().await?;
    let watch = Watch::start(&daemon).await?;
    for (packing, claimed_ms) in Packing::ALL.into_iter().zip(1_000..) {
        // Of the largest window only as much content as is held of it.
        let bomb = match packing {
            Packing::ZstdWindow => packing.of_bytes(15 << 20),
            _ => packing.largest(),
        };
        let bomb = bomb.claiming(claimed_ms);
        send(&daemon, PLAIN, &bomb, ErrorCode::None).await?;
        let mut searches = JoinSet::new();
        for _ in 0..CONNECTIONS * 2 {
            let mut client = Kafka::connect(daemon.kafka()).await?;
            searches.spawn(async move { search_by_time(&mut client, claimed_ms).await });
        }
        let expected = if bomb.plain_bytes > SEARCHED_BYTES_MAX {
            ErrorCode::CorruptMessage
        } else {
            ErrorCode::None
        };
        while let Some(code) = searches.join_next().await {
            let code = code??;
            ensure!(code == expected.number(), "{packing:?}: error {code}");
        }
    }
    println!("searches by time: {} MiB more", watch.growth_kib() >> 10);
    compact_plain(&daemon).await?;
    watch.finish("searches by time and compaction").await
}

/// Makes the plain topic a compacted one, and waits until one bomb is left of what is compacted.
async fn compact_plain(daemon: &Daemon) -> Result<()> {
    let configs = ["cleanup.policy=compact", "min.cleanable.dirty.ratio=0"];
    let mut arguments = vec!["topics", "alter", PLAIN];
    for config in configs {
        arguments.extend(["--config", config]);
    }
    Cli::new(daemon, arguments)?.stdout()?;
    let metric = |name| {
        let page = daemon.metrics().ok()?;
        http::metric(&page, name)
    };
    retry::until_async("the bombs are compacted", WITHIN, || async {
        let removed = metric("millstream_compaction_removed_records_total")?;
        let failures = metric("millstream_compaction_failures_total")?;
        let dirty = metric("millstream_compaction_dirty_ratio_max")?;
        (failures == 0.0 && removed > 0.0 && dirty == 0.0).then_some(())
    })
    .await
    .with_context(|| daemon.log_tail())
}

/// The command line may map a GiB; the bomb is of two.
fn consume(daemon: &Daemon) -> Result<Output> {
    let script = format!(
        "ulimit -v 1048576; exec '{}' consume {PLAIN} --from earliest",
        millstream_tests::cli_path()?.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("MILLSTREAM_SERVER", daemon.native().to_string())
        .output()?;
    Ok(output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_refuse_what_decompresses_to_more_than_they_allow() -> Result<()> {
    let daemon = start().await?;
    let bomb = Packing::Zstd.largest();
    ensure!(bomb.plain_bytes > 1 << 30, "{} bytes", bomb.plain_bytes);
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let produced = client.produce(PLAIN, 0, bomb.batch).await?;
    ensure!(produced.error_code == 0, "error {}", produced.error_code);
    let output = consume(&daemon)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(said.contains("at most 134217728 are allowed"), "{said}");
    Ok(())
}
