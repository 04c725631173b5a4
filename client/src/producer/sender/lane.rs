//! [`Lane`]: the order of one partition's batches, through refusals, broken streams and retries.
//!
//! A batch gets its sequence when it is first sent and keeps it for as long as it may have been
//! written: the broker then recognises a second copy. What follows from that:
//!
//! - a refused batch goes back in front, and nothing behind it is sent before it;
//! - batches behind a missing one are refused with OUT_OF_ORDER_SEQUENCE_NUMBER, so they are not in
//!   the log, and go back too;
//! - when that happens to the oldest batch, the one before it is missing for good (it failed finally,
//!   or the broker has forgotten the producer). None of the batches behind can be in the log then:
//!   once all of them have come back the lane goes on with the next producer epoch and numbers them
//!   anew from 0. Source: KIP-360 and Kafka's `TransactionManager`, which do the same.
//!
//! No I/O and no clock here: the sender passes both in.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_proto::{
    ErrorCode, ProducerEpoch, ProducerId,
    record::{self, BatchBuilder, ProducerIdentity, sequence_after},
};

use crate::{
    connection::Backoff,
    error::Error,
    producer::{
        accumulator::{PartitionQueue, QueueDue, QueuedBatch},
        completion::Completion,
        topic::TopicState,
    },
};

/// Bytes that a batch of ours may decompress to when it is split.
const SPLIT_BYTES_MAX: usize = 1 << 31;

/// A finished batch: on its way, or waiting to be sent again.
#[derive(Debug)]
pub(crate) struct FinishedBatch {
    /// Number of the queued batch, and the position in it where it was split.
    pub(crate) order: (u64, u32),
    pub(crate) bytes: Bytes,
    pub(crate) record_count: u32,
    /// Records of the queued batch, before it was split.
    pub(crate) total: u32,
    pub(crate) identity: Option<ProducerIdentity>,
    pub(crate) completion: Arc<Completion>,
    pub(crate) reserved_bytes: usize,
    pub(crate) expires_at: Instant,
    /// An earlier copy went out and nobody knows what became of it.
    pub(crate) maybe_written: bool,
}

/// A batch that the broker has not answered.
#[derive(Debug)]
struct InFlight {
    request_id: u64,
    stream_id: u64,
    /// `None` once its time was up: the place is kept until the broker answers.
    batch: Option<FinishedBatch>,
    order: (u64, u32),
}

/// Why the lane needs another identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// The next epoch of the same producer id.
    Epoch,
    /// Another producer id.
    Id,
}

/// What a lane works by.
#[derive(Debug, Clone)]
pub(crate) struct LaneConfig {
    pub(crate) idempotent: bool,
    pub(crate) in_flight_max: usize,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) retry_backoff: (Duration, Duration),
}

/// What keeps a lane from having a valid identity.
#[derive(Debug)]
enum Lacking {
    /// Answers to what is on its way under the old one.
    Answers,
    /// A producer id, other than this one.
    ProducerId { not: Option<ProducerId> },
}

/// What to do next for a lane.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing, before that time if there is one.
    Wait(Option<Instant>),
    /// Get a producer id, other than this one.
    ProducerId { not: Option<ProducerId> },
    /// Send this batch.
    Send(FinishedBatch),
    /// This batch cannot be built.
    Fail(FinishedBatch, Error),
}

/// What became of a refused batch.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It was given up before.
    Abandoned,
    /// It is in the log; where is not known.
    Written(FinishedBatch),
    /// It has finally failed.
    Failed(FinishedBatch, Error),
    /// It waits to be sent again.
    Retried,
}

/// The order of one partition's batches.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<TopicState>,
    pub(crate) queue: Arc<PartitionQueue>,
    identity: Option<ProducerIdentity>,
    renewal: Option<Renewal>,
    /// By order, as they were sent.
    in_flight: VecDeque<InFlight>,
    /// By order; all before what is queued.
    retries: VecDeque<FinishedBatch>,
    backoff: Backoff,
    not_before: Option<Instant>,
    pub(crate) last_error: Option<Error>,
}

impl Lane {
    pub(crate) fn new(
        topic: Arc<TopicState>,
        queue: Arc<PartitionQueue>,
        config: &LaneConfig,
    ) -> Self {
        Self {
            topic,
            queue,
            identity: None,
            renewal: None,
            in_flight: VecDeque::new(),
            retries: VecDeque::new(),
            backoff: Backoff::new(config.retry_backoff),
            not_before: None,
            last_error: None,
        }
    }

