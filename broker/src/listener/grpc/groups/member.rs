//! A member's stream: what it says is read by a task on the control runtime, what it is told comes
//! from the coordinator straight to the stream.
//!
//! The stream ends after `MemberLeft` or `failed`, and with a status where the client broke the rules,
//! or the broker shuts down. A stream that ends without a leave is reported to the coordinator, which
//! gives the member a moment to come back.

use std::sync::Arc;

use futures_util::{Stream, stream};
use millstream_proto::grpc::v1::{
    self, member_request::Request as Said, member_response::Response as Answer,
};
use tokio::task::{JoinError, JoinHandle};
use tonic::{Request, Status, Streaming};

use super::convert;
use crate::{
    listener::grpc::{control::Control, wire},
    service::{
        RequestContext, ServiceError, Services,
        connections::Connection,
        groups::members::{Member, MemberAnswer, MemberAnswers, Outbox},
    },
    shutdown::Shutdown,
};

/// Why a stream is read no further.
enum End {
    /// The membership is over, or was not granted.
    Failed(ServiceError),
    /// The client broke the rules.
    BrokenRule(&'static str),
    /// The broker shuts down.
    Stopping,
}

impl From<ServiceError> for End {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error)
    }
}

/// What a member is told, in wire messages.
pub(super) fn serve(
    control: &Control,
    shutdown: &Shutdown,
    request: Request<Streaming<v1::MemberRequest>>,
) -> impl Stream<Item = Result<v1::MemberResponse, Status>> + use<> {
    let services = control.services();
    let (outbox, answers) = services.member_answers();
    let reading = Reading {
        context: wire::context(&request),
        client_host: client_host(&request),
        requests: request.into_inner(),
        services: Arc::clone(services),
        shutdown: wire::begun(shutdown),
    };
    let telling = Telling {
        answers,
        reader: Some(control.spawn(reading.run(outbox))),
        has_joined: false,
        is_over: false,
    };
    stream::unfold(telling, |mut telling| async move {
        let answer = telling.next().await?;
        Some((answer, telling))
    })
}

fn client_host<T>(request: &Request<T>) -> String {
    let connection = request.extensions().get::<Arc<Connection>>();
    connection.map_or_else(String::new, |connection| {
        connection.address.ip().to_string()
    })
}

/// The side of the stream that the client reads.
struct Telling {
    answers: MemberAnswers,
    /// `None` once it has ended without anything to tell.
    reader: Option<JoinHandle<Result<(), End>>>,
    has_joined: bool,
    is_over: bool,
}

impl Telling {
    async fn next(&mut self) -> Option<Result<v1::MemberResponse, Status>> {
        loop {
            if self.is_over {
                return None;
            }
            let ended = tokio::select! {
                biased;
                answer = self.answers.next() => match answer {
                    Some(answer) => return Some(Ok(self.tell(answer))),
                    // Nobody is left to tell it anything, so the reader ends, if it has not.
                    None => {
                        self.is_over = true;
                        let reader = self.reader.take();
                        reader?.await
                    }
                },
                ended = ended(&mut self.reader) => {
                    self.reader = None;
                    ended
                }
            };
            if let Some(end) = why(ended) {
                self.is_over = true;
                return Some(last(end));
            }
        }
    }

    fn tell(&mut self, answer: MemberAnswer) -> v1::MemberResponse {
        response(match answer {
            MemberAnswer::Alive(alive) if self.has_joined => {
                Answer::HeartbeatAck(v1::MemberHeartbeatAck {
                    member_epoch: alive.member_epoch,
                })
            }
            MemberAnswer::Alive(alive) => {
                self.has_joined = true;
                Answer::Joined(v1::MemberJoined {
                    member_id: alive.member_id.to_string(),
                    member_epoch: alive.member_epoch,
                    heartbeat_interval_ms: alive.heartbeat_interval_ms,
                    session_timeout_ms: alive.session_timeout_ms,
                    rebalance_timeout_ms: alive.rebalance_timeout_ms,
                })
            }
            MemberAnswer::Assigned(assigned) => Answer::Assignment(v1::MemberAssignment {
                member_epoch: assigned.member_epoch,
                partitions: convert::topic_partitions(assigned.partitions),
                reason: assigned.reason.to_string(),
                sequence: assigned.sequence,
            }),
            MemberAnswer::Left => {
                self.is_over = true;
                Answer::Left(v1::MemberLeft {})
            }
            MemberAnswer::Ended(error) => {
                self.is_over = true;
                Answer::Failed(wire::error(error))
            }
        })
    }
}

