//! [`OffsetsPartition`]: one partition of the offsets topic, and the coordinator of its groups.
//!
//! ```text
//!   unloaded ──first use, or start──► loading ──► active ──► stopping
//!      ▲ no log to read: at once ─────────────────▲ │
//!      └ quiet and small                 after a    │ an append, a flush, or loading failed
//!                                        pause  failed
//! ```

mod active;
mod appending;
mod loading;
mod outstanding;
mod timers;

use std::sync::{
    Arc, Mutex, MutexGuard, Weak,
    atomic::{AtomicU32, Ordering},
};

use millstream_engine::group::{
    Coordinator, Event, Heartbeat, MemberRef, OffsetCommits, Reply, StreamId, Subscription, Ticket,
    Topics,
};
use millstream_proto::TopicPartition;
use tokio::sync::oneshot;

use super::{
    CoordinatorError, Outbox,
    delivery::{Asker, Delivery},
    surroundings::Surroundings,
    topic_regex,
};
use active::{Active, Errand};

use crate::partition::{Replica, ReplicaWatcher};

/// Doublings of `groups.reload_backoff` at most.
const BACKOFF_DOUBLINGS_MAX: u32 = 6;

/// Where what an event wrote is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AppendOn {
    /// On the caller's thread, one that serves produce or may wait for the disk, unless appends are
    /// stalled.
    ThisThread,
    /// On a thread that may wait for the disk: the caller's must not.
    BlockingPool,
}

/// The wait for an answer.
pub type Replying = oneshot::Receiver<Result<Reply, CoordinatorError>>;

/// The wait until what was read may be shown.
#[derive(Debug)]
pub struct Settling {
    settled: oneshot::Receiver<Result<(), CoordinatorError>>,
}

impl Settling {
    /// Returns once everything that the read saw is safe.
    ///
    /// # Errors
    /// It never will be: the coordinator failed.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settled(self) -> Result<(), CoordinatorError> {
        self.settled
            .await
            .unwrap_or(Err(CoordinatorError::Stopping))
    }
}

/// One partition of the offsets topic, and the coordinator of its groups.
#[derive(Debug)]
pub struct OffsetsPartition {
    replica: Arc<Replica>,
    surroundings: Arc<Surroundings>,
    this: Weak<Self>,
    phase: Mutex<Phase>,
    /// Held by who appends, and by who reads the log to load it.
    append_turn: Mutex<()>,
    /// Failures since the last append that went well.
    failures: AtomicU32,
}

#[derive(Debug)]
enum Phase {
    Unloaded,
    Loading,
    Active(Box<Active>),
    Failed(CoordinatorError),
    /// Does nothing new; what was appended is still answered.
    Stopping(Option<Box<Active>>),
}

impl OffsetsPartition {
    pub(super) fn new(replica: Arc<Replica>, surroundings: Arc<Surroundings>) -> Arc<Self> {
        let partition = Arc::new_cyclic(|this| Self {
            replica,
            surroundings,
            this: Weak::clone(this),
            phase: Mutex::new(Phase::Unloaded),
            append_turn: Mutex::new(()),
            failures: AtomicU32::new(0),
        });
        let watcher: Weak<Self> = Arc::downgrade(&partition);
        partition.replica.watch(watcher);
        partition
    }

