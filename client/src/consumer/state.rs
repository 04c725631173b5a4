//! [`State`]: what is assigned and what has been read ahead of it; shared by the consumer, which
//! takes records out, the readers of its streams, which put batches in, and its fetcher, which sees
//! to it that every partition is fetched.
//!
//! Credit: each partition may have `share` bytes on their way or read ahead. What is on its way is
//! `granted`; what is here is `held`; their sum is brought back to `share` once half of it was used.

mod managed;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Instant,
};

use bytes::Bytes;
pub(crate) use managed::{Committable, Starting};
use millstream_proto::{
    TopicName,
    grpc::v1::{self, fetch_request::Request},
};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    IsolationLevel,
    builder::ConsumerConfig,
    fetched::{Fetched, FetchedReader, Wanted},
    fetcher::{Question, Route},
};
use crate::{
    connection::{Backoff, Connection},
    error::{Error, Result},
};

/// What a consumer, its readers and its fetcher have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connection: Arc<Connection>,
    pub(crate) config: ConsumerConfig,
    /// Tells the fetcher that it may have something to do.
    pub(crate) wake: Notify,
    /// Somebody waits for a safe point: [`Shared::safe_points`].
    attention: AtomicBool,
    /// Counts the times that the application came back for more, and so was done with every record
    /// handed out before; counted only where somebody waits for it.
    pub(crate) safe_points: watch::Sender<u64>,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(connection: Arc<Connection>, config: ConsumerConfig) -> Self {
        Self {
            connection,
            config,
            wake: Notify::new(),
            attention: AtomicBool::new(false),
            safe_points: watch::Sender::new(0),
            state: Mutex::default(),
        }
    }

    /// Whether [`Shared::pass_safe_point`] is due.
    pub(crate) fn wants_safe_point(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// Asks for a safe point, and says which number will be the first after now.
    pub(crate) fn request_safe_point(&self, state: &mut State) -> u64 {
        self.attention.store(true, Ordering::Release);
        state.wake_consumer();
        self.safe_points.borrow().saturating_add(1)
    }

    /// The application is done with everything handed out: `reading` is the answer it takes records
    /// from. `false` where that answer is of a partition that it must get nothing more of.
    pub(crate) fn pass_safe_point(&self, reading: Option<&FetchedReader>) -> bool {
        let mut state = self.state();
        self.attention.store(false, Ordering::Release);
        let goes_on = state.note_handed_out(reading);
        self.safe_points
            .send_modify(|passed| *passed = passed.saturating_add(1));
        goes_on
    }

    /// Every moment is a safe point from now on: the application takes no more records.
    pub(crate) fn pass_all_safe_points(&self) {
        self.safe_points.send_replace(u64::MAX);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is assigned and what has been read ahead of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By slot: a number that is never used twice.
    pub(crate) partitions: BTreeMap<u64, PartitionState>,
    slots: HashMap<(TopicName, i32), u64>,
    last_slot: u64,
    /// Slots by the fetch ids under which they are being read.
    fetches: HashMap<u64, u64>,
    last_fetch_id: u64,
    /// Slots that have something to hand out, in turn.
    ready: VecDeque<u64>,
    /// What stopped partitions and was not told yet.
    errors: VecDeque<(u64, Error)>,
    /// The task that waits for a record.
    pub(crate) consumer: Option<Waker>,
    /// By address of the broker.
    pub(crate) routes: HashMap<Arc<str>, Route>,
    pub(crate) last_stream_id: u64,
    /// The consumer is gone.
    pub(crate) closed: bool,
    /// Topics that are being asked for, or were.
    pub(crate) questions: HashMap<TopicName, Question>,
    /// A group assigns partitions: having read all there are is no end.
    pub(crate) is_subscribed: bool,
    /// Why the group assigns none any more.
    pub(crate) group_error: Option<Error>,
}

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) topic: TopicName,
    pub(crate) topic_id: Bytes,
    pub(crate) partition: i32,
    /// Offset of the next record to hand out, as of the last answer that was read to its end.
    pub(crate) position: i64,
    /// Offset to fetch next.
    pub(crate) fetch_from: i64,
    pub(crate) until: Option<i64>,
    pub(crate) paused: bool,
    /// What stopped it.
    pub(crate) halted: Option<Error>,
    pub(crate) fetch: Option<Fetch>,
    /// Answers that nobody has looked at.
    fetched: VecDeque<Fetched>,
    /// An answer that was being read when the partition was paused.
    reading: Option<Box<FetchedReader>>,
    /// Bytes of `fetched`, and of the answer being read.
    held: i64,
    /// Counts the times it was moved: an answer from before must not move it back.
    generation: u64,
    is_ready: bool,
    pub(crate) not_before: Option<Instant>,
    pub(crate) backoff: Backoff,
    /// The end of the log for the consumer's isolation level, as last heard.
    pub(crate) end_offset: Option<i64>,
    /// A group assigned it, and will take it back where its topic goes.
    pub(crate) is_managed: bool,
    /// The group takes it back: it counts as not assigned, and waits for its commit.
    is_revoked: bool,
    /// Leader epoch of the last batch that was read, -1 for none.
    leader_epoch: i32,
    /// The position, as far as the application was done with what came before it.
    committable: Option<i64>,
    /// What is known to be committed.
    committed: Option<i64>,
}

