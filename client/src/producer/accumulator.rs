//! [`PartitionQueue`]: batches of one partition that wait to be sent; the last one may be open.
//!
//! `send` appends to the open batch, the sender takes batches off the front once they are full, have
//! lingered or are forced. One short mutex guards both ends; records are encoded under it, so that
//! their order in the log is that of the `send` calls.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use millstream_proto::record::{BatchBuilder, BatchOptions};

use super::{completion::Completion, record::Record};
use crate::error::{Error, Result};

/// What the envelope of one record takes at most: length, attributes, timestamp and offset delta,
/// lengths of key and value, number of headers.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// What the envelope of one header takes at most.
const HEADER_OVERHEAD_BYTES: usize = 10;
/// Room that a new batch starts with; it grows with its records.
const BATCH_CAPACITY_BYTES: usize = 4 * 1024;

/// Bytes that a record takes in memory and in its batch, at most.
pub(crate) fn size_of_record(record: &Record) -> usize {
    let bytes = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record
        .headers
        .iter()
        .map(|header| header.key.len() + bytes(&header.value) + HEADER_OVERHEAD_BYTES);
    RECORD_OVERHEAD_BYTES + bytes(&record.key) + bytes(&record.value) + headers.sum::<usize>()
}

/// Batches of one partition that wait to be sent.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    /// Unique in the producer.
    pub(crate) queue_id: u64,
    pub(crate) partition: i32,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    batches: VecDeque<QueuedBatch>,
    /// Nothing is queued any more.
    closed: bool,
    /// Size at which batches are full, where the broker wants less than the producer.
    batch_bytes_max: Option<usize>,
}

/// A batch that waits to be sent.
#[derive(Debug)]
pub(crate) struct QueuedBatch {
    /// Unique in the producer, larger for later ones.
    pub(crate) number: u64,
    pub(crate) builder: BatchBuilder,
    pub(crate) completion: Arc<Completion>,
    pub(crate) created_at: Instant,
    /// Bytes of `buffer_memory` that its records hold.
    pub(crate) reserved_bytes: usize,
    /// Takes no more records and does not linger.
    pub(crate) is_full: bool,
}

/// What became of a record that was appended.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) completion: Arc<Completion>,
    /// Position in its batch.
    pub(crate) index: u32,
    /// The sender has something to do now that it did not have before.
    pub(crate) wakes_sender: bool,
}

/// How a batch is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchPolicy {
    pub(crate) options: BatchOptions,
    pub(crate) batch_bytes: usize,
}

/// When a queue wants attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueDue {
    Empty,
    At(Instant),
}

impl PartitionQueue {
    pub(crate) fn new(queue_id: u64, partition: i32) -> Self {
        Self {
            queue_id,
            partition,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record to the open batch, or to a new one that `open` registers.
    pub(crate) fn append(
        &self,
        record: &Record,
        timestamp_ms: i64,
        reserved_bytes: usize,
        policy: BatchPolicy,
        open: impl FnOnce(i32) -> (u64, Arc<Completion>),
    ) -> Result<Appended> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let mut state = self.state();
        if state.closed {
            return Err(Error::Closed {
                what: "producer",
                may_have_been_written: false,
            });
        }
        let batch_bytes = state
            .batch_bytes_max
            .map_or(policy.batch_bytes, |max| max.min(policy.batch_bytes));
        let mut wakes_sender = false;
        if let Some(batch) = state.batches.back_mut().filter(|batch| !batch.is_full) {
            let fits = batch
                .builder
                .size_with(timestamp_ms, key, value, &record.headers)
                .is_ok_and(|size| size <= batch_bytes);
            if fits {
                let index = batch
                    .builder
                    .append(timestamp_ms, key, value, &record.headers)
                    .map_err(|error| {
                        Error::config("record", error.to_string(), "one that fits a batch")
                    })?;
                batch.reserved_bytes += reserved_bytes;
                batch.is_full = batch.builder.size_bytes() >= batch_bytes;
                let completion = Arc::clone(&batch.completion);
                return Ok(Appended {
                    completion,
                    index,
                    wakes_sender: batch.is_full,
                });
            }
            batch.is_full = true;
            wakes_sender = true;
        }
        let mut builder = BatchBuilder::with_capacity(policy.options, BATCH_CAPACITY_BYTES);
        let index = builder
            .append(timestamp_ms, key, value, &record.headers)
            .map_err(|error| Error::config("record", error.to_string(), "one that fits a batch"))?;
        let (number, completion) = open(self.partition);
        wakes_sender |= state.batches.is_empty();
        state.batches.push_back(QueuedBatch {
            number,
            is_full: builder.size_bytes() >= batch_bytes,
            builder,
            completion: Arc::clone(&completion),
            created_at: Instant::now(),
            reserved_bytes,
        });
        Ok(Appended {
            completion,
            index,
            wakes_sender,
        })
    }

    /// When the first batch is full, or has lingered.
    pub(crate) fn due(&self, linger: Duration) -> QueueDue {
        self.state()
            .batches
            .front()
            .map_or(QueueDue::Empty, |batch| {
                QueueDue::At(if batch.is_full {
                    batch.created_at
                } else {
                    batch.created_at + linger
                })
            })
    }

    /// Takes the first batch if it is full or has lingered.
    pub(crate) fn take_due(&self, linger: Duration, now: Instant) -> Option<QueuedBatch> {
        self.take_first(|batch| batch.is_full || batch.created_at + linger <= now)
    }

    /// Takes the first batch if it was created before `limit`.
    pub(crate) fn take_older(&self, limit: Instant) -> Option<QueuedBatch> {
        self.take_first(|batch| batch.created_at <= limit)
    }

    /// Takes the first batch if it is wanted.
    pub(crate) fn take_first(
        &self,
        wanted: impl FnOnce(&QueuedBatch) -> bool,
    ) -> Option<QueuedBatch> {
        self.state().batches.pop_front_if(|batch| wanted(batch))
    }

    /// When the first batch was created.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.state().batches.front().map(|batch| batch.created_at)
    }

