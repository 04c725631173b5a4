//! [`Sender`]: the task of a producer. It takes due batches from the queues, sends them on one
//! produce stream per broker, and handles what comes back.
//!
//! ```text
//! Producer::send --append--> PartitionQueue --take--> Lane --request--> ProduceStream --> broker
//!        Delivery <--wake-- Completion <-------------- Lane <----event------ reader task <--'
//! ```
//!
//! The task never waits for anything but its next event, so one slow broker holds up no other:
//! streams, metadata and producer ids are asked for in tasks of their own that answer with events.

mod lane;
mod questions;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_proto::{ErrorCode, ProducerEpoch, ProducerId, grpc::v1};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Acks, Durability, Shared,
    completion::{BatchAck, Part},
};
use crate::{
    connection::{Backoff, TopicMetadata},
    error::{Error, Result},
};
use lane::{FinishedBatch, Lane, LaneConfig, Next, Refusal};
use questions::{Question, question};
use stream::ProduceStream;

/// Events that may wait for the sender.
const EVENTS_MAX: usize = 1024;
/// How late tokio's timers are at most: their wheel rounds up to a millisecond, and so does the
/// `epoll_wait` that the runtime sleeps in.
const TIMER_LATENESS_MAX: Duration = Duration::from_millis(2);

/// What happened to something the sender waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream is ready for requests.
    Opened {
        stream_id: u64,
        limits: v1::ProduceOpened,
    },
    /// A batch was acknowledged or refused.
    Answer { stream_id: u64, ack: v1::ProduceAck },
    /// A stream is gone.
    Broken { stream_id: u64, error: Error },
    /// A broker was asked for a topic.
    Metadata {
        topic: String,
        result: Result<Arc<TopicMetadata>>,
    },
    /// A broker was asked for a producer id.
    ProducerId(Result<(ProducerId, ProducerEpoch)>),
}

