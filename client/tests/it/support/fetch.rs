//! The fake broker's fetch service: sends what credit allows, one batch a frame.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::Stream;
use millstream_proto::{
    ErrorCode,
    grpc::v1::{
        self,
        fetch_request::Request as Wish,
        fetch_response::Response as Answer,
        fetch_service_server::{FetchService, FetchServiceServer},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Inner, State, wire_error};

pub(crate) fn service(inner: Arc<Inner>) -> FetchServiceServer<Fetch> {
    FetchServiceServer::new(Fetch(inner)).max_encoding_message_size(1 << 30)
}

pub(crate) struct Fetch(Arc<Inner>);

type Answers = Pin<Box<dyn Stream<Item = Result<v1::FetchResponse, Status>> + Send>>;

struct Reading {
    add: v1::FetchAdd,
    credit: i64,
    sent_ahead: i64,
    told_end: Option<i64>,
}

#[tonic::async_trait]
impl FetchService for Fetch {
    type FetchStream = Answers;

    async fn fetch(
        &self,
        request: Request<Streaming<v1::FetchRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let inner = Arc::clone(&self.0);
        let (answers, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            let opened = v1::FetchOpened {
                credit_bytes_max: 8 << 20,
                partitions_max: 1000,
            };
            let opened = v1::FetchResponse {
                response: Some(Answer::Opened(opened)),
            };
            let _ = answers.send(Ok(opened)).await;
            serve(&inner, request.into_inner(), &answers).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn serve(
    inner: &Inner,
    mut wishes: Streaming<v1::FetchRequest>,
    answers: &mpsc::Sender<Result<v1::FetchResponse, Status>>,
) {
    let mut readings: BTreeMap<u64, Reading> = BTreeMap::new();
    let mut changed = inner.changed.subscribe();
    let mut isolation = v1::IsolationLevel::ReadUncommitted;
    let mut frames_left = inner.state().fetch_frames_before_break;
    loop {
        changed.borrow_and_update();
        let answer = next_answer(&mut inner.state(), &mut readings, isolation);
        if let Some(answer) = answer {
            if let Some(left) = &mut frames_left {
                if *left == 0 {
                    let _ = answers.send(Err(Status::unavailable("injected"))).await;
                    return;
                }
                *left -= 1;
            }
            let answer = v1::FetchResponse {
                response: Some(answer),
            };
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            wish = wishes.message() => {
                let Ok(Some(v1::FetchRequest { request: Some(wish) })) = wish else { return };
                match wish {
                    Wish::Open(open) => isolation = open.isolation_level(),
                    Wish::Add(add) => {
                        inner.state().fetches_added.push((add.partition, add.offset));
                        let credit = i64::try_from(add.credit_bytes).unwrap();
                        let reading = Reading { add, credit, sent_ahead: 0, told_end: None };
                        readings.insert(reading.add.fetch_id, reading);
                        inner.notify();
                    }
                    Wish::Credit(credit) => {
                        if let Some(reading) = readings.get_mut(&credit.fetch_id) {
                            let bytes = i64::try_from(credit.bytes).unwrap();
                            reading.credit += bytes;
                            reading.sent_ahead -= bytes;
                        }
                    }
                    Wish::Remove(remove) => {
                        readings.remove(&remove.fetch_id);
                    }
                }
            }
            _ = changed.changed() => {}
        }
    }
}

fn next_answer(
    state: &mut State,
    readings: &mut BTreeMap<u64, Reading>,
    isolation: v1::IsolationLevel,
) -> Option<Answer> {
    let ids: Vec<_> = readings.keys().copied().collect();
    for fetch_id in ids {
        let reading = readings.get_mut(&fetch_id).unwrap();
        if reading.credit <= 0 {
            continue;
        }
        match answer_of(state, reading, isolation) {
            Ok(answer) => {
                if let Some(Answer::Data(data)) = &answer {
                    let bytes = i64::try_from(data.batches.len()).unwrap();
                    reading.credit -= bytes;
                    reading.sent_ahead += bytes;
                    state.largest_sent_ahead = state.largest_sent_ahead.max(reading.sent_ahead);
                }
                if answer.is_some() {
                    return answer;
                }
            }
            Err((code, log_start_offset, high_watermark)) => {
                readings.remove(&fetch_id);
                let error = Some(wire_error(code));
                let failed = v1::FetchFailed {
                    fetch_id,
                    error,
                    log_start_offset,
                    high_watermark,
                };
                return Some(Answer::Failed(failed));
            }
        }
    }
    None
}

fn answer_of(
    state: &mut State,
    reading: &mut Reading,
    isolation: v1::IsolationLevel,
) -> Result<Option<Answer>, (ErrorCode, i64, i64)> {
    if reading.told_end.is_none()
        && let Some(code) = state.fetch_refusals.pop()
    {
        return Err((code, -1, -1));
    }
    let log = state
        .log(&reading.add.topic_id, reading.add.partition)
        .map_err(|code| (code, -1, -1))?;
    let (start, end, offset) = (
        log.log_start_offset,
        log.high_watermark(),
        reading.add.offset,
    );
    if offset < start || offset > end {
        return Err((ErrorCode::OffsetOutOfRange, start, end));
    }
    let batch = log
        .batches
        .iter()
        .find(|batch| batch.last_offset().get() >= offset);
    let batch = batch.filter(|batch| batch.last_offset().get() < end);
    let batches = batch.map_or_else(Bytes::new, |batch| batch.bytes().clone());
    if batch.is_none() && reading.told_end == Some(end) {
        return Ok(None);
    }
    let range = batch.map_or(0..0, |batch| {
        batch.base_offset().get()..batch.last_offset().get() + 1
    });
    let aborted = log.aborted.iter().filter(|(aborted, marker)| {
        isolation == v1::IsolationLevel::ReadCommitted
            && aborted.first_offset < range.end
            && *marker >= range.start
    });
    let aborted_transactions = aborted.map(|(aborted, _)| *aborted).collect();
    reading.told_end = Some(end);
    reading.add.offset = batch.map_or(offset, |batch| batch.last_offset().get() + 1);
    Ok(Some(Answer::Data(v1::FetchData {
        fetch_id: reading.add.fetch_id,
        high_watermark: end,
        last_stable_offset: end,
        log_start_offset: start,
        aborted_transactions,
        batches,
    })))
}
