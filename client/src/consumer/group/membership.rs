//! [`Membership`]: one subscription's life in the group. It carries out what [`Reconciliation`]
//! decides: reading, revoking, talking to the broker.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use millstream_proto::{
    ErrorCode,
    grpc::v1::{self, member_request::Request, member_response::Response},
};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::{
    AssignedPartition, Group, Revocation, Subscription,
    assigned_partition::{from_wire, to_wire},
    reconciliation::{Action, Event, Partitions, Reconciliation},
    starting::{self, Round},
    stream::{Inbox, MemberStream, StreamEvent},
};
use crate::{
    connection::Backoff,
    consumer::state::{Shared, Starting},
    error::{Error, Result},
};

/// How long the broker may take to say good-bye.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// Work beside the member's task.
#[derive(Debug)]
pub(super) enum Job {
    /// A round of looking up where the partitions of an assignment start.
    Looked { number: u64, round: Round },
    /// A revocation is done.
    HandedOver { number: u64, slots: Vec<u64> },
}

/// A revocation under way.
#[derive(Debug)]
struct HandOver {
    number: u64,
    slots: Vec<u64>,
    task: AbortHandle,
}

/// What the broker granted.
#[derive(Debug, Clone, Copy)]
struct Intervals {
    heartbeat: Duration,
    session: Duration,
}

/// One subscription's life in the group.
#[derive(Debug)]
pub(super) struct Membership {
    shared: Arc<Shared>,
    group: Arc<Group>,
    subscription: Subscription,
    /// The broker was told of an earlier one when the member joined.
    is_changed: bool,
    machine: Reconciliation,
    inbox: Inbox,
    stream: Option<MemberStream>,
    last_stream: u64,
    /// Counts failed attempts to join, to try another address after each.
    attempt: usize,
    backoff: Backoff,
    rejoin_at: Option<Instant>,
    /// By when an answer to the attempt to join is due.
    joined_by: Option<Instant>,
    intervals: Option<Intervals>,
    heartbeat_at: Option<Instant>,
    /// When the broker will have given up a member that it did not hear of.
    silent_at: Option<Instant>,
    /// Partitions whose start is being looked up, by the number of the look-up.
    adding: BTreeMap<AssignedPartition, u64>,
    last_lookup: u64,
    pub(super) jobs: JoinSet<Job>,
    hand_over: Option<HandOver>,
    subscribing: Option<oneshot::Sender<Result<()>>>,
    leaving: Option<oneshot::Sender<()>>,
    good_bye_by: Option<Instant>,
    is_over: bool,
}

impl Membership {
    pub(super) fn new(
        shared: Arc<Shared>,
        group: Arc<Group>,
        subscription: Subscription,
        inbox: Inbox,
        first_stream: u64,
        reply: oneshot::Sender<Result<()>>,
    ) -> Self {
        let backoff = Backoff::new(shared.connection.config.reconnect_backoff);
        Self {
            shared,
            group,
            subscription,
            is_changed: false,
            machine: Reconciliation::new(),
            inbox,
            stream: None,
            last_stream: first_stream,
            attempt: 0,
            backoff,
            rejoin_at: None,
            joined_by: None,
            intervals: None,
            heartbeat_at: None,
            silent_at: None,
            adding: BTreeMap::new(),
            last_lookup: 0,
            jobs: JoinSet::new(),
            hand_over: None,
            subscribing: Some(reply),
            leaving: None,
            good_bye_by: None,
            is_over: false,
        }
    }

    /// Whether nothing is left to do.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The number of the last stream.
    pub(super) const fn last_stream(&self) -> u64 {
        self.last_stream
    }

