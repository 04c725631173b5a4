//! Members of a classic group and a log in a small world: any order of requests, answers that get lost,
//! members that die, leave and come back, and crashes of the broker, which loses what was not flushed.
//!
//! Promised in every state: members of one generation hold no partition twice, where leaders assign
//! none twice; who waits is answered within its rebalance timeout; nobody is unknown that was just
//! told its member id; what is written only grows, generations and committed offsets; a reload gives
//! the same group, once it is stable. And when all is calm again, every partition has its member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::{ErrorCode, group_record::GroupRecord};
use proptest::prelude::*;

use super::bench::{join, leaver, of, sync};
use crate::group::{
    Action, ClassicJoin, ClassicLeave, ClassicSync, Coordinator, Event, Joined, Now, OffsetCommits,
    OffsetReader, Refusal, Reply, Ticket, Timer,
    tests::bench::{GROUP, config, offset, topics},
};

const CLIENTS: usize = 4;
/// The first ones are static members.
const STATIC: usize = 2;
const PARTITIONS: u8 = 5;
const REBALANCE_TIMEOUT_MS: u64 = 5_000;
const SESSION_MS: u64 = 10_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Sends what is to be said next: a join, a sync or a heartbeat.
    Ask(usize),
    /// Commits one record more of a partition that it holds.
    Commit(usize),
    /// Says something else from the next join on, and joins.
    Change(usize),
    /// Its connection breaks: the answer that it waits for gets lost.
    Break(usize),
    /// The process ends without a word, and another begins.
    Die(usize),
    Leave(usize),
    Wait(u64),
    /// What was written so far is safe, and what waits for that is told.
    Flush,
    /// The broker dies; what was not flushed is lost.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        20 => client.clone().prop_map(Step::Ask),
        4 => client.clone().prop_map(Step::Commit),
        1 => client.clone().prop_map(Step::Change),
        1 => client.clone().prop_map(Step::Break),
        1 => client.clone().prop_map(Step::Die),
        1 => client.prop_map(Step::Leave),
        4 => (0..3_500_u64).prop_map(Step::Wait),
        10 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..200)
}

/// One process that consumes.
#[derive(Debug, Default)]
struct Client {
    /// Empty where it has none yet.
    member_id: String,
    /// When it asked for its member id, if it was told one and has not joined with it since.
    given_id_at_ms: Option<u64>,
    asked_at_ms: u64,
    version: u8,
    next: Next,
    waits: Option<Ticket>,
    generation: i32,
    /// What it holds, and the next offset of each.
    holds: BTreeMap<u8, i64>,
}

/// What a client says next.
#[derive(Debug, Default)]
enum Next {
    #[default]
    Join,
    Sync(Box<Joined>),
    Heartbeat,
}

struct World {
    coordinator: Coordinator,
    now: Now,
    log: Vec<GroupRecord>,
    flushed: usize,
    /// Answers that wait for the log to be flushed up to a length.
    waiting: Vec<(usize, Ticket, Reply)>,
    /// When each request came that the coordinator has not answered.
    parked: BTreeMap<Ticket, u64>,
    timers: BTreeMap<Timer, u64>,
    clients: Vec<Client>,
    last_number: u64,
}

