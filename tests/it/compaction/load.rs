//! What compaction costs: its rate and memory, and the latency of a steady producer beside it.
//!
//! `MILLSTREAM_COMPACTION_MIB` makes the topic larger; then the figures themselves are asserted.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use millstream::{
    Assignment, Client, Delivery, NewTopic, Producer, Record,
    admin::{ConfigChange, ConfigResource},
};
use millstream_tests::{Daemon, DaemonOptions, http, scale};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time,
};

const TOPIC: &str = "updates";
const MIB: u64 = 256;
const KEYS_MAX: u64 = 1_000_000;
/// A key and its value have 1 KiB together.
const VALUE_BYTES: usize = 1_016;
/// Rate of the producer whose latency is looked at.
const RECORDS_PER_SECOND: u32 = 1_000;
/// So long of that until its latency is that of a steady state.
const WARM: Duration = Duration::from_secs(8);
/// Deliveries of it that are waited for at once.
const DELIVERIES_MAX: usize = 100_000;
const LOOK: Duration = Duration::from_millis(50);
const FLUSH_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of the log per second below which something is wrong, on any machine.
const BYTES_PER_SECOND_MIN: u64 = 2 << 20;
/// Memory beside the map of keys: pieces, buffers, and what produce takes anyway.
const MEMORY_BESIDE_MAP: u64 = 48 << 20;
/// The default of `log.compaction_map_bytes`.
const MAP_BYTES: u64 = 64 << 20;
/// What p99 may become, in the long form...
const SLOWDOWN_MAX: f64 = 2.0;
/// ...and in the short one, on a machine where others are at work.
const SLOWDOWN_MAX_SHARED: f64 = 20.0;

/// The keys' last writes, and what the next one is.
struct Updates {
    rng: StdRng,
    /// Number of each key's last write; 0 for none.
    last: Vec<u64>,
    written: u64,
    filler: Bytes,
}

impl Updates {
    fn new(keys: u64) -> Result<Self> {
        Ok(Self {
            rng: StdRng::seed_from_u64(1),
            last: vec![0; usize::try_from(keys)?],
            written: 0,
            filler: Bytes::from(vec![b'.'; VALUE_BYTES]),
        })
    }

    /// Key and value hold their numbers.
    fn next(&mut self, topic: &Arc<str>) -> Record {
        let key = self.rng.random_range(0..self.last.len());
        self.written += 1;
        self.last[key] = self.written;
        let mut value = BytesMut::with_capacity(VALUE_BYTES);
        value.put_u64(self.written);
        value.put_slice(&self.filler[8..]);
        let mut key_bytes = BytesMut::with_capacity(8);
        key_bytes.put_u64(key as u64);
        Record::to_topic(Arc::clone(topic))
            .key(key_bytes.freeze())
            .value(value.freeze())
    }
}

/// A record that was due at a time, and how long it took until it was acknowledged.
type Sample = (Instant, Duration);

/// Sends records at a steady rate, whether earlier ones are acknowledged or not.
struct Steady {
    is_stopped: Arc<AtomicBool>,
    /// Records acknowledged so far.
    acknowledged: watch::Receiver<u64>,
    sender: JoinHandle<Result<Updates>>,
    collector: JoinHandle<Result<Vec<Sample>>>,
}

