//! [`Producer`]: queues records, batches them per partition, and sends them in order.
//!
//! `send` appends to a queue and returns; the rest happens in one task, the sender. What a record
//! costs is one lookup, one lock and one copy: no task, no channel, no allocation of its own.

mod accumulator;
mod builder;
mod completion;
mod delivery;
mod partitioner;
mod record;
mod sender;
mod shared;
mod topic;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use builder::{Acks, ProducerBuilder};
pub use delivery::{Acknowledgement, Delivery, Durability};
pub use record::Record;

use crate::{
    connection::Connection,
    error::{Error, Result},
};
use accumulator::size_of_record;
use builder::ProducerConfig;
use sender::Sender;
use shared::Shared;

/// Sends records. All methods take `&self`: share it between tasks by reference or `Arc`.
///
/// Records of one partition are written in the order of their `send` calls, retries included, and
/// with idempotence (the default) once each. Dropping it without [`Producer::close`] logs how many
/// records were lost with it.
///
/// ```no_run
/// # async fn run(client: millstream::Client) -> millstream::Result<()> {
/// use millstream::Record;
///
/// let producer = client.producer().linger(std::time::Duration::from_millis(20)).build()?;
/// let mut deliveries = Vec::new();
/// for flight in ["UA1545", "UA1714", "AA1141"] {
///     deliveries.push(producer.send(Record::to("flights").key(flight).value("JFK")).await?);
/// }
/// for delivery in deliveries {
///     println!("{:?}", delivery.await?.durability);
/// }
/// producer.close(std::time::Duration::from_secs(5)).await
/// # }
/// ```
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    sender: tokio::task::JoinHandle<()>,
}

impl Producer {
    pub(crate) fn start(connection: Arc<Connection>, config: ProducerConfig) -> Result<Self> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::config("runtime", "none", "a tokio runtime around build()"))?;
        let shared = Arc::new(Shared::new(connection, config));
        let sender = runtime.spawn(Sender::new(Arc::clone(&shared)).run());
        Ok(Self { shared, sender })
    }

    /// Queues a record and returns a handle to its delivery. Waits while `buffer_memory_bytes` are
    /// unacknowledged and, for the first record of a topic, for the topic's metadata.
    ///
    /// # Errors
    /// [`Error::QueueFull`] after `max_block`; a refused topic or partition;
    /// [`Error::RecordTooLarge`]; [`Error::Closed`]. Nothing was queued then.
    ///
    /// # Cancel safety
    /// A `send` dropped before it returned has queued nothing.
    pub async fn send(&self, record: Record) -> Result<Delivery> {
        let shared = &self.shared;
        let bytes = size_of_record(&record);
        if bytes > shared.config.record_bytes_max {
            return Err(Error::RecordTooLarge {
                found_bytes: bytes,
                max_bytes: shared.config.record_bytes_max,
            });
        }
        let topic = match shared.topic(record.topic()) {
            Some(topic) => topic,
            None => shared.look_up_topic(record.topic()).await?,
        };
        let memory = shared.reserve(bytes).await?;
        let queue = topic.queue_of(&record, bytes, shared.config.batch_bytes)?;
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(now_ms);
        shared.count_record();
        let open = |partition| shared.open_batch(partition);
        let appended = queue
            .append(&record, timestamp_ms, bytes, shared.batch_policy, open)
            .inspect_err(|_| shared.release(0, 1))?;
        memory.forget();
        shared.queued(&topic, &queue, &appended);
        Ok(Delivery::new(
            appended.completion,
            appended.index,
            timestamp_ms,
        ))
    }

    /// Sends what is queued without lingering and waits until every record of earlier `send` calls
    /// is acknowledged or has failed; failures are in the deliveries.
    ///
    /// # Errors
    /// [`Error::Closed`] when the producer's runtime is gone.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the records on their way.
    pub async fn flush(&self) -> Result<()> {
        let unfinished = self.shared.force();
        for completion in unfinished {
            completion.wait().await;
        }
        if self.shared.is_closed() {
            return Err(Error::Closed {
                what: "producer",
                may_have_been_written: false,
            });
        }
        Ok(())
    }

    /// Records queued or unacknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.shared.unacknowledged()
    }

    /// Why records wait, where they do: the last failure of a partition whose records are to be sent
    /// again, such as a full disk of its broker. It becomes the cause of [`Error::TimedOut`] when
    /// `delivery_timeout` is over. `None` while everything goes its way.
    #[must_use]
    pub fn obstacle(&self) -> Option<Error> {
        self.shared.obstacle()
    }

    /// Flushes within `timeout` and stops; records that are not acknowledged by then fail.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when records were left.
    ///
    /// # Cancel safety
    /// Dropping the future drops the producer: records not yet acknowledged fail.
    pub async fn close(self, timeout: Duration) -> Result<()> {
        let started_at = Instant::now();
        match tokio::time::timeout(timeout, self.flush()).await {
            Ok(result) => result,
            Err(_) => {
                tracing::warn!(
                    records = self.unacknowledged(),
                    elapsed = ?started_at.elapsed(),
                    "producer closed before all records were acknowledged"
                );
                self.shared.announce_close();
                Err(Error::TimedOut {
                    operation: "closing the producer",
                    after: timeout,
                    may_have_been_written: true,
                    cause: None,
                })
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let records = self.unacknowledged();
        if records > 0 && !self.shared.close_was_announced() {
            tracing::warn!(
                records,
                "producer dropped with unsent records: call close before"
            );
        }
        self.sender.abort();
    }
}

/// Milliseconds since the epoch; 0 before it.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