    /// Bytes of all batches.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state()
            .batches
            .iter()
            .map(|batch| batch.reserved_bytes)
            .sum()
    }

    /// Closes the open batch, so that it does not linger.
    pub(crate) fn force(&self) {
        if let Some(batch) = self.state().batches.back_mut() {
            batch.is_full = true;
        }
    }

    /// Makes later batches full at `bytes`.
    pub(crate) fn limit_batches(&self, bytes: usize) {
        self.state().batch_bytes_max = Some(bytes.max(1));
    }

    /// Refuses further records and gives back what is queued.
    pub(crate) fn close(&self) -> VecDeque<QueuedBatch> {
        let mut state = self.state();
        state.closed = true;
        std::mem::take(&mut state.batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: fn(usize) -> BatchPolicy = |batch_bytes| BatchPolicy {
        options: BatchOptions::default(),
        batch_bytes,
    };
    const OPEN: fn(i32) -> (u64, Arc<Completion>) =
        |partition| (7, Arc::new(Completion::new(partition)));

    fn append(queue: &PartitionQueue, value: &'static str, batch_bytes: usize) -> Appended {
        let record = Record::to("t").value(value);
        queue
            .append(&record, 1, 10, POLICY(batch_bytes), OPEN)
            .expect("open")
    }

    #[test]
    fn records_share_a_batch_until_it_is_full() {
        let queue = PartitionQueue::new(1, 0);
        let first = append(&queue, "one", 90);
        assert_eq!((first.index, first.wakes_sender), (0, true));
        let second = append(&queue, "two", 90);
        assert_eq!((second.index, second.wakes_sender), (1, false));
        let third = append(&queue, "three and more", 90);
        assert_eq!((third.index, third.wakes_sender), (0, true));
        assert_eq!(queue.queued_bytes(), 30);
        let full = queue
            .take_due(Duration::from_secs(60), Instant::now())
            .expect("full");
        assert_eq!((full.builder.record_count(), full.reserved_bytes), (2, 20));
        assert!(
            queue
                .take_due(Duration::from_secs(60), Instant::now())
                .is_none(),
            "lingers"
        );
    }

    #[test]
    fn an_open_batch_is_due_after_its_linger_or_when_forced() {
        let queue = PartitionQueue::new(1, 0);
        append(&queue, "one", 1000);
        let now = Instant::now();
        let linger = Duration::from_secs(5);
        assert!(queue.take_due(linger, now).is_none());
        assert!(queue.take_due(linger, now + linger).is_some());
        append(&queue, "two", 1000);
        queue.force();
        assert!(queue.take_due(linger, now).is_some());
        assert_eq!(queue.due(linger), QueueDue::Empty);
    }

    #[test]
    fn a_closed_queue_refuses_records() {
        let queue = PartitionQueue::new(1, 0);
        append(&queue, "one", 1000);
        assert_eq!(queue.close().len(), 1);
        let refused = queue.append(&Record::to("t"), 1, 10, POLICY(1000), OPEN);
        assert!(matches!(
            refused,
            Err(Error::Closed {
                may_have_been_written: false,
                ..
            })
        ));
    }
}
