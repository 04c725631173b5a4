//! Members of both protocols in one group, and a log: processes die and come back with the other
//! protocol, so that the group changes its kind at any moment; answers get lost, members leave, and the
//! broker crashes.
//!
//! Promised in every state: for no partition are there two members that believe to hold it and are of the
//! epoch in which the coordinator has them, or could commit it; epochs and generations that are written only grow. And when all is
//! calm again, every partition has its member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::{ErrorCode, group_record::GroupRecord};
use proptest::prelude::*;

use super::{
    bench::{join, of, sync},
    migration::{assignment, owning},
};
use crate::group::{
    Action, ClassicJoin, ClassicSync, Coordinator, Event, Heartbeat, JoinedMember, Leave, Now,
    OffsetCommits, Owned, PartitionId, Refusal, Reply, Ticket, Timer,
    tests::bench::{GROUP, a, beat, config, member, offset, subscription, topics},
};

const CLIENTS: usize = 4;
const PARTITIONS: i32 = 5;
/// The first client is a static member.
const STATIC: usize = 0;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Sends what is to be said next.
    Ask(usize),
    /// Its connection breaks: the answer that it waits for gets lost.
    Break(usize),
    /// The process ends without a word, and another one begins that speaks the other protocol.
    Switch(usize),
    Leave(usize),
    Wait(u64),
    Flush,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        20 => client.clone().prop_map(Step::Ask),
        1 => client.clone().prop_map(Step::Break),
        2 => client.clone().prop_map(Step::Switch),
        1 => client.prop_map(Step::Leave),
        3 => (0..3_000_u64).prop_map(Step::Wait),
        14 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..200)
}

/// One process that consumes. What it holds it gives up as soon as it is told to.
#[derive(Debug, Default)]
struct Client {
    is_classic: bool,
    /// Empty where it has none yet.
    member_id: String,
    /// The epoch or generation.
    epoch: i32,
    next: Next,
    waits: Option<Ticket>,
    holds: BTreeSet<i32>,
}

/// What a client of the classic protocol says next.
#[derive(Debug, Default)]
enum Next {
    #[default]
    Join,
    Sync(Vec<JoinedMember>),
    Heartbeat,
}

struct World {
    coordinator: Coordinator,
    now: Now,
    log: Vec<GroupRecord>,
    flushed: usize,
    waiting: Vec<(usize, Ticket, Reply)>,
    timers: BTreeMap<Timer, u64>,
    clients: Vec<Client>,
    last_number: u64,
}

impl World {
    fn new() -> Self {
        let client = |at| Client {
            is_classic: at % 2 == 0,
            ..Client::default()
        };
        Self {
            coordinator: Coordinator::new(config(), topics(1, 5)),
            now: Now {
                monotonic_ms: 1,
                timestamp_ms: 1,
            },
            log: Vec::new(),
            flushed: 0,
            waiting: Vec::new(),
            timers: BTreeMap::new(),
            clients: (0..CLIENTS).map(client).collect(),
            last_number: 0,
        }
    }