/// A partition's place on a fetch stream.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) fetch_id: u64,
    pub(crate) stream_id: u64,
    requests: mpsc::Sender<v1::FetchRequest>,
    /// Credit that was granted and not used; negative by less than a batch.
    granted: i64,
    share: i64,
    /// What all partitions of the stream may have together.
    total: i64,
}

/// A partition to be assigned, with its offsets known.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) topic: TopicName,
    pub(crate) topic_id: Bytes,
    pub(crate) partition: i32,
    pub(crate) position: i64,
    pub(crate) until: Option<i64>,
}

/// What there is for the consumer.
#[derive(Debug)]
pub(crate) enum Turn {
    Read(Box<FetchedReader>),
    Failed(Error),
    /// Everything has been read up to its end.
    Finished,
    Wait,
}

fn request(request: Request) -> v1::FetchRequest {
    v1::FetchRequest {
        request: Some(request),
    }
}

impl PartitionState {
    pub(crate) fn is_finished(&self) -> bool {
        self.until.is_some_and(|until| self.position >= until)
    }

    /// Whether it should be fetched and is not.
    pub(crate) fn wants_fetch(&self) -> bool {
        self.fetch.is_none()
            && self.halted.is_none()
            && !self.is_revoked
            && self.until.is_none_or(|until| self.fetch_from < until)
    }

    /// Stops fetching. A broker that does not hear of it finds its credit used up.
    fn stop_fetch(&mut self, fetches: &mut HashMap<u64, u64>) {
        if let Some(fetch) = self.fetch.take() {
            fetches.remove(&fetch.fetch_id);
            let remove = v1::FetchRemove {
                fetch_id: fetch.fetch_id,
            };
            let _ = fetch.requests.try_send(request(Request::Remove(remove)));
        }
    }

    /// Grants what was used, once it is half of the share. `false` when the stream takes nothing now.
    pub(crate) fn grant(&mut self) -> bool {
        let until = self.until;
        let Some(fetch) = &mut self.fetch else {
            return true;
        };
        let used = fetch
            .share
            .saturating_sub(fetch.granted)
            .saturating_sub(self.held);
        if used < fetch.share.div_euclid(2).max(1)
            || until.is_some_and(|until| self.fetch_from >= until)
        {
            return true;
        }
        let bytes = u64::try_from(used).unwrap_or(0);
        let credit = v1::FetchCredit {
            fetch_id: fetch.fetch_id,
            bytes,
        };
        let taken = fetch
            .requests
            .try_send(request(Request::Credit(credit)))
            .is_ok();
        if taken {
            fetch.granted = fetch.granted.saturating_add(used);
        }
        taken
    }
}