    /// Which partition it is.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        self.replica.partition()
    }

    /// Takes in an event that is answered once, and says where the answer will be.
    ///
    /// # Errors
    /// Nothing was done: there is no coordinator now.
    pub fn ask(&self, event: impl FnOnce(Ticket) -> Event) -> Result<Replying, CoordinatorError> {
        let (asker, reply) = oneshot::channel();
        self.drive(AppendOn::BlockingPool, |active, surroundings| {
            active.ask(Asker::Once(asker), event, surroundings);
        })?;
        Ok(reply)
    }

    /// Takes in a commit, on a thread that may append, and says where the answer will be.
    ///
    /// # Errors
    /// Nothing was done: there is no coordinator now.
    pub fn commit(&self, commits: OffsetCommits) -> Result<Replying, CoordinatorError> {
        let (asker, reply) = oneshot::channel();
        self.drive(AppendOn::ThisThread, |active, surroundings| {
            // A topic that was deleted and created again must not come to be known after its commits,
            // or they would be forgotten as those of the deleted one.
            if !active.knows_topics_of(&commits) {
                active.take_topics(&surroundings.topics_now(), surroundings);
            }
            let event = |ticket| Event::CommitOffsets(ticket, commits);
            active.ask(Asker::Once(asker), event, surroundings);
        })?;
        Ok(reply)
    }

    /// Opens a member's stream: everything that the member is told goes to `outbox`, first what comes
    /// of the heartbeat.
    ///
    /// # Errors
    /// Nothing was done: there is no coordinator now, or the subscription is no regular expression.
    pub fn open_stream(
        &self,
        mut heartbeat: Heartbeat,
        outbox: &Outbox,
    ) -> Result<StreamId, CoordinatorError> {
        self.check_regex(heartbeat.subscription.as_ref())?;
        let stream = self.surroundings.next_stream();
        heartbeat.stream = Some(stream);
        self.drive(AppendOn::BlockingPool, |active, surroundings| {
            // Whoever creates a topic and then joins is assigned it at once.
            active.take_topics(&surroundings.topics_now(), surroundings);
            active.add_stream(stream, outbox.clone());
            let event = |ticket| Event::Heartbeat(ticket, Box::new(heartbeat));
            active.ask(Asker::Stream(outbox.clone()), event, surroundings);
        })?;
        Ok(stream)
    }

    /// Takes in an event that is answered on a member's stream.
    ///
    /// # Errors
    /// Nothing was done: there is no coordinator now.
    pub fn ask_on_stream(
        &self,
        outbox: &Outbox,
        event: impl FnOnce(Ticket) -> Event,
    ) -> Result<(), CoordinatorError> {
        self.drive(AppendOn::BlockingPool, |active, surroundings| {
            active.ask(Asker::Stream(outbox.clone()), event, surroundings);
        })
    }

    /// A member's stream is over.
    pub fn end_stream(&self, member: MemberRef, stream: StreamId) {
        // Where there is no coordinator now there is no such stream either.
        let _ = self.drive(AppendOn::BlockingPool, |active, surroundings| {
            active.end_stream(member, stream, surroundings);
        });
    }

    /// Checks a subscription's regular expression, which the engine cannot. One that is too long is
    /// left to the engine to refuse.
    ///
    /// # Errors
    /// [`CoordinatorError::Regex`].
    pub fn check_regex(&self, subscription: Option<&Subscription>) -> Result<(), CoordinatorError> {
        let regex = subscription.and_then(|subscription| subscription.topic_regex.as_deref());
        let bytes_max = self.surroundings.config.regex_bytes_max.as_usize();
        match regex {
            Some(regex) if regex.len() <= bytes_max => {
                topic_regex::check(regex, self.surroundings.regex_program_bytes_max())
            }
            _ => Ok(()),
        }
    }

    /// Reads the state of everything handed over so far. The result may be shown once it is settled.
    ///
    /// # Errors
    /// There is no coordinator now.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Coordinator, &Topics) -> T,
    ) -> Result<(T, Settling), CoordinatorError> {
        let (asker, settled) = oneshot::channel();
        let result = self.drive(AppendOn::BlockingPool, |active, _| {
            let result = read(active.coordinator(), active.topics());
            let delivery = Delivery::Settled(asker);
            active.outstanding.push(Vec::new(), vec![delivery]);
            result
        })?;
        Ok((result, Settling { settled }))
    }

    /// Reads the state as it is, safe or not, for metrics; `None` without a coordinator.
    #[must_use]
    pub fn peek<T>(&self, read: impl FnOnce(&Coordinator, &Topics) -> T) -> Option<T> {
        match &*self.lock() {
            Phase::Active(active) => Some(read(active.coordinator(), active.topics())),
            _ => None,
        }
    }

    /// Answers and pushes that wait for the disk.
    #[must_use]
    pub fn waiting_answers(&self) -> usize {
        match &*self.lock() {
            Phase::Active(active) | Phase::Stopping(Some(active)) => active.waiting(),
            _ => 0,
        }
    }

    /// Whether it may have groups: false for a partition without records.
    #[must_use]
    pub fn may_have_groups(&self) -> bool {
        match &*self.lock() {
            Phase::Unloaded => self.end_of_empty_log().is_none(),
            _ => true,
        }
    }

    /// Loads it in the background, unless there is nothing to load.
    pub(super) fn load_if_needed(&self) {
        let mut phase = self.lock();
        if matches!(*phase, Phase::Unloaded) && self.end_of_empty_log().is_none() {
            self.begin_loading(&mut phase);
        }
    }

    /// Hands an event over that nobody waits for, if there is a coordinator.
    pub(super) fn tell(&self, event: Event) {
        self.tell_from(AppendOn::BlockingPool, event);
    }

    fn tell_from(&self, append_on: AppendOn, event: Event) {
        if matches!(*self.lock(), Phase::Active(_)) {
            let tell = |active: &mut Active, surroundings: &Surroundings| {
                active.handle(event, surroundings);
            };
            // It may have failed in between.
            let _ = self.drive(append_on, tell);
        }
    }

    /// Tells the coordinator of topics, if there is one.
    pub(super) fn take_topics(&self, topics: &Arc<Topics>) {
        if matches!(*self.lock(), Phase::Active(_)) {
            // It may have failed in between; then it is loaded with the topics of that time.
            let _ = self.drive(AppendOn::BlockingPool, |active, surroundings| {
                active.take_topics(topics, surroundings);
            });
        }
    }

    /// Hands timers over that are due, one at a time; returns when the next one is.
    pub(super) fn fire_timers(&self) -> Option<u64> {
        loop {
            let next_ms = match &*self.lock() {
                Phase::Active(active) => active.next_timer_ms()?,
                _ => return None,
            };
            if next_ms > self.surroundings.monotonic_ms() {
                return Some(next_ms);
            }
            let fire =
                |active: &mut Active, surroundings: &Surroundings| active.fire_timer(surroundings);
            self.drive(AppendOn::BlockingPool, fire).ok()?;
        }
    }

    /// Does nothing new from now on.
    pub(super) fn stop(&self) {
        let mut phase = self.lock();
        *phase = match std::mem::replace(&mut *phase, Phase::Loading) {
            Phase::Active(active) => Phase::Stopping(Some(active)),
            Phase::Stopping(active) => Phase::Stopping(active),
            Phase::Unloaded | Phase::Loading | Phase::Failed(_) => Phase::Stopping(None),
        };
    }

    /// Works on the coordinator under its lock, then does what came of it.
    fn drive<T>(
        &self,
        append_on: AppendOn,
        work: impl FnOnce(&mut Active, &Surroundings) -> T,
    ) -> Result<T, CoordinatorError> {
        let (result, must_append, errands) = {
            let mut phase = self.lock();
            let active = self.active(&mut phase)?;
            let result = work(active, &self.surroundings);
            let must_append = active.outstanding.begin_append();
            active
                .outstanding
                .deliver_due(self.replica.high_watermark());
            (result, must_append, active.take_errands())
        };
        if must_append {
            self.append_on(append_on);
        }
        for errand in errands {
            self.run(errand);
        }
        Ok(result)
    }

    /// The coordinator, if it is there; begins to load it where nobody has yet.
    fn active<'a>(&self, phase: &'a mut Phase) -> Result<&'a mut Active, CoordinatorError> {
        if matches!(phase, Phase::Unloaded) {
            self.begin_loading(phase);
        }
        match phase {
            Phase::Active(active) => Ok(active),
            Phase::Failed(error) => Err(error.clone()),
            Phase::Stopping(_) => Err(CoordinatorError::Stopping),
            Phase::Unloaded | Phase::Loading => Err(CoordinatorError::Loading {
                partition: self.partition().clone(),
            }),
        }
    }

    /// The lock. A panic under it leaves a state that nobody knows, which is dropped.
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(|poisoned| {
            let mut phase = poisoned.into_inner();
            self.phase.clear_poison();
            self.fail(&mut phase, self.failed("a panic left its state unknown"));
            phase
        })
    }

    fn failed(&self, reason: impl ToString) -> CoordinatorError {
        CoordinatorError::Failed {
            partition: self.partition().clone(),
            reason: reason.to_string(),
            is_passing: false,
        }
    }

    /// Drops the state and tells everybody, then tries again after a pause where that may help.
    fn fail(&self, phase: &mut Phase, error: CoordinatorError) {
        let (active, next) = match std::mem::replace(phase, Phase::Unloaded) {
            Phase::Active(active) => (Some(active), Phase::Failed(error.clone())),
            Phase::Stopping(active) => (active, Phase::Stopping(None)),
            Phase::Unloaded | Phase::Loading | Phase::Failed(_) => {
                (None, Phase::Failed(error.clone()))
            }
        };
        *phase = next;
        if let Some(active) = active {
            active.fail(&error);
        }
        if matches!(phase, Phase::Failed(_)) {
            self.surroundings.counts.failed();
            tracing::error!(partition = %self.partition(), %error, "coordinator of groups failed");
            self.load_again_later(&error);
        }
    }

    fn load_again_later(&self, error: &CoordinatorError) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if matches!(error, CoordinatorError::NoReplica { .. }) {
            return;
        }
        let doublings = before.min(BACKOFF_DOUBLINGS_MAX);
        let pause = self.surroundings.config.reload_backoff * (1 << doublings);
        let this = Weak::clone(&self.this);
        self.surroundings.control.spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(this) = this.upgrade() {
                this.load_again();
            }
        });
    }

    fn load_again(&self) {
        {
            let mut phase = self.lock();
            if !matches!(*phase, Phase::Failed(_)) {
                return;
            }
            *phase = Phase::Unloaded;
        }
        // Whoever asks next hears whether it is there.
        let _ = self.drive(AppendOn::BlockingPool, |_, _| ());
    }

    /// Does something that was left until the lock was given back.
    fn run(&self, errand: Errand) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let control = &self.surroundings.control;
        match errand {
            Errand::ExpireMore => drop(control.spawn(async move {
                this.tell(Event::ExpireOffsets);
            })),
            Errand::ResolveRegex {
                group_id,
                regex,
                topics,
            } => drop(control.spawn_blocking(move || {
                this.resolve_regex(group_id, regex, &topics);
            })),
        }
    }

    fn resolve_regex(&self, group_id: Arc<str>, regex: Arc<str>, topics: &Topics) {
        let program_bytes_max = self.surroundings.regex_program_bytes_max();
        let matching = topic_regex::resolve(&regex, program_bytes_max, topics);
        let matching = matching.unwrap_or_else(|error| {
            // It was checked when it came, under a limit that was larger then.
            tracing::warn!(group = ?group_id, %error, "regular expression matches nothing");
            Vec::new()
        });
        let event = Event::RegexResolved {
            group_id,
            regex,
            topics: matching,
            version: topics.version(),
        };
        self.tell_from(AppendOn::ThisThread, event);
    }
}

impl ReplicaWatcher for OffsetsPartition {
    fn changed(&self) {
        let mut phase = self.lock();
        let (Phase::Active(active) | Phase::Stopping(Some(active))) = &mut *phase else {
            return;
        };
        match self.replica.log() {
            Ok(_) => active
                .outstanding
                .deliver_due(self.replica.high_watermark()),
            Err(error) => {
                let error = CoordinatorError::of_partition(self.partition(), &error);
                self.fail(&mut phase, error);
            }
        }
    }
}
