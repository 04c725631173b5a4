//! The fetch service sends what there is, one batch a frame, and trusts in the client's credit.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures_util::Stream;
use millstream_proto::{
    ErrorCode,
    grpc::v1::{
        self,
        fetch_request::Request as Wish,
        fetch_response::Response as Answered,
        fetch_service_server::{FetchService, FetchServiceServer},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::{Answer, Shared, State, answer, error};

pub(super) fn service(shared: Arc<Shared>) -> FetchServiceServer<Fetch> {
    FetchServiceServer::new(Fetch(shared))
}

pub(super) struct Fetch(Arc<Shared>);

#[tonic::async_trait]
impl FetchService for Fetch {
    type FetchStream = Pin<Box<dyn Stream<Item = Result<v1::FetchResponse, Status>> + Send>>;

    async fn fetch(
        &self,
        request: Request<Streaming<v1::FetchRequest>>,
    ) -> Answer<Self::FetchStream> {
        let (answers, receiver) = mpsc::channel(4);
        tokio::spawn(serve(Arc::clone(&self.0), request.into_inner(), answers));
        answer(Box::pin(ReceiverStream::new(receiver)))
    }
}

type Answers = mpsc::Sender<Result<v1::FetchResponse, Status>>;

async fn send(answers: &Answers, answered: Answered) -> bool {
    let response = v1::FetchResponse {
        response: Some(answered),
    };
    answers.send(Ok(response)).await.is_ok()
}

async fn serve(shared: Arc<Shared>, mut wishes: Streaming<v1::FetchRequest>, answers: Answers) {
    let opened = v1::FetchOpened {
        credit_bytes_max: 8 << 20,
        partitions_max: 1000,
    };
    send(&answers, Answered::Opened(opened)).await;
    let mut adds: BTreeMap<u64, v1::FetchAdd> = BTreeMap::new();
    let mut changed = shared.changed.subscribe();
    loop {
        changed.borrow_and_update();
        let next = adds.values_mut().find_map(|add| next(&shared.state(), add));
        if let Some(answered) = next {
            if let Answered::Failed(failed) = &answered {
                adds.remove(&failed.fetch_id);
            }
            if !send(&answers, answered).await {
                return;
            }
            continue;
        }
        tokio::select! {
            wish = wishes.message() => match wish {
                Ok(Some(v1::FetchRequest { request: Some(Wish::Add(add)) })) => {
                    adds.insert(add.fetch_id, add);
                }
                Ok(Some(v1::FetchRequest { request: Some(Wish::Remove(remove)) })) => {
                    adds.remove(&remove.fetch_id);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            },
            _ = changed.changed() => {}
        }
    }
}

/// The next batch of a partition, from which on the next one is wanted.
fn next(state: &State, add: &mut v1::FetchAdd) -> Option<Answered> {
    let log = state.partition(&add.topic_id, add.partition)?;
    if add.offset < log.log_start_offset || add.offset > log.log_end_offset {
        return Some(Answered::Failed(v1::FetchFailed {
            fetch_id: add.fetch_id,
            error: error(ErrorCode::OffsetOutOfRange, "out of range"),
            log_start_offset: log.log_start_offset,
            high_watermark: log.log_end_offset,
        }));
    }
    let mut batches = log.batches.iter().rev();
    let (_, _, batch) = batches.find(|(base_offset, _, _)| *base_offset <= add.offset)?;
    let end = log.batches.iter().map(|(base_offset, _, _)| *base_offset);
    let end = end
        .chain([log.log_end_offset])
        .find(|end| *end > add.offset)?;
    add.offset = end;
    Some(Answered::Data(v1::FetchData {
        fetch_id: add.fetch_id,
        high_watermark: log.log_end_offset,
        last_stable_offset: log.log_end_offset,
        log_start_offset: log.log_start_offset,
        aborted_transactions: Vec::new(),
        batches: batch.clone(),
    }))
}
