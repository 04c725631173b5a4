//! The fake broker's produce service.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use millstream_proto::grpc::v1::{
    self,
    produce_response::Response as Answer,
    produce_service_server::{ProduceService, ProduceServiceServer},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Inner, ProduceFault, final_error, wire_error};

pub(crate) fn service(inner: Arc<Inner>) -> ProduceServiceServer<Produce> {
    ProduceServiceServer::new(Produce(inner)).max_decoding_message_size(1 << 30)
}

pub(crate) struct Produce(Arc<Inner>);

type Answers = Pin<Box<dyn Stream<Item = Result<v1::ProduceResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ProduceService for Produce {
    type ProduceStream = Answers;

    async fn produce(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let inner = Arc::clone(&self.0);
        let (answers, receiver) = mpsc::channel(64);
        let opened = v1::ProduceOpened {
            in_flight_bytes_max: 1 << 20,
            request_bytes_max: inner.state().request_bytes_max,
        };
        let opened = v1::ProduceResponse {
            response: Some(Answer::Opened(opened)),
        };
        answers.send(Ok(opened)).await.unwrap();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Ok(Some(request)) = requests.message().await {
                match handle(&inner, &request) {
                    Ok(Some(ack)) => {
                        let mut held = inner.acks_held.subscribe();
                        let released = held.wait_for(|held| !held).await.is_ok();
                        let ack = v1::ProduceResponse {
                            response: Some(Answer::Ack(ack)),
                        };
                        if !released || answers.send(Ok(ack)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => {}
                    Err(status) => {
                        let _ = answers.send(Err(status)).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Appends one request; the answer, if there is to be one.
fn handle(inner: &Inner, request: &v1::ProduceRequest) -> Result<Option<v1::ProduceAck>, Status> {
    let mut state = inner.state();
    let fault = state
        .produce_hook
        .as_mut()
        .map_or(ProduceFault::None, |hook| hook(request));
    state
        .produced
        .push((request.partition, request.batch.clone()));
    let ack = |error| v1::ProduceAck {
        request_id: request.request_id,
        error,
        ..Default::default()
    };
    let result = match fault {
        ProduceFault::Refuse(code) => Ok(Some(ack(Some(wire_error(code))))),
        ProduceFault::RefuseForGood(code) => Ok(Some(ack(Some(final_error(code))))),
        ProduceFault::Break => Err(Status::unavailable("injected")),
        ProduceFault::Ignore => Ok(None),
        _ => {
            let appended = match state.log(&request.topic_id, request.partition) {
                Ok(log) => log.append(&request.batch),
                Err(code) => Err(code),
            };
            match (fault, appended) {
                (ProduceFault::WriteAndBreak, _) => Err(Status::unavailable("injected")),
                (ProduceFault::WriteAndRefuse(code), _) => {
                    let mut error = wire_error(code);
                    error.may_have_been_written = true;
                    Ok(Some(ack(Some(error))))
                }
                (_, Err(code)) => Ok(Some(ack(Some(wire_error(code))))),
                (_, Ok(_)) if request.acks() == v1::Acks::None => Ok(None),
                (_, Ok(appended)) => Ok(Some(v1::ProduceAck {
                    base_offset: appended.base_offset,
                    log_append_time_ms: -1,
                    durability: v1::Durability::Flushed.into(),
                    replicas: 1,
                    duplicate: appended.duplicate,
                    ..ack(None)
                })),
            }
        }
    };
    drop(state);
    inner.notify();
    result
}
