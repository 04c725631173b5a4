//! What a group does to the partitions of a [`State`]: it adds them, takes them back, and commits
//! how far the application came.

use millstream_proto::TopicName;

use super::{PartitionState, Resolved, State};
use crate::{
    connection::Backoff,
    consumer::{fetched::FetchedReader, group::AssignedPartition},
    error::{Error, Result},
};

/// How far the application came in one assignment of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committable {
    /// Names the assignment: a commit must not outlive it.
    pub(crate) slot: u64,
    pub(crate) topic: TopicName,
    pub(crate) topic_id: bytes::Bytes,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// Where a partition of a group starts.
#[derive(Debug)]
pub(crate) struct Starting {
    pub(crate) assigned: AssignedPartition,
    pub(crate) position: i64,
    /// The position is what is committed.
    pub(crate) is_committed: bool,
    /// Why it cannot be read.
    pub(crate) halted: Option<Error>,
}

impl PartitionState {
    /// Whether its position is one: it has none where looking it up failed, until it is moved.
    const fn has_started(&self) -> bool {
        self.committable.is_some() || self.halted.is_none()
    }

    /// What to commit at `offset`.
    fn committable_at(&self, slot: u64, offset: i64) -> Committable {
        Committable {
            slot,
            topic: self.topic.clone(),
            topic_id: self.topic_id.clone(),
            partition: self.partition,
            offset,
            leader_epoch: self.leader_epoch,
            metadata: String::new(),
        }
    }
}

impl State {
    /// From now on a group assigns partitions.
    pub(crate) fn begin_group(&mut self) {
        self.is_subscribed = true;
        self.group_error = None;
    }

    /// No group assigns partitions any more.
    pub(crate) fn end_group(&mut self) {
        self.is_subscribed = false;
        let managed = self.partitions.iter().filter(|(_, it)| it.is_managed);
        let slots: Vec<_> = managed.map(|(slot, _)| *slot).collect();
        self.remove(&slots);
        self.wake_consumer();
    }

    /// The group refused the member for good.
    pub(crate) fn fail_group(&mut self, error: Error) {
        self.group_error = Some(error);
        self.wake_consumer();
    }

    /// Starts reading what the group assigned. What others were granted before is taken back where
    /// it is far beyond their new share. Returns the slot.
    pub(crate) fn add_managed(&mut self, starting: Starting, backoff: &Backoff) -> u64 {
        let resolved = Resolved {
            topic_id: starting.assigned.id_bytes(),
            topic: starting.assigned.topic,
            partition: starting.assigned.partition,
            position: starting.position,
            until: None,
        };
        let slot = self.insert(resolved, backoff);
        if let Some(partition) = self.partitions.get_mut(&slot) {
            partition.is_managed = true;
            partition.committable = Some(starting.position).filter(|_| starting.halted.is_none());
            partition.committed = partition.committable.filter(|_| starting.is_committed);
        }
        if let Some(error) = starting.halted {
            self.halt(slot, error);
        }
        self.share_anew();
        slot
    }

    fn share_anew(&mut self) {
        let partitions = i64::try_from(self.partitions.len()).unwrap_or(i64::MAX);
        for partition in self.partitions.values_mut() {
            let Some(fetch) = &mut partition.fetch else {
                continue;
            };
            fetch.share = fetch.total.checked_div(partitions).unwrap_or(1).max(1);
            if fetch.granted > fetch.share.saturating_mul(2) {
                partition.stop_fetch(&mut self.fetches);
            }
        }
    }

