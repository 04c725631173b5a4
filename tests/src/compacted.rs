//! [`CompactedTopic`]: writes and deletes the same few keys of a compacted topic over and over, and
//! checks what a reader finds of them: the last write of each key, and of a deleted one no value.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use millstream::{Assignment, Client, ConsumedRecord, Delivery, NewTopic, Producer, Record};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::retry;

const KEYS: usize = 200;
/// Keys that almost all writes are of: deletions of the others last long enough to be cleaned up.
const BUSY_KEYS: usize = 20;
/// One write in so many is of any key.
const OTHERS_EVERY: u32 = 32;
/// One write in so many is a deletion.
const DELETIONS_EVERY: u32 = 4;
const VALUE_BYTES: usize = 1_000;
const BATCH_BYTES: usize = 16 << 10;
/// Sent records whose delivery is not looked at yet: so few that flushes keep the writer from leaving
/// compaction behind.
const DELIVERIES_MAX: usize = 32;
/// How long a record may take over restarts.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a paused writer looks whether it may go on.
const PAUSE: Duration = Duration::from_millis(1);
/// The header with the number of a write: a tombstone has no value to hold it.
const NUMBER: &str = "number";

/// With them the topic is compacted all the time.
const CONFIGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1048576"),
    ("min.cleanable.dirty.ratio", "0"),
    ("delete.retention.ms", "50"),
];

/// One topic and its writer.
#[derive(Debug)]
pub struct CompactedTopic {
    name: String,
    shared: Arc<Mutex<Progress>>,
    writer: JoinHandle<Result<()>>,
    collector: JoinHandle<Result<()>>,
}

/// What was written so far.
#[derive(Debug)]
struct Progress {
    /// Number of each key's last write, and whether it is a deletion.
    last: Vec<Option<(u64, bool)>>,
    sent: u64,
    acknowledged: u64,
    is_paused: bool,
    is_stopped: bool,
}

/// What a reader found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Records in the topic.
    pub records: usize,
    /// Keys whose newest record has a value.
    pub values: usize,
    /// Keys whose newest record is a tombstone.
    pub tombstones: usize,
    /// Deleted keys without a record.
    pub gone: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records; keys: {} with a value, {} with a tombstone, {} gone",
            self.records, self.values, self.tombstones, self.gone
        )
    }
}

impl CompactedTopic {
    /// Creates the topic and starts writing to it, through any restart of the daemon.
    ///
    /// # Errors
    /// When the topic is refused.
    pub async fn start(client: &Client, name: &str, seed: u64) -> Result<Self> {
        let topic = NewTopic::new(name).partitions(1);
        let topic = CONFIGS
            .into_iter()
            .fold(topic, |topic, (key, value)| topic.config(key, value));
        client.admin().create_topic(topic).await?;
        let shared = Arc::new(Mutex::new(Progress {
            last: vec![None; KEYS],
            sent: 0,
            acknowledged: 0,
            is_paused: false,
            is_stopped: false,
        }));
        let producer = client
            .producer()
            .batch_bytes(BATCH_BYTES)
            .linger(Duration::from_millis(1))
            .max_block(DELIVERY_TIMEOUT)
            .delivery_timeout(DELIVERY_TIMEOUT)
            .build()?;
        let (deliveries, collected) = mpsc::channel(DELIVERIES_MAX);
        let writer = write(
            producer,
            Arc::from(name),
            StdRng::seed_from_u64(seed),
            Arc::clone(&shared),
            deliveries,
        );
        Ok(Self {
            name: name.to_owned(),
            writer: tokio::spawn(writer),
            collector: tokio::spawn(collect(collected, Arc::clone(&shared))),
            shared,
        })
    }

