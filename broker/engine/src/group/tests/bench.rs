//! [`Bench`]: a coordinator with a clock, two topics, and short names for what members say.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::{TopicId, group_record::GroupRecord};

use crate::group::{
    Action, Alive, Assignment, Config, Coordinator, Event, GroupDescription, Heartbeat, Leave,
    MemberDescription, MemberRef, Now, OffsetCommits, OffsetToCommit, Outcome, Owned, PartitionId,
    Push, Refusal, Reply, StreamId, StreamReport, Subscription, Ticket, TimeoutRange, Timer, Topic,
    Topics,
};

pub(super) const GROUP: &str = "g";

/// A coordinator and what it asked for.
pub(super) struct Bench {
    pub(super) coordinator: Coordinator,
    pub(super) now: Now,
    /// Every record so far.
    pub(super) log: Vec<GroupRecord>,
    /// Everything to do since the last look.
    pub(super) actions: Vec<Action>,
    /// Answers that nobody has taken.
    pub(super) replies: BTreeMap<Ticket, Reply>,
    tickets: u64,
}

pub(super) fn topic_id(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

/// Partition of topic `a`.
pub(super) fn a(partition: i32) -> PartitionId {
    PartitionId::new(topic_id(1), partition)
}

pub(super) fn set(partitions: &[PartitionId]) -> Assignment {
    partitions.iter().copied().collect()
}

/// Topic `a` with this many partitions, and topic `b` with two.
pub(super) fn topics(version: i64, partitions: usize) -> Arc<Topics> {
    let topics = [
        (
            Arc::from("a"),
            Topic::without_racks(topic_id(1), partitions),
        ),
        (Arc::from("b"), Topic::without_racks(topic_id(2), 2)),
    ];
    Arc::new(Topics::new(version, topics))
}

pub(super) fn config() -> Config {
    Config {
        members_max: 4,
        groups_max: 3,
        session_timeout: TimeoutRange {
            default_ms: 10_000,
            min_ms: 1_000,
            max_ms: 60_000,
        },
        rebalance_timeout: TimeoutRange {
            default_ms: 5_000,
            min_ms: 1_000,
            max_ms: 60_000,
        },
        rebalances_kept: 3,
        classic_members_max: 4,
        classic_session_timeout_min_ms: 1_000,
        classic_session_timeout_max_ms: 60_000,
        initial_rebalance_delay_ms: 3_000,
        classic_first_join_timeout_ms: 20_000,
        classic_group_bytes_max: 1_000,
        ..Config::default()
    }
}

pub(super) fn member(member_id: &str) -> MemberRef {
    MemberRef {
        group_id: Arc::from(GROUP),
        member_id: Arc::from(member_id),
    }
}

/// A heartbeat with nothing but who and in which epoch.
pub(super) fn beat(member_id: &str, member_epoch: i32) -> Heartbeat {
    Heartbeat {
        member: member(member_id),
        member_epoch,
        stream: None,
        instance_id: None,
        rack_id: None,
        client_id: "client".to_owned(),
        client_host: "host".to_owned(),
        session_timeout_ms: None,
        rebalance_timeout_ms: None,
        subscription: None,
        assignor: None,
        owned: None,
    }
}

pub(super) fn subscription(topics: &[&str]) -> Subscription {
    Subscription {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        topic_regex: None,
    }
}

/// The first message of a stream that joins topic `a`.
pub(super) fn join(member_id: &str, stream: u64) -> Heartbeat {
    Heartbeat {
        stream: Some(StreamId(stream)),
        subscription: Some(subscription(&["a"])),
        ..beat(member_id, 0)
    }
}

/// The first message of a stream that takes up a membership.
pub(super) fn resume(member_id: &str, stream: u64, epoch: i32, owned: &[PartitionId]) -> Heartbeat {
    Heartbeat {
        member_epoch: epoch,
        owned: Some(Owned {
            partitions: set(owned),
            sequence: None,
        }),
        ..join(member_id, stream)
    }
}

pub(super) fn offset(partition: i32, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: Arc::from("a"),
        topic_id: Some(topic_id(1)),
        partition,
        offset,
        leader_epoch: 0,
        metadata: String::new(),
    }
}