    /// Hands out nothing more of these partitions, and keeps what is needed to commit them. Returns
    /// the slots of those that are being read.
    pub(crate) fn revoke<'a>(
        &mut self,
        partitions: impl Iterator<Item = &'a AssignedPartition>,
    ) -> Vec<u64> {
        let mut slots = Vec::new();
        for assigned in partitions {
            let place = (assigned.topic.clone(), assigned.partition);
            let Some(slot) = self.slots.get(&place).copied() else {
                continue;
            };
            let Some(partition) = self.partitions.get_mut(&slot) else {
                continue;
            };
            partition.stop_fetch(&mut self.fetches);
            partition.is_revoked = true;
            partition.fetched.clear();
            self.errors.retain(|(failed, _)| *failed != slot);
            slots.push(slot);
        }
        slots
    }

    /// Forgets partitions.
    pub(crate) fn remove(&mut self, slots: &[u64]) {
        for slot in slots {
            let Some(mut partition) = self.partitions.remove(slot) else {
                continue;
            };
            partition.stop_fetch(&mut self.fetches);
            self.slots
                .remove(&(partition.topic.clone(), partition.partition));
            self.errors.retain(|(failed, _)| failed != slot);
        }
        self.share_anew();
    }

    /// Takes note that the application is done with everything handed out. `false` where it takes
    /// records from an answer of a partition that was taken back.
    pub(super) fn note_handed_out(&mut self, reading: Option<&FetchedReader>) -> bool {
        let mut goes_on = true;
        let mut in_reading = None;
        if let Some(reader) = reading {
            match self.partitions.get_mut(&reader.wanted.slot) {
                Some(partition) if partition.generation == reader.wanted.generation => {
                    partition.leader_epoch = reader.wanted.leader_epoch;
                    partition.committable = Some(reader.wanted.position);
                    in_reading = Some(reader.wanted.slot);
                    goes_on = !partition.is_revoked;
                }
                // It was moved.
                Some(_) => {}
                None => goes_on = false,
            }
        }
        for (slot, partition) in &mut self.partitions {
            if Some(*slot) != in_reading && partition.has_started() {
                partition.committable = Some(partition.position);
            }
        }
        goes_on
    }

    /// How far the application came, as of the last safe point, where that is not committed.
    pub(crate) fn uncommitted(&self) -> Vec<Committable> {
        let is_new = |partition: &PartitionState| {
            let offset = partition.committable?;
            (partition.committed != Some(offset)).then_some(offset)
        };
        let of = |(slot, partition): (&u64, &PartitionState)| {
            Some(partition.committable_at(*slot, is_new(partition)?))
        };
        self.partitions.iter().filter_map(of).collect()
    }

    /// How far the application came in one partition, as of the last safe point.
    pub(crate) fn committable(&self, slot: u64) -> Option<Committable> {
        let partition = self.partitions.get(&slot)?;
        Some(partition.committable_at(slot, partition.committable?))
    }

    /// What to commit for a partition that is assigned, or being revoked.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub(crate) fn committable_at(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Committable> {
        let not_assigned = || Error::NotAssigned {
            topic: topic.to_owned(),
            partition,
        };
        let name = TopicName::new(topic).map_err(|_| not_assigned())?;
        let slot = self.slots.get(&(name, partition));
        let slot = *slot.ok_or_else(not_assigned)?;
        let state = self.partitions.get(&slot).ok_or_else(not_assigned)?;
        Ok(state.committable_at(slot, offset))
    }

    /// Takes note that an offset is committed.
    pub(crate) fn committed(&mut self, slot: u64, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&slot) {
            partition.committed = Some(offset);
        }
    }

    /// Whether the partition is assigned, and not being taken back.
    pub(crate) fn is_assigned(&self, slot: u64) -> bool {
        let partition = self.partitions.get(&slot);
        partition.is_some_and(|partition| !partition.is_revoked)
    }

    /// Slots of everything that is assigned.
    pub(crate) fn assigned_slots(&self) -> Vec<u64> {
        let slots = self.partitions.keys().copied();
        slots.filter(|slot| self.is_assigned(*slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_proto::TopicId;

    use super::*;

    fn starting(position: i64, halted: Option<Error>) -> Starting {
        let assigned = AssignedPartition {
            topic: TopicName::new("t").unwrap(),
            topic_id: TopicId::from_bytes([1; 16]),
            partition: 0,
        };
        Starting {
            assigned,
            position,
            is_committed: false,
            halted,
        }
    }

    fn uncommitted(state: &State) -> Vec<i64> {
        let uncommitted = state.uncommitted().into_iter();
        uncommitted.map(|committable| committable.offset).collect()
    }

    /// It committed offset 0 for the partition, which the next member then began at.
    #[test]
    fn a_partition_whose_start_is_not_known_is_not_committed() {
        let mut state = State::default();
        let backoff = Backoff::new((Duration::ZERO, Duration::ZERO));
        let error = Error::NoCommittedOffset {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
        };
        let slot = state.add_managed(starting(0, Some(error)), &backoff);
        state.note_handed_out(None);
        assert_eq!(uncommitted(&state), [0; 0]);
        assert_eq!(state.committable(slot), None);

        state.seek(slot, 7);
        state.note_handed_out(None);
        assert_eq!(uncommitted(&state), [7]);
    }

    #[test]
    fn where_a_partition_starts_is_committed_before_anything_was_read() {
        let mut state = State::default();
        let backoff = Backoff::new((Duration::ZERO, Duration::ZERO));
        state.add_managed(starting(5, None), &backoff);
        assert_eq!(uncommitted(&state), [5]);
    }
}
