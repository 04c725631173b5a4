//! [`Fetcher`]: the task that sees to it that every assigned partition is being fetched from its
//! leader: it looks up leaders, keeps one fetch stream per broker, and adds partitions to it.
//!
//! It compares what should be with what is, whenever something changed; so a broken stream, a new
//! leader and a new assignment are one case. Answers go from the streams' readers straight into
//! [`State`], never through a queue of their own: the client always drains its streams, and what it
//! then holds is bounded by credit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_proto::{
    ErrorCode, TopicName,
    grpc::v1::{
        self, fetch_request::Request, fetch_response::Response,
        fetch_service_client::FetchServiceClient,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    OffsetReset,
    state::{Shared, State},
};
use crate::{
    connection::{ANSWER_BYTES_MAX, Backoff, Broker},
    error::{Error, Result},
};

/// Requests of one stream that may wait to be sent.
const REQUESTS_MAX: usize = 4096;
/// Pause before a request is tried again that found no room.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Longest sleep of a fetcher with nothing to do.
const IDLE_WAIT: Duration = Duration::from_secs(3600);

/// The way to one broker.
#[derive(Debug)]
pub(crate) struct Route {
    stream: Option<FetchStream>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct FetchStream {
    stream_id: u64,
    requests: mpsc::Sender<v1::FetchRequest>,
    /// The stream's limits, once the broker has told them.
    limits: Option<v1::FetchOpened>,
    opened_at: Instant,
    reader: JoinHandle<()>,
}

impl Drop for FetchStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A question for a topic, asked again after a pause where it could not be answered.
#[derive(Debug)]
pub(crate) struct Question {
    is_open: bool,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// Where a partition stands on its way to being fetched.
enum Step {
    Done,
    /// Something else happens first, and wakes the fetcher.
    Waiting,
    RetryAt(Instant),
}

/// The task that sees to it that every assigned partition is being fetched.
#[derive(Debug)]
pub(crate) struct Fetcher {
    shared: Arc<Shared>,
}

impl Fetcher {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Works until the task is aborted.
    pub(crate) async fn run(self) {
        loop {
            let wake_at = self.turn(Instant::now());
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
        }
    }

    /// Does everything that can be done at `now`, and returns when there may be more.
    fn turn(&self, now: Instant) -> Instant {
        let mut state = self.shared.state();
        if state.closed {
            return now + IDLE_WAIT;
        }
        state.stop_finished();
        let mut wake_at = self.break_silent_streams(&mut state, now);
        let wanting = state
            .partitions
            .iter()
            .filter(|(_, partition)| partition.wants_fetch());
        for slot in wanting.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            match self.advance(&mut state, slot, now) {
                Step::Done | Step::Waiting => {}
                Step::RetryAt(at) => wake_at = wake_at.min(at),
            }
        }
        // All of them are granted what they may have, also behind one whose stream is full.
        let mut all_granted = true;
        for partition in state.partitions.values_mut() {
            all_granted &= partition.grant();
        }
        if all_granted {
            wake_at
        } else {
            wake_at.min(now + FULL_PAUSE)
        }
    }

    /// Breaks streams whose broker has not opened them in time, and says when the next one is due.
    fn break_silent_streams(&self, state: &mut State, now: Instant) -> Instant {
        let timeout = self.shared.connection.config.request_timeout;
        let mut wake_at = now + IDLE_WAIT;
        for route in state.routes.values_mut() {
            let Some(stream) = route
                .stream
                .as_ref()
                .filter(|stream| stream.limits.is_none())
            else {
                continue;
            };
            if stream.opened_at + timeout > now {
                wake_at = wake_at.min(stream.opened_at + timeout);
            } else {
                route.stream = None;
                let at = now + route.backoff.pause(rand::random());
                route.not_before = Some(at);
                wake_at = wake_at.min(at);
            }
        }
        wake_at
    }