    fn event(&mut self, event: Event) {
        let outcome = self.coordinator.handle(self.now, event);
        self.log.extend(outcome.records);
        let at = self.log.len();
        let replies = outcome.replies.into_iter();
        self.waiting
            .extend(replies.map(|(ticket, reply)| (at, ticket, reply)));
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

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask(client) => self.ask(client),
            Step::Break(client) => self.clients[client].waits = None,
            Step::Switch(client) => {
                self.clients[client] = Client {
                    is_classic: !self.clients[client].is_classic,
                    ..Client::default()
                };
            }
            Step::Leave(client) => self.leave(client),
            Step::Wait(ms) => self.wait(ms),
            Step::Flush => self.flush(),
            Step::Crash => self.crash(),
        }
    }

    fn ask(&mut self, client: usize) {
        if self.clients[client].waits.is_some() {
            return;
        }
        let ticket = Ticket(self.number());
        let event = if self.clients[client].is_classic {
            self.classic_request(client, ticket)
        } else {
            Event::Heartbeat(ticket, Box::new(self.beat(client, ticket)))
        };
        self.clients[client].waits = Some(ticket);
        self.event(event);
    }

    fn instance_id(client: usize) -> Option<String> {
        (client == STATIC).then(|| "host".to_owned())
    }

    fn classic_request(&self, client: usize, ticket: Ticket) -> Event {
        let state = &self.clients[client];
        match &state.next {
            Next::Join => {
                let holds: Vec<i32> = state.holds.iter().copied().collect();
                let join = ClassicJoin {
                    fresh_member_id: Arc::from(format!("c{client}-{}", ticket.0)),
                    instance_id: Self::instance_id(client),
                    protocols: vec![("cooperative".to_owned(), owning(&holds))],
                    ..join(&state.member_id)
                };
                Event::ClassicJoin(ticket, Box::new(join))
            }
            Next::Sync(members) => {
                let sync = ClassicSync {
                    assignments: assign(members),
                    ..sync(&state.member_id, state.epoch, &[])
                };
                Event::ClassicSync(ticket, sync)
            }
            Next::Heartbeat => Event::ClassicHeartbeat(ticket, of(&state.member_id, state.epoch)),
        }
    }

    fn beat(&mut self, client: usize, ticket: Ticket) -> Heartbeat {
        let state = &mut self.clients[client];
        if state.member_id.is_empty() {
            state.member_id = format!("b{client}-{}", ticket.0);
        }
        Heartbeat {
            instance_id: Self::instance_id(client),
            subscription: Some(subscription(&["a"])),
            owned: Some(Owned {
                partitions: state.holds.iter().map(|at| a(*at)).collect(),
                sequence: None,
            }),
            ..beat(&state.member_id, state.epoch)
        }
    }

    fn leave(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let member_id = std::mem::take(&mut state.member_id);
        *state = Client {
            is_classic: state.is_classic,
            ..Client::default()
        };
        let leave = Leave {
            member: member(&member_id),
            instance_id: None,
            keeps_partitions: false,
        };
        let ticket = Ticket(self.number());
        self.event(Event::Leave(ticket, leave));
    }

    fn wait(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.timestamp_ms += i64::try_from(ms).expect("short");
        let now_ms = self.now.monotonic_ms;
        let due = self.timers.iter().filter(|(_, at_ms)| **at_ms <= now_ms);
        let due: Vec<Timer> = due.map(|(timer, _)| timer.clone()).collect();
        for timer in due {
            self.timers.remove(&timer);
            self.event(Event::TimerDue(timer));
        }
    }

    fn flush(&mut self) {
        self.flushed = self.log.len();
        for (_, ticket, reply) in std::mem::take(&mut self.waiting) {
            let mut clients = self.clients.iter_mut();
            if let Some(client) = clients.find(|client| client.waits == Some(ticket)) {
                client.waits = None;
                client.receive(reply);
            }
        }
    }

    fn crash(&mut self) {
        self.log.truncate(self.flushed);
        self.waiting.clear();
        self.timers.clear();
        self.coordinator = self.reloaded();
        for client in &mut self.clients {
            client.waits = None;
        }
        self.event(Event::Loaded);
    }

    fn reloaded(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(config(), topics(1, 5));
        for record in &self.log {
            coordinator.replay(record);
        }
        coordinator
    }

    /// Whether the client is a member, in the epoch that it believes to be in.
    fn is_current(&self, client: &Client) -> bool {
        let description = self.coordinator.describe(GROUP);
        let members = description.map(|group| group.members).unwrap_or_default();
        let mut members = members.iter();
        members.any(|m| *m.member_id == *client.member_id && m.member_epoch == client.epoch)
    }

    /// Whether a commit of the client for the partition would be accepted now.
    fn accepts(&self, client: &Client, partition: i32) -> bool {
        let commits = OffsetCommits {
            group_id: Arc::from(GROUP),
            member_id: Arc::from(&*client.member_id),
            instance_id: None,
            member_epoch: client.epoch,
            retention_ms: None,
            offsets: vec![offset(partition, 1)],
        };
        // On a copy, as a commit changes the state.
        let mut copy = self.reloaded();
        let outcome = copy.handle(self.now, Event::CommitOffsets(Ticket(0), commits));
        matches!(&outcome.replies[..], [(_, Reply::Committed(results))] if results[0].is_ok())
    }

    fn check(&self) {
        let mut owners: BTreeMap<i32, &Client> = BTreeMap::new();
        for client in &self.clients {
            for partition in &client.holds {
                if self.is_current(client) || self.accepts(client, *partition) {
                    let other = owners.insert(*partition, client);
                    assert!(other.is_none(), "{partition}: {other:?} and {client:?}");
                }
            }
        }
        let epoch = |record: &GroupRecord| match record {
            GroupRecord::ClassicGroup(_, value) => value.as_ref().map(|value| value.generation),
            GroupRecord::ConsumerGroup(_, value) => value.as_ref().map(|value| value.epoch),
            _ => None,
        };
        assert!(
            self.log.iter().filter_map(epoch).is_sorted(),
            "{:?}",
            self.log
        );
    }

    /// Everybody is there and asks until each partition has its member and nobody has news.
    fn calm_down(&mut self) {
        for _ in 0..200 {
            for client in 0..CLIENTS {
                self.ask(client);
            }
            self.flush();
            if self.is_calm() {
                return;
            }
            self.wait(400);
            self.flush();
        }
        panic!("never calm: {:?} {:?}", self.clients, self.coordinator);
    }

    fn is_calm(&self) -> bool {
        let description = self.coordinator.describe(GROUP).expect("there");
        let held: usize = self.clients.iter().map(|client| client.holds.len()).sum();
        let is_settled = |client: &Client| {
            let is_quiet = matches!(client.next, Next::Heartbeat) || !client.is_classic;
            is_quiet && client.waits.is_none() && client.epoch == description.group_epoch
        };
        description.listing.state == "Stable"
            && description.members.len() == CLIENTS
            && held == usize::try_from(PARTITIONS).expect("few")
            && self.clients.iter().all(is_settled)
    }
}

