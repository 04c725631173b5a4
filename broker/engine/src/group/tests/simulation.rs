//! Members, their streams and a log in a small world: any order of deliveries, broken streams, silent
//! members and crashes of the broker, which loses what was not flushed.
//!
//! Promised in every state: for no partition are there two members that believe to hold it and whose
//! commits for it would be accepted; what was told was flushed; a reload of everything written gives
//! the same groups. And when all is calm again, every partition has its member.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use millstream_proto::group_record::GroupRecord;
use proptest::prelude::*;

use super::bench::{GROUP, config, member, offset, resume, set, subscription, topics};
use crate::group::{
    Action, Assignment, Coordinator, Event, Leave, Now, OffsetCommits, Owned, PartitionId, Push,
    Reply, StreamId, StreamReport, Ticket, Timer,
};

const MEMBERS: usize = 4;
const PARTITIONS: usize = 5;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Opens a stream, joining or taking the membership up.
    Connect(usize),
    /// Takes the next message off the stream.
    Receive(usize),
    /// Says what it holds, after it gave up what it was to.
    Acknowledge(usize),
    Break(usize),
    Leave(usize),
    /// Says nothing that is not said by another step.
    Wait(u64),
    /// What was written so far is safe, and what waits for that is told.
    Flush,
    /// The broker dies; what was not flushed is lost.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0..MEMBERS;
    let step = prop_oneof![
        4 => member.clone().prop_map(Step::Connect),
        6 => member.clone().prop_map(Step::Receive),
        6 => member.clone().prop_map(Step::Acknowledge),
        1 => member.clone().prop_map(Step::Break),
        1 => member.prop_map(Step::Leave),
        2 => (0..1_500_u64).prop_map(Step::Wait),
        6 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..150)
}

#[derive(Debug, Default)]
struct Client {
    epoch: i32,
    stream: Option<StreamId>,
    inbox: VecDeque<Message>,
    holds: Assignment,
    sequence: u64,
    to_acknowledge: bool,
}

#[derive(Debug, Clone)]
enum Message {
    Joined(i32),
    Assigned(Push),
    Failed,
}

struct World {
    coordinator: Coordinator,
    now: Now,
    log: Vec<GroupRecord>,
    flushed: usize,
    /// What waits for the log to be flushed up to a length.
    waiting: Vec<(usize, StreamId, Message)>,
    timers: BTreeMap<Timer, u64>,
    clients: Vec<Client>,
    last_stream: u64,
}

fn id(client: usize) -> String {
    format!("m{client}")
}

impl World {
    fn new() -> Self {
        Self {
            coordinator: Coordinator::new(config(), topics(1, PARTITIONS)),
            now: Now {
                monotonic_ms: 1,
                timestamp_ms: 1,
            },
            log: Vec::new(),
            flushed: 0,
            waiting: Vec::new(),
            timers: BTreeMap::new(),
            clients: (0..MEMBERS).map(|_| Client::default()).collect(),
            last_stream: 0,
        }
    }