impl World {
    fn new() -> Self {
        Self {
            coordinator: Coordinator::new(config(), topics(1, 4)),
            now: Now {
                monotonic_ms: 1,
                timestamp_ms: 1,
            },
            log: Vec::new(),
            flushed: 0,
            waiting: Vec::new(),
            parked: BTreeMap::new(),
            timers: BTreeMap::new(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            last_number: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn event(&mut self, event: Event) {
        let outcome = self.coordinator.handle(self.now, event);
        self.log.extend(outcome.records);
        for (ticket, reply) in outcome.replies {
            self.parked
                .remove(&ticket)
                .expect("asked, and answered once");
            self.waiting.push((self.log.len(), ticket, reply));
        }
        for action in outcome.actions {
            match action {
                Action::Schedule { timer, at_ms } => {
                    self.timers.insert(timer, at_ms);
                }
                Action::Cancel(timer) => {
                    self.timers.remove(&timer);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn ask(&mut self, event: impl FnOnce(Ticket) -> Event) -> Ticket {
        let ticket = Ticket(self.number());
        self.parked.insert(ticket, self.now.monotonic_ms);
        self.event(event(ticket));
        ticket
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask(client) => self.ask_next(client),
            Step::Commit(client) => self.commit(client),
            Step::Change(client) => {
                let client = &mut self.clients[client];
                client.version = client.version.wrapping_add(1);
                client.rejoin();
            }
            Step::Break(client) => {
                let client = &mut self.clients[client];
                client.waits = None;
                // It may have been told that there is no room, and its id forgotten.
                client.given_id_at_ms = None;
            }
            Step::Die(client) => self.clients[client] = Client::default(),
            Step::Leave(client) => self.leave(client),
            Step::Wait(ms) => self.wait(ms),
            Step::Flush => self.flush(),
            Step::Crash => self.crash(),
        }
    }

    fn ask_next(&mut self, client: usize) {
        if self.clients[client].waits.is_some() {
            return;
        }
        let number = self.number();
        let state = &self.clients[client];
        let (member_id, generation) = (state.member_id.clone(), state.generation);
        let ticket = match &state.next {
            Next::Join => {
                let join = self.join(client, number);
                self.ask(|ticket| Event::ClassicJoin(ticket, Box::new(join)))
            }
            Next::Sync(joined) => {
                let sync = ClassicSync {
                    assignments: assign(joined),
                    ..sync(&member_id, generation, &[])
                };
                self.ask(|ticket| Event::ClassicSync(ticket, sync))
            }
            Next::Heartbeat => {
                let member = of(&member_id, generation);
                self.ask(|ticket| Event::ClassicHeartbeat(ticket, member))
            }
        };
        let now_ms = self.now.monotonic_ms;
        let state = &mut self.clients[client];
        state.waits = Some(ticket);
        state.asked_at_ms = now_ms;
    }

    fn join(&self, client: usize, number: u64) -> ClassicJoin {
        let state = &self.clients[client];
        ClassicJoin {
            fresh_member_id: Arc::from(format!("m{client}-{number}")),
            instance_id: (client < STATIC).then(|| format!("host-{client}")),
            protocols: vec![("range".to_owned(), Bytes::from(vec![state.version]))],
            ..join(&state.member_id)
        }
    }

    fn commit(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let Some((partition, next)) = state.holds.iter_mut().next() else {
            return;
        };
        *next += 1;
        let (partition, next) = (i32::from(*partition), *next);
        let commits = OffsetCommits {
            group_id: Arc::from(GROUP),
            member_id: Arc::from(&*state.member_id),
            instance_id: None,
            member_epoch: state.generation,
            retention_ms: None,
            offsets: vec![offset(partition, next)],
        };
        let before = self.committed(partition);
        self.ask(|ticket| Event::CommitOffsets(ticket, commits));
        assert!(
            self.committed(partition) >= before,
            "a commit took one back"
        );
    }

    fn committed(&self, partition: i32) -> i64 {
        let asked = [(Arc::from("a"), partition)];
        let reader = OffsetReader::Anybody;
        let found = self.coordinator.committed(GROUP, &reader, Some(&asked));
        found
            .expect("readable")
            .first()
            .map_or(0, |found| found.offset)
    }

    fn leave(&mut self, client: usize) {
        let leave = ClassicLeave {
            group_id: Arc::from(GROUP),
            members: vec![leaver(&self.clients[client].member_id)],
        };
        self.clients[client] = Client::default();
        self.ask(|ticket| Event::ClassicLeave(ticket, leave));
    }

    /// Fires each timer when it is due, and no later.
    fn wait(&mut self, ms: u64) {
        let end_ms = self.now.monotonic_ms + ms;
        loop {
            let first = self.timers.iter().min_by_key(|(_, at_ms)| **at_ms);
            let Some((timer, at_ms)) = first.map(|(timer, at_ms)| (timer.clone(), *at_ms)) else {
                break;
            };
            if at_ms > end_ms {
                break;
            }
            self.advance(at_ms);
            self.timers.remove(&timer);
            self.event(Event::TimerDue(timer));
        }
        self.advance(end_ms);
    }

    fn advance(&mut self, to_ms: u64) {
        let to_ms = to_ms.max(self.now.monotonic_ms);
        self.now.timestamp_ms += i64::try_from(to_ms - self.now.monotonic_ms).expect("short");
        self.now.monotonic_ms = to_ms;
        for asked_at_ms in self.parked.values() {
            assert!(
                to_ms <= asked_at_ms + REBALANCE_TIMEOUT_MS,
                "somebody is not answered"
            );
        }
    }

    fn flush(&mut self) {
        self.flushed = self.log.len();
        for (at, ticket, reply) in std::mem::take(&mut self.waiting) {
            assert!(at <= self.flushed, "told before it was flushed");
            let mut clients = 0..CLIENTS;
            if let Some(client) = clients.find(|at| self.clients[*at].waits == Some(ticket)) {
                self.clients[client].waits = None;
                self.receive(client, reply);
            }
        }
    }

    fn receive(&mut self, client: usize, reply: Reply) {
        let now_ms = self.now.monotonic_ms;
        match reply {
            Reply::Synced(synced) => {
                let partitions = synced.assignment.iter();
                let holds = partitions.map(|at| (*at, self.committed(i32::from(*at))));
                let holds = holds.collect();
                let state = &mut self.clients[client];
                state.holds = holds;
                state.next = Next::Heartbeat;
            }
            reply => self.clients[client].receive(now_ms, reply),
        }
    }

    fn crash(&mut self) {
        self.log.truncate(self.flushed);
        self.waiting.clear();
        self.parked.clear();
        self.timers.clear();
        self.coordinator = self.reloaded();
        for client in &mut self.clients {
            client.waits = None;
            client.given_id_at_ms = None;
        }
        self.event(Event::Loaded);
    }

    fn reloaded(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(config(), topics(1, 4));
        for record in &self.log {
            coordinator.replay(record);
        }
        coordinator
    }

    fn check(&self) {
        let description = self.coordinator.describe(GROUP).ok();
        let written = description.filter(|group| match group.listing.state {
            "Stable" => true,
            "Empty" => group.group_epoch > 0,
            _ => false,
        });
        if let Some(written) = written {
            let reloaded = self.reloaded().describe(GROUP);
            assert_eq!(reloaded, Ok(written), "a reload gives the same group");
        }
        let mut held = BTreeSet::new();
        for client in &self.clients {
            for partition in client.holds.keys() {
                let is_first = held.insert((client.generation, *partition));
                assert!(is_first, "{partition} is held twice: {:?}", self.clients);
            }
        }
        let generations: Vec<i32> = self
            .log
            .iter()
            .filter_map(|record| match record {
                GroupRecord::ClassicGroup(_, value) => value.as_ref(),
                _ => None,
            })
            .map(|value| value.generation)
            .collect();
        assert!(generations.is_sorted(), "{generations:?}");
    }

    /// Everybody is there and says what is next until all heartbeats are answered with no news.
    fn calm_down(&mut self) {
        for _ in 0..100 {
            for client in 0..CLIENTS {
                self.ask_next(client);
            }
            self.flush();
            let is_settled =
                |client: &Client| client.waits.is_none() && matches!(client.next, Next::Heartbeat);
            if self.clients.iter().all(is_settled) && self.is_stable() {
                return;
            }
            self.wait(500);
            self.flush();
        }
        panic!("never calm: {:?}", self.clients);
    }

    fn is_stable(&self) -> bool {
        let description = self.coordinator.describe(GROUP).expect("there");
        let expected = description.group_epoch;
        description.listing.state == "Stable"
            && description.members.len() == CLIENTS
            && self
                .clients
                .iter()
                .all(|client| client.generation == expected)
    }
}

impl Client {
    /// Gives up what it holds, as it has to before it joins.
    fn rejoin(&mut self) {
        self.next = Next::Join;
        self.holds.clear();
    }

    fn receive(&mut self, now_ms: u64, reply: Reply) {
        match reply {
            Reply::MemberIdRequired { member_id } => {
                self.member_id = member_id.to_string();
                self.given_id_at_ms = Some(self.asked_at_ms);
            }
            Reply::Joined(joined) => {
                self.member_id = joined.member_id.to_string();
                self.given_id_at_ms = None;
                self.generation = joined.generation;
                // Else it has changed its mind since it asked.
                if matches!(self.next, Next::Join) {
                    self.next = Next::Sync(joined);
                }
            }
            Reply::Heard { is_rebalancing } => {
                if is_rebalancing {
                    self.rejoin();
                }
            }
            Reply::Refused(refusal) => self.take_refusal(now_ms, &refusal),
            other => panic!("{other:?}"),
        }
    }

    fn take_refusal(&mut self, now_ms: u64, refusal: &Refusal) {
        match refusal.code() {
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                let given_at_ms = self.given_id_at_ms.take();
                let is_fresh = given_at_ms.is_some_and(|at_ms| now_ms < at_ms + SESSION_MS / 2);
                assert!(
                    !is_fresh,
                    "unknown right after it was told its id: {refusal}"
                );
                self.member_id.clear();
                self.rejoin();
            }
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => self.rejoin(),
            // Until the sessions of dead ones are over.
            ErrorCode::GroupMaxSizeReached => *self = Self::default(),
            _ => panic!("{refusal}"),
        }
    }
}

/// Every partition to one of the members in turn, where the leader is asked to assign.
fn assign(joined: &Joined) -> Vec<(String, Bytes)> {
    if joined.skips_assignment {
        return Vec::new();
    }
    let count = joined.members.len();
    let members = joined.members.iter().enumerate();
    let assigned = members.map(|(at, member)| {
        let partitions: Vec<u8> = (0..PARTITIONS).skip(at).step_by(count).collect();
        (member.member_id.to_string(), Bytes::from(partitions))
    });
    assigned.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_partition_is_held_twice_and_nobody_is_stuck(steps in steps()) {
        let mut world = World::new();
        world.event(Event::Loaded);
        for step in steps {
            world.step(step);
            world.check();
        }
        world.calm_down();
        world.check();
        let held: Vec<u8> = world.clients.iter().flat_map(|client| client.holds.keys().copied()).collect();
        prop_assert_eq!(held.len(), usize::from(PARTITIONS), "{:?}", world.clients);
        let held: BTreeSet<u8> = held.into_iter().collect();
        prop_assert_eq!(held, (0..PARTITIONS).collect::<BTreeSet<u8>>());
    }
}