impl Bench {
    /// Topic `a` has four partitions.
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: Config) -> Self {
        let mut bench = Self {
            coordinator: Coordinator::new(config, topics(1, 4)),
            now: Now {
                monotonic_ms: 1_000,
                timestamp_ms: 1_700_000_000_000,
            },
            log: Vec::new(),
            actions: Vec::new(),
            replies: BTreeMap::new(),
            tickets: 0,
        };
        bench.event(Event::Loaded);
        bench
    }

    /// Hands an event in, and keeps what it writes and asks for.
    pub(super) fn event(&mut self, event: Event) {
        let _ = self.outcome(event);
    }

    /// What came of an event, which is kept as well.
    pub(super) fn outcome(&mut self, event: Event) -> Outcome {
        let outcome = self.coordinator.handle(self.now, event);
        self.log.extend(outcome.records.iter().cloned());
        self.actions.extend(outcome.actions.iter().cloned());
        for (ticket, reply) in &outcome.replies {
            let before = self.replies.insert(*ticket, reply.clone());
            assert_eq!(before, None, "answered twice");
        }
        outcome
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn ask(&mut self, event: impl FnOnce(Ticket) -> Event) -> Reply {
        let ticket = self.ticket();
        let outcome = self.outcome(event(ticket));
        self.replies.remove(&ticket);
        let mut replies = outcome.replies.iter();
        let found = replies.find(|(answered, _)| *answered == ticket);
        let (_, reply) = found.expect("answered at once");
        if let Reply::Refused(_) = reply {
            assert_eq!(outcome.replies.len(), 1, "a refusal answers nobody else");
            assert_eq!(outcome.records, [], "a refusal changes nothing");
            assert_eq!(outcome.actions, [], "a refusal asks for nothing");
        }
        reply.clone()
    }

    pub(super) fn try_beat(&mut self, heartbeat: Heartbeat) -> Result<Alive, Refusal> {
        match self.ask(|ticket| Event::Heartbeat(ticket, Box::new(heartbeat))) {
            Reply::Alive(alive) => Ok(*alive),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn beat(&mut self, heartbeat: Heartbeat) -> Alive {
        self.try_beat(heartbeat).expect("accepted")
    }

    pub(super) fn try_report(&mut self, report: StreamReport) -> Result<Alive, Refusal> {
        match self.ask(|ticket| Event::StreamReport(ticket, Box::new(report))) {
            Reply::Alive(alive) => Ok(*alive),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// The member says on its stream that it holds these, as the answer to a push.
    pub(super) fn own(
        &mut self,
        member_id: &str,
        stream: u64,
        sequence: u64,
        owned: &[PartitionId],
    ) {
        let report = StreamReport {
            member: member(member_id),
            stream: StreamId(stream),
            subscription: None,
            owned: Some(Owned {
                partitions: set(owned),
                sequence: Some(sequence),
            }),
        };
        self.try_report(report).expect("accepted");
    }

    pub(super) fn leave(&mut self, leave: Leave) -> Result<i32, Refusal> {
        match self.ask(|ticket| Event::Leave(ticket, leave)) {
            Reply::Left { member_epoch } => Ok(member_epoch),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit(
        &mut self,
        member_id: &str,
        member_epoch: i32,
        offsets: &[OffsetToCommit],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let commits = OffsetCommits {
            group_id: Arc::from(GROUP),
            member_id: Arc::from(member_id),
            instance_id: None,
            member_epoch,
            retention_ms: None,
            offsets: offsets.to_vec(),
        };
        match self.ask(|ticket| Event::CommitOffsets(ticket, commits)) {
            Reply::Committed(results) => Ok(results),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn delete_group(&mut self) -> Result<(), Refusal> {
        match self.ask(|ticket| Event::DeleteGroup(ticket, Arc::from(GROUP))) {
            Reply::GroupDeleted => Ok(()),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn delete_offsets(
        &mut self,
        partitions: &[(&str, i32)],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let partitions = partitions
            .iter()
            .map(|(topic, at)| (Arc::from(*topic), *at));
        let partitions = partitions.collect();
        let reply = self.ask(|ticket| Event::DeleteOffsets {
            ticket,
            group_id: Arc::from(GROUP),
            partitions,
        });
        match reply {
            Reply::OffsetsDeleted(results) => Ok(results),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass, and fires the timers that the coordinator asked for and did not cancel.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.timestamp_ms += i64::try_from(ms).expect("short");
        for timer in self.due() {
            self.event(Event::TimerDue(timer));
        }
    }

    fn due(&self) -> Vec<Timer> {
        let mut timers: Vec<(Timer, u64)> = Vec::new();
        for action in &self.actions {
            match action {
                Action::Schedule { timer, at_ms } => {
                    timers.retain(|(other, _)| other != timer);
                    timers.push((timer.clone(), *at_ms));
                }
                Action::Cancel(timer) => timers.retain(|(other, _)| other != timer),
                _ => {}
            }
        }
        timers.retain(|(_, at_ms)| *at_ms <= self.now.monotonic_ms);
        timers.into_iter().map(|(timer, _)| timer).collect()
    }

    /// Pushes to a member so far.
    pub(super) fn pushes(&self, member_id: &str) -> Vec<Push> {
        let pushes = self.actions.iter().filter_map(|action| match action {
            Action::Push(push) if &*push.member.member_id == member_id => Some(push.clone()),
            _ => None,
        });
        pushes.collect()
    }

    pub(super) fn last_push(&self, member_id: &str) -> Push {
        self.pushes(member_id).pop().expect("a push")
    }

    /// Why streams of a member were closed.
    pub(super) fn closed(&self, member_id: &str) -> Vec<Refusal> {
        let closed = self.actions.iter().filter_map(|action| match action {
            Action::CloseStream {
                member, refusal, ..
            } if &*member.member_id == member_id => Some(refusal.clone()),
            _ => None,
        });
        closed.collect()
    }

    pub(super) fn describe(&self) -> GroupDescription {
        self.coordinator.describe(GROUP).expect("exists")
    }

    pub(super) fn member(&self, member_id: &str) -> Option<MemberDescription> {
        let members = self.describe().members;
        members
            .into_iter()
            .find(|member| &*member.member_id == member_id)
    }

    /// What the member holds.
    pub(super) fn holds(&self, member_id: &str) -> Assignment {
        self.member(member_id)
            .expect("a member")
            .holds
            .keys()
            .copied()
            .collect()
    }

    /// The coordinator after a restart.
    pub(super) fn reload(&mut self) {
        let mut coordinator = Coordinator::new(config(), topics(1, 4));
        self.log
            .iter()
            .for_each(|record| coordinator.replay(record));
        self.coordinator = coordinator;
        self.actions.clear();
        self.event(Event::Loaded);
    }
}
