//! [`Leadership`]: the state of one partition while this broker leads it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream_proto::{BrokerId, LeaderEpoch, Offset};

use super::{Acks, Action, Claim, Durability, Event, Progress, Ticket};

/// What a topic's configuration asks of replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What counts as safe.
    pub durability: Durability,
    /// In-sync replicas without which the high watermark does not move (`min.insync.replicas`).
    pub in_sync_min: u32,
    /// A follower that was not caught up for longer leaves the in-sync set
    /// (`replica.lag.time.max.ms`).
    pub lag_time_max_ms: u64,
}

/// Where a leadership starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadershipStart {
    /// This broker.
    pub local: BrokerId,
    /// Epoch of this leadership.
    pub leader_epoch: LeaderEpoch,
    /// Version of the in-sync set.
    pub partition_epoch: i32,
    /// The in-sync set as the controller knows it; the leader is added if it is missing.
    pub in_sync: BTreeSet<BrokerId>,
    /// All replicas, the in-sync ones among them.
    pub replicas: BTreeSet<BrokerId>,
    /// The leader's own log.
    pub progress: Progress,
    /// The high watermark known from an earlier time, at most the log end.
    pub high_watermark: Offset,
    /// What the topic asks for.
    pub rules: Rules,
    /// Now, in milliseconds of a monotonic clock.
    pub now_ms: u64,
}

/// Why an event was refused. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The follower believes in an earlier leadership.
    #[error("leader epoch {found} is fenced, the current one is {current}")]
    FencedEpoch {
        /// Epoch of the request.
        found: LeaderEpoch,
        /// Epoch of this leadership.
        current: LeaderEpoch,
    },
    /// The follower knows of a later leadership than this broker.
    #[error("leader epoch {found} is not known yet, the current one is {current}")]
    UnknownEpoch {
        /// Epoch of the request.
        found: LeaderEpoch,
        /// Epoch of this leadership.
        current: LeaderEpoch,
    },
    /// The broker holds no replica of the partition.
    #[error("broker {found} holds no replica of the partition")]
    NotAReplica {
        /// The broker.
        found: BrokerId,
    },
}

#[derive(Debug, Clone)]
struct Follower {
    progress: Progress,
    /// When it last had everything that the leader had.
    caught_up_ms: u64,
    /// The leader's log end when it fetched last, and when that was: a follower that reaches it by
    /// its next fetch was caught up at that time (as Kafka's `Replica` defines lag).
    last_fetch: (Offset, u64),
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    end: Offset,
    ticket: Ticket,
}

/// The state machine of one partition while this broker leads it.
#[derive(Debug, Clone)]
pub struct Leadership {
    local: BrokerId,
    leader_epoch: LeaderEpoch,
    /// First offset of this leadership: a follower below it may hold another leader's records.
    epoch_start: Offset,
    partition_epoch: i32,
    in_sync: BTreeSet<BrokerId>,
    proposed: Option<BTreeSet<BrokerId>>,
    progress: Progress,
    followers: BTreeMap<BrokerId, Follower>,
    high_watermark: Offset,
    rules: Rules,
    // Both ordered by `end`. Their lengths are bounded by whoever lets requests in.
    waits_for_leader: VecDeque<Wait>,
    waits_for_all: VecDeque<Wait>,
}

impl Leadership {
    /// Starts leading. Call [`Leadership::handle`] with the first event to learn the high watermark.
    ///
    /// # Panics
    /// When the high watermark or the flushed offset is above the log end: the log is then not the
    /// one that they belong to.
    #[must_use]
    pub fn new(start: LeadershipStart) -> Self {
        assert!(
            start.high_watermark <= start.progress.log_end
                && start.progress.flushed <= start.progress.log_end,
            "high watermark {} and flushed {} must not pass log end {}",
            start.high_watermark,
            start.progress.flushed,
            start.progress.log_end,
        );
        let LeadershipStart { local, now_ms, .. } = start;
        let followers = start.replicas.iter().filter(|id| **id != local);
        let mut in_sync = start.in_sync;
        in_sync.insert(local);
        Self {
            local,
            leader_epoch: start.leader_epoch,
            epoch_start: start.progress.log_end,
            partition_epoch: start.partition_epoch,
            in_sync,
            proposed: None,
            progress: start.progress,
            followers: followers
                .map(|id| (*id, Follower::unknown(now_ms)))
                .collect(),
            high_watermark: start.high_watermark,
            rules: start.rules,
            waits_for_leader: VecDeque::new(),
            waits_for_all: VecDeque::new(),
        }
    }

