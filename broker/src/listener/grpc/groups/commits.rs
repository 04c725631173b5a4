//! A stream of commits: requests in the order they arrive, answers as they are durable.
//!
//! As in produce, one stream is one state machine that is polled by the task that writes its answers.
//! While `groups.commit_stream_requests_max` requests or `groups.commit_stream_offsets_max` offsets
//! wait to be durable it reads no further.

use std::sync::Arc;

use futures_util::{Stream, stream};
use millstream_proto::grpc::v1;
use tonic::{Request, Status, Streaming};

use super::convert;
use crate::{
    listener::grpc::{in_order::InOrder, wire},
    service::{RequestContext, ServiceError, Services},
    shutdown::Shutdown,
};

/// Requests handed over in a row before other tasks of the thread get their turn.
const REQUESTS_PER_TURN: u32 = 32;

/// An answer that is due.
struct Settled {
    answer: v1::CommitOffsetsResponse,
    offsets: usize,
}

struct CommitStream {
    services: Arc<Services>,
    context: RequestContext,
    requests: Streaming<v1::CommitOffsetsRequest>,
    shutdown: wire::Begun,
    requests_max: usize,
    offsets_max: usize,
    /// By group.
    in_flight: InOrder<Arc<str>, Settled>,
    offsets_in_flight: usize,
    requests_in_turn: u32,
    /// Set once nothing more is read; what is in flight is still answered, then the stream ends with
    /// this.
    end: Option<Result<(), Status>>,
}

/// What happened next on a stream.
enum Next {
    Due(Settled),
    Asked(Result<Option<v1::CommitOffsetsRequest>, Status>),
    Shutdown,
}

/// The answers to a stream's requests.
pub(super) fn serve(
    services: Arc<Services>,
    shutdown: &Shutdown,
    request: Request<Streaming<v1::CommitOffsetsRequest>>,
) -> impl Stream<Item = Result<v1::CommitOffsetsResponse, Status>> + use<> {
    let limit = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let groups = &services.config().groups;
    let stream = CommitStream {
        context: wire::context(&request),
        requests_max: limit(groups.commit_stream_requests_max),
        offsets_max: limit(groups.commit_stream_offsets_max),
        services,
        requests: request.into_inner(),
        shutdown: wire::begun(shutdown),
        in_flight: InOrder::new(),
        offsets_in_flight: 0,
        requests_in_turn: 0,
        end: None,
    };
    stream::unfold(stream, |mut stream| async move {
        let answer = stream.next_answer().await?;
        Some((answer, stream))
    })
}

impl CommitStream {
    /// The next answer; `None` ends the stream.
    async fn next_answer(&mut self) -> Option<Result<v1::CommitOffsetsResponse, Status>> {
        loop {
            if self.end.is_some() && self.in_flight.is_empty() {
                return self.end.take().and_then(Result::err).map(Err);
            }
            if self.requests_in_turn >= REQUESTS_PER_TURN {
                self.requests_in_turn = 0;
                tokio::task::yield_now().await;
            }
            match self.next().await {
                Next::Due(settled) => {
                    self.offsets_in_flight = self.offsets_in_flight.saturating_sub(settled.offsets);
                    return Some(Ok(settled.answer));
                }
                Next::Asked(Ok(Some(request))) => self.commit(request).await,
                Next::Asked(Ok(None)) => self.end = Some(Ok(())),
                Next::Asked(Err(status)) => self.end = Some(Err(status)),
                Next::Shutdown => self.end = Some(Err(wire::shutting_down())),
            }
        }
    }

    async fn next(&mut self) -> Next {
        let is_open = self.end.is_none();
        let may_read = is_open
            && self.in_flight.len() < self.requests_max
            && self.offsets_in_flight < self.offsets_max;
        tokio::select! {
            biased;
            Some(settled) = self.in_flight.next() => Next::Due(settled),
            () = &mut self.shutdown, if is_open => Next::Shutdown,
            request = self.requests.message(), if may_read => Next::Asked(request),
            // Nothing can happen only when the stream is over, which the caller has checked.
        }
    }

    /// Hands a request over. This waits only for the first group of all, which creates the topic.
    async fn commit(&mut self, request: v1::CommitOffsetsRequest) {
        self.requests_in_turn += 1;
        let offsets = request.offsets.len();
        self.offsets_in_flight = self.offsets_in_flight.saturating_add(offsets);
        let group_id: Arc<str> = Arc::from(&*request.group_id);
        let asked = Asked::of(&request);
        let request = convert::commits(request);
        let committing = self.services.commit_offsets(&self.context, request).await;
        let settled = async move {
            let results = match committing {
                Ok(committing) => committing.committed().await,
                Err(error) => Err(error),
            };
            Settled {
                answer: asked.answer(results),
                offsets,
            }
        };
        self.in_flight.push(group_id, Box::pin(settled));
    }
}

/// What the answer to a request must repeat.
struct Asked {
    request_id: u64,
    places: Vec<(bytes::Bytes, i32)>,
}

impl Asked {
    fn of(request: &v1::CommitOffsetsRequest) -> Self {
        let offsets = request.offsets.iter();
        Self {
            request_id: request.request_id,
            places: offsets
                .map(|offset| (offset.topic_id.clone(), offset.partition))
                .collect(),
        }
    }

    fn answer(
        self,
        results: Result<Vec<Result<(), ServiceError>>, ServiceError>,
    ) -> v1::CommitOffsetsResponse {
        let (results, error) = match results {
            Ok(results) => (results, None),
            Err(error) => (Vec::new(), Some(wire::error(error))),
        };
        let results = self.places.into_iter().zip(results);
        v1::CommitOffsetsResponse {
            request_id: self.request_id,
            error,
            results: results
                .map(|((topic_id, partition), result)| v1::OffsetCommitResult {
                    topic_id,
                    partition,
                    error: result.err().map(wire::error),
                })
                .collect(),
        }
    }
}
