//! Produce: one record batch to one partition.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_engine::replication::Durability as Safety;
use millstream_log::{AppendError, Appended as LogAppended};
use millstream_proto::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
use tokio::time::Sleep;

use super::{RequestContext, ServiceError, Services};
pub use crate::partition::AcksWanted;
use crate::partition::{Appending, PartitionError, PendingAck, Replica, traffic::span};

/// How long an acknowledgement is waited for when the client does not say.
const ACK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// One batch to append.
#[derive(Debug, Clone)]
pub struct ProduceRequest {
    /// The topic.
    pub topic_id: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// When it is acknowledged.
    pub acks: AcksWanted,
    /// The leader epoch that the client knows, if it does.
    pub leader_epoch: Option<LeaderEpoch>,
    /// How long the acknowledgement may take; `None` for the default of 30 s.
    pub timeout: Option<Duration>,
    /// One record batch, format v2.
    pub batch: Bytes,
}

/// A batch that is in the log.
#[derive(Debug)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's time in ms where the topic stores it.
    pub log_append_time_ms: Option<i64>,
    /// First readable offset of the partition.
    pub log_start_offset: Offset,
    /// An earlier send of the same producer id, epoch and sequence had appended it.
    pub duplicate: bool,
    /// Resolves once it is as safe as was asked; `None` where nothing was.
    pub acknowledgement: Option<Acknowledgement>,
}

/// How safe acknowledged records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// On disk on every replica counted, else in their memory.
    pub flushed: bool,
    /// In-sync replicas that have them so.
    pub replicas: u32,
}

/// The wait for one acknowledgement.
///
/// # Cancel safety
/// Dropping it gives up the wait; the records stay in the log.
#[derive(Debug)]
pub struct Acknowledgement {
    pending: PendingAck,
    replica: Arc<Replica>,
    timeout: Duration,
    /// When it is over.
    until: Instant,
    /// Made when the answer is not there at once.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Acknowledgement {
    type Output = Result<Acknowledged, ServiceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.pending).poll(context) {
            let result = result.map(|claim| Acknowledged {
                flushed: claim.durability == Safety::Fsync,
                replicas: claim.replicas,
            });
            let partition = this.replica.partition();
            return Poll::Ready(result.map_err(|lost| ServiceError::ack_lost(partition, &lost)));
        }
        let until = this.until;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        sleep.as_mut().poll(context).map(|()| {
            let message = format!(
                "{}: not acknowledged within {} ms",
                this.replica.partition(),
                this.timeout.as_millis()
            );
            let hint = "send it again with the same producer id and sequence, or wait longer";
            let error = ServiceError::new(ErrorCode::RequestTimedOut, message, hint);
            Err(error.may_have_been_written())
        })
    }
}

/// Why a batch was not appended at once.
#[derive(Debug)]
pub enum NotNow {
    /// It was refused.
    Refused(ServiceError),
    /// It takes long to decode; [`Services::append_later`] appends it.
    Lengthy(ProduceRequest),
}

impl From<ServiceError> for NotNow {
    fn from(error: ServiceError) -> Self {
        Self::Refused(error)
    }
}

impl Services {
    /// Whether appends belong on the blocking pool ([`Services::append_later`]): the disk is slow.
    #[must_use]
    pub fn appends_are_stalled(&self) -> bool {
        self.partitions.append_gate().is_stalled()
    }

    /// Appends one batch on the caller's thread.
    ///
    /// # Errors
    /// Why the batch is not in the log.
    pub fn append_now(
        &self,
        _context: &RequestContext,
        request: ProduceRequest,
    ) -> Result<Produced, NotNow> {
        let (replica, appending) = self.prepare(&request)?;
        let batch_bytes = request.batch.len();
        let appended = match self.append(&replica, request.batch, &appending) {
            Err(PartitionError::Append(AppendError::Lengthy { batch })) => {
                return Err(NotNow::Lengthy(ProduceRequest { batch, ..request }));
            }
            appended => appended,
        };
        Ok(self.produced(appended, replica, batch_bytes, request.timeout)?)
    }

    /// Appends one batch on the blocking pool.
    ///
    /// # Errors
    /// Why the batch is not in the log.
    ///
    /// # Cancel safety
    /// When it is dropped the batch may or may not be in the log.
    pub async fn append_later(
        &self,
        _context: &RequestContext,
        request: ProduceRequest,
    ) -> Result<Produced, ServiceError> {
        let (replica, appending) = self.prepare(&request)?;
        let batch_bytes = request.batch.len();
        let decoding = match replica.decoding_bytes_max(&request.batch) {
            Some(bytes) => Some(self.decoding.hold(bytes).await),
            None => None,
        };
        let held = self.in_flight.hold(batch_bytes).await;
        let append = {
            let (partitions, replica) = (Arc::clone(&self.partitions), Arc::clone(&replica));
            move || {
                let start = Instant::now();
                let result = replica.append(request.batch, &appending);
                let (gate, took) = (partitions.append_gate(), start.elapsed());
                if decoding.is_some() {
                    gate.record_decoding(took);
                } else {
                    gate.record(took);
                }
                drop((held, decoding));
                result
            }
        };
        let appended = tokio::task::spawn_blocking(append).await;
        let appended = appended.map_err(|_| ServiceError::panicked())?;
        self.produced(appended, replica, batch_bytes, request.timeout)
    }

    fn prepare(&self, request: &ProduceRequest) -> Result<(Arc<Replica>, Appending), ServiceError> {
        let replica = self.replica(request.topic_id, request.partition)?;
        let topic = replica.partition().topic.as_str();
        Self::refuse_own_topic(topic, "nobody may produce to it")?;
        let appending = Appending {
            acks: request.acks,
            leader_epoch: request.leader_epoch,
            now_ms: self.clock.wall_ms(),
        };
        Ok((replica, appending))
    }

    fn append(
        &self,
        replica: &Replica,
        batch: Bytes,
        appending: &Appending,
    ) -> Result<(LogAppended, Option<PendingAck>), PartitionError> {
        let start = Instant::now();
        let result = replica.append_quickly(batch, appending);
        let took = start.elapsed();
        if self.partitions.append_gate().record(took) {
            tracing::warn!(
                took_ms = took.as_millis(),
                "append stalled: appends leave the serving threads until the disk is quick again"
            );
        }
        result
    }

    fn produced(
        &self,
        appended: Result<(LogAppended, Option<PendingAck>), PartitionError>,
        replica: Arc<Replica>,
        batch_bytes: usize,
        timeout: Option<Duration>,
    ) -> Result<Produced, ServiceError> {
        let (appended, pending) =
            appended.map_err(|error| ServiceError::of_partition(replica.partition(), &error))?;
        if !appended.duplicate {
            let records = span(appended.base_offset, appended.last_offset) + 1;
            replica.traffic().produced(records, batch_bytes);
            self.traffic.produced(records, batch_bytes);
        }
        let timeout = timeout.unwrap_or(ACK_TIMEOUT_DEFAULT);
        Ok(Produced {
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time,
            log_start_offset: appended.log_start,
            duplicate: appended.duplicate,
            acknowledgement: pending.map(|pending| Acknowledgement {
                pending,
                replica,
                timeout,
                until: Instant::now() + timeout,
                sleep: None,
            }),
        })
    }
}