/// The way to one broker.
#[derive(Debug)]
struct Route {
    stream: Option<ProduceStream>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// The task of a producer.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    lane_config: LaneConfig,
    /// By queue id.
    lanes: BTreeMap<u64, Lane>,
    /// Lanes with something to do.
    active: BTreeSet<u64>,
    /// The first lane that could not send in the last turn.
    starved: Option<u64>,
    /// By address of the broker.
    routes: HashMap<Arc<str>, Route>,
    /// Queue ids of requests on their way.
    requests: HashMap<u64, u64>,
    last_request_id: u64,
    last_stream_id: u64,
    producer_id: Option<(ProducerId, ProducerEpoch)>,
    id_question: Question,
    /// By topic.
    topic_questions: HashMap<String, Question>,
    /// When all topics are asked for again.
    refresh_at: Instant,
    events: mpsc::Receiver<Event>,
    event_sender: mpsc::Sender<Event>,
    asking: JoinSet<()>,
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let config = &shared.config;
        let lane_config = LaneConfig {
            idempotent: config.is_idempotent(),
            in_flight_max: config.in_flight_max,
            linger: timed(config.linger),
            delivery_timeout: config.delivery_timeout,
            retry_backoff: config.retry_backoff,
        };
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let id_question = question(&shared);
        Self {
            shared,
            lane_config,
            lanes: BTreeMap::new(),
            active: BTreeSet::new(),
            starved: None,
            routes: HashMap::new(),
            requests: HashMap::new(),
            last_request_id: 0,
            last_stream_id: 0,
            producer_id: None,
            id_question,
            topic_questions: HashMap::new(),
            refresh_at: Instant::now(),
            events,
            event_sender,
            asking: JoinSet::new(),
        }
    }

    /// Works until the task is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            let wake_at = self.turn(Instant::now());
            tokio::select! {
                () = self.shared.wake.notified() => {}
                event = self.events.recv() => {
                    let mut next = event;
                    while let Some(event) = next {
                        self.handle(event);
                        next = self.events.try_recv().ok();
                    }
                }
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
            while self.asking.try_join_next().is_some() {}
        }
    }

    /// Does everything that can be done at `now`, and returns when there may be more.
    fn turn(&mut self, now: Instant) -> Instant {
        for (topic, queue) in self.shared.take_dirty() {
            self.active.insert(queue.queue_id);
            let config = &self.lane_config;
            self.lanes
                .entry(queue.queue_id)
                .or_insert_with(|| Lane::new(topic, queue, config));
        }
        self.finish_unacknowledged();
        self.break_overdue_streams(now);
        self.refresh_topics(now);
        let mut wake_at = self.refresh_at;
        for queue_id in self.lanes_in_turn() {
            self.expire(queue_id, now);
            let next = self.work_lane(queue_id, now);
            let Some(lane) = self.lanes.get(&queue_id) else {
                continue;
            };
            if lane.is_idle() {
                self.active.remove(&queue_id);
            }
            let expiry = lane.next_expiry(&self.lane_config);
            wake_at = [next, expiry]
                .into_iter()
                .flatten()
                .fold(wake_at, Instant::min);
        }
        self.shared.set_obstacle(self.obstacle());
        let timeout = self.shared.config.request_timeout;
        let streams = self
            .routes
            .values()
            .filter_map(|route| route.stream.as_ref());
        let overdue = streams.filter_map(|stream| stream.overdue_at(timeout));
        overdue.fold(wake_at, Instant::min)
    }

    /// The last failure of a lane that has not got on since.
    fn obstacle(&self) -> Option<Error> {
        let mut lanes = self.active.iter().filter_map(|id| self.lanes.get(id));
        lanes.find_map(|lane| lane.last_error.clone())
    }

    /// The active lanes, from the first that found no room in its stream the last time: otherwise the
    /// first few partitions would take all there is.
    fn lanes_in_turn(&mut self) -> Vec<u64> {
        let first = self.starved.take().unwrap_or(0);
        self.active
            .range(first..)
            .chain(self.active.range(..first))
            .copied()
            .collect()
    }

    /// Asks for all topics now and then: they may have more partitions.
    fn refresh_topics(&mut self, now: Instant) {
        if self.refresh_at > now {
            return;
        }
        self.refresh_at = now + self.shared.connection.config.metadata_age_max;
        for topic in self.shared.topic_names() {
            self.ask_topic(&topic, now);
        }
    }

    /// Sends what a lane has to send, and returns when it may have more.
    fn work_lane(&mut self, queue_id: u64, now: Instant) -> Option<Instant> {
        loop {
            let lane = self.lanes.get_mut(&queue_id)?;
            if lane.is_idle() {
                return None;
            }
            let metadata = lane.topic.metadata();
            let Some(leader) = metadata.leader(lane.queue.partition) else {
                return self.ask_topic(metadata.name.as_str(), now);
            };
            if let Err(retry_at) = self.ready_stream(&leader.address, now) {
                self.starved = self.starved.or(Some(queue_id));
                return retry_at;
            }
            let lane = self.lanes.get_mut(&queue_id)?;
            match lane.next(now, &self.lane_config, self.producer_id) {
                Next::Wait(until) => return until,
                Next::ProducerId { not } => return self.ask_producer_id(not, now),
                Next::Fail(batch, error) => self.finish(batch, Err(error)),
                Next::Send(batch) => {
                    self.send(
                        queue_id,
                        &metadata,
                        leader.epoch,
                        &leader.address,
                        batch,
                        now,
                    );
                }
            }
        }
    }

    /// Sees to it that there is a stream with room to the broker; `Err` says when to try again.
    fn ready_stream(&mut self, address: &Arc<str>, now: Instant) -> Result<(), Option<Instant>> {
        let backoff = self.shared.connection.config.reconnect_backoff;
        let route = self
            .routes
            .entry(Arc::clone(address))
            .or_insert_with(|| Route {
                stream: None,
                backoff: Backoff::new(backoff),
                not_before: None,
            });
        if let Some(stream) = &route.stream {
            return if stream.has_room() { Ok(()) } else { Err(None) };
        }
        if let Some(not_before) = route.not_before.filter(|not_before| *not_before > now) {
            return Err(Some(not_before));
        }
        if let Ok(broker) = self.shared.connection.broker(address) {
            self.last_stream_id += 1;
            let (events, wake) = (self.event_sender.clone(), Arc::clone(&self.shared.wake));
            route.stream = Some(ProduceStream::open(
                self.last_stream_id,
                broker,
                events,
                wake,
            ));
        }
        Err(None)
    }

    fn send(
        &mut self,
        queue_id: u64,
        topic: &TopicMetadata,
        leader_epoch: i32,
        address: &Arc<str>,
        batch: FinishedBatch,
        now: Instant,
    ) {
        let stream = self
            .routes
            .get_mut(address)
            .and_then(|route| route.stream.as_mut());
        let (Some(stream), Some(lane)) = (stream, self.lanes.get_mut(&queue_id)) else {
            return;
        };
        self.last_request_id += 1;
        let request_id = self.last_request_id;
        // The broker gives up first, so that a slow in-sync set does not break the stream.
        let timeout_ms = (self.shared.config.request_timeout * 3 / 4).as_millis();
        let request = v1::ProduceRequest {
            request_id,
            topic_id: topic.id_bytes.clone(),
            partition: lane.queue.partition,
            acks: self.shared.config.acks.to_wire().into(),
            leader_epoch,
            timeout_ms: u32::try_from(timeout_ms).unwrap_or(u32::MAX),
            batch: batch.bytes.clone(),
        };
        let bytes = batch.bytes.len();
        let stream_id = stream.stream_id;
        lane.sent(request_id, stream_id, batch);
        let too_large = stream
            .batch_bytes_max()
            .filter(|max| u64::try_from(bytes).is_ok_and(|bytes| bytes > *max));
        if let Some(max) = too_large {
            // The broker would break the stream instead of refusing the batch.
            self.refused(queue_id, request_id, too_large_error(bytes, max));
            return;
        }
        self.requests.insert(request_id, queue_id);
        stream.send(request, now);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Opened { stream_id, limits } => {
                if let Some((_, route)) = self.route_of(stream_id) {
                    route.backoff.succeeded();
                    route
                        .stream
                        .iter_mut()
                        .for_each(|stream| stream.opened(limits));
                }
            }
            Event::Answer { stream_id, ack } => self.answered(stream_id, ack),
            Event::Broken { stream_id, error } => self.broken(stream_id, &error),
            Event::Metadata { topic, result } => self.topic_answered(&topic, result),
            Event::ProducerId(result) => self.producer_id_answered(result),
        }
    }

    fn route_of(&mut self, stream_id: u64) -> Option<(&Arc<str>, &mut Route)> {
        self.routes.iter_mut().find(|(_, route)| {
            route
                .stream
                .as_ref()
                .is_some_and(|stream| stream.stream_id == stream_id)
        })
    }

    fn answered(&mut self, stream_id: u64, ack: v1::ProduceAck) {
        let Some((_, route)) = self.route_of(stream_id) else {
            return;
        };
        route
            .stream
            .iter_mut()
            .for_each(|stream| stream.answered(ack.request_id));
        let Some(queue_id) = self.requests.remove(&ack.request_id) else {
            return;
        };
        if let Some(error) = ack.error {
            self.refused(queue_id, ack.request_id, Error::from_wire(error));
            return;
        }
        let written = BatchAck {
            base_offset: Some(ack.base_offset).filter(|offset| *offset >= 0),
            log_append_time_ms: Some(ack.log_append_time_ms).filter(|time| *time >= 0),
            durability: Durability::from_wire(ack.durability()),
            replicas: ack.replicas,
        };
        let lane = self.lanes.get_mut(&queue_id);
        if let Some(batch) = lane.and_then(|lane| lane.acknowledged(ack.request_id)) {
            self.finish(batch, Ok(written));
        }
    }

    fn refused(&mut self, queue_id: u64, request_id: u64, error: Error) {
        let Some(lane) = self.lanes.get_mut(&queue_id) else {
            return;
        };
        let topic = lane.topic.metadata();
        if is_about_metadata(&error) {
            self.shared.connection.metadata.remove(topic.name.as_str());
            self.ask_topic(topic.name.as_str(), Instant::now());
        }
        let Some(lane) = self.lanes.get_mut(&queue_id) else {
            return;
        };
        match lane.refused(request_id, error, Instant::now(), rand::random()) {
            Refusal::Abandoned | Refusal::Retried => {}
            Refusal::Failed(batch, error) => self.finish(batch, Err(error)),
            Refusal::Written(batch) => self.finish(batch, Ok(unknown_ack())),
        }
    }

    /// Completes the deliveries of a batch and gives its memory back.
    fn finish(&self, batch: FinishedBatch, result: Result<BatchAck>) {
        let result = result.map_err(|error| error.or_maybe_written(batch.maybe_written));
        let part = Part {
            first: batch.order.1,
            count: batch.record_count,
            result,
        };
        if batch.completion.complete(part, batch.total) {
            self.shared.completed(batch.order.0);
        }
        self.shared
            .release(batch.reserved_bytes, batch.record_count);
    }

    fn finish_unacknowledged(&mut self) {
        if self.shared.config.acks != Acks::None {
            return;
        }
        let streams = self
            .routes
            .values_mut()
            .filter_map(|route| route.stream.as_mut());
        let finished: Vec<_> = streams.flat_map(ProduceStream::take_finished).collect();
        for request_id in finished {
            let lane = self
                .requests
                .remove(&request_id)
                .and_then(|id| self.lanes.get_mut(&id));
            if let Some(batch) = lane.and_then(|lane| lane.acknowledged(request_id)) {
                self.finish(batch, Ok(unknown_ack()));
            }
        }
    }

    fn expire(&mut self, queue_id: u64, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&queue_id) else {
            return;
        };
        let expired = lane.expired(now, &self.lane_config);
        let cause = lane.last_error.clone().map(Arc::new);
        for batch in expired {
            let error = Error::TimedOut {
                operation: "delivery",
                after: self.shared.config.delivery_timeout,
                may_have_been_written: batch.maybe_written,
                cause: cause.clone(),
            };
            self.finish(batch, Err(error));
        }
    }

    fn break_overdue_streams(&mut self, now: Instant) {
        let timeout = self.shared.config.request_timeout;
        let streams = self.routes.iter().filter_map(|(address, route)| {
            let stream = route.stream.as_ref()?;
            let overdue = stream
                .overdue_at(timeout)
                .is_some_and(|overdue_at| overdue_at <= now);
            overdue.then(|| (stream.stream_id, address.to_string()))
        });
        for (stream_id, broker) in streams.collect::<Vec<_>>() {
            let reason = format!("no answer within {timeout:?}");
            let error = Error::Disconnected {
                broker,
                reason,
                may_have_been_written: true,
            };
            self.broken(stream_id, &error);
        }
    }

    /// Takes back what was on its way on a stream, and asks who leads those partitions now.
    fn broken(&mut self, stream_id: u64, error: &Error) {
        let Some((address, route)) = self.route_of(stream_id) else {
            return;
        };
        let address = Arc::clone(address);
        route.stream = None;
        route.not_before = Some(Instant::now() + route.backoff.pause(rand::random()));
        tracing::debug!(%error, "produce stream broke");
        let retries = self.shared.config.acks != Acks::None;
        let mut topics = HashSet::new();
        let mut lost = Vec::new();
        for queue_id in &self.active {
            let Some(lane) = self.lanes.get_mut(queue_id) else {
                continue;
            };
            if retries {
                lane.retry_sent_on(stream_id);
            } else {
                lost.extend(lane.take_sent_on(stream_id));
            }
            let metadata = lane.topic.metadata();
            let leader = metadata.leader(lane.queue.partition);
            if leader.is_none_or(|leader| leader.address == address) {
                lane.last_error = Some(error.clone());
                topics.insert(metadata.name.clone());
            }
        }
        lost.into_iter()
            .for_each(|batch| self.finish(batch, Err(error.clone())));
        let lanes = &self.lanes;
        self.requests.retain(|request_id, queue_id| {
            lanes
                .get(queue_id)
                .is_some_and(|lane| lane.is_in_flight(*request_id))
        });
        for topic in topics {
            self.shared.connection.metadata.remove(topic.as_str());
            self.ask_topic(topic.as_str(), Instant::now());
        }
    }
}

