//! [`Replica`]: one partition as this broker holds it.
//!
//! Locks: `inner` is held for the state machine only, never over a call into the log, so the log may
//! call back ([`LogObserver`]) from anywhere. Waiters are woken after it is released.
//!
//! Invariant: `high_watermark` mirrors the state machine's and never regresses.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, Weak,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use millstream_engine::replication::{
    Acks, Action, Event, Leadership, LeadershipStart, Progress, Ticket,
};
use millstream_log::{
    AppendContext, AppendError, Appended, ClosedLog, LogObserver, LogState, Offline, Origin,
    PartitionLog, Positions, ReadBatches, ReadError, ReadRequest,
};
use millstream_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use tokio::sync::oneshot;

use super::{
    AckLost, Parked, PartitionError, PendingAck, ReplicaConfig, ReplicaWatcher, Traffic, Wakeups,
    pending_ack::AckResult, wakeups::ParkedReads,
};
use crate::quorum::PartitionImage;

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcksWanted {
    /// Once the high watermark passed it.
    All,
    /// Once it is safe on the leader.
    Leader,
    /// Never.
    None,
}

/// How far a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// What an append is told beside its batch.
#[derive(Debug, Clone, Copy)]
pub struct Appending {
    /// When it is acknowledged.
    pub acks: AcksWanted,
    /// The leader epoch that the client knows, if it does.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The broker's clock, ms since 1970.
    pub now_ms: i64,
}

/// [`PartitionLog::append`] or [`PartitionLog::append_quickly`].
type AppendFn = fn(&PartitionLog, Bytes, &AppendContext) -> Result<Appended, AppendError>;

/// Where a partition stands for readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// First readable offset.
    pub log_start: Offset,
    /// Exclusive end for read_committed.
    pub last_stable: Offset,
    /// Exclusive end of what the in-sync set has.
    pub high_watermark: Offset,
}

impl Offsets {
    /// Exclusive end of what a reader sees.
    #[must_use]
    pub fn readable_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable,
        }
    }
}

/// One partition as this broker holds it.
#[derive(Debug)]
pub struct Replica {
    partition: TopicPartition,
    topic_id: TopicId,
    /// Missing where the log could not be opened; then the status is offline.
    log: Option<Arc<PartitionLog>>,
    this: Weak<Self>,
    high_watermark: AtomicI64,
    watcher: OnceLock<Weak<dyn ReplicaWatcher>>,
    traffic: Traffic,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: Status,
    next_ticket: u64,
    pending: HashMap<Ticket, oneshot::Sender<AckResult>>,
    parked: ParkedReads,
    last_stable: Offset,
}

#[derive(Debug)]
enum Status {
    Leading(Box<Leadership>),
    Offline(Offline),
    Closed,
}

impl Replica {
    /// Leads a partition whose log is open.
    #[must_use]
    pub fn lead(
        log: Arc<PartitionLog>,
        topic_id: TopicId,
        local: BrokerId,
        registration: &PartitionImage,
        config: &ReplicaConfig,
    ) -> Arc<Self> {
        let positions = log.positions();
        let leadership = Leadership::new(LeadershipStart {
            local,
            leader_epoch: registration.leader_epoch,
            partition_epoch: registration.partition_epoch,
            in_sync: registration
                .in_sync
                .iter()
                .copied()
                .collect::<BTreeSet<_>>(),
            replicas: registration.replicas.iter().copied().collect(),
            progress: progress(&positions),
            // What is safe is found again from the log's own positions by the first event.
            high_watermark: positions.log_start.min(positions.log_end),
            rules: config.rules,
            now_ms: 0,
        });
        let status = Status::Leading(Box::new(leadership));
        let partition = log.partition().clone();
        let replica = Self::build(partition, topic_id, Some(Arc::clone(&log)), status);
        let observer: Weak<Self> = Arc::downgrade(&replica);
        log.set_observer(Arc::new(Observer(observer)));
        // What happened before the log had an observer.
        if let LogState::Offline(reason) = log.state() {
            replica.end(Status::Offline(reason));
        }
        replica.progressed();
        replica
    }