impl Client {
    fn receive(&mut self, reply: Reply) {
        match reply {
            Reply::MemberIdRequired { member_id } => self.member_id = member_id.to_string(),
            Reply::Joined(joined) => {
                self.member_id = joined.member_id.to_string();
                self.epoch = joined.generation;
                self.next = Next::Sync(joined.members);
            }
            Reply::Synced(synced) => {
                let assigned = partitions_behind(ASSIGNMENT_HEAD, &synced.assignment);
                let loses = !self.holds.is_subset(&assigned);
                self.holds = assigned;
                self.next = if loses { Next::Join } else { Next::Heartbeat };
            }
            Reply::Heard { is_rebalancing } => {
                if is_rebalancing {
                    self.next = Next::Join;
                }
            }
            Reply::Alive(alive) => {
                self.epoch = alive.member_epoch;
                if let Some(assignment) = alive.assignment {
                    self.holds = assignment
                        .iter()
                        .map(|at: &PartitionId| at.partition)
                        .collect();
                }
            }
            Reply::Refused(refusal) => self.take_refusal(&refusal),
            other => panic!("{other:?}"),
        }
    }

    fn take_refusal(&mut self, refusal: &Refusal) {
        match refusal.code() {
            ErrorCode::RebalanceInProgress => self.next = Next::Join,
            ErrorCode::IllegalGeneration => {
                self.holds.clear();
                self.next = Next::Join;
            }
            ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::FencedMemberEpoch
            | ErrorCode::GroupMaxSizeReached
            | ErrorCode::UnreleasedInstanceId => {
                *self = Self {
                    is_classic: self.is_classic,
                    ..Self::default()
                };
            }
            _ => panic!("{refusal}"),
        }
    }
}

const ASSIGNMENT_HEAD: usize = "\0\x01\0\0\0\x01\0\x01a".len();
const METADATA_HEAD: usize = "\0\x01\0\0\0\x01\0\x01a____\0\0\0\x01\0\x01a".len();

/// The list of partitions that begins there; none where nothing does.
fn partitions_behind(head: usize, bytes: &Bytes) -> BTreeSet<i32> {
    let list = bytes.get(head + 4..).unwrap_or_default();
    let as_i32 = |chunk: &[u8]| i32::from_be_bytes(chunk.try_into().expect("four bytes"));
    let partitions = list.chunks_exact(4).map(as_i32);
    // An assignment ends with null as user data.
    partitions.filter(|at| *at >= 0).collect()
}

/// As a cooperative leader assigns: nobody gets what another one says that it holds.
fn assign(members: &[JoinedMember]) -> Vec<(String, Bytes)> {
    let mut owners: BTreeMap<i32, usize> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        let owned = partitions_behind(METADATA_HEAD, &member.metadata);
        owners.extend(owned.into_iter().map(|partition| (partition, at)));
    }
    let turn = |at| (0..PARTITIONS).skip(at).step_by(members.len());
    let is_free = |at: usize, partition: &i32| owners.get(partition).is_none_or(|by| *by == at);
    let members = members.iter().enumerate().map(|(at, member)| {
        let partitions: Vec<i32> = turn(at)
            .filter(|partition| is_free(at, partition))
            .collect();
        (member.member_id.to_string(), assignment(&partitions))
    });
    members.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_members_of_either_protocol_hold_a_partition_and_in_the_end_all_are_held(steps in steps()) {
        let mut world = World::new();
        world.event(Event::Loaded);
        for step in steps {
            world.step(step);
            world.check();
        }
        world.calm_down();
        world.check();
        let all: BTreeSet<i32> = world.clients.iter().flat_map(|client| client.holds.clone()).collect();
        prop_assert_eq!(all, (0..PARTITIONS).collect::<BTreeSet<i32>>());
    }
}
