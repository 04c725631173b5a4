//! [`Load`]: how many records of what size at what rate, and the task that sends them.
//!
//! The generator is open-loop: [`Schedule`] says when each record is due, whatever became of those
//! before it, and a latency counts from then. Values are windows of random bytes, with their index in
//! front where a consumer has to tell them apart.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesUnordered};
use hdrhistogram::Histogram;
use millstream::{Delivery, Producer, Record};
use tokio::sync::mpsc;

use super::report;
use crate::{
    commands::produce::{AcksOption, Codec},
    failure::{Failure, Result},
    number,
    quantity::Throughput,
    session::Session,
};

/// Sent records whose acknowledgement has not been looked at, between sender and observer.
const DELIVERIES_MAX: usize = 64 * 1024;
/// The sender wakes this often; what fell due meanwhile is sent at once.
const TICK: Duration = Duration::from_micros(200);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(150);
const INDEX_BYTES: usize = 8;
/// Values differ, so that compression meets something like data: each is a window of this many random
/// bytes more than a record.
const NOISE_BYTES: usize = 64 * 1024;

/// What is sent.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    /// Records to send
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = number::within(1..=1_000_000_000_000_u64), allow_hyphen_values = true)]
    pub(crate) records: u64,
    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(crate) record_bytes: usize,
    /// Records per second; as fast as possible without it
    #[arg(long, value_name = "N", value_parser = number::within(1..=1_000_000_000_u64), allow_hyphen_values = true)]
    pub(crate) rate: Option<u64>,
    /// Longest wait of a batch that is not full
    #[arg(long, value_name = "MS", default_value_t = 5)]
    linger_ms: u64,
    /// Size at which a batch is full
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    batch_bytes: usize,
    /// Codec of the batches
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
    /// When a record counts as delivered
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksOption,
}

/// What came of a load.
pub(crate) struct Sent {
    pub(crate) throughput: Throughput,
    /// Microseconds from when a record was due to its acknowledgement.
    pub(crate) latency_us: Histogram<u64>,
}

impl Load {
    /// A producer with the load's options.
    ///
    /// # Errors
    /// When an option is out of its bounds.
    pub(crate) fn producer(&self, session: &Session) -> Result<Producer> {
        let producer = session
            .client
            .producer()
            .acks(self.acks.into())
            .compression(self.compression.into())
            .linger(Duration::from_millis(self.linger_ms))
            .batch_bytes(self.batch_bytes)
            .record_bytes_max(self.record_bytes + 1024)
            .build()?;
        Ok(producer)
    }

    /// Sends everything and waits for every acknowledgement.
    ///
    /// # Errors
    /// On the first record that is refused.
    pub(crate) async fn send(
        &self,
        producer: Producer,
        topic: &str,
        schedule: Schedule,
        content: Content,
    ) -> Result<Sent> {
        let (deliveries, waiting) = mpsc::channel(DELIVERIES_MAX);
        let generator = Generator {
            load: self.clone(),
            producer,
            topic: Arc::from(topic),
            schedule,
            content,
        };
        let runtime = tokio::runtime::Handle::current();
        // A thread of its own: the runtime's timers are milliseconds late, a sleeping thread is not.
        let generator =
            tokio::task::spawn_blocking(move || runtime.block_on(generator.run(deliveries)));
        let (observed, generated) = tokio::join!(observe(waiting), generator);
        generated.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let (latency_us, end) = observed?;
        let throughput = Throughput {
            records: self.records,
            bytes: self.records * self.record_bytes as u64,
            time: end.saturating_duration_since(schedule.start),
        };
        Ok(Sent {
            throughput,
            latency_us,
        })
    }

    fn value(&self, noise: &Bytes, index: u64) -> Bytes {
        let shift = usize::try_from(index % NOISE_BYTES as u64).unwrap_or(0);
        noise.slice(shift..shift + self.record_bytes)
    }
}

/// What sends a load, on a thread that it may block.
struct Generator {
    load: Load,
    producer: Producer,
    topic: Arc<str>,
    schedule: Schedule,
    content: Content,
}