    /// Whether anything is queued, on its way or to be sent again.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.retries.is_empty() && self.queue.oldest().is_none()
    }

    /// Decides what to do at `now`. `producer_id` is what the producer got last.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        config: &LaneConfig,
        producer_id: Option<(ProducerId, ProducerEpoch)>,
    ) -> Next {
        if let Some(not_before) = self.not_before.filter(|not_before| *not_before > now) {
            return Next::Wait(Some(not_before));
        }
        if self.in_flight.len() >= config.in_flight_max {
            return Next::Wait(None);
        }
        if self.retries.is_empty()
            && let QueueDue::At(due) = self.queue.due(config.linger)
            && due > now
        {
            return Next::Wait(Some(due));
        }
        if self.retries.is_empty() && self.queue.oldest().is_none() {
            return Next::Wait(None);
        }
        if config.idempotent
            && let Err(lacking) = self.identify(producer_id)
        {
            return match lacking {
                Lacking::Answers => Next::Wait(None),
                Lacking::ProducerId { not } => Next::ProducerId { not },
            };
        }
        if let Some(first) = self.retries.front() {
            let order = first.order;
            if self.in_flight.iter().any(|sent| sent.order > order) {
                return Next::Wait(None);
            }
            return self
                .retries
                .pop_front()
                .map_or(Next::Wait(None), Next::Send);
        }
        match self.queue.take_due(config.linger, now) {
            Some(queued) => self.finish(queued, config),
            None => Next::Wait(None),
        }
    }

    /// Makes sure that there is a valid identity, and that all that waits carries it.
    fn identify(
        &mut self,
        producer_id: Option<(ProducerId, ProducerEpoch)>,
    ) -> Result<(), Lacking> {
        if let Some(renewal) = self.renewal {
            if !self.in_flight.is_empty() {
                return Err(Lacking::Answers);
            }
            let old = self.identity.map(|identity| identity.id);
            let next_epoch = self
                .identity
                .filter(|_| renewal == Renewal::Epoch)
                .and_then(|identity| identity.epoch.0.checked_add(1));
            self.identity = match (self.identity, next_epoch, producer_id) {
                (Some(identity), Some(epoch), _) => Some(ProducerIdentity {
                    epoch: ProducerEpoch(epoch),
                    base_sequence: 0,
                    ..identity
                }),
                (_, _, Some((id, epoch))) if Some(id) != old => Some(ProducerIdentity {
                    id,
                    epoch,
                    base_sequence: 0,
                }),
                _ => return Err(Lacking::ProducerId { not: old }),
            };
            self.renewal = None;
            self.number_anew();
        }
        if self.identity.is_none() {
            let (id, epoch) = producer_id.ok_or(Lacking::ProducerId { not: None })?;
            self.identity = Some(ProducerIdentity {
                id,
                epoch,
                base_sequence: 0,
            });
        }
        Ok(())
    }

    /// Gives the identity's sequences to all that waits to be sent again.
    fn number_anew(&mut self) {
        let Some(mut identity) = self.identity else {
            return;
        };
        for batch in &mut self.retries {
            let mut bytes = Vec::from(std::mem::take(&mut batch.bytes));
            record::patch::producer(
                &mut bytes,
                identity.id,
                identity.epoch,
                identity.base_sequence,
            )
            .expect("a finished batch has a header");
            batch.bytes = bytes.into();
            batch.identity = Some(identity);
            batch.maybe_written = false;
            identity.base_sequence = sequence_after(identity.base_sequence, batch.record_count);
        }
        self.identity = Some(identity);
    }

    fn finish(&mut self, queued: QueuedBatch, config: &LaneConfig) -> Next {
        let mut builder = queued.builder;
        let record_count = builder.record_count();
        if let Some(identity) = self.identity {
            builder.set_producer(identity);
        }
        let finished = builder.finish();
        let mut batch = FinishedBatch {
            order: (queued.number, 0),
            bytes: Bytes::new(),
            record_count,
            total: record_count,
            identity: self.identity,
            completion: queued.completion,
            reserved_bytes: queued.reserved_bytes,
            expires_at: queued.created_at + config.delivery_timeout,
            maybe_written: false,
        };
        match finished {
            Ok(bytes) => {
                batch.bytes = bytes;
                if let Some(identity) = &mut self.identity {
                    identity.base_sequence = sequence_after(identity.base_sequence, record_count);
                }
                Next::Send(batch)
            }
            Err(error) => {
                let error =
                    Error::config("record batch", error.to_string(), "one that can be built");
                Next::Fail(batch, error)
            }
        }
    }

    /// Remembers that a batch from [`Lane::next`] went out.
    pub(crate) fn sent(&mut self, request_id: u64, stream_id: u64, batch: FinishedBatch) {
        let order = batch.order;
        self.in_flight.push_back(InFlight {
            request_id,
            stream_id,
            batch: Some(batch),
            order,
        });
    }

    /// Takes the batch that the broker has written; `None` where it was given up before.
    pub(crate) fn acknowledged(&mut self, request_id: u64) -> Option<FinishedBatch> {
        self.backoff.succeeded();
        self.not_before = None;
        self.last_error = None;
        self.take_in_flight(request_id)
    }

    fn take_in_flight(&mut self, request_id: u64) -> Option<FinishedBatch> {
        let position = self
            .in_flight
            .iter()
            .position(|sent| sent.request_id == request_id)?;
        self.in_flight.remove(position)?.batch
    }

    /// Decides about a batch that the broker has refused. `random` spreads the pause.
    pub(crate) fn refused(
        &mut self,
        request_id: u64,
        error: Error,
        now: Instant,
        random: f64,
    ) -> Refusal {
        let Some(mut batch) = self.take_in_flight(request_id) else {
            return Refusal::Abandoned;
        };
        let idempotent = batch.identity.is_some();
        batch.maybe_written |= error.may_have_been_written();
        match error.code() {
            Some(ErrorCode::DuplicateSequenceNumber) if idempotent => {
                return Refusal::Written(batch);
            }
            Some(ErrorCode::OutOfOrderSequenceNumber) if idempotent => {
                if !self.is_behind_another(batch.order) {
                    self.renewal = self.renewal.or(Some(Renewal::Epoch));
                    self.not_before = Some(now + self.backoff.pause(random));
                }
            }
            Some(
                ErrorCode::InvalidProducerEpoch
                | ErrorCode::InvalidProducerIdMapping
                | ErrorCode::UnknownProducerId
                | ErrorCode::ProducerFenced,
            ) if idempotent && !batch.maybe_written => self.renewal = Some(Renewal::Id),
            // Halves of one that may be in the log would not be known again, and be stored twice.
            Some(ErrorCode::MessageTooLarge) if batch.record_count > 1 && !batch.maybe_written => {
                return match self.split(batch) {
                    Ok(()) => Refusal::Retried,
                    Err(batch) => Refusal::Failed(batch, error),
                };
            }
            _ if !error.is_retriable() => {
                return Refusal::Failed(batch, error);
            }
            _ => self.not_before = Some(now + self.backoff.pause(random)),
        }
        self.last_error = Some(error);
        self.retry(batch);
        Refusal::Retried
    }

    /// Whether an older batch is on its way or waits to be sent again.
    fn is_behind_another(&self, order: (u64, u32)) -> bool {
        let in_flight = self.in_flight.iter().map(|sent| sent.order);
        in_flight
            .chain(self.retries.iter().map(|batch| batch.order))
            .any(|other| other < order)
    }

    fn retry(&mut self, batch: FinishedBatch) {
        let position = self
            .retries
            .partition_point(|other| other.order < batch.order);
        self.retries.insert(position, batch);
    }

    /// Replaces a batch that the broker finds too large by two halves with the same sequences.
    fn split(&mut self, batch: FinishedBatch) -> Result<(), FinishedBatch> {
        let Some(halves) = halves(&batch) else {
            return Err(batch);
        };
        self.queue.limit_batches(batch.bytes.len() / 2);
        halves.into_iter().for_each(|half| self.retry(half));
        Ok(())
    }

    /// Takes what was on its way on a stream that broke: nobody knows what became of it.
    pub(crate) fn take_sent_on(&mut self, stream_id: u64) -> Vec<FinishedBatch> {
        let (lost, kept): (VecDeque<_>, _) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|sent| sent.stream_id == stream_id);
        self.in_flight = kept;
        let lost = lost.into_iter().filter_map(|sent| sent.batch);
        lost.map(|batch| FinishedBatch {
            maybe_written: true,
            ..batch
        })
        .collect()
    }

    /// Puts back in front, in order, what was on its way on a stream that broke.
    pub(crate) fn retry_sent_on(&mut self, stream_id: u64) {
        let lost = self.take_sent_on(stream_id);
        lost.into_iter().for_each(|batch| self.retry(batch));
    }

    /// Takes what has not been delivered in time.
    pub(crate) fn expired(&mut self, now: Instant, config: &LaneConfig) -> Vec<FinishedBatch> {
        let mut expired = Vec::new();
        for sent in &mut self.in_flight {
            if let Some(mut batch) = sent.batch.take_if(|batch| batch.expires_at <= now) {
                batch.maybe_written = true;
                expired.push(batch);
            }
        }
        while let Some(batch) = self.retries.pop_front_if(|batch| batch.expires_at <= now) {
            expired.push(batch);
        }
        if let Some(limit) = now.checked_sub(config.delivery_timeout) {
            while let Some(queued) = self.queue.take_older(limit) {
                expired.push(unsent(queued));
            }
        }
        expired
    }

    /// When the next batch expires.
    pub(crate) fn next_expiry(&self, config: &LaneConfig) -> Option<Instant> {
        let in_flight = self.in_flight.iter().filter_map(|sent| sent.batch.as_ref());
        let queued = self
            .queue
            .oldest()
            .map(|created_at| created_at + config.delivery_timeout);
        in_flight
            .chain(&self.retries)
            .map(|batch| batch.expires_at)
            .chain(queued)
            .min()
    }

    /// Whether a request of the lane has not been answered.
    pub(crate) fn is_in_flight(&self, request_id: u64) -> bool {
        self.in_flight
            .iter()
            .any(|sent| sent.request_id == request_id)
    }

    /// Takes everything that is queued, on its way or to be sent again; the queue stays open.
    pub(crate) fn take_all(&mut self) -> Vec<FinishedBatch> {
        let in_flight = self.in_flight.iter_mut().filter_map(|sent| {
            let mut batch = sent.batch.take()?;
            batch.maybe_written = true;
            Some(batch)
        });
        let mut all: Vec<_> = in_flight.collect();
        all.extend(self.retries.drain(..));
        all.extend(std::iter::from_fn(|| self.queue.take_first(|_| true)).map(unsent));
        all
    }
}