    /// Writes acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        lock(&self.shared).acknowledged
    }

    /// Reads the whole topic, which may be compacted meanwhile, and checks every key. Nothing is written
    /// in that time.
    ///
    /// # Errors
    /// What is wrong with a key; when the daemon takes no record, or cannot be read.
    pub async fn check(&mut self, client: &Client) -> Result<Found> {
        self.pause().await?;
        let found = self.read(client).await?;
        lock(&self.shared).is_paused = false;
        Ok(found)
    }

    /// Stops writing until the next check, and waits until everything is acknowledged.
    ///
    /// # Errors
    /// When the daemon takes no record.
    pub async fn pause(&mut self) -> Result<()> {
        if self.writer.is_finished() || self.collector.is_finished() {
            (&mut self.collector).await?.context("deliveries")?;
            (&mut self.writer).await?.context("writing")?;
            bail!("the writer ended early");
        }
        lock(&self.shared).is_paused = true;
        retry::until_async("every write is acknowledged", DELIVERY_TIMEOUT, || async {
            let progress = lock(&self.shared);
            (progress.acknowledged == progress.sent).then_some(())
        })
        .await
    }

    /// Ends the writer.
    ///
    /// # Errors
    /// A delivery that failed.
    pub async fn finish(mut self) -> Result<()> {
        lock(&self.shared).is_stopped = true;
        (&mut self.writer).await?.context("writing")?;
        (&mut self.collector).await?.context("deliveries")
    }

    async fn read(&self, client: &Client) -> Result<Found> {
        let mut consumer = client.consumer().build()?;
        consumer
            .assign([Assignment::topic(&self.name).until_end()])
            .await?;
        let mut newest = HashMap::new();
        let mut found = Found::default();
        while let Some(record) = consumer.recv().await? {
            found.records += 1;
            let (key, number) = (key_of(&record)?, number_of(&record)?);
            let before = newest.insert(key, (number, record.value.is_none()));
            ensure!(
                before.is_none_or(|(before, _)| before < number),
                "key {key}: write {number} comes after {before:?}"
            );
        }
        let progress = lock(&self.shared);
        for (key, last) in progress.last.iter().enumerate() {
            let newest = newest.get(&key).copied();
            match (newest, last) {
                (None, Some((_, true))) => found.gone += 1,
                (newest, last) => ensure!(
                    newest == *last,
                    "key {key}: its last write is {last:?}, a reader finds {newest:?}"
                ),
            }
            found.values += usize::from(matches!(newest, Some((_, false))));
            found.tombstones += usize::from(matches!(newest, Some((_, true))));
        }
        Ok(found)
    }
}

fn lock(shared: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(record: &ConsumedRecord) -> Result<usize> {
    let key = record.key.as_deref().context("a record has a key")?;
    Ok(std::str::from_utf8(key)?.parse()?)
}

fn number_of(record: &ConsumedRecord) -> Result<u64> {
    let header = record.headers.first().context("a record has a header")?;
    let number = header.value.as_deref().context("it has a value")?;
    Ok(std::str::from_utf8(number)?.parse()?)
}

/// A write, noted before it is sent.
struct Write {
    key: usize,
    number: u64,
    is_deletion: bool,
}

async fn write(
    producer: Producer,
    topic: Arc<str>,
    mut rng: StdRng,
    shared: Arc<Mutex<Progress>>,
    deliveries: mpsc::Sender<Delivery>,
) -> Result<()> {
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    while !lock(&shared).is_stopped {
        let Some(write) = next_write(&shared, &mut rng) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut record = Record::to_topic(Arc::clone(&topic))
            .key(write.key.to_string())
            .header(NUMBER, write.number.to_string());
        if !write.is_deletion {
            record = record.value(value.clone());
        }
        if deliveries.send(producer.send(record).await?).await.is_err() {
            break;
        }
    }
    producer.close(DELIVERY_TIMEOUT).await?;
    Ok(())
}

/// `None` while writing is paused.
fn next_write(shared: &Mutex<Progress>, rng: &mut StdRng) -> Option<Write> {
    let mut progress = lock(shared);
    if progress.is_paused {
        return None;
    }
    let keys = match rng.random_ratio(1, OTHERS_EVERY) {
        true => KEYS,
        false => BUSY_KEYS,
    };
    let write = Write {
        key: rng.random_range(0..keys),
        number: progress.sent,
        is_deletion: rng.random_ratio(1, DELETIONS_EVERY),
    };
    progress.sent += 1;
    progress.last[write.key] = Some((write.number, write.is_deletion));
    Some(write)
}

async fn collect(
    mut deliveries: mpsc::Receiver<Delivery>,
    shared: Arc<Mutex<Progress>>,
) -> Result<()> {
    while let Some(delivery) = deliveries.recv().await {
        delivery.await?;
        lock(&shared).acknowledged += 1;
    }
    Ok(())
}
