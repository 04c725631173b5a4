//! [`Active`]: a loaded coordinator, with everybody who waits for it.

use std::{collections::HashMap, sync::Arc};

use millstream_engine::group::{
    Action, Coordinator, Event, MemberRef, OffsetCommits, Outcome, StreamId, Ticket, Topics,
};
use millstream_proto::Offset;

use super::{outstanding::Outstanding, timers::Timers};
use crate::coordinator::{
    CoordinatorError, MemberMessage, Outbox,
    counts::Cause,
    delivery::{Asker, Delivery},
    surroundings::Surroundings,
};

/// A loaded coordinator. Lives under the lock of its partition, so nothing here waits for anything.
#[derive(Debug)]
pub(super) struct Active {
    coordinator: Coordinator,
    topics: Arc<Topics>,
    next_ticket: u64,
    askers: HashMap<Ticket, Asker>,
    streams: HashMap<StreamId, Outbox>,
    timers: Timers,
    pub(super) outstanding: Outstanding,
    errands: Vec<Errand>,
}

/// Something that is to be done once the lock is given back.
#[derive(Debug)]
pub(super) enum Errand {
    /// Find the topics that match.
    ResolveRegex {
        group_id: Arc<str>,
        regex: Arc<str>,
        topics: Arc<Topics>,
    },
    /// Hand [`Event::ExpireOffsets`] over again.
    ExpireMore,
}

impl Active {
    /// A coordinator that has replayed everything below `end`.
    pub(super) fn begin(
        coordinator: Coordinator,
        topics: Arc<Topics>,
        end: Offset,
        surroundings: &Surroundings,
    ) -> Self {
        let mut active = Self {
            coordinator,
            topics,
            next_ticket: 0,
            askers: HashMap::new(),
            streams: HashMap::new(),
            timers: Timers::default(),
            outstanding: Outstanding::new(end),
            errands: Vec::new(),
        };
        active.handle(Event::Loaded, surroundings);
        active.take_topics(&surroundings.topics_now(), surroundings);
        active
    }

    /// Hands an event to the engine and takes in what comes of it.
    pub(super) fn handle(&mut self, event: Event, surroundings: &Surroundings) {
        let cause = Cause::of(&event);
        let outcome = self.coordinator.handle(surroundings.now(), event);
        surroundings.counts.handled(cause, &outcome);
        self.absorb(outcome, surroundings);
    }

    /// Hands over an event that is answered.
    pub(super) fn ask(
        &mut self,
        asker: Asker,
        event: impl FnOnce(Ticket) -> Event,
        surroundings: &Surroundings,
    ) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.askers.insert(ticket, asker);
        self.handle(event(ticket), surroundings);
    }

    fn absorb(&mut self, outcome: Outcome, surroundings: &Surroundings) {
        let mut deliveries = Vec::with_capacity(outcome.replies.len());
        for (ticket, reply) in outcome.replies {
            match self.askers.remove(&ticket) {
                Some(asker) if outcome.records.is_empty() && asker.knows(&reply) => {
                    Delivery::Reply(asker, reply).deliver();
                }
                Some(asker) => deliveries.push(Delivery::Reply(asker, reply)),
                None => {}
            }
        }
        for action in outcome.actions {
            deliveries.extend(self.act(action, surroundings));
        }
        self.outstanding.push(outcome.records, deliveries);
    }

    fn act(&mut self, action: Action, surroundings: &Surroundings) -> Option<Delivery> {
        match action {
            Action::Push(push) => {
                let outbox = self.streams.get(&push.stream)?.clone();
                return Some(Delivery::Message(outbox, MemberMessage::Assigned(push)));
            }
            Action::CloseStream {
                stream, refusal, ..
            } => {
                let outbox = self.streams.remove(&stream)?;
                return Some(Delivery::Message(outbox, MemberMessage::Closed(refusal)));
            }
            Action::Schedule { timer, at_ms } => {
                self.timers.schedule(timer, at_ms);
                surroundings.alarm.set(at_ms);
            }
            Action::Cancel(timer) => self.timers.cancel(timer),
            Action::ResolveRegex { group_id, regex } => self.errands.push(Errand::ResolveRegex {
                group_id,
                regex,
                topics: Arc::clone(&self.topics),
            }),
            Action::ExpireMore => self.errands.push(Errand::ExpireMore),
        }
        None
    }

    /// Tells the engine of topics, where these are later ones than it knows.
    pub(super) fn take_topics(&mut self, topics: &Arc<Topics>, surroundings: &Surroundings) {
        if self.topics.version() >= topics.version() {
            return;
        }
        let deleted = surroundings.topics.deleted_since(&self.topics, topics);
        self.topics = Arc::clone(topics);
        let event = Event::TopicsChanged {
            topics: Arc::clone(topics),
            deleted: deleted.to_vec(),
        };
        self.handle(event, surroundings);
    }

    /// Whether the engine knows every topic that offsets are committed of.
    pub(super) fn knows_topics_of(&self, commits: &OffsetCommits) -> bool {
        let mut ids = commits.offsets.iter().filter_map(|offset| offset.topic_id);
        ids.all(|id| self.topics.by_id(id).is_some())
    }

    /// Reads the engine's state.
    pub(super) const fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// The topics that the state builds on.
    pub(super) const fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// Lets pushes to a stream find it.
    pub(super) fn add_stream(&mut self, stream: StreamId, outbox: Outbox) {
        self.streams.insert(stream, outbox);
    }

    /// A stream is over.
    pub(super) fn end_stream(
        &mut self,
        member: MemberRef,
        stream: StreamId,
        surroundings: &Surroundings,
    ) {
        // The engine has closed it where it is gone already.
        if self.streams.remove(&stream).is_some() {
            self.handle(Event::StreamBroken(member, stream), surroundings);
        }
    }

    /// Hands over one timer that is due; false when there is none.
    pub(super) fn fire_timer(&mut self, surroundings: &Surroundings) -> bool {
        let Some(timer) = self.timers.take_due(surroundings.monotonic_ms()) else {
            return false;
        };
        self.handle(Event::TimerDue(timer), surroundings);
        true
    }

    /// When the next timer is due.
    pub(super) fn next_timer_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// Answers and pushes that wait for the disk.
    pub(super) fn waiting(&self) -> usize {
        self.outstanding.waiting()
    }

    /// What is to be done once the lock is given back.
    pub(super) fn take_errands(&mut self) -> Vec<Errand> {
        std::mem::take(&mut self.errands)
    }

    /// Tells everybody that the coordinator is no more.
    pub(super) fn fail(self, error: &CoordinatorError) {
        self.outstanding.fail(error);
        self.askers
            .into_values()
            .for_each(|asker| asker.fail(error));
        for outbox in self.streams.into_values() {
            outbox.send(MemberMessage::Lost(error.clone()));
        }
    }
}
