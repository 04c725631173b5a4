//! `ProduceService`: pipelined appends in the order they arrive, acknowledgements as they are due.
//!
//! One stream is one state machine that is polled by the task that writes its answers: no task and no
//! queue of its own. While `limits.produce_stream_bytes_max` of batches (or
//! `limits.produce_stream_batches_max` of them) wait for their acknowledgement it reads no further,
//! but goes on writing acknowledgements. A client that does not read them stops its own stream only.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use millstream_proto::{
    Offset, PartitionIndex, TopicId,
    grpc::v1::{
        self, produce_response::Response as Answer, produce_service_server::ProduceService,
    },
};
use tonic::{Request, Response, Status, Streaming};

use super::{in_order::InOrder, wire};
use crate::{
    service::{
        RequestContext, ServiceError, Services,
        produce::{Acknowledged, AcksWanted, NotNow, ProduceRequest, Produced},
    },
    shutdown::Shutdown,
};

/// Batches appended in a row before other tasks of the thread get their turn.
const APPENDS_PER_TURN: u32 = 32;

/// Adapter of [`ProduceService`].
#[derive(Debug)]
pub(super) struct ProduceAdapter {
    services: Arc<Services>,
    shutdown: Shutdown,
}

impl ProduceAdapter {
    pub(super) fn new(services: Arc<Services>, shutdown: Shutdown) -> Self {
        Self { services, shutdown }
    }
}

#[tonic::async_trait]
impl ProduceService for ProduceAdapter {
    type ProduceStream = Pin<Box<dyn Stream<Item = Result<v1::ProduceResponse, Status>> + Send>>;