    /// When [`Membership::tick`] is due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let times = [
            self.rejoin_at,
            self.joined_by,
            self.heartbeat_at,
            self.silent_at,
            self.good_bye_by,
        ];
        times.into_iter().flatten().min()
    }

    /// Opens the first or the next stream.
    pub(super) fn join(&mut self, now: Instant) {
        self.rejoin_at = None;
        self.is_changed = false;
        let broker = match self.group.broker(&self.shared.connection, self.attempt) {
            Ok(broker) => broker,
            Err(error) => return self.broke(error, now),
        };
        let (epoch, owned) = self.machine.join();
        let config = &self.group.config;
        let millis = |time: Option<Duration>| {
            time.map_or(0, |time| {
                u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
            })
        };
        let join = v1::MemberJoin {
            group_id: config.group_id.clone(),
            member_id: self.group.identity().member_id.clone(),
            member_epoch: epoch,
            instance_id: config.instance_id.clone(),
            rack_id: config.rack_id.clone(),
            client_id: config.client_id.clone(),
            subscription: Some(self.subscription.to_wire()),
            rebalance_timeout_ms: millis(config.rebalance_timeout),
            session_timeout_ms: millis(config.session_timeout),
            assignor: config.assignor.clone(),
            owned: to_wire(&owned),
        };
        self.last_stream += 1;
        let inbox = self.inbox.clone();
        self.stream = Some(MemberStream::open(self.last_stream, broker, join, inbox));
        self.joined_by = Some(now + self.shared.connection.config.request_timeout);
    }

    /// Wants other topics.
    pub(super) fn change(
        &mut self,
        subscription: Subscription,
        reply: oneshot::Sender<Result<()>>,
    ) {
        self.subscription = subscription;
        if self.joined_by.is_some() || self.rejoin_at.is_some() {
            self.is_changed = true;
            self.subscribing = Some(reply);
            return;
        }
        self.send_subscription();
        let _ = reply.send(Ok(()));
    }

    fn send_subscription(&self) {
        self.send(Request::Subscription(self.subscription.to_wire()));
    }

    /// Revokes everything and leaves.
    pub(super) fn leave(&mut self, reply: oneshot::Sender<()>) {
        self.leaving = Some(reply);
        self.subscribing = None;
        self.drive(Event::Leave);
    }

    /// Says good-bye without revoking anything, for a consumer that was dropped.
    pub(super) fn abandon(&mut self) {
        self.jobs.abort_all();
        self.say_good_bye();
    }

    fn send(&self, request: Request) {
        // A stream that takes nothing is as good as broken, which is found by its silence.
        if let Some(stream) = &self.stream
            && !stream.send(request)
        {
            tracing::debug!("the membership's stream takes nothing");
        }
    }

    /// Takes in what a stream brought.
    pub(super) fn stream_event(&mut self, number: u64, event: StreamEvent, now: Instant) {
        if self.stream.as_ref().map(|stream| stream.number) != Some(number) {
            return;
        }
        match event {
            StreamEvent::Answer(answer) => self.answer(answer, now),
            StreamEvent::Broke(error) if self.good_bye_by.is_some() => {
                tracing::debug!(%error, "the stream broke instead of a good-bye");
                self.end();
            }
            StreamEvent::Broke(error) => self.broke(error, now),
        }
        self.publish();
    }

    fn answer(&mut self, answer: Response, now: Instant) {
        if let Some(intervals) = self.intervals {
            self.silent_at = Some(now + intervals.session);
        }
        match answer {
            Response::Joined(joined) => self.joined(joined, now),
            Response::Assignment(assignment) => match from_wire(assignment.partitions) {
                Ok(target) => {
                    tracing::debug!(
                        epoch = assignment.member_epoch,
                        reason = assignment.reason,
                        partitions = target.len(),
                        "assigned"
                    );
                    self.drive(Event::Assigned {
                        epoch: assignment.member_epoch,
                        sequence: assignment.sequence,
                        target,
                    });
                    self.know_epoch(assignment.member_epoch);
                }
                Err(reason) => {
                    let broker = self.group.config.group_id.clone();
                    self.broke(Error::Protocol { broker, reason }, now);
                }
            },
            Response::HeartbeatAck(ack) => {
                self.machine.raise_epoch(ack.member_epoch);
                self.know_epoch(ack.member_epoch);
            }
            Response::Left(_) => self.end(),
            Response::Failed(error) => self.broke(Error::from_wire(error), now),
        }
    }

    fn know_epoch(&self, epoch: i32) {
        let mut identity = self.group.identity();
        identity.epoch = identity.epoch.max(epoch);
    }

    fn joined(&mut self, joined: v1::MemberJoined, now: Instant) {
        {
            let mut identity = self.group.identity();
            identity.member_id.clone_from(&joined.member_id);
            identity.epoch = joined.member_epoch;
            identity.last_error = None;
        }
        let intervals = Intervals {
            heartbeat: Duration::from_millis(joined.heartbeat_interval_ms.max(1).into()),
            session: Duration::from_millis(joined.session_timeout_ms.max(1).into()),
        };
        self.intervals = Some(intervals);
        self.heartbeat_at = Some(now + intervals.heartbeat);
        self.silent_at = Some(now + intervals.session);
        self.joined_by = None;
        self.backoff.succeeded();
        self.drive(Event::Joined {
            epoch: joined.member_epoch,
        });
        if std::mem::take(&mut self.is_changed) {
            self.send_subscription();
        }
        if let Some(reply) = self.subscribing.take() {
            let _ = reply.send(Ok(()));
        }
    }

    /// The stream is of no use any more.
    fn broke(&mut self, error: Error, now: Instant) {
        tracing::debug!(%error, "not in the group");
        self.stream = None;
        self.joined_by = None;
        self.heartbeat_at = None;
        self.attempt = self.attempt.wrapping_add(1);
        if self.good_bye_by.is_some() {
            return self.end();
        }
        self.group.identity().last_error = Some(error.clone());
        let event = match error.code() {
            Some(
                ErrorCode::FencedMemberEpoch
                | ErrorCode::UnknownMemberId
                | ErrorCode::StaleMemberEpoch,
            ) => Event::Fenced,
            _ if error.is_retriable() => Event::Broke,
            Some(ErrorCode::NotCoordinator) => Event::Broke,
            _ => Event::Refused,
        };
        self.rejoin_at = None;
        self.drive(event);
        if self.rejoin_at.is_some() {
            self.rejoin_at = Some(now + self.backoff.pause(rand::random()));
        }
    }

    /// Does what time demands.
    pub(super) fn tick(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.good_bye_by) {
            return self.end();
        }
        if is_due(self.heartbeat_at) {
            self.send(Request::Heartbeat(v1::MemberHeartbeat {}));
            self.heartbeat_at = self.intervals.map(|intervals| now + intervals.heartbeat);
        }
        if is_due(self.joined_by) {
            let error = Error::TimedOut {
                operation: "joining a group",
                after: self.shared.connection.config.request_timeout,
                may_have_been_written: false,
                cause: None,
            };
            self.broke(error, now);
        }
        if is_due(self.silent_at) {
            self.silent_at = None;
            self.drive(Event::Silent);
            if self.rejoin_at.is_some() {
                self.stream = None;
                self.heartbeat_at = None;
            }
        }
        if is_due(self.rejoin_at) {
            self.join(now);
        }
        self.publish();
    }

    /// Takes in the end of a job; `None` for one that panicked.
    pub(super) fn job_done(&mut self, done: Result<Job, tokio::task::JoinError>) {
        match done {
            Ok(Job::Looked { number, round }) => self.looked(number, round),
            Ok(Job::HandedOver { number, slots }) => self.handed_over(number, &slots),
            Err(error) if error.is_panic() => {
                let is_it = |hand_over: &mut HandOver| hand_over.task.id() == error.id();
                if let Some(hand_over) = self.hand_over.take_if(is_it) {
                    tracing::error!("the rebalance listener panicked; its partitions are given up");
                    self.handed_over(hand_over.number, &hand_over.slots);
                }
            }
            Err(_) => {}
        }
        self.publish();
    }

    /// Feeds the machine, and does what it says.
    fn drive(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.machine.handle(event) {
                match action {
                    Action::Add(partitions) => self.add(partitions),
                    Action::Revoke { number, partitions } => {
                        if !self.revoke(number, &partitions) {
                            events.push_back(Event::Revoked { number });
                        }
                    }
                    Action::Lose(partitions) => self.lose(&partitions),
                    Action::Own {
                        sequence,
                        partitions,
                    } => {
                        let partitions = to_wire(&partitions);
                        self.send(Request::Owned(v1::MemberOwned {
                            partitions,
                            sequence,
                        }));
                    }
                    Action::Rejoin => self.rejoin_at = Some(Instant::now()),
                    Action::Leave => self.say_good_bye(),
                    Action::Stop => self.stop(),
                }
            }
        }
        self.publish();
    }

    /// Lets the application see where the membership stands.
    fn publish(&self) {
        self.group.identity().is_settled = self.machine.is_settled() && self.adding.is_empty();
    }

    fn add(&mut self, partitions: Partitions) {
        self.last_lookup += 1;
        let number = self.last_lookup;
        for partition in &partitions {
            self.adding.insert(partition.clone(), number);
        }
        self.look_up(number, partitions.into_iter().collect(), Duration::ZERO);
    }

    fn look_up(&mut self, number: u64, partitions: Vec<AssignedPartition>, pause: Duration) {
        let (shared, group) = (Arc::clone(&self.shared), Arc::clone(&self.group));
        self.jobs.spawn(async move {
            tokio::time::sleep(pause).await;
            let (connection, isolation) = (&shared.connection, shared.config.isolation);
            let round = starting::ask(connection, isolation, &group.config, partitions).await;
            Job::Looked { number, round }
        });
    }

    /// Starts to read what is still wanted of a look-up.
    fn looked(&mut self, number: u64, round: Round) {
        let is_wanted = |assigned: &AssignedPartition| self.adding.get(assigned) == Some(&number);
        let open: Vec<_> = round.open.into_iter().filter(is_wanted).collect();
        let found: Vec<_> = round
            .found
            .into_iter()
            .filter(|starting| is_wanted(&starting.assigned))
            .collect();
        if !open.is_empty() {
            let pause = self.shared.connection.config.reconnect_backoff.0;
            self.look_up(number, open, pause);
        }
        if found.is_empty() {
            return;
        }
        for starting in &found {
            self.adding.remove(&starting.assigned);
        }
        self.read(found);
    }

    fn read(&self, found: Vec<Starting>) {
        let backoff = Backoff::new(self.shared.connection.config.reconnect_backoff);
        let mut names = Vec::with_capacity(found.len());
        let mut to_commit = Vec::new();
        {
            let mut state = self.shared.state();
            for starting in found {
                let place = (
                    starting.assigned.topic.to_string(),
                    starting.assigned.partition,
                );
                names.push(place);
                let is_new = !starting.is_committed && starting.halted.is_none();
                let slot = state.add_managed(starting, &backoff);
                if is_new {
                    to_commit.extend(state.committable(slot));
                }
            }
        }
        self.shared.wake.notify_one();
        if let Some(listener) = &self.group.config.listener {
            listener.assigned(&names);
        }
        // Where the group starts is remembered at once: a member that takes over before the first
        // record was committed must not start at a later end of the log.
        if self.group.config.auto_commit_interval.is_some() {
            drop(self.group.committer.enqueue(to_commit));
        }
    }

    /// Takes partitions back from the application. `false` where none of them was being read.
    fn revoke(&mut self, number: u64, partitions: &Partitions) -> bool {
        for partition in partitions {
            self.adding.remove(partition);
        }
        let (slots, safe_point) = {
            let mut state = self.shared.state();
            let slots = state.revoke(partitions.iter());
            let safe_point = self.shared.request_safe_point(&mut state);
            (slots, safe_point)
        };
        self.shared.wake.notify_one();
        if slots.is_empty() {
            return false;
        }
        let (shared, group) = (Arc::clone(&self.shared), Arc::clone(&self.group));
        let revoked = slots.clone();
        let task = self.jobs.spawn(async move {
            hand_over(&shared, &group, revoked.clone(), safe_point).await;
            Job::HandedOver {
                number,
                slots: revoked,
            }
        });
        self.hand_over = Some(HandOver {
            number,
            slots,
            task,
        });
        true
    }

    fn handed_over(&mut self, number: u64, slots: &[u64]) {
        self.hand_over
            .take_if(|hand_over| hand_over.number == number);
        self.shared.state().remove(slots);
        self.shared.wake.notify_one();
        self.drive(Event::Revoked { number });
    }

    fn lose(&mut self, partitions: &Partitions) {
        self.group.identity().epoch = 0;
        self.silent_at = None;
        if let Some(hand_over) = self.hand_over.take() {
            hand_over.task.abort();
        }
        self.adding.clear();
        let names: Vec<_> = {
            let mut state = self.shared.state();
            let slots = state.revoke(partitions.iter());
            let lost = slots.iter().filter_map(|slot| state.partitions.get(slot));
            let names = lost
                .map(|lost| (lost.topic.to_string(), lost.partition))
                .collect();
            state.remove(&slots);
            // The record reader of a lost partition goes at the next call.
            self.shared.request_safe_point(&mut state);
            names
        };
        self.shared.wake.notify_one();
        if names.is_empty() {
            return;
        }
        tracing::warn!(
            group = self.group.config.group_id,
            partitions = names.len(),
            "partitions lost"
        );
        if let Some(listener) = &self.group.config.listener {
            listener.lost(&names);
        }
    }

    fn say_good_bye(&mut self) {
        if self.stream.is_none() {
            return self.end();
        }
        // A static member keeps its partitions for when it is back.
        self.send(Request::Leave(v1::MemberLeave {
            keep_partitions: !self.group.config.instance_id.is_empty(),
        }));
        self.joined_by = None;
        self.heartbeat_at = None;
        self.good_bye_by = Some(Instant::now() + LEAVE_WAIT);
    }

    /// The group wants nothing of this member.
    fn stop(&mut self) {
        let error = self.group.identity().last_error.clone();
        let error = error.unwrap_or(Error::Closed {
            what: "membership",
            may_have_been_written: false,
        });
        match self.subscribing.take() {
            Some(reply) => {
                let _ = reply.send(Err(error));
            }
            None => self.shared.state().fail_group(error),
        }
        self.end();
    }

    fn end(&mut self) {
        self.is_over = true;
        self.stream = None;
        self.rejoin_at = None;
        self.good_bye_by = None;
        if let Some(reply) = self.leaving.take() {
            let _ = reply.send(());
        }
    }
}

/// Waits until the application is done with the partitions, tells it, and commits.
async fn hand_over(shared: &Arc<Shared>, group: &Group, slots: Vec<u64>, safe_point: u64) {
    let mut safe_points = shared.safe_points.subscribe();
    // The sender is in `shared`.
    let _ = safe_points.wait_for(|passed| *passed >= safe_point).await;
    let revocation = Revocation::new(shared, &group.committer, slots);
    if let Some(listener) = &group.config.listener {
        listener.revoked(&revocation).await;
    }
    if group.config.auto_commit_interval.is_some()
        && let Err(error) = revocation.commit_new().await
    {
        tracing::warn!(%error, group = group.config.group_id,
            "cannot commit revoked partitions; their last records will be read again");
    }
}