    /// Exclusive end of what readers may see.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Epoch of this leadership.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The in-sync set as the controller decided it.
    #[must_use]
    pub fn in_sync(&self) -> &BTreeSet<BrokerId> {
        &self.in_sync
    }

    /// Whether the in-sync set is large enough for `acks=all`.
    #[must_use]
    pub fn has_enough_in_sync(&self) -> bool {
        u32::try_from(self.in_sync.len()).is_ok_and(|count| count >= self.rules.in_sync_min)
    }

    /// In-sync replicas that the topic asks for.
    #[must_use]
    pub fn in_sync_min(&self) -> u32 {
        self.rules.in_sync_min
    }

    /// Acknowledgements that are waited for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waits_for_leader.len() + self.waits_for_all.len()
    }

    /// Takes in one event; what is to be done is pushed to `actions`, in the order to do it.
    ///
    /// # Errors
    /// [`Refusal`] for a follower's fetch that this leadership does not accept.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) -> Result<(), Refusal> {
        match event {
            Event::LocalProgress(progress) => self.local_progress(progress),
            Event::AckWanted { ticket, end, acks } => self.wait(Wait { end, ticket }, acks),
            Event::AckForgotten { ticket } => self.forget(ticket),
            Event::FollowerFetched {
                follower,
                leader_epoch,
                progress,
                now_ms,
            } => {
                self.follower_fetched(follower, leader_epoch, progress, now_ms)?;
                self.propose_expansion(follower, actions);
            }
            Event::Tick { now_ms } => self.propose_shrinking(now_ms, actions),
            Event::InSyncSetChanged {
                partition_epoch,
                in_sync,
            } => self.in_sync_set_changed(partition_epoch, in_sync),
            Event::ProposalRefused { partition_epoch } => {
                if partition_epoch == self.partition_epoch {
                    self.proposed = None;
                }
            }
            Event::RulesChanged(rules) => {
                self.rules = rules;
                if self.high_watermark > self.safe_offset(self.progress) {
                    actions.push(Action::Flush);
                }
            }
        }
        self.advance(actions);
        Ok(())
    }

    /// Ends the leadership; returns the waits that nobody will answer any more.
    #[must_use]
    pub fn resign(self) -> Vec<Ticket> {
        let waits = self.waits_for_leader.into_iter().chain(self.waits_for_all);
        waits.map(|wait| wait.ticket).collect()
    }

    fn local_progress(&mut self, progress: Progress) {
        self.progress.log_end = self.progress.log_end.max(progress.log_end);
        let flushed = progress.flushed.min(self.progress.log_end);
        self.progress.flushed = self.progress.flushed.max(flushed);
    }

    fn wait(&mut self, wait: Wait, acks: Acks) {
        let queue = match acks {
            Acks::Leader => &mut self.waits_for_leader,
            Acks::All => &mut self.waits_for_all,
        };
        // Almost always the last place: only a duplicate waits for an earlier end.
        let place = queue.partition_point(|other| other.end <= wait.end);
        queue.insert(place, wait);
    }

    fn forget(&mut self, ticket: Ticket) {
        self.waits_for_leader.retain(|wait| wait.ticket != ticket);
        self.waits_for_all.retain(|wait| wait.ticket != ticket);
    }

    fn follower_fetched(
        &mut self,
        id: BrokerId,
        leader_epoch: LeaderEpoch,
        progress: Progress,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let current = self.leader_epoch;
        let found = leader_epoch;
        if found < current {
            return Err(Refusal::FencedEpoch { found, current });
        }
        if found > current {
            return Err(Refusal::UnknownEpoch { found, current });
        }
        let follower = self.followers.get_mut(&id);
        let follower = follower.ok_or(Refusal::NotAReplica { found: id })?;
        follower.fetched(progress, self.progress.log_end, now_ms);
        Ok(())
    }

    /// A follower may join once it has what readers may see and reached this leadership's start:
    /// below that it may still hold another leader's records.
    fn propose_expansion(&mut self, id: BrokerId, actions: &mut Vec<Action>) {
        if self.proposed.is_some() || self.in_sync.contains(&id) {
            return;
        }
        let needed = self.high_watermark.max(self.epoch_start);
        let reached = self
            .followers
            .get(&id)
            .map(|f| self.safe_offset(f.progress));
        if reached.is_some_and(|reached| reached >= needed) {
            let mut in_sync = self.in_sync.clone();
            in_sync.insert(id);
            self.propose(in_sync, actions);
        }
    }

    fn propose_shrinking(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.proposed.is_some() {
            return;
        }
        let log_end = self.progress.log_end;
        let lags = |id: &BrokerId| {
            self.followers.get(id).is_some_and(|follower| {
                follower.progress.log_end < log_end
                    && now_ms.saturating_sub(follower.caught_up_ms) > self.rules.lag_time_max_ms
            })
        };
        let in_sync: BTreeSet<_> = self
            .in_sync
            .iter()
            .copied()
            .filter(|id| !lags(id))
            .collect();
        if in_sync.len() < self.in_sync.len() {
            self.propose(in_sync, actions);
        }
    }

    fn propose(&mut self, in_sync: BTreeSet<BrokerId>, actions: &mut Vec<Action>) {
        self.proposed = Some(in_sync.clone());
        actions.push(Action::ProposeInSyncSet {
            partition_epoch: self.partition_epoch,
            in_sync,
        });
    }

    fn in_sync_set_changed(&mut self, partition_epoch: i32, mut in_sync: BTreeSet<BrokerId>) {
        if partition_epoch > self.partition_epoch {
            self.partition_epoch = partition_epoch;
            in_sync.insert(self.local);
            self.in_sync = in_sync;
            self.proposed = None;
        }
    }

    /// What of a replica's log counts under the topic's durability.
    fn safe_offset(&self, progress: Progress) -> Offset {
        match self.rules.durability {
            Durability::Fsync => progress.flushed,
            Durability::Replicated => progress.log_end,
        }
    }

    fn progress_of(&self, id: BrokerId) -> Progress {
        if id == self.local {
            return self.progress;
        }
        let follower = self.followers.get(&id);
        follower.map_or_else(Progress::default, |follower| follower.progress)
    }

    fn advance(&mut self, actions: &mut Vec<Action>) {
        let before = self.high_watermark;
        if self.has_enough_in_sync() {
            // A proposed set counts together with the current one: the controller may already have
            // taken it, and a member must never miss what readers were shown.
            let proposed = self.proposed.iter().flatten();
            let members = self.in_sync.iter().chain(proposed);
            let safe = members
                .map(|id| self.safe_offset(self.progress_of(*id)))
                .min();
            self.high_watermark = before.max(safe.unwrap_or(before));
        }
        if self.high_watermark > before {
            assert!(
                self.high_watermark <= self.safe_offset(self.progress),
                "high watermark {} passes the leader's own {:?}",
                self.high_watermark,
                self.progress,
            );
            actions.push(Action::HighWatermark(self.high_watermark));
        }
        self.acknowledge(actions);
    }

    fn acknowledge(&mut self, actions: &mut Vec<Action>) {
        let leader_safe = self.safe_offset(self.progress);
        while let Some(wait) = self.waits_for_leader.pop_front_if(|w| w.end <= leader_safe) {
            actions.push(self.acknowledgement(wait));
        }
        // After durability was raised the high watermark may be ahead of what is safe now.
        let all_safe = self.high_watermark.min(leader_safe);
        while let Some(wait) = self.waits_for_all.pop_front_if(|w| w.end <= all_safe) {
            actions.push(self.acknowledgement(wait));
        }
    }

    fn acknowledgement(&self, wait: Wait) -> Action {
        Action::Acknowledge {
            ticket: wait.ticket,
            claim: self.claim(wait.end),
        }
    }

    fn claim(&self, end: Offset) -> Claim {
        let count = |reached: fn(Progress) -> Offset| {
            let members = self.in_sync.iter();
            let having = members.filter(|id| reached(self.progress_of(**id)) >= end);
            u32::try_from(having.count()).unwrap_or(u32::MAX)
        };
        let appended = count(|progress| progress.log_end);
        let flushed = count(|progress| progress.flushed);
        if self.rules.durability == Durability::Fsync || flushed == appended {
            Claim {
                durability: Durability::Fsync,
                replicas: flushed,
            }
        } else {
            Claim {
                durability: Durability::Replicated,
                replicas: appended,
            }
        }
    }
}

impl Follower {
    fn unknown(now_ms: u64) -> Self {
        Self {
            progress: Progress::default(),
            caught_up_ms: now_ms,
            last_fetch: (Offset::MAX, now_ms),
        }
    }

    fn fetched(&mut self, progress: Progress, leader_log_end: Offset, now_ms: u64) {
        // A follower may truncate and come back lower, so its word replaces what was known.
        self.progress = Progress {
            log_end: progress.log_end,
            flushed: progress.flushed.min(progress.log_end),
        };
        let (log_end_then, then_ms) = self.last_fetch;
        if progress.log_end >= leader_log_end {
            self.caught_up_ms = now_ms;
        } else if progress.log_end >= log_end_then {
            self.caught_up_ms = self.caught_up_ms.max(then_ms);
        }
        self.last_fetch = (leader_log_end, now_ms);
    }
}

#[cfg(test)]
mod tests;