    async fn produce(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let limits = &self.services.config().limits;
        let stream = ProduceStream {
            context: wire::context(&request),
            in_flight_bytes_max: limits.produce_stream_bytes_max.as_usize(),
            in_flight_batches_max: usize::try_from(limits.produce_stream_batches_max)
                .unwrap_or(usize::MAX),
            request_bytes_max: limits.request_bytes_max.0,
            inbound: request.into_inner(),
            services: Arc::clone(&self.services),
            shutdown: wire::begun(&self.shutdown),
            opened: false,
            appending: None,
            acknowledgements: InOrder::new(),
            in_flight_bytes: 0,
            appends_in_turn: 0,
            end: None,
        };
        let answers = stream::unfold(stream, |mut stream| async move {
            let answer = stream.next_answer().await?;
            Some((answer, stream))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

type Appending = Pin<Box<dyn Future<Output = Result<Produced, ServiceError>> + Send>>;

/// A partition as requests name it; `None` for what is no topic id.
type PartitionKey = (Option<TopicId>, PartitionIndex);

/// An answer that is due.
struct Settled {
    answer: v1::ProduceAck,
    batch_bytes: usize,
}

/// What the answer to a request must repeat, and what it accounts for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    request_id: u64,
    partition: PartitionKey,
    batch_bytes: usize,
    acks: AcksWanted,
}

struct ProduceStream {
    services: Arc<Services>,
    context: RequestContext,
    shutdown: wire::Begun,
    inbound: Streaming<v1::ProduceRequest>,
    in_flight_bytes_max: usize,
    in_flight_batches_max: usize,
    request_bytes_max: u64,
    opened: bool,
    /// An append that had to leave for the blocking pool; later ones wait for it, so that the order
    /// stays.
    appending: Option<(Asked, Appending)>,
    acknowledgements: InOrder<PartitionKey, Settled>,
    in_flight_bytes: usize,
    appends_in_turn: u32,
    /// Set once nothing more is read; what is in flight is still acknowledged, then the stream ends
    /// with this.
    end: Option<Result<(), Status>>,
}

/// What happened next on a stream.
enum Next {
    Due(Settled),
    Appended(Asked, Result<Produced, ServiceError>),
    Asked(Result<Option<v1::ProduceRequest>, Status>),
    Shutdown,
}

impl ProduceStream {
    /// The next answer; `None` ends the stream.
    async fn next_answer(&mut self) -> Option<Result<v1::ProduceResponse, Status>> {
        if !self.opened {
            self.opened = true;
            return Some(Ok(self.opened_answer()));
        }
        loop {
            if self.is_over() {
                return self.end.take().and_then(Result::err).map(Err);
            }
            if let Some(answer) = self.step().await {
                return Some(Ok(v1::ProduceResponse {
                    response: Some(Answer::Ack(answer)),
                }));
            }
        }
    }

    fn opened_answer(&self) -> v1::ProduceResponse {
        let opened = v1::ProduceOpened {
            in_flight_bytes_max: u64::try_from(self.in_flight_bytes_max).unwrap_or(u64::MAX),
            request_bytes_max: self.request_bytes_max,
        };
        v1::ProduceResponse {
            response: Some(Answer::Opened(opened)),
        }
    }

    fn is_over(&self) -> bool {
        self.end.is_some() && self.acknowledgements.is_empty() && self.appending.is_none()
    }

    fn may_read(&self) -> bool {
        self.end.is_none()
            && self.appending.is_none()
            && self.in_flight_bytes < self.in_flight_bytes_max
            && self.acknowledgements.len() < self.in_flight_batches_max
    }

    /// Does the next thing; returns an answer if it brought one.
    async fn step(&mut self) -> Option<v1::ProduceAck> {
        if self.appends_in_turn >= APPENDS_PER_TURN {
            self.appends_in_turn = 0;
            tokio::task::yield_now().await;
        }
        match self.next().await {
            Next::Due(settled) => {
                self.in_flight_bytes = self.in_flight_bytes.saturating_sub(settled.batch_bytes);
                Some(settled.answer)
            }
            Next::Appended(asked, produced) => {
                self.appending = None;
                self.settle(asked, produced)
            }
            Next::Asked(Ok(Some(request))) => self.append(request),
            Next::Asked(Ok(None)) => {
                self.end = Some(Ok(()));
                None
            }
            Next::Asked(Err(status)) => {
                self.end = Some(Err(status));
                None
            }
            Next::Shutdown => {
                self.end = Some(Err(wire::shutting_down()));
                None
            }
        }
    }

    async fn next(&mut self) -> Next {
        let may_read = self.may_read();
        let (is_appending, is_open) = (self.appending.is_some(), self.end.is_none());
        tokio::select! {
            biased;
            Some(settled) = self.acknowledgements.next() => Next::Due(settled),
            (asked, produced) = appended(&mut self.appending), if is_appending => {
                Next::Appended(asked, produced)
            }
            () = &mut self.shutdown, if is_open => Next::Shutdown,
            request = self.inbound.message(), if may_read => Next::Asked(request),
            // Nothing can happen only when the stream is over, which the caller has checked.
        }
    }

    /// Appends a batch, or starts to; returns the answer if it is due already.
    fn append(&mut self, request: v1::ProduceRequest) -> Option<v1::ProduceAck> {
        self.appends_in_turn += 1;
        let (asked, request) = match read_request(request) {
            (asked, Ok(request)) => (asked, request),
            (asked, Err(error)) => return self.settle(asked, Err(error)),
        };
        if self.services.appends_are_stalled() {
            self.append_later(asked, request);
            return None;
        }
        let produced = match self.services.append_now(&self.context, request) {
            Ok(produced) => Ok(produced),
            Err(NotNow::Refused(error)) => Err(error),
            Err(NotNow::Lengthy(request)) => {
                self.append_later(asked, request);
                return None;
            }
        };
        self.settle(asked, produced)
    }

    fn append_later(&mut self, asked: Asked, request: ProduceRequest) {
        let (services, context) = (Arc::clone(&self.services), self.context.clone());
        let append = async move { services.append_later(&context, request).await };
        self.appending = Some((asked, Box::pin(append)));
    }

    /// Takes note of an append; returns its answer if that is due already.
    fn settle(
        &mut self,
        asked: Asked,
        produced: Result<Produced, ServiceError>,
    ) -> Option<v1::ProduceAck> {
        let mut produced = match produced {
            Ok(produced) => produced,
            Err(error) if asked.acks == AcksWanted::None => {
                tracing::debug!(%error, "batch without acknowledgement was refused");
                return None;
            }
            Err(error) => return self.refuse(asked, error),
        };
        let acknowledgement = produced.acknowledgement.take()?;
        let acknowledged = async move {
            match acknowledgement.await {
                Ok(acknowledged) => acknowledgement_answer(asked, &produced, acknowledged),
                Err(error) => refused(asked.request_id, error),
            }
        };
        self.owe(asked, acknowledged);
        None
    }

    /// Answers a request that was refused: at once, unless older ones of its partition wait.
    fn refuse(&mut self, asked: Asked, error: ServiceError) -> Option<v1::ProduceAck> {
        let answer = refused(asked.request_id, error);
        if self.acknowledgements.owes(&asked.partition) {
            self.owe(asked, std::future::ready(answer));
            return None;
        }
        Some(answer)
    }

    /// Answers a request once it is due, after the older ones of its partition.
    fn owe(&mut self, asked: Asked, answer: impl Future<Output = v1::ProduceAck> + Send + 'static) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(asked.batch_bytes);
        let settled = async move {
            Settled {
                answer: answer.await,
                batch_bytes: asked.batch_bytes,
            }
        };
        self.acknowledgements
            .push(asked.partition, Box::pin(settled));
    }
}

async fn appended(
    appending: &mut Option<(Asked, Appending)>,
) -> (Asked, Result<Produced, ServiceError>) {
    match appending {
        Some((asked, append)) => (*asked, append.await),
        None => std::future::pending().await,
    }
}

fn read_request(request: v1::ProduceRequest) -> (Asked, Result<ProduceRequest, ServiceError>) {
    let acks = match v1::Acks::try_from(request.acks) {
        Ok(v1::Acks::All) => Ok(AcksWanted::All),
        Ok(v1::Acks::Leader) => Ok(AcksWanted::Leader),
        Ok(v1::Acks::None) => Ok(AcksWanted::None),
        Err(_) => Err(ServiceError::new(
            millstream_proto::ErrorCode::InvalidRequiredAcks,
            format!("acks is {}, expected 0, 1 or 2", request.acks),
            "use ACKS_ALL (0), ACKS_LEADER (1) or ACKS_NONE (2)",
        )),
    };
    let topic_id = wire::topic_id(&request.topic_id);
    let asked = Asked {
        request_id: request.request_id,
        partition: (
            topic_id.as_ref().ok().copied(),
            PartitionIndex(request.partition),
        ),
        batch_bytes: request.batch.len(),
        acks: *acks.as_ref().unwrap_or(&AcksWanted::All),
    };
    let read = || {
        Ok(ProduceRequest {
            topic_id: topic_id?,
            partition: PartitionIndex(request.partition),
            acks: acks?,
            leader_epoch: wire::leader_epoch(request.leader_epoch),
            timeout: (request.timeout_ms > 0)
                .then(|| Duration::from_millis(u64::from(request.timeout_ms))),
            batch: request.batch,
        })
    };
    (asked, read())
}

fn refused(request_id: u64, error: ServiceError) -> v1::ProduceAck {
    v1::ProduceAck {
        request_id,
        error: Some(wire::error(error)),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        ..v1::ProduceAck::default()
    }
}

fn acknowledgement_answer(
    asked: Asked,
    produced: &Produced,
    acknowledged: Acknowledged,
) -> v1::ProduceAck {
    let durability = if acknowledged.flushed {
        v1::Durability::Flushed
    } else {
        v1::Durability::Memory
    };
    v1::ProduceAck {
        request_id: asked.request_id,
        error: None,
        base_offset: Offset::get(produced.base_offset),
        log_append_time_ms: produced.log_append_time_ms.unwrap_or(-1),
        log_start_offset: produced.log_start_offset.get(),
        durability: durability.into(),
        replicas: acknowledged.replicas,
        duplicate: produced.duplicate,
    }
}