    /// Hands an event in; answers go to this stream.
    fn event(&mut self, stream: Option<StreamId>, event: Event) {
        let joins = matches!(event, Event::Heartbeat(..));
        let outcome = self.coordinator.handle(self.now, event);
        self.log.extend(outcome.records);
        let at = self.log.len();
        for (_, reply) in outcome.replies {
            let message = match reply {
                Reply::Alive(alive) if joins => Message::Joined(alive.member_epoch),
                Reply::Refused(_) => Message::Failed,
                _ => continue,
            };
            self.waiting
                .extend(stream.map(|stream| (at, stream, message)));
        }
        for action in outcome.actions {
            match action {
                Action::Push(push) => self
                    .waiting
                    .push((at, push.stream, Message::Assigned(push))),
                Action::CloseStream { stream, .. } => {
                    self.waiting.push((at, stream, Message::Failed));
                }
                Action::Schedule { timer, at_ms } => {
                    self.timers.insert(timer, at_ms);
                }
                Action::Cancel(timer) => {
                    self.timers.remove(&timer);
                }
                Action::ResolveRegex { .. } | Action::ExpireMore => {}
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect(client) => self.connect(client),
            Step::Receive(client) => self.receive(client),
            Step::Acknowledge(client) => self.acknowledge(client),
            Step::Break(client) => self.break_stream(client),
            Step::Leave(client) => self.leave(client),
            Step::Wait(ms) => self.wait(ms),
            Step::Flush => self.flush(),
            Step::Crash => self.crash(),
        }
    }

    fn connect(&mut self, client: usize) {
        if self.clients[client].stream.is_some() {
            return;
        }
        self.last_stream += 1;
        let stream = StreamId(self.last_stream);
        let state = &mut self.clients[client];
        state.stream = Some(stream);
        state.inbox.clear();
        state.sequence = 0;
        state.to_acknowledge = false;
        let holds: Vec<PartitionId> = state.holds.iter().copied().collect();
        let mut first = resume(&id(client), stream.0, state.epoch, &holds);
        first.subscription = Some(subscription(&["a"]));
        self.event(Some(stream), Event::Heartbeat(Ticket(1), Box::new(first)));
    }

    fn receive(&mut self, client: usize) {
        let state = &mut self.clients[client];
        match state.inbox.pop_front() {
            Some(Message::Joined(epoch)) => state.epoch = epoch,
            Some(Message::Assigned(push)) => {
                state.epoch = push.member_epoch;
                state.sequence = push.sequence;
                state.holds = push.assignment;
                state.to_acknowledge = true;
            }
            Some(Message::Failed) => {
                *state = Client::default();
            }
            None => {}
        }
    }

    fn acknowledge(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let Some(stream) = state.stream.filter(|_| state.to_acknowledge) else {
            return;
        };
        state.to_acknowledge = false;
        let report = StreamReport {
            member: member(&id(client)),
            stream,
            subscription: None,
            owned: Some(Owned {
                partitions: state.holds.clone(),
                sequence: Some(state.sequence),
            }),
        };
        self.event(
            Some(stream),
            Event::StreamReport(Ticket(1), Box::new(report)),
        );
    }

    fn break_stream(&mut self, client: usize) {
        if let Some(stream) = self.clients[client].stream.take() {
            self.event(None, Event::StreamBroken(member(&id(client)), stream));
        }
    }

    fn leave(&mut self, client: usize) {
        if self.clients[client].stream.is_none() {
            return;
        }
        // What it holds is given up before it says so.
        self.clients[client] = Client::default();
        let leave = Leave {
            member: member(&id(client)),
            instance_id: None,
            keeps_partitions: false,
        };
        self.event(None, Event::Leave(Ticket(1), leave));
    }

    fn wait(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        let now_ms = self.now.monotonic_ms;
        let due: Vec<Timer> = self
            .timers
            .iter()
            .filter(|(_, at_ms)| **at_ms <= now_ms)
            .map(|(timer, _)| timer.clone())
            .collect();
        for timer in due {
            self.timers.remove(&timer);
            self.event(None, Event::TimerDue(timer));
        }
    }

    fn flush(&mut self) {
        self.flushed = self.log.len();
        for (at, stream, message) in std::mem::take(&mut self.waiting) {
            assert!(at <= self.flushed, "told before it was flushed");
            for client in &mut self.clients {
                if client.stream == Some(stream) {
                    client.inbox.push_back(message.clone());
                }
            }
        }
    }

    fn crash(&mut self) {
        self.log.truncate(self.flushed);
        self.waiting.clear();
        self.timers.clear();
        self.coordinator = self.reloaded();
        for client in &mut self.clients {
            client.stream = None;
        }
        self.event(None, Event::Loaded);
    }

    fn reloaded(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(config(), topics(1, PARTITIONS));
        self.log
            .iter()
            .for_each(|record| coordinator.replay(record));
        coordinator
    }

    /// Whether a commit of the client for the partition would be accepted now.
    fn accepts(&self, client: usize, partition: PartitionId) -> bool {
        let commits = OffsetCommits {
            group_id: Arc::from(GROUP),
            member_id: Arc::from(id(client)),
            instance_id: None,
            member_epoch: self.clients[client].epoch,
            retention_ms: None,
            offsets: vec![offset(partition.partition, 1)],
        };
        // On a copy, as a commit changes the state.
        let mut copy = self.reloaded();
        let outcome = copy.handle(self.now, Event::CommitOffsets(Ticket(1), commits));
        matches!(&outcome.replies[..], [(_, Reply::Committed(results))] if results[0].is_ok())
    }

    fn check(&self) {
        let description = |coordinator: &Coordinator| coordinator.describe(GROUP).ok();
        assert_eq!(
            description(&self.reloaded()),
            description(&self.coordinator),
            "a reload gives the same group"
        );
        let mut owners: BTreeMap<PartitionId, usize> = BTreeMap::new();
        for (client, state) in self.clients.iter().enumerate() {
            for partition in &state.holds {
                if self.accepts(client, *partition) {
                    let other = owners.insert(*partition, client);
                    assert_eq!(other, None, "two owners of {partition:?}, also {client}");
                }
            }
        }
    }

    /// Everybody is there and answers until nothing happens any more.
    fn calm_down(&mut self) {
        for _ in 0..200 {
            let before = self.log.len();
            for client in 0..MEMBERS {
                self.connect(client);
            }
            self.flush();
            for client in 0..MEMBERS {
                while !self.clients[client].inbox.is_empty() {
                    self.receive(client);
                }
                self.acknowledge(client);
            }
            self.flush();
            let is_quiet = self.clients.iter().all(|client| {
                client.stream.is_some() && client.inbox.is_empty() && !client.to_acknowledge
            });
            if is_quiet && self.log.len() == before {
                return;
            }
        }
        panic!("never calm: {:?}", self.clients);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_members_hold_a_partition_and_in_the_end_all_are_held(steps in steps()) {
        let mut world = World::new();
        world.event(None, Event::Loaded);
        for step in steps {
            world.step(step);
            world.check();
        }
        world.calm_down();
        world.check();
        let held: Vec<usize> = world.clients.iter().map(|client| client.holds.len()).collect();
        assert_eq!(held.iter().sum::<usize>(), PARTITIONS, "{held:?}");
        assert!(held.iter().all(|count| (1..=2).contains(count)), "{held:?}");
        let all: Assignment = world.clients.iter().flat_map(|client| client.holds.clone()).collect();
        let every: Vec<PartitionId> =
            (0..5).map(|partition| PartitionId::new(super::bench::topic_id(1), partition)).collect();
        assert_eq!(all, set(&every));
    }
}