impl State {
    fn slot(&self, topic: &str, partition: i32) -> Result<u64> {
        let name = TopicName::new(topic).ok();
        let slot = name.and_then(|name| self.slots.get(&(name, partition)));
        let is_revoked = |slot: &u64| self.partitions.get(slot).is_some_and(|it| it.is_revoked);
        let slot = slot.copied().filter(|slot| !is_revoked(slot));
        slot.ok_or_else(|| Error::NotAssigned {
            topic: topic.to_owned(),
            partition,
        })
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Result<(u64, &PartitionState)> {
        let slot = self.slot(topic, partition)?;
        let state = self.partitions.get(&slot);
        state
            .map(|state| (slot, state))
            .ok_or_else(|| Error::NotAssigned {
                topic: topic.to_owned(),
                partition,
            })
    }

    pub(crate) fn partition_mut(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<(u64, &mut PartitionState)> {
        let slot = self.slot(topic, partition)?;
        let state = self.partitions.get_mut(&slot);
        state
            .map(|state| (slot, state))
            .ok_or_else(|| Error::NotAssigned {
                topic: topic.to_owned(),
                partition,
            })
    }

    /// Replaces what is assigned.
    pub(crate) fn assign(&mut self, resolved: Vec<Resolved>, backoff: &Backoff) {
        for partition in self.partitions.values_mut() {
            partition.stop_fetch(&mut self.fetches);
        }
        self.partitions.clear();
        self.slots.clear();
        self.fetches.clear();
        self.ready.clear();
        self.errors.clear();
        for resolved in resolved {
            self.insert(resolved, backoff);
        }
    }

    /// Adds a partition that is not there, under a new slot.
    fn insert(&mut self, resolved: Resolved, backoff: &Backoff) -> u64 {
        self.last_slot += 1;
        self.slots
            .insert((resolved.topic.clone(), resolved.partition), self.last_slot);
        let state = PartitionState {
            topic: resolved.topic,
            topic_id: resolved.topic_id,
            partition: resolved.partition,
            position: resolved.position,
            fetch_from: resolved.position,
            until: resolved.until,
            paused: false,
            halted: None,
            fetch: None,
            fetched: VecDeque::new(),
            reading: None,
            held: 0,
            generation: 0,
            is_ready: false,
            not_before: None,
            backoff: backoff.clone(),
            end_offset: None,
            is_managed: false,
            is_revoked: false,
            leader_epoch: -1,
            committable: None,
            committed: None,
        };
        self.partitions.insert(self.last_slot, state);
        self.last_slot
    }

    /// Moves a partition and forgets what was read ahead of it.
    pub(crate) fn seek(&mut self, slot: u64, position: i64) {
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return;
        };
        partition.stop_fetch(&mut self.fetches);
        partition.fetched.clear();
        partition.reading = None;
        partition.held = 0;
        partition.halted = None;
        partition.not_before = None;
        partition.position = position;
        partition.fetch_from = position;
        partition.generation += 1;
        self.errors.retain(|(failed, _)| *failed != slot);
    }

    /// Goes on at another offset because the one to fetch next is not in the log. What was read ahead
    /// stays valid where that is later, but not where the log was cut and is written anew.
    pub(crate) fn reset(&mut self, slot: u64, offset: i64) {
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return;
        };
        if offset >= partition.fetch_from && partition.held > 0 {
            partition.fetch_from = offset;
        } else {
            self.seek(slot, offset);
            // That may have been all there was to read.
            self.wake_consumer();
        }
    }