/// A batch that was never sent, without its bytes: it is about to fail.
pub(crate) fn unsent(queued: QueuedBatch) -> FinishedBatch {
    let record_count = queued.builder.record_count();
    FinishedBatch {
        order: (queued.number, 0),
        bytes: Bytes::new(),
        record_count,
        total: record_count,
        identity: None,
        completion: queued.completion,
        reserved_bytes: queued.reserved_bytes,
        expires_at: queued.created_at,
        maybe_written: false,
    }
}

/// Builds the two halves of a batch of at least two records.
fn halves(batch: &FinishedBatch) -> Option<[FinishedBatch; 2]> {
    let parsed = record::Batch::parse(batch.bytes.clone()).ok()?;
    let options = record::BatchOptions {
        compression: parsed.compression(),
        ..record::BatchOptions::default()
    };
    let middle = batch.record_count / 2;
    let mut builders = [BatchBuilder::new(options), BatchBuilder::new(options)];
    for (index, read) in (0..).zip(parsed.records(SPLIT_BYTES_MAX).ok()?) {
        let read = read.ok()?;
        let [first, second] = &mut builders;
        let half = if index < middle { first } else { second };
        half.append(
            read.timestamp,
            read.key.as_deref(),
            read.value.as_deref(),
            &read.headers,
        )
        .ok()?;
    }
    let [first, second] = builders;
    let part = |mut builder: BatchBuilder, skipped: u32, reserved_bytes| {
        let record_count = builder.record_count();
        let identity = batch.identity.map(|identity| ProducerIdentity {
            base_sequence: sequence_after(identity.base_sequence, skipped),
            ..identity
        });
        if let Some(identity) = identity {
            builder.set_producer(identity);
        }
        Some(FinishedBatch {
            order: (batch.order.0, batch.order.1 + skipped),
            bytes: builder.finish().ok()?,
            record_count,
            total: batch.total,
            identity,
            completion: Arc::clone(&batch.completion),
            reserved_bytes,
            expires_at: batch.expires_at,
            maybe_written: false,
        })
    };
    Some([
        part(first, 0, batch.reserved_bytes)?,
        part(second, middle, 0)?,
    ])
}

#[cfg(test)]
mod tests;