impl Generator {
    /// Sends everything, each record when it is due, and closes the producer. Ends early when nobody
    /// receives the deliveries any more.
    async fn run(self, deliveries: mpsc::Sender<(Instant, Delivery)>) -> Result<()> {
        let noise = noise(self.load.record_bytes);
        for index in 0..self.load.records {
            let due = self.schedule.wait(index);
            let value = self.load.value(&noise, index);
            let value = match self.content {
                Content::Noise => value,
                Content::Indexed => indexed(&value, index),
            };
            let record = Record::to_topic(Arc::clone(&self.topic)).value(value);
            let delivery = self.producer.send(record).await?;
            if deliveries.send((due, delivery)).await.is_err() {
                // The observer has ended with an error, which its caller sees.
                return Ok(());
            }
        }
        drop(deliveries);
        Ok(self.producer.close(CLOSE_TIMEOUT).await?)
    }
}

/// What the values hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Noise.
    Noise,
    /// The record's index, eight bytes, and noise.
    Indexed,
}

/// The value with its first bytes replaced by the index.
fn indexed(value: &Bytes, index: u64) -> Bytes {
    let mut indexed = BytesMut::with_capacity(value.len());
    indexed.extend_from_slice(&index.to_be_bytes());
    indexed.extend_from_slice(value.get(INDEX_BYTES..).unwrap_or_default());
    indexed.freeze()
}

/// The index that [`Content::Indexed`] put into a value.
pub(crate) fn index_of(value: &[u8]) -> Option<u64> {
    let bytes = value.first_chunk::<INDEX_BYTES>()?;
    Some(u64::from_be_bytes(*bytes))
}

/// When each record is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    pub(crate) rate: Option<u64>,
}

impl Schedule {
    /// The first record is due now.
    pub(crate) fn now(rate: Option<u64>) -> Self {
        Self {
            start: Instant::now(),
            rate,
        }
    }

    /// When the record is due; without a rate, from the start.
    pub(crate) fn due(&self, index: u64) -> Instant {
        let after = self
            .rate
            .map_or(Duration::ZERO, |rate| due_after(index, rate));
        self.start + after
    }

    /// Blocks until the record with this index is due; answers when that was. Without a rate it is
    /// due at once.
    fn wait(&self, index: u64) -> Instant {
        let now = Instant::now();
        if self.rate.is_none() {
            return now;
        }
        let due = self.due(index);
        if due > now {
            std::thread::sleep((due - now).max(TICK));
        }
        due
    }
}

fn due_after(index: u64, rate: u64) -> Duration {
    let nanos = u128::from(index) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Random bytes, the same in every run (xorshift64*, Vigna 2014).
fn noise(record_bytes: usize) -> Bytes {
    let length = NOISE_BYTES + record_bytes;
    let mut noise = BytesMut::with_capacity(length + 8);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while noise.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        noise.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    noise.freeze()
}

/// Waits for all deliveries at once, since partitions overtake each other; answers their latencies
/// and when the last one came.
async fn observe(
    mut deliveries: mpsc::Receiver<(Instant, Delivery)>,
) -> Result<(Histogram<u64>, Instant)> {
    let mut latency_us = report::histogram();
    let mut pending = FuturesUnordered::new();
    let mut is_open = true;
    let mut end = Instant::now();
    while is_open || !pending.is_empty() {
        tokio::select! {
            delivery = deliveries.recv(), if is_open && pending.len() < DELIVERIES_MAX => {
                match delivery {
                    Some((due, delivery)) => pending.push(timed(due, delivery)),
                    None => is_open = false,
                }
            }
            Some(result) = pending.next(), if !pending.is_empty() => {
                let (due, acknowledged): (Instant, millstream::Result<Instant>) = result;
                end = acknowledged.map_err(Failure::from)?;
                report::record(&mut latency_us, end.saturating_duration_since(due));
            }
        }
    }
    Ok((latency_us, end))
}

async fn timed(due: Instant, delivery: Delivery) -> (Instant, millstream::Result<Instant>) {
    let result = delivery.await;
    (due, result.map(|_| Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_evenly() {
        assert_eq!(due_after(0, 20_000), Duration::ZERO);
        assert_eq!(due_after(1, 20_000), Duration::from_micros(50));
        assert_eq!(due_after(20_000, 20_000), Duration::from_secs(1));
    }

    #[test]
    fn a_value_says_its_index() {
        let value = noise(100).slice(0..100);
        let indexed = indexed(&value, 7_000_000_000);
        assert_eq!(indexed.len(), 100);
        assert_eq!(index_of(&indexed), Some(7_000_000_000));
        assert_eq!(index_of(b"short"), None);
    }

    #[test]
    fn noise_is_long_enough_for_every_window_and_no_pattern() {
        let noise = noise(1024);
        assert!(noise.len() >= NOISE_BYTES + 1024);
        assert_ne!(noise.slice(0..8), noise.slice(8..16));
    }
}