    /// Holds the place of a partition whose log could not be opened.
    #[must_use]
    pub fn offline(partition: TopicPartition, topic_id: TopicId, reason: Offline) -> Arc<Self> {
        Self::build(partition, topic_id, None, Status::Offline(reason))
    }

    fn build(
        partition: TopicPartition,
        topic_id: TopicId,
        log: Option<Arc<PartitionLog>>,
        status: Status,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            partition,
            topic_id,
            log,
            this: Weak::clone(this),
            high_watermark: AtomicI64::new(0),
            watcher: OnceLock::new(),
            traffic: Traffic::default(),
            inner: Mutex::new(Inner {
                status,
                next_ticket: 0,
                pending: HashMap::new(),
                parked: ParkedReads::default(),
                last_stable: Offset::ZERO,
            }),
        })
    }

    /// Which partition this is.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Its index in the topic.
    #[must_use]
    pub fn index(&self) -> PartitionIndex {
        self.partition.partition
    }

    /// Id of its topic.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its log, for what waits for the disk.
    ///
    /// # Errors
    /// Why it serves nothing.
    pub fn log(&self) -> Result<&Arc<PartitionLog>, PartitionError> {
        drop(self.serving()?);
        self.log.as_ref().ok_or(PartitionError::Closed)
    }

    /// Why it is offline, if it is.
    #[must_use]
    pub fn offline_reason(&self) -> Option<Offline> {
        match self.serving() {
            Err(PartitionError::Offline(reason)) => Some(reason),
            _ => None,
        }
    }

    /// Epoch of the current leadership.
    ///
    /// # Errors
    /// Why it serves nothing.
    pub fn leader_epoch(&self) -> Result<LeaderEpoch, PartitionError> {
        Ok(self.serving()?.leadership()?.leader_epoch())
    }

    /// What clients produced to it and fetched from it.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Reads parked on it, for metrics and tests.
    #[must_use]
    pub fn parked_reads(&self) -> usize {
        self.serving().map_or(0, |inner| inner.parked.len())
    }

    /// Appends one batch on the caller's thread, and says what became of it. The acknowledgement is
    /// `None` where none was asked for.
    ///
    /// # Errors
    /// Nothing was appended, unless the log says that it may have been.
    pub fn append(
        &self,
        batch: Bytes,
        appending: &Appending,
    ) -> Result<(Appended, Option<PendingAck>), PartitionError> {
        let appended = self.append_as(Origin::Client, PartitionLog::append, batch, appending)?;
        Ok(self.acknowledging(appended, appending))
    }

    /// [`Replica::append`] for a thread that others wait for.
    ///
    /// # Errors
    /// [`millstream_log::AppendError::Lengthy`] gives back a batch that takes long to decode.
    pub fn append_quickly(
        &self,
        batch: Bytes,
        appending: &Appending,
    ) -> Result<(Appended, Option<PendingAck>), PartitionError> {
        let append = PartitionLog::append_quickly;
        let appended = self.append_as(Origin::Client, append, batch, appending)?;
        Ok(self.acknowledging(appended, appending))
    }

    /// Memory that an append of the batch takes at most to decode it; `None` where it is not decoded.
    #[must_use]
    pub fn decoding_bytes_max(&self, batch: &[u8]) -> Option<usize> {
        self.log.as_ref()?.decoding_bytes_max(batch)
    }

    fn acknowledging(
        &self,
        appended: Appended,
        appending: &Appending,
    ) -> (Appended, Option<PendingAck>) {
        let ack = match appending.acks {
            AcksWanted::All => Some(self.wait_for(&appended, Acks::All)),
            AcksWanted::Leader => Some(self.wait_for(&appended, Acks::Leader)),
            AcksWanted::None => {
                self.progressed();
                None
            }
        };
        (appended, ack)
    }

    /// Appends one batch of a coordinator of this broker on the caller's thread, also where the disk
    /// is full as long as its reserve lasts. Its end is safe once the high watermark reaches it, which
    /// the watcher hears of.
    ///
    /// # Errors
    /// Nothing was appended, unless the log says that it may have been.
    pub fn append_own(&self, batch: Bytes, now_ms: i64) -> Result<Appended, PartitionError> {
        let appending = Appending {
            acks: AcksWanted::All,
            leader_epoch: None,
            now_ms,
        };
        let append = PartitionLog::append;
        let appended = self.append_as(Origin::Coordinator, append, batch, &appending)?;
        self.progressed();
        Ok(appended)
    }

    fn append_as(
        &self,
        origin: Origin,
        append: AppendFn,
        batch: Bytes,
        appending: &Appending,
    ) -> Result<Appended, PartitionError> {
        let leader_epoch = self.admit(appending)?;
        let log = self.log.as_ref().ok_or(PartitionError::Closed)?;
        let context = AppendContext {
            leader_epoch,
            now_ms: appending.now_ms,
            origin,
        };
        Ok(append(log, batch, &context)?)
    }

    /// Says who hears of this replica from now on; only the first caller is heard.
    pub fn watch(&self, watcher: Weak<dyn ReplicaWatcher>) {
        // There is one coordinator a partition, for as long as the replica lives.
        let _ = self.watcher.set(watcher);
    }

    /// No lock may be held.
    fn tell_watcher(&self) {
        if let Some(watcher) = self.watcher.get().and_then(Weak::upgrade) {
            watcher.changed();
        }
    }

    fn admit(&self, appending: &Appending) -> Result<LeaderEpoch, PartitionError> {
        let inner = self.serving()?;
        let leadership = inner.leadership()?;
        check_epoch(leadership.leader_epoch(), appending.leader_epoch)?;
        if appending.acks == AcksWanted::All && !leadership.has_enough_in_sync() {
            return Err(PartitionError::NotEnoughReplicas {
                found: leadership.in_sync().len(),
                min: leadership.in_sync_min(),
            });
        }
        Ok(leadership.leader_epoch())
    }

    fn wait_for(&self, appended: &Appended, acks: Acks) -> PendingAck {
        let end = appended.last_offset.checked_add(1).unwrap_or(Offset::MAX);
        let (answer, receiver) = oneshot::channel();
        let progress = self.log_progress();
        let mut inner = match self.serving() {
            Ok(inner) => inner,
            Err(PartitionError::Offline(reason)) => return PendingAck::ready(Err(reason.into())),
            Err(_) => return PendingAck::ready(Err(AckLost::Closed)),
        };
        let ticket = Ticket(inner.next_ticket);
        inner.next_ticket += 1;
        inner.pending.insert(ticket, answer);
        let moved = self.feed(&mut inner, Event::LocalProgress(progress));
        let moved = self.feed(&mut inner, Event::AckWanted { ticket, end, acks }) || moved;
        self.wake_readers(inner, moved);
        PendingAck::waiting(receiver, ticket, Weak::clone(&self.this))
    }

    /// Where it stands for readers.
    ///
    /// # Errors
    /// Why it serves nothing.
    pub fn offsets(&self) -> Result<Offsets, PartitionError> {
        let positions = self.log()?.positions();
        Ok(self.offsets_at(&positions))
    }

    /// Where it stands for readers, given its log's positions.
    #[must_use]
    pub fn offsets_at(&self, positions: &Positions) -> Offsets {
        let high_watermark = self.high_watermark();
        Offsets {
            log_start: positions.log_start,
            last_stable: positions.last_stable(high_watermark),
            high_watermark,
        }
    }

    /// Exclusive end of what the in-sync set has.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.load(Ordering::Acquire)).unwrap_or(Offset::ZERO)
    }

    /// Refuses a reader that believes in another leadership.
    ///
    /// # Errors
    /// Which one it believes in; why the partition serves nothing.
    pub fn check_leader_epoch(&self, known: Option<LeaderEpoch>) -> Result<(), PartitionError> {
        check_epoch(self.leader_epoch()?, known)
    }

    /// Reads from memory only; never blocks. `None` when the disk is needed.
    ///
    /// # Errors
    /// An offset out of range; why it serves nothing.
    pub fn read_cached(
        &self,
        request: &ReadRequest,
    ) -> Result<Option<ReadBatches>, PartitionError> {
        Ok(self.log()?.read_cached(request)?)
    }

    /// Parks a read at `offset` until more can be read there; `None` when it can be already.
    ///
    /// # Errors
    /// Why it serves nothing.
    pub fn park(
        &self,
        offset: Offset,
        isolation: Isolation,
        wakeups: &Arc<Wakeups>,
        token: u64,
    ) -> Result<Option<Parked>, PartitionError> {
        let positions = self.log()?.positions();
        let mut inner = self.serving()?;
        // Under the lock that moves the high watermark, so no move is missed in between.
        let offsets = self.offsets_at(&positions);
        let end = match isolation {
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => inner.last_stable,
        };
        if end > offset {
            return Ok(None);
        }
        let id = inner.parked.insert(wakeups, token);
        drop(inner);
        Ok(Some(Parked {
            replica: Weak::clone(&self.this),
            id,
        }))
    }

    pub(super) fn unpark(&self, id: u64) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.parked.remove(id);
        }
    }

    pub(super) fn forget(&self, ticket: Ticket) {
        if let Ok(mut inner) = self.inner.lock()
            && inner.pending.remove(&ticket).is_some()
        {
            self.feed(&mut inner, Event::AckForgotten { ticket });
        }
    }

    /// Raises the log start to `before`, or to the high watermark for `None`. Waits for the disk.
    ///
    /// # Errors
    /// An offset beyond the high watermark; what the disk says.
    pub fn delete_records(&self, before: Option<Offset>) -> Result<Offset, PartitionError> {
        let log = self.log()?;
        let offsets = self.offsets()?;
        let before = before.unwrap_or(offsets.high_watermark);
        if before > offsets.high_watermark {
            return Err(PartitionError::Read(ReadError::OutOfRange {
                requested: before,
                log_start: offsets.log_start,
                log_end: offsets.high_watermark,
            }));
        }
        let log_start = log.delete_records(before)?;
        self.progressed();
        Ok(log_start)
    }

    /// Puts a changed topic configuration into force.
    pub fn set_config(&self, config: &ReplicaConfig) {
        if let Some(log) = &self.log {
            log.set_config(Arc::clone(&config.log));
        }
        if let Ok(mut inner) = self.serving() {
            let moved = self.feed(&mut inner, Event::RulesChanged(config.rules));
            self.wake_readers(inner, moved);
        }
    }

    /// Flushes and closes the log in a clean shutdown: what was appended is acknowledged first, then
    /// everybody who still waits is told. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; then the partition is not part of the clean shutdown.
    pub fn close(&self) -> Result<ClosedLog, PartitionError> {
        let log = self.log()?;
        log.flush()?;
        self.progressed();
        let closed = log.close();
        self.end(Status::Closed);
        Ok(closed?)
    }

    /// Removes the partition: nothing is served any more, its directory is renamed away.
    /// Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn delete(&self) -> Result<(), PartitionError> {
        self.end(Status::Closed);
        match &self.log {
            Some(log) => Ok(log.delete()?),
            None => Ok(()),
        }
    }

    /// Takes note of the log's positions.
    pub fn progressed(&self) {
        let progress = self.log_progress();
        let Ok(mut inner) = self.serving() else {
            return;
        };
        let moved = self.feed(&mut inner, Event::LocalProgress(progress));
        self.wake_readers(inner, moved);
    }

    fn log_progress(&self) -> Progress {
        let log = self.log.as_ref();
        log.map_or_else(Progress::default, |log| progress(&log.positions()))
    }

    /// Feeds the state machine and does what it asks; whether the high watermark moved.
    fn feed(&self, inner: &mut Inner, event: Event) -> bool {
        let Status::Leading(leadership) = &mut inner.status else {
            return false;
        };
        let mut actions = Vec::new();
        if let Err(refusal) = leadership.handle(event, &mut actions) {
            tracing::debug!(partition = %self.partition, %refusal, "replication refused");
        }
        let mut moved = false;
        for action in actions {
            match action {
                Action::HighWatermark(offset) => {
                    self.high_watermark.store(offset.get(), Ordering::Release);
                    moved = true;
                }
                Action::Acknowledge { ticket, claim } => {
                    if let Some(answer) = inner.pending.remove(&ticket) {
                        // Whoever waited may have gone; the records are in the log all the same.
                        let _ = answer.send(Ok(claim));
                    }
                }
                Action::Flush => {
                    if let Some(log) = &self.log {
                        log.request_flush();
                    }
                }
                // Only followers bring proposals about, and this broker is the only replica.
                Action::ProposeInSyncSet { in_sync, .. } => {
                    tracing::debug!(partition = %self.partition, ?in_sync, "in-sync set proposed");
                }
            }
        }
        moved
    }

    /// Gives the lock back, then tells everybody who can see what moved.
    fn wake_readers(&self, mut inner: MutexGuard<'_, Inner>, high_watermark_moved: bool) {
        let woken = self.readers_to_wake(&mut inner, high_watermark_moved);
        drop(inner);
        woken.wake();
        if high_watermark_moved {
            self.tell_watcher();
        }
    }

    /// Takes out the parked reads if anything they can see moved.
    fn readers_to_wake(&self, inner: &mut Inner, high_watermark_moved: bool) -> ParkedReads {
        let high_watermark = self.high_watermark();
        let log = self.log.as_ref();
        let last_stable = log.map_or(high_watermark, |log| {
            log.positions().last_stable(high_watermark)
        });
        let stable_moved = last_stable > inner.last_stable;
        inner.last_stable = inner.last_stable.max(last_stable);
        if high_watermark_moved || stable_moved {
            inner.parked.take()
        } else {
            ParkedReads::default()
        }
    }

    fn end(&self, status: Status) {
        let mut inner = self
            .inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // The first reason to be offline is kept; being closed is final.
        let replaced = match (&inner.status, &status) {
            (Status::Closed, _) | (Status::Offline(_), Status::Offline(_)) => return,
            _ => std::mem::replace(&mut inner.status, status),
        };
        drop(replaced);
        let lost = match &inner.status {
            Status::Offline(reason) => AckLost::Offline(reason.clone()),
            Status::Leading(_) | Status::Closed => AckLost::Closed,
        };
        let pending = std::mem::take(&mut inner.pending);
        let parked = inner.parked.take();
        drop(inner);
        for answer in pending.into_values() {
            let _ = answer.send(Err(lost.clone()));
        }
        parked.wake();
        self.tell_watcher();
    }

    /// The state, if the partition serves.
    fn serving(&self) -> Result<MutexGuard<'_, Inner>, PartitionError> {
        let inner = self.inner.lock().map_err(|_| Offline {
            reason: "a panic left the partition's state unknown".into(),
        })?;
        match &inner.status {
            Status::Leading(_) => Ok(inner),
            Status::Offline(reason) => Err(PartitionError::Offline(reason.clone())),
            Status::Closed => Err(PartitionError::Closed),
        }
    }
}

