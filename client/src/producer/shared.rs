//! [`Shared`]: what the calls on a producer and its sender have in common.
//!
//! Topics and their queues by name, the memory budget, batches that are not completed (for `flush`),
//! the queues that newly have something to send, and the signal that wakes the sender. Nothing here
//! waits for a broker but the first look-up of a topic.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use millstream_proto::record::BatchOptions;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    accumulator::{Appended, BatchPolicy, PartitionQueue, QueuedBatch},
    builder::ProducerConfig,
    completion::Completion,
    topic::TopicState,
};
use crate::{
    connection::{Backoff, Connection},
    error::{Error, Result},
};

/// Topics by name; `None` once the producer is closed.
type Topics = Option<HashMap<Box<str>, Arc<TopicState>>>;

/// What the calls on a producer and its sender have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connection: Arc<Connection>,
    pub(crate) config: ProducerConfig,
    pub(crate) batch_policy: BatchPolicy,
    /// Tells the sender that it may have something to do.
    pub(crate) wake: Arc<Notify>,
    pub(crate) next_queue_id: AtomicU64,
    next_batch_number: AtomicU64,
    topics: RwLock<Topics>,
    /// Queues that had nothing to send and now have.
    dirty: Mutex<Vec<(Arc<TopicState>, Arc<PartitionQueue>)>>,
    /// Free bytes of `buffer_memory`.
    memory: Semaphore,
    /// Batches that are not completed, by number.
    unfinished: Mutex<HashMap<u64, Arc<Completion>>>,
    unacknowledged: AtomicUsize,
    close_announced: AtomicBool,
    /// Why records wait, as of the sender's last turn.
    obstacle: Mutex<Option<Error>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> Error {
    Error::Closed {
        what: "producer",
        may_have_been_written: false,
    }
}

impl Shared {
    pub(crate) fn new(connection: Arc<Connection>, config: ProducerConfig) -> Self {
        let options = BatchOptions {
            compression: config.compression,
            compression_level: config.compression_level,
            ..BatchOptions::default()
        };
        Self {
            connection,
            batch_policy: BatchPolicy {
                options,
                batch_bytes: config.batch_bytes,
            },
            wake: Arc::default(),
            next_queue_id: AtomicU64::new(0),
            next_batch_number: AtomicU64::new(0),
            topics: RwLock::new(Some(HashMap::new())),
            dirty: Mutex::default(),
            memory: Semaphore::new(config.buffer_memory_bytes),
            unfinished: Mutex::default(),
            unacknowledged: AtomicUsize::new(0),
            close_announced: AtomicBool::new(false),
            obstacle: Mutex::default(),
            config,
        }
    }

    /// A topic that a record was sent to before.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicState>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.as_ref()?.get(name).map(Arc::clone)
    }

    /// Asks for a topic that no record was sent to before. Where no broker can be reached it tries again
    /// until `max_block` is over: one that restarts is back soon.
    pub(crate) async fn look_up_topic(&self, name: &str) -> Result<Arc<TopicState>> {
        let until = Instant::now() + self.config.max_block;
        let mut backoff = Backoff::new(self.connection.config.reconnect_backoff);
        let metadata = loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.connection.topic(name, left).await {
                Err(Error::Unreachable { .. }) if !left.is_zero() => {
                    let pause = backoff.pause(rand::random());
                    tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
                }
                looked_up => break looked_up?,
            }
        };
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let topics = topics.as_mut().ok_or_else(closed)?;
        let topic = topics
            .entry(name.into())
            .or_insert_with(|| Arc::new(TopicState::new(metadata, &self.next_queue_id)));
        Ok(Arc::clone(topic))
    }

    /// Names of the topics that records were sent to.
    pub(crate) fn topic_names(&self) -> Vec<Box<str>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.iter().flat_map(HashMap::keys).cloned().collect()
    }

    /// Forgets a topic, so that the next record to it asks anew.
    pub(crate) fn forget_topic(&self, name: &str) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.as_mut().and_then(|topics| topics.remove(name));
    }

    /// Waits for room in `buffer_memory`.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<SemaphorePermit<'_>> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(memory) = self.memory.try_acquire_many(permits) {
            return Ok(memory);
        }
        let max_block = self.config.max_block;
        match tokio::time::timeout(max_block, self.memory.acquire_many(permits)).await {
            Ok(memory) => memory.map_err(|_| closed()),
            Err(_) => Err(Error::QueueFull {
                buffer_memory_bytes: self.config.buffer_memory_bytes,
                max_block,
            }),
        }
    }

    /// Gives back the memory of records that were acknowledged or have failed.
    pub(crate) fn release(&self, bytes: usize, records: u32) {
        self.memory.add_permits(bytes);
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        self.unacknowledged.fetch_sub(records, Ordering::AcqRel);
    }

    /// Registers a new batch of a partition.
    pub(crate) fn open_batch(&self, partition: i32) -> (u64, Arc<Completion>) {
        let number = self.next_batch_number.fetch_add(1, Ordering::Relaxed);
        let completion = Arc::new(Completion::new(partition));
        locked(&self.unfinished).insert(number, Arc::clone(&completion));
        (number, completion)
    }

    /// Counts a record that is about to be appended; [`Shared::release`] counts it off.
    pub(crate) fn count_record(&self) {
        self.unacknowledged.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells the sender of a record that was appended, if it has to know.
    pub(crate) fn queued(
        &self,
        topic: &Arc<TopicState>,
        queue: &Arc<PartitionQueue>,
        appended: &Appended,
    ) {
        if appended.wakes_sender {
            locked(&self.dirty).push((Arc::clone(topic), Arc::clone(queue)));
            self.wake.notify_one();
        }
    }

    /// Takes the queues that have had nothing to send and now have.
    pub(crate) fn take_dirty(&self) -> Vec<(Arc<TopicState>, Arc<PartitionQueue>)> {
        std::mem::take(&mut *locked(&self.dirty))
    }

    /// Forgets a batch whose deliveries are completed.
    pub(crate) fn completed(&self, number: u64) {
        locked(&self.unfinished).remove(&number);
    }

    /// Closes all open batches, and returns what is not completed.
    pub(crate) fn force(&self) -> Vec<Arc<Completion>> {
        let unfinished = locked(&self.unfinished).values().map(Arc::clone).collect();
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        for topic in topics.iter().flat_map(HashMap::values) {
            topic.queues().iter().for_each(|queue| queue.force());
        }
        self.wake.notify_one();
        unfinished
    }

    pub(crate) fn obstacle(&self) -> Option<Error> {
        locked(&self.obstacle).clone()
    }

    pub(crate) fn set_obstacle(&self, obstacle: Option<Error>) {
        *locked(&self.obstacle) = obstacle;
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.unacknowledged.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Refuses further records, and gives back what is queued.
    pub(crate) fn close(&self) -> Vec<QueuedBatch> {
        self.memory.close();
        let topics = self
            .topics
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let queues = topics
            .iter()
            .flat_map(HashMap::values)
            .flat_map(|topic| topic.queues());
        let dirty = self.take_dirty().into_iter().map(|(_, queue)| queue);
        queues
            .chain(dirty)
            .flat_map(|queue| queue.close())
            .collect()
    }

    /// Someone was told that records are left.
    pub(crate) fn announce_close(&self) {
        self.close_announced.store(true, Ordering::Release);
    }

    pub(crate) fn close_was_announced(&self) -> bool {
        self.close_announced.load(Ordering::Acquire)
    }
}