impl Steady {
    fn start(client: &Client, mut updates: Updates) -> Result<Self> {
        let producer = client.producer().linger(Duration::ZERO).build()?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (sent, mut deliveries) = mpsc::channel::<(Instant, Delivery)>(DELIVERIES_MAX);
        let stopped = Arc::clone(&is_stopped);
        let sender = tokio::spawn(async move {
            let topic: Arc<str> = TOPIC.into();
            let start = time::Instant::now();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let due = start + Duration::from_secs(1) * number / RECORDS_PER_SECOND;
                time::sleep_until(due).await;
                let delivery = producer.send(updates.next(&topic)).await?;
                sent.send((due.into(), delivery)).await?;
            }
            close(producer).await?;
            Ok(updates)
        });
        let (count, acknowledged) = watch::channel(0);
        let collector = tokio::spawn(async move {
            let mut samples = Vec::new();
            while let Some((due, delivery)) = deliveries.recv().await {
                delivery.await?;
                samples.push((due, due.elapsed()));
                count.send_modify(|count| *count += 1);
            }
            Ok(samples)
        });
        Ok(Self {
            is_stopped,
            acknowledged,
            sender,
            collector,
        })
    }

    /// Waits until as many more records are acknowledged as are due in that time.
    async fn go_on_for(&self, time: Duration) -> Result<()> {
        let mut acknowledged = self.acknowledged.clone();
        let more = time.as_secs() * u64::from(RECORDS_PER_SECOND);
        let goal = *acknowledged.borrow() + more;
        acknowledged.wait_for(|count| *count >= goal).await?;
        Ok(())
    }

    async fn stop(self) -> Result<(Updates, Vec<Sample>)> {
        self.is_stopped.store(true, Ordering::Relaxed);
        Ok((self.sender.await??, self.collector.await??))
    }
}

async fn close(producer: Producer) -> Result<()> {
    producer.flush().await?;
    producer.close(FLUSH_WITHIN).await?;
    Ok(())
}

/// Latencies of the records that were due in some time.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn between(samples: &[Sample], from: Instant, to: Instant) -> Result<Self> {
        let due = samples.iter().filter(|(due, _)| (from..to).contains(due));
        let mut latencies: Vec<_> = due.map(|(_, latency)| *latency).collect();
        latencies.sort_unstable();
        ensure!(latencies.len() > 100, "{} records", latencies.len());
        Ok(Self(latencies))
    }

    fn ms_at(&self, thousandths: usize) -> f64 {
        let index = (self.0.len() * thousandths / 1000).min(self.0.len() - 1);
        self.0[index].as_secs_f64() * 1000.0
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] = [500, 990, 999, 1000].map(|at| self.ms_at(at));
        write!(
            f,
            "p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.1} ms of {}",
            self.0.len()
        )
    }
}

/// Writes `bytes` of updates as fast as they are taken.
async fn fill(client: &Client, updates: &mut Updates, bytes: u64) -> Result<()> {
    let producer = client.producer().build()?;
    let topic: Arc<str> = TOPIC.into();
    for _ in 0..bytes / 1024 {
        // That none is lost is seen at the end.
        drop(producer.send(updates.next(&topic)).await?);
    }
    close(producer).await
}

/// Every key has its last write and nothing newer or older behind it.
async fn check(client: &Client, updates: &Updates) -> Result<u64> {
    let mut consumer = client.consumer().build()?;
    consumer
        .assign([Assignment::topic(TOPIC).until_end()])
        .await?;
    let mut found = vec![0; updates.last.len()];
    let mut records = 0;
    while let Some(record) = consumer.recv().await? {
        records += 1;
        let key = record.key.as_deref().context("a record has a key")?;
        let value = record.value.as_deref().context("a record has a value")?;
        let key = usize::try_from(number(key)?)?;
        ensure!(found[key] < number(value)?, "key {key} goes backwards");
        found[key] = number(value)?;
    }
    ensure!(found == updates.last, "a key has not its last value");
    Ok(records)
}

fn number(bytes: &[u8]) -> Result<u64> {
    let first = bytes.first_chunk().context("8 bytes")?;
    Ok(u64::from_be_bytes(*first))
}

fn log_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|kind| kind == "log") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn metric(daemon: &Daemon, name: &str) -> Option<f64> {
    http::metric(&daemon.metrics().ok()?, name)
}

async fn set_dirty_ratio(client: &Client, ratio: &str) -> Result<()> {
    let change = ConfigChange::Set {
        name: "min.cleanable.dirty.ratio".to_owned(),
        value: ratio.to_owned(),
    };
    let topic = ConfigResource::Topic(TOPIC.to_owned());
    client
        .admin()
        .alter_configs(&topic, &[change], false)
        .await?;
    Ok(())
}

