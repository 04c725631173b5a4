//! [`Workload`]: writes unique values to a topic through the client crate, follows them with a
//! reader, and keeps what both saw for the checker. It goes on through restarts of the daemon.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use millstream::{Assignment, Client, Consumer, Delivery, Producer, Record};
use tokio::{sync::mpsc, task::JoinHandle, time};

use crate::{
    Native,
    checker::{self, Anomaly, History, Operation, ReaderId, Report, ValueId},
};

/// Sent values whose delivery is not looked at yet.
const DELIVERIES_MAX: usize = 4_096;
/// Size of a batch: small, so that a round has hundreds of them.
const BATCH_BYTES: usize = 4 << 10;
/// How long a record may take over a restart.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a paused writer looks whether it may go on.
const PAUSE: Duration = Duration::from_millis(1);
/// Reads of one partition that retention may spoil in a row.
const RETENTION_RACES_MAX: usize = 20;
/// The reader that follows the log's end through the client crate.
const FOLLOWER: ReaderId = 0;
/// The reader that verifies.
const VERIFIER: ReaderId = 1;

/// One topic, its writer, its follower and what they saw.
#[derive(Debug)]
pub struct Workload {
    topic: String,
    topic_id: Bytes,
    shared: Arc<Shared>,
    writer: JoinHandle<Result<()>>,
    collector: JoinHandle<Result<()>>,
    follower: Option<JoinHandle<Result<()>>>,
    /// Per partition, where the next verification starts.
    verified: Vec<i64>,
}

#[derive(Debug)]
struct Shared {
    histories: Vec<Mutex<History>>,
    acknowledged: AtomicU64,
    is_paused: AtomicBool,
    is_stopped: AtomicBool,
}

impl Shared {
    fn record(&self, partition: usize, operation: Operation) {
        self.history(partition).push(operation);
    }

    fn history(&self, partition: usize) -> MutexGuard<'_, History> {
        self.histories[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a workload runs.
#[derive(Debug, Clone)]
pub struct WorkloadOptions {
    /// Name of the topic; it exists.
    pub topic: String,
    /// Its id.
    pub topic_id: Bytes,
    /// Its partitions.
    pub partitions: usize,
    /// Whether a consumer follows the log's end.
    pub is_followed: bool,
    /// Pause between two records; none writes as fast as the broker takes them.
    pub pace: Option<Duration>,
}

impl Workload {
    /// Starts writing and following.
    ///
    /// # Errors
    /// When the client refuses its options.
    pub async fn start(client: &Client, options: WorkloadOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            histories: (0..options.partitions).map(|_| Mutex::default()).collect(),
            acknowledged: AtomicU64::new(0),
            is_paused: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        });
        let producer = client
            .producer()
            .batch_bytes(BATCH_BYTES)
            .linger(Duration::from_millis(1))
            .max_block(DELIVERY_TIMEOUT)
            .delivery_timeout(DELIVERY_TIMEOUT)
            .build()?;
        let follower = if options.is_followed {
            let mut consumer = client.consumer().build()?;
            consumer.assign([Assignment::topic(&options.topic)]).await?;
            for partition in 0..options.partitions {
                shared.record(
                    partition,
                    Operation::Sought {
                        reader: FOLLOWER,
                        offset: 0,
                    },
                );
            }
            Some(tokio::spawn(follow(consumer, Arc::clone(&shared))))
        } else {
            None
        };
        let (deliveries, collected) = mpsc::channel(DELIVERIES_MAX);
        let writer = write(producer, options.clone(), Arc::clone(&shared), deliveries);
        Ok(Self {
            verified: vec![0; options.partitions],
            topic: options.topic,
            topic_id: options.topic_id,
            collector: tokio::spawn(collect(collected, Arc::clone(&shared))),
            writer: tokio::spawn(writer),
            shared,
            follower,
        })
    }