    /// Stops a partition until it is moved, and has the consumer told.
    pub(crate) fn halt(&mut self, slot: u64, error: Error) {
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return;
        };
        partition.stop_fetch(&mut self.fetches);
        partition.halted = Some(error.clone());
        self.errors.push_back((slot, error));
        self.wake_consumer();
    }

    /// Stops a partition for a reason that the consumer is being told right now.
    pub(crate) fn halt_told(&mut self, slot: u64, position: i64, error: Error) {
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return;
        };
        partition.stop_fetch(&mut self.fetches);
        partition.fetched.clear();
        partition.held = 0;
        partition.position = position;
        partition.fetch_from = position;
        partition.halted = Some(error);
    }

    fn wake_consumer(&mut self) {
        self.consumer.take().into_iter().for_each(Waker::wake);
    }

    fn mark_ready(&mut self, slot: u64) {
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return;
        };
        let has_something = partition.reading.is_some() || !partition.fetched.is_empty();
        if has_something && !partition.paused && !partition.is_ready {
            partition.is_ready = true;
            self.ready.push_back(slot);
            self.wake_consumer();
        }
    }

    /// What each partition may have of `total` bytes.
    fn share_of(&self, total: i64) -> i64 {
        let partitions = i64::try_from(self.partitions.len()).unwrap_or(i64::MAX);
        total.checked_div(partitions).unwrap_or(total).max(1)
    }

    /// Asks for a partition on a stream, with its share of `total` bytes as credit. `false` when the
    /// stream takes nothing now.
    pub(crate) fn start_fetch(
        &mut self,
        slot: u64,
        stream_id: u64,
        leader_epoch: i32,
        total: i64,
        requests: &mpsc::Sender<v1::FetchRequest>,
    ) -> bool {
        let share = self.share_of(total);
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return true;
        };
        let credit = share.saturating_sub(partition.held).max(1);
        self.last_fetch_id += 1;
        let add = v1::FetchAdd {
            fetch_id: self.last_fetch_id,
            topic_id: partition.topic_id.clone(),
            partition: partition.partition,
            offset: partition.fetch_from,
            leader_epoch,
            credit_bytes: u64::try_from(credit).unwrap_or(1),
        };
        if requests.try_send(request(Request::Add(add))).is_err() {
            return false;
        }
        self.fetches.insert(self.last_fetch_id, slot);
        partition.fetch = Some(Fetch {
            fetch_id: self.last_fetch_id,
            stream_id,
            requests: requests.clone(),
            granted: credit,
            share,
            total,
        });
        true
    }

    /// Takes in what a broker sent. What belongs to no fetch any more is dropped.
    pub(crate) fn fetched(&mut self, data: v1::FetchData, isolation: IsolationLevel) {
        let Some(slot) = self.fetches.get(&data.fetch_id).copied() else {
            return;
        };
        let Some(partition) = self.partitions.get_mut(&slot) else {
            return;
        };
        partition.backoff.succeeded();
        partition.end_offset = Some(match isolation {
            IsolationLevel::ReadUncommitted => data.high_watermark,
            IsolationLevel::ReadCommitted => data.last_stable_offset,
        });
        if data.batches.is_empty() {
            return;
        }
        let fetched = Fetched {
            batches: data.batches,
            aborted: data.aborted_transactions,
        };
        // Where a batch is broken the reader of its records will say so.
        let batches = millstream_proto::record::BatchIter::new(&fetched.batches);
        if let Some(last) = batches.map_while(std::result::Result::ok).last() {
            let end_offset = last.last_offset().get().saturating_add(1);
            partition.fetch_from = partition.fetch_from.max(end_offset);
        }
        partition.held = partition.held.saturating_add(fetched.bytes());
        if let Some(fetch) = &mut partition.fetch {
            fetch.granted = fetch.granted.saturating_sub(fetched.bytes());
        }
        partition.fetched.push_back(fetched);
        self.mark_ready(slot);
    }

    /// Ends the fetch that a broker gave up, and returns its slot.
    pub(crate) fn fetch_failed(&mut self, fetch_id: u64) -> Option<u64> {
        let slot = self.fetches.remove(&fetch_id)?;
        self.partitions.get_mut(&slot)?.fetch = None;
        Some(slot)
    }

    /// Ends all fetches of a stream that broke, and returns their topics.
    pub(crate) fn stream_broke(&mut self, stream_id: u64) -> Vec<TopicName> {
        let mut topics = Vec::new();
        for partition in self.partitions.values_mut() {
            let of_stream = |fetch: &mut Fetch| fetch.stream_id == stream_id;
            if let Some(fetch) = partition.fetch.take_if(of_stream) {
                self.fetches.remove(&fetch.fetch_id);
                topics.push(partition.topic.clone());
            }
        }
        topics.dedup();
        topics
    }

    /// Ends fetches of partitions that have been read up to their end.
    pub(crate) fn stop_finished(&mut self) {
        for partition in self.partitions.values_mut() {
            if partition
                .until
                .is_some_and(|until| partition.fetch_from >= until)
            {
                partition.stop_fetch(&mut self.fetches);
            }
        }
    }

    /// What the consumer does next.
    pub(crate) fn next_turn(&mut self) -> Turn {
        if let Some((_, error)) = self.errors.pop_front() {
            return Turn::Failed(error);
        }
        while let Some(slot) = self.ready.pop_front() {
            let Some(partition) = self.partitions.get_mut(&slot) else {
                continue;
            };
            partition.is_ready = false;
            if partition.paused || partition.is_revoked {
                continue;
            }
            if let Some(reading) = partition.reading.take() {
                return Turn::Read(reading);
            }
            if let Some(fetched) = partition.fetched.pop_front() {
                let wanted = Wanted {
                    slot,
                    generation: partition.generation,
                    topic: partition.topic.clone(),
                    partition: partition.partition,
                    position: partition.position,
                    until: partition.until,
                    leader_epoch: partition.leader_epoch,
                };
                return Turn::Read(Box::new(FetchedReader::new(wanted, fetched)));
            }
        }
        let mut unfinished = self
            .partitions
            .values()
            .filter(|partition| !partition.is_finished());
        if let Some(error) = &self.group_error {
            return Turn::Failed(error.clone());
        }
        let first = match unfinished.next() {
            Some(first) => first,
            None if self.is_subscribed => return Turn::Wait,
            None => return Turn::Finished,
        };
        match &first.halted {
            // A group may yet assign others.
            Some(error)
                if !self.is_subscribed
                    && unfinished.all(|partition| partition.halted.is_some()) =>
            {
                Turn::Failed(error.clone())
            }
            _ => Turn::Wait,
        }
    }

    /// Takes note of an answer that was read to its end. `false` when the fetcher has to help.
    pub(crate) fn finish_reading(&mut self, reader: &FetchedReader) -> bool {
        let Some(partition) = self.partitions.get_mut(&reader.wanted.slot) else {
            return true;
        };
        if partition.generation != reader.wanted.generation {
            return true;
        }
        partition.position = reader.wanted.position;
        partition.leader_epoch = reader.wanted.leader_epoch;
        partition.held = partition.held.saturating_sub(reader.bytes);
        let is_finished = partition.is_finished();
        let granted = partition.grant();
        self.mark_ready(reader.wanted.slot);
        granted && !is_finished
    }

    /// Keeps an answer that is being read for when its partition is resumed.
    pub(crate) fn stash(&mut self, reader: Box<FetchedReader>) {
        let slot = reader.wanted.slot;
        let generation = reader.wanted.generation;
        if let Some(partition) = self.partitions.get_mut(&slot)
            && partition.generation == generation
        {
            partition.position = reader.wanted.position;
            partition.leader_epoch = reader.wanted.leader_epoch;
            partition.reading = Some(reader);
        }
        self.mark_ready(slot);
    }

    pub(crate) fn resume(&mut self, slot: u64) {
        if let Some(partition) = self.partitions.get_mut(&slot) {
            partition.paused = false;
        }
        self.mark_ready(slot);
    }
}