impl Drop for Sender {
    /// Nothing waits for ever, even when the runtime goes down with the task.
    fn drop(&mut self) {
        let mut left: Vec<_> = self.lanes.values_mut().flat_map(Lane::take_all).collect();
        let queued = self.lanes.values().flat_map(|lane| lane.queue.close());
        left.extend(queued.chain(self.shared.close()).map(lane::unsent));
        for batch in left {
            let may_have_been_written = batch.maybe_written;
            self.finish(
                batch,
                Err(Error::Closed {
                    what: "producer",
                    may_have_been_written,
                }),
            );
        }
    }
}

/// How long to let a batch wait for the timer, so that it waits no longer than `linger` in all.
/// A linger of a few milliseconds still collects records for half of it.
fn timed(linger: Duration) -> Duration {
    linger - TIMER_LATENESS_MAX.min(linger / 2)
}

/// Written, and more is not known.
const fn unknown_ack() -> BatchAck {
    BatchAck {
        base_offset: None,
        log_append_time_ms: None,
        durability: Durability::Unknown,
        replicas: 0,
    }
}

fn too_large_error(found_bytes: usize, max: u64) -> Error {
    Error::from_wire(v1::Error {
        code: ErrorCode::MessageTooLarge.number().into(),
        name: ErrorCode::MessageTooLarge.name().to_owned(),
        message: format!("record batch has {found_bytes} bytes, the broker reads at most {max}"),
        ..v1::Error::default()
    })
}

/// Whether the broker says that the client's picture of the topic is old.
fn is_about_metadata(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::InconsistentTopicId
                | ErrorCode::ReplicaNotAvailable
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_early_by_as_much_as_it_may_be_late() {
        let ms = Duration::from_millis;
        for (linger, timer) in [
            (ms(0), ms(0)),
            (ms(2), ms(1)),
            (ms(5), ms(3)),
            (ms(60), ms(58)),
        ] {
            assert_eq!(timed(linger), timer, "{linger:?}");
        }
    }
}