/// Waits for one pass to end; returns the most memory that the daemon had.
async fn compact(daemon: &Daemon, client: &Client, within: Duration) -> Result<u64> {
    set_dirty_ratio(client, "0").await?;
    let mut memory_kib = 0;
    let start = Instant::now();
    loop {
        memory_kib = memory_kib.max(daemon.memory_kib()?);
        if metric(daemon, "millstream_compactions_total") >= Some(1.0) {
            break;
        }
        ensure!(start.elapsed() < within, "not compacted within {within:?}");
        time::sleep(LOOK).await;
    }
    // What was written meanwhile waits.
    set_dirty_ratio(client, "1").await?;
    Ok(memory_kib << 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_producer_hardly_notices_a_pass_of_bounded_memory() -> Result<()> {
    let mib = scale::from_environment("MILLSTREAM_COMPACTION_MIB", MIB);
    let bytes = mib << 20;
    let daemon = DaemonOptions::default()
        .set("log.compaction_check_interval", "100ms")
        .start()?;
    let client = Client::connect(&daemon.native().to_string()).await?;
    let topic = NewTopic::new(TOPIC)
        .partitions(1)
        .config("cleanup.policy", "compact")
        .config("segment.bytes", (64 << 20).to_string())
        .config("min.cleanable.dirty.ratio", "1");
    client.admin().create_topic(topic).await?;
    let mut updates = Updates::new((bytes / 10_240).min(KEYS_MAX))?;
    fill(&client, &mut updates, bytes).await?;
    let dir = daemon.partition_dir(TOPIC, 0);
    let log_before = log_bytes(&dir)?;
    let steady = Steady::start(&client, updates)?;
    // Warm, then as long without compaction as a pass takes at its default rate.
    let pass_estimate = Duration::from_secs(2 * bytes / (48 << 20))
        .clamp(Duration::from_secs(5), Duration::from_secs(60));
    steady.go_on_for(WARM).await?;
    let calm_from = Instant::now();
    steady.go_on_for(pass_estimate).await?;
    let memory_before = daemon.memory_kib()? << 10;
    let pass_from = Instant::now();
    let within = Duration::from_secs(10 + bytes / BYTES_PER_SECOND_MIN);
    let memory = compact(&daemon, &client, within).await?;
    let pass_to = Instant::now();
    let (updates, samples) = steady.stop().await?;
    let calm = Latencies::between(&samples, calm_from, pass_from)?;
    let beside = Latencies::between(&samples, pass_from, pass_to)?;
    let figure = |name: &str| metric(&daemon, name).with_context(|| format!("no {name}"));
    let seconds = figure("millstream_compaction_seconds_total")?;
    let read = figure("millstream_compaction_read_bytes_total")?;
    let written = figure("millstream_compaction_written_bytes_total")?;
    let map_bytes = figure("millstream_compaction_map_bytes")?;
    let log_after = log_bytes(&dir)?;
    let records = check(&client, &updates).await?;
    let mb = |bytes: f64| bytes / 1e6;
    println!(
        "{mib} MiB of 1 KiB records over {} keys: {:.0} MB of log become {:.0} MB in {seconds:.1} s, \
         {:.0} MB/s of the log, {:.0} MB/s read and written",
        updates.last.len(),
        mb(log_before as f64),
        mb(log_after as f64),
        mb(log_before as f64) / seconds,
        mb(read + written) / seconds,
    );
    println!(
        "own memory {:.0} MB before, {:.0} MB at most, the map of keys {:.0} MB",
        mb(memory_before as f64),
        mb(memory as f64),
        mb(map_bytes)
    );
    println!("{RECORDS_PER_SECOND} records/s without a pass: {calm}");
    println!("{RECORDS_PER_SECOND} records/s beside a pass:  {beside}");
    let slowdown = beside.ms_at(990) / calm.ms_at(990);
    println!("p99 is {slowdown:.2} times as long; {records} records are left to read");
    assert!(log_after * 2 < log_before);
    let grown = memory.saturating_sub(memory_before);
    assert!(grown <= MAP_BYTES + MEMORY_BESIDE_MAP, "{grown} bytes more");
    let is_long = mib > MIB;
    let slowdown_max = if is_long {
        SLOWDOWN_MAX
    } else {
        SLOWDOWN_MAX_SHARED
    };
    assert!(
        slowdown <= slowdown_max,
        "p99 is {slowdown:.2} times as long"
    );
    Ok(())
}