    /// Brings a partition one step nearer to being fetched.
    fn advance(&self, state: &mut State, slot: u64, now: Instant) -> Step {
        let Some(partition) = state.partitions.get(&slot) else {
            return Step::Done;
        };
        if let Some(not_before) = partition.not_before.filter(|not_before| *not_before > now) {
            return Step::RetryAt(not_before);
        }
        let (topic, index) = (partition.topic.clone(), partition.partition);
        let is_managed = partition.is_managed;
        let metadata = self.shared.connection.metadata.known(topic.as_str());
        let leader = metadata
            .as_ref()
            .and_then(|metadata| metadata.leader(index));
        let Some(leader) = leader.cloned() else {
            return self.ask(state, &topic, now);
        };
        if metadata.is_some_and(|metadata| metadata.id_bytes != partition.topic_id) {
            if is_managed {
                // The group will assign what there is instead.
                self.shared.connection.metadata.remove(topic.as_str());
                return self.ask(state, &topic, now);
            }
            state.halt(slot, recreated(&topic));
            return Step::Done;
        }
        let Some(stream) = self.stream(state, &leader.address, now) else {
            let route = state.routes.get(&leader.address);
            let not_before = route.and_then(|route| route.not_before);
            return not_before
                .filter(|at| *at > now)
                .map_or(Step::Waiting, Step::RetryAt);
        };
        let (stream_id, requests, credit_max) = stream;
        let prefetch = i64::try_from(self.shared.config.prefetch_bytes).unwrap_or(i64::MAX);
        // Shares are made smaller as a group assigns more, and what was granted before is used up
        // only then: half is left for that.
        let credit_max = if is_managed {
            credit_max.div_euclid(2)
        } else {
            credit_max
        };
        let total = prefetch.min(credit_max);
        if state.start_fetch(slot, stream_id, leader.epoch, total, &requests) {
            Step::Done
        } else {
            Step::RetryAt(now + FULL_PAUSE)
        }
    }

    /// The stream to a broker, with the credit it may have outstanding; `None` until it is open.
    fn stream(
        &self,
        state: &mut State,
        address: &Arc<str>,
        now: Instant,
    ) -> Option<(u64, mpsc::Sender<v1::FetchRequest>, i64)> {
        let backoff = self.shared.connection.config.reconnect_backoff;
        let route = state
            .routes
            .entry(Arc::clone(address))
            .or_insert_with(|| Route {
                stream: None,
                backoff: Backoff::new(backoff),
                not_before: None,
            });
        if let Some(stream) = &route.stream {
            let limits = stream.limits.as_ref()?;
            let credit_max = match limits.credit_bytes_max {
                0 => i64::MAX,
                bytes => i64::try_from(bytes).unwrap_or(i64::MAX),
            };
            return Some((stream.stream_id, stream.requests.clone(), credit_max));
        }
        if route.not_before.is_some_and(|not_before| not_before > now) {
            return None;
        }
        let broker = self.shared.connection.broker(address).ok()?;
        state.last_stream_id += 1;
        route.stream = Some(self.open(state.last_stream_id, broker, now));
        None
    }

    fn open(&self, stream_id: u64, broker: Arc<Broker>, now: Instant) -> FetchStream {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let open = v1::FetchOpen {
            isolation_level: self.shared.config.isolation.to_wire().into(),
            frame_bytes_max: self.shared.config.frame_bytes_max,
        };
        requests
            .try_send(v1::FetchRequest {
                request: Some(Request::Open(open)),
            })
            .expect("a new channel has room");
        let shared = Arc::clone(&self.shared);
        let reader = tokio::spawn(async move {
            let error = read_answers(&shared, stream_id, &broker, receiver).await;
            broke(&shared, stream_id, &broker, &error);
        });
        FetchStream {
            stream_id,
            requests,
            limits: None,
            opened_at: now,
            reader,
        }
    }

    /// Asks a broker for a topic, unless one is being asked or was just now.
    fn ask(&self, state: &mut State, topic: &TopicName, now: Instant) -> Step {
        let backoff = self.shared.connection.config.reconnect_backoff;
        let asked = state
            .questions
            .entry(topic.clone())
            .or_insert_with(|| Question {
                is_open: false,
                backoff: Backoff::new(backoff),
                not_before: None,
            });
        if asked.is_open {
            return Step::Waiting;
        }
        if let Some(not_before) = asked.not_before.filter(|not_before| *not_before > now) {
            return Step::RetryAt(not_before);
        }
        asked.is_open = true;
        let (shared, topic) = (Arc::clone(&self.shared), topic.clone());
        tokio::spawn(async move {
            let deadline = shared.connection.config.request_timeout;
            let result = shared
                .connection
                .refresh_topic(topic.as_str(), deadline)
                .await;
            topic_answered(&mut shared.state(), &topic, result.map(drop));
            shared.wake.notify_one();
        });
        Step::Waiting
    }
}

/// Takes note that a broker was asked for a topic. One that does not exist stops its partitions.
fn topic_answered(state: &mut State, topic: &TopicName, result: Result<()>) {
    let Some(asked) = state.questions.get_mut(topic) else {
        return;
    };
    asked.is_open = false;
    asked.not_before = Some(Instant::now() + asked.backoff.pause(rand::random()));
    match result {
        Ok(()) => {
            asked.backoff.succeeded();
        }
        Err(error) if is_final(&error) => {
            let of_topic = state
                .partitions
                .iter()
                .filter(|(_, partition)| partition.topic == *topic && partition.halted.is_none())
                .filter(|(_, partition)| !partition.is_managed);
            for slot in of_topic.map(|(slot, _)| *slot).collect::<Vec<_>>() {
                state.halt(slot, error.clone());
            }
        }
        Err(error) => tracing::debug!(%error, %topic, "cannot look up topic"),
    }
}

/// Whether asking for a topic again would be in vain.
fn is_final(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
    ) || matches!(error, Error::Broker(error) if !error.retriable)
}