fn response(answer: Answer) -> v1::MemberResponse {
    v1::MemberResponse {
        response: Some(answer),
    }
}

/// What came of reading a stream.
type Ended = Result<Result<(), End>, JoinError>;

async fn ended(reader: &mut Option<JoinHandle<Result<(), End>>>) -> Ended {
    match reader {
        Some(reader) => reader.await,
        None => std::future::pending().await,
    }
}

/// Why the reader ended; `None` where the client simply closed its side.
fn why(ended: Ended) -> Option<End> {
    match ended {
        Ok(ended) => ended.err(),
        Err(error) => {
            tracing::error!(%error, "reading a member's stream panicked");
            Some(End::Failed(ServiceError::panicked()))
        }
    }
}

/// The last that is said on a stream.
fn last(end: End) -> Result<v1::MemberResponse, Status> {
    match end {
        End::Failed(error) => Ok(response(Answer::Failed(wire::error(error)))),
        End::BrokenRule(rule) => Err(Status::invalid_argument(rule)),
        End::Stopping => Err(wire::shutting_down()),
    }
}

/// The side of the stream that the client writes.
struct Reading {
    services: Arc<Services>,
    context: RequestContext,
    client_host: String,
    requests: Streaming<v1::MemberRequest>,
    shutdown: wire::Begun,
}

impl Reading {
    async fn run(mut self, outbox: Outbox) -> Result<(), End> {
        let Some(join) = self.first().await? else {
            return Ok(());
        };
        let joining = convert::joining(join, std::mem::take(&mut self.client_host))?;
        let member = self
            .services
            .join_group(&self.context, joining, outbox)
            .await?;
        let result = self.listen(&member).await;
        // When the broker shuts down it is not the member who is gone.
        if !matches!(result, Err(End::Stopping)) {
            member.end_stream();
        }
        result
    }

    /// The join that a stream begins with; `None` where it ends before.
    async fn first(&mut self) -> Result<Option<v1::MemberJoin>, End> {
        let request = tokio::select! {
            biased;
            () = &mut self.shutdown => return Err(End::Stopping),
            request = self.requests.message() => request,
        };
        match request.map(|request| request.and_then(|request| request.request)) {
            Ok(Some(Said::Join(join))) => Ok(Some(join)),
            Ok(Some(_)) => Err(End::BrokenRule("the first message must be MemberJoin")),
            // The connection broke, or the client changed its mind.
            Ok(None) | Err(_) => Ok(None),
        }
    }

    async fn listen(&mut self, member: &Member) -> Result<(), End> {
        loop {
            let request = tokio::select! {
                biased;
                () = &mut self.shutdown => return Err(End::Stopping),
                () = member.is_unheard() => return Ok(()),
                request = self.requests.message() => request,
            };
            match request {
                Ok(Some(request)) => said(member, request)?,
                // A half-close or a broken connection: the member is gone, unless it left.
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }
}

fn said(member: &Member, request: v1::MemberRequest) -> Result<(), End> {
    match request.request {
        Some(Said::Heartbeat(_)) => member.report(None, None)?,
        Some(Said::Owned(owned)) => {
            let partitions = convert::assignment(&owned.partitions)?;
            member.report(None, Some((partitions, owned.sequence)))?;
        }
        Some(Said::Subscription(subscription)) => {
            member.report(Some(convert::subscription(subscription)), None)?;
        }
        Some(Said::Leave(leave)) => member.leave(leave.keep_partitions)?,
        Some(Said::Join(_)) => return Err(End::BrokenRule("a stream has one MemberJoin")),
        // Of a kind that a later client sends: the member is alive.
        None => member.report(None, None)?,
    }
    Ok(())
}
