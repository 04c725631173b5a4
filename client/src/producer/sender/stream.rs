//! [`ProduceStream`]: one produce stream to one broker, and the task that reads its answers.
//!
//! Requests go through a channel with room for every request that may be unacknowledged, so handing
//! one over never waits. Answers come back as events.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use millstream_proto::grpc::v1::{
    self, produce_response::Response, produce_service_client::ProduceServiceClient,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;

use super::Event;
use crate::{
    connection::{ANSWER_BYTES_MAX, Broker},
    error::Error,
};

/// Requests of one stream that may be unacknowledged at a time.
const REQUESTS_MAX: usize = 1024;

/// One produce stream to one broker.
#[derive(Debug)]
pub(crate) struct ProduceStream {
    pub(crate) stream_id: u64,
    requests: mpsc::Sender<v1::ProduceRequest>,
    reader: JoinHandle<()>,
    /// The stream's limits, once the broker has told them.
    limits: Option<v1::ProduceOpened>,
    opened_at: Instant,
    /// Requests that are not answered, in the order they were handed over.
    unanswered: VecDeque<Unanswered>,
    unanswered_bytes: u64,
    /// Requests that the transport has taken.
    taken: Arc<AtomicU64>,
    finished_without_ack: u64,
}

#[derive(Debug)]
struct Unanswered {
    request_id: u64,
    bytes: u64,
    sent_at: Instant,
}

impl ProduceStream {
    /// Opens a stream; [`Event::Opened`] or [`Event::Broken`] follows.
    pub(crate) fn open(
        stream_id: u64,
        broker: Arc<Broker>,
        events: mpsc::Sender<Event>,
        wake: Arc<Notify>,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let outgoing =
            ReceiverStream::new(receiver).inspect(move |request: &v1::ProduceRequest| {
                if request.acks() == v1::Acks::None {
                    counter.fetch_add(1, Ordering::Release);
                    wake.notify_one();
                }
            });
        let reader = tokio::spawn(async move {
            let error = read_answers(stream_id, &broker, outgoing, &events).await;
            // The sender may be gone, and with it whoever wants to know.
            let _ = events.send(Event::Broken { stream_id, error }).await;
        });
        Self {
            stream_id,
            requests,
            reader,
            limits: None,
            opened_at: Instant::now(),
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            taken,
            finished_without_ack: 0,
        }
    }

    pub(crate) fn opened(&mut self, limits: v1::ProduceOpened) {
        self.limits = Some(limits);
    }

    /// Whether another request may be handed over. One may always be, however large.
    pub(crate) fn has_room(&self) -> bool {
        let Some(limits) = &self.limits else {
            return false;
        };
        self.unanswered.is_empty()
            || (self.unanswered.len() < REQUESTS_MAX
                && self.unanswered_bytes < limits.in_flight_bytes_max)
    }

    /// Largest batch that the broker reads, or `None` where it does not say.
    pub(crate) fn batch_bytes_max(&self) -> Option<u64> {
        /// Bytes of a request beside its batch, at most.
        const ENVELOPE_BYTES: u64 = 128;
        let max = self.limits.as_ref()?.request_bytes_max;
        (max > 0).then(|| max.saturating_sub(ENVELOPE_BYTES))
    }

    /// Hands a request over. When the stream is broken an event will say so.
    pub(crate) fn send(&mut self, request: v1::ProduceRequest, now: Instant) {
        let bytes = u64::try_from(request.batch.len()).unwrap_or(u64::MAX);
        let request_id = request.request_id;
        // There is room for all that may be unanswered, so only a broken stream takes nothing.
        let _ = self.requests.try_send(request);
        self.unanswered.push_back(Unanswered {
            request_id,
            bytes,
            sent_at: now,
        });
        self.unanswered_bytes += bytes;
    }

    /// Forgets a request that was answered.
    pub(crate) fn answered(&mut self, request_id: u64) {
        let position = self
            .unanswered
            .iter()
            .position(|sent| sent.request_id == request_id);
        if let Some(sent) = position.and_then(|position| self.unanswered.remove(position)) {
            self.unanswered_bytes -= sent.bytes;
        }
    }

    /// Requests without acknowledgement that the transport has taken since the last call.
    pub(crate) fn take_finished(&mut self) -> Vec<u64> {
        let taken = self.taken.load(Ordering::Acquire);
        let mut finished = Vec::new();
        while self.finished_without_ack < taken
            && let Some(sent) = self.unanswered.pop_front()
        {
            self.unanswered_bytes -= sent.bytes;
            self.finished_without_ack += 1;
            finished.push(sent.request_id);
        }
        finished
    }

    /// When the broker will have been silent for too long.
    pub(crate) fn overdue_at(&self, request_timeout: Duration) -> Option<Instant> {
        let waiting_since = match self.limits {
            None => Some(self.opened_at),
            Some(_) => self.unanswered.front().map(|sent| sent.sent_at),
        };
        waiting_since.map(|since| since + request_timeout)
    }
}

impl Drop for ProduceStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads answers until the stream ends, and says why it did.
async fn read_answers(
    stream_id: u64,
    broker: &Broker,
    requests: impl futures_util::Stream<Item = v1::ProduceRequest> + Send + 'static,
    events: &mpsc::Sender<Event>,
) -> Error {
    let mut client = ProduceServiceClient::new(broker.data.clone())
        .max_decoding_message_size(ANSWER_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let mut answers = match client.produce(requests).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return broker.failure(&status, true),
    };
    loop {
        let event = match answers.message().await {
            Ok(Some(answer)) => match answer.response {
                Some(Response::Opened(limits)) => Event::Opened { stream_id, limits },
                Some(Response::Ack(ack)) => Event::Answer { stream_id, ack },
                // A kind of answer that a later broker may send.
                None => continue,
            },
            Ok(None) => {
                return Error::Disconnected {
                    broker: broker.address.to_string(),
                    reason: "broker ended the stream".to_owned(),
                    may_have_been_written: true,
                };
            }
            Err(status) => return broker.failure(&status, true),
        };
        if events.send(event).await.is_err() {
            return Error::Closed {
                what: "producer",
                may_have_been_written: true,
            };
        }
    }
}