fn recreated(topic: &TopicName) -> Error {
    Error::from_wire(v1::Error {
        code: ErrorCode::UnknownTopicId.number().into(),
        name: ErrorCode::UnknownTopicId.name().to_owned(),
        message: format!("topic {topic} was deleted and created again"),
        hint: "assign it anew".to_owned(),
        ..v1::Error::default()
    })
}

/// Reads answers until the stream ends, and says why it did.
async fn read_answers(
    shared: &Shared,
    stream_id: u64,
    broker: &Broker,
    requests: mpsc::Receiver<v1::FetchRequest>,
) -> Error {
    let mut client =
        FetchServiceClient::new(broker.data.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut answers = match client.fetch(ReceiverStream::new(requests)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return broker.failure(&status, false),
    };
    loop {
        let answer = match answers.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Error::Disconnected {
                    broker: broker.address.to_string(),
                    reason: "broker ended the stream".to_owned(),
                    may_have_been_written: false,
                };
            }
            Err(status) => return broker.failure(&status, false),
        };
        match answer.response {
            Some(Response::Opened(limits)) => opened(shared, stream_id, limits),
            Some(Response::Data(data)) => shared.state().fetched(data, shared.config.isolation),
            Some(Response::Failed(failed)) => fetch_failed(shared, failed),
            // A kind of answer that a later broker may send.
            None => {}
        }
    }
}

fn opened(shared: &Shared, stream_id: u64, limits: v1::FetchOpened) {
    let mut state = shared.state();
    for route in state.routes.values_mut() {
        if let Some(stream) = route
            .stream
            .as_mut()
            .filter(|stream| stream.stream_id == stream_id)
        {
            stream.limits = Some(limits);
            route.backoff.succeeded();
        }
    }
    shared.wake.notify_one();
}

/// Has the partitions of a broken stream fetched again, after a pause and a look at who leads them.
fn broke(shared: &Shared, stream_id: u64, broker: &Broker, error: &Error) {
    tracing::debug!(%error, "fetch stream broke");
    let mut state = shared.state();
    for topic in state.stream_broke(stream_id) {
        shared.connection.metadata.remove(topic.as_str());
    }
    if let Some(route) = state.routes.get_mut(&broker.address)
        && route
            .stream
            .as_ref()
            .is_some_and(|stream| stream.stream_id == stream_id)
    {
        route.stream = None;
        route.not_before = Some(Instant::now() + route.backoff.pause(rand::random()));
    }
    shared.wake.notify_one();
}

/// Decides what follows from the broker's giving up a fetch.
fn fetch_failed(shared: &Shared, failed: v1::FetchFailed) {
    let error = Error::from_wire(failed.error.unwrap_or_default());
    let mut state = shared.state();
    let Some(slot) = state.fetch_failed(failed.fetch_id) else {
        return;
    };
    let Some(partition) = state.partitions.get_mut(&slot) else {
        return;
    };
    if error.code() == Some(ErrorCode::OffsetOutOfRange) {
        let reset = match shared.config.offset_reset {
            OffsetReset::Earliest => failed.log_start_offset,
            OffsetReset::Latest => failed.high_watermark,
            OffsetReset::Fail => -1,
        };
        if reset >= 0 {
            tracing::warn!(
                topic = %partition.topic, partition = partition.partition,
                from = partition.fetch_from, to = reset, "offset out of range is reset"
            );
            state.reset(slot, reset);
        } else {
            let error = Error::OffsetOutOfRange {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                offset: partition.fetch_from,
                log_start_offset: failed.log_start_offset,
                high_watermark: failed.high_watermark,
            };
            state.halt(slot, error);
        }
    } else if error.is_retriable() && error.code() != Some(ErrorCode::CorruptMessage) {
        partition.not_before = Some(Instant::now() + partition.backoff.pause(rand::random()));
        shared.connection.metadata.remove(partition.topic.as_str());
    } else {
        let error = corrupt_as_corrupt(
            error,
            partition.topic.as_str(),
            partition.partition,
            partition.fetch_from,
        );
        state.halt(slot, error);
    }
    shared.wake.notify_one();
}

/// Damage that the broker found reads the same as damage found here.
fn corrupt_as_corrupt(error: Error, topic: &str, partition: i32, offset: i64) -> Error {
    if error.code() != Some(ErrorCode::CorruptMessage) {
        return error;
    }
    Error::Corrupt {
        topic: topic.to_owned(),
        partition,
        offset,
        reason: error.to_string(),
    }
}