impl Inner {
    fn leadership(&self) -> Result<&Leadership, PartitionError> {
        match &self.status {
            Status::Leading(leadership) => Ok(leadership),
            Status::Offline(reason) => Err(PartitionError::Offline(reason.clone())),
            Status::Closed => Err(PartitionError::Closed),
        }
    }
}

fn progress(positions: &Positions) -> Progress {
    Progress {
        log_end: positions.log_end,
        flushed: positions.flushed.min(positions.log_end),
    }
}

fn check_epoch(current: LeaderEpoch, known: Option<LeaderEpoch>) -> Result<(), PartitionError> {
    match known {
        Some(found) if found < current => Err(PartitionError::FencedLeaderEpoch { found, current }),
        Some(found) if found > current => {
            Err(PartitionError::UnknownLeaderEpoch { found, current })
        }
        _ => Ok(()),
    }
}

/// What the log calls; it must not keep the replica alive.
#[derive(Debug)]
struct Observer(Weak<Replica>);

impl LogObserver for Observer {
    fn advanced(&self) {
        if let Some(replica) = self.0.upgrade() {
            replica.progressed();
        }
    }

    fn went_offline(&self, offline: &Offline) {
        if let Some(replica) = self.0.upgrade() {
            replica.end(Status::Offline(offline.clone()));
        }
    }
}