    /// Values acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops sending new values for a while; what was sent is retried and acknowledged still.
    pub fn pause(&self, is_paused: bool) {
        self.shared.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Whether writer and follower still work.
    ///
    /// # Errors
    /// When one of them gave up, as no test expects.
    pub async fn check_alive(&mut self) -> Result<()> {
        if self.writer.is_finished() || self.collector.is_finished() {
            (&mut self.collector)
                .await?
                .context("collecting deliveries")?;
            (&mut self.writer).await?.context("writing")?;
            bail!("the writer ended early");
        }
        if let Some(follower) = self
            .follower
            .as_mut()
            .filter(|follower| follower.is_finished())
        {
            follower.await?.context("following")?;
            bail!("the follower ended early");
        }
        Ok(())
    }

    /// Reads what was added since the last verification, up to the high watermark.
    ///
    /// # Errors
    /// When the daemon cannot be read.
    pub async fn verify(&mut self, native: &Native) -> Result<()> {
        let mut verified = self.verified.clone();
        self.read(native, &mut verified).await?;
        self.verified = verified;
        Ok(())
    }

    async fn read(&self, native: &Native, positions: &mut [i64]) -> Result<()> {
        for (partition, position) in positions.iter_mut().enumerate() {
            let mut attempts = 0;
            *position = loop {
                match self.read_partition(native, partition, *position).await {
                    Ok(next) => break next,
                    // Retention took the first records between the question and the read.
                    Err(error) if attempts < RETENTION_RACES_MAX && is_out_of_range(&error) => {
                        attempts += 1;
                    }
                    Err(error) => return Err(error),
                }
            };
        }
        Ok(())
    }

    async fn read_partition(&self, native: &Native, partition: usize, from: i64) -> Result<i64> {
        let index = i32::try_from(partition)?;
        let offsets = native.offsets(&self.topic, index).await?;
        let from = offsets.log_start_offset.max(from);
        // Acknowledgements that come in while it reads are left to the next verification.
        let began = self.shared.history(partition).operations.len();
        let found = native
            .fetch()
            .await?
            .read_to_end(&self.topic_id, index, from)
            .await?;
        let end = found.last().map_or(from, |record| record.offset.get() + 1);
        let read = [
            Operation::LogStart {
                offset: offsets.log_start_offset,
            },
            Operation::Sought {
                reader: VERIFIER,
                offset: from,
            },
        ]
        .into_iter()
        .chain(found.iter().map(|record| Operation::Polled {
            reader: VERIFIER,
            offset: record.offset.get(),
            value: record.value.as_deref().and_then(checker::decode),
        }))
        .chain([Operation::Reached {
            reader: VERIFIER,
            end,
        }]);
        self.shared
            .history(partition)
            .operations
            .splice(began..began, read);
        Ok(end)
    }

    /// Checks everything seen so far. What was acknowledged since the last verification is not held
    /// against the broker yet.
    #[must_use]
    pub fn report_so_far(&self) -> Report {
        let mut report = self.report();
        report
            .anomalies
            .retain(|anomaly| !matches!(anomaly, Anomaly::Unseen { .. }));
        report
    }

    fn report(&self) -> Report {
        let mut report = Report::default();
        for partition in 0..self.shared.histories.len() {
            report.merge(checker::check(&self.shared.history(partition)));
        }
        report
    }

    /// Stops writing, waits for every delivery, reads everything from the start, and checks it.
    ///
    /// # Errors
    /// When a delivery failed, or the daemon cannot be read.
    pub async fn finish(mut self, native: &Native) -> Result<Report> {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        (&mut self.writer).await?.context("writing")?;
        (&mut self.collector)
            .await?
            .context("collecting deliveries")?;
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        let mut positions = vec![0; self.verified.len()];
        self.read(native, &mut positions).await?;
        Ok(self.report())
    }
}

fn is_out_of_range(error: &anyhow::Error) -> bool {
    error.to_string().starts_with("OFFSET_OUT_OF_RANGE")
}

type Sent = (ValueId, usize, Delivery);

async fn write(
    producer: Producer,
    options: WorkloadOptions,
    shared: Arc<Shared>,
    deliveries: mpsc::Sender<Sent>,
) -> Result<()> {
    let topic: Arc<str> = options.topic.into();
    for value in 0.. {
        while shared.is_paused.load(Ordering::Relaxed) && !shared.is_stopped.load(Ordering::Relaxed)
        {
            time::sleep(PAUSE).await;
        }
        if shared.is_stopped.load(Ordering::Relaxed) {
            break;
        }
        let value = ValueId(value);
        let partition = usize::try_from(value.0)? % options.partitions;
        let record = Record::to_topic(Arc::clone(&topic))
            .partition(i32::try_from(partition)?)
            .value(checker::encode(value));
        let delivery = producer.send(record).await?;
        if deliveries.send((value, partition, delivery)).await.is_err() {
            break;
        }
        if let Some(pace) = options.pace {
            time::sleep(pace).await;
        }
    }
    producer.close(DELIVERY_TIMEOUT).await?;
    Ok(())
}

async fn collect(mut deliveries: mpsc::Receiver<Sent>, shared: Arc<Shared>) -> Result<()> {
    while let Some((value, partition, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(acknowledgement) => {
                let offset = acknowledgement.offset;
                shared.record(partition, Operation::Acknowledged { value, offset });
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                if !error.may_have_been_written() {
                    shared.record(partition, Operation::Refused { value });
                }
                return Err(error).with_context(|| format!("delivery of value {value}"));
            }
        }
    }
    Ok(())
}

async fn follow(mut consumer: Consumer, shared: Arc<Shared>) -> Result<()> {
    while let Some(record) = consumer.recv().await? {
        let polled = Operation::Polled {
            reader: FOLLOWER,
            offset: record.offset,
            value: record.value.as_deref().and_then(checker::decode),
        };
        shared.record(usize::try_from(record.partition)?, polled);
    }
    Ok(())
}
