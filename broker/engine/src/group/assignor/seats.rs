//! [`Seats`]: a state of an assignment while it is being worked out: who has what, and how many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use millstream_proto::TopicId;

use super::AssignorMember;
use crate::group::{Assignment, PartitionId, Topic, Topics};

/// Who has what.
#[derive(Debug)]
pub(super) struct Seats<'a> {
    seats: BTreeMap<&'a Arc<str>, Seat<'a>>,
    topics: BTreeMap<TopicId, Subscribed<'a>>,
    owners: BTreeMap<PartitionId, &'a Arc<str>>,
}

/// A member.
#[derive(Debug)]
struct Seat<'a> {
    member: &'a AssignorMember,
    has: BTreeMap<TopicId, BTreeSet<PartitionId>>,
    load: usize,
}

/// A topic that somebody subscribes to.
#[derive(Debug)]
struct Subscribed<'a> {
    topic: &'a Topic,
    by: Vec<&'a Arc<str>>,
}

impl<'a> Seats<'a> {
    /// Members without partitions, and the topics that they subscribe to.
    pub(super) fn new(members: &'a [AssignorMember], topics: &'a Topics) -> Self {
        let mut subscribed: BTreeMap<TopicId, Subscribed<'a>> = BTreeMap::new();
        let mut seats = BTreeMap::new();
        for member in members {
            for topic in member.topics.iter().filter_map(|name| topics.get(name)) {
                let entry = subscribed.entry(topic.id);
                let by = Vec::new();
                entry
                    .or_insert(Subscribed { topic, by })
                    .by
                    .push(&member.id);
            }
            let seat = Seat {
                member,
                has: BTreeMap::new(),
                load: 0,
            };
            seats.insert(&member.id, seat);
        }
        Self {
            seats,
            topics: subscribed,
            owners: BTreeMap::new(),
        }
    }

    /// Gives a partition to a member, unless it does not subscribe to it, the partition does not
    /// exist, or somebody has it.
    pub(super) fn claim(&mut self, member: &'a Arc<str>, partition: PartitionId) {
        let exists = self
            .topics
            .get(&partition.topic_id)
            .is_some_and(|subscribed| {
                (0..subscribed.topic.partitions()).contains(&partition.partition)
                    && subscribed.by.contains(&member)
            });
        if exists && !self.owners.contains_key(&partition) {
            self.give(partition, member);
        }
    }

    /// Gives a partition to a member, whoever has it.
    pub(super) fn give(&mut self, partition: PartitionId, member: &'a Arc<str>) {
        if let Some(before) = self.owners.insert(partition, member)
            && let Some(seat) = self.seats.get_mut(before)
            && let Some(of_topic) = seat.has.get_mut(&partition.topic_id)
            && of_topic.remove(&partition)
        {
            seat.load -= 1;
        }
        if let Some(seat) = self.seats.get_mut(member) {
            let of_topic = seat.has.entry(partition.topic_id).or_default();
            of_topic.insert(partition);
            seat.load += 1;
        }
    }

    /// Topics, the one with the fewest subscribers first: its partitions have the least choice.
    pub(super) fn topics(&self) -> Vec<TopicId> {
        let mut ids: Vec<(usize, TopicId)> = self
            .topics
            .iter()
            .map(|(id, subscribed)| (subscribed.by.len(), *id))
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Members that subscribe to the topic.
    pub(super) fn subscribers(&self, topic: TopicId) -> &[&'a Arc<str>] {
        self.topics
            .get(&topic)
            .map_or(&[], |subscribed| &subscribed.by)
    }

    /// Partitions of the topic that nobody has.
    pub(super) fn vacant(&self, topic: TopicId) -> Vec<PartitionId> {
        let count = self.topics.get(&topic).map_or(0, |s| s.topic.partitions());
        let all = (0..count).map(|at| PartitionId::new(topic, at));
        all.filter(|partition| !self.owners.contains_key(partition))
            .collect()
    }

    /// Members, the one with the most partitions first.
    pub(super) fn by_load(&self) -> Vec<&'a Arc<str>> {
        let mut members: Vec<&'a Arc<str>> = self.seats.keys().copied().collect();
        members.sort_by_key(|member| std::cmp::Reverse(self.load(member)));
        members
    }

    /// How many partitions the member has.
    pub(super) fn load(&self, member: &Arc<str>) -> usize {
        self.seats.get(member).map_or(0, |seat| seat.load)
    }

    /// Topics of which the member has partitions.
    pub(super) fn topics_of(&self, member: &Arc<str>) -> impl Iterator<Item = TopicId> + '_ {
        let has = self
            .seats
            .get(member)
            .into_iter()
            .flat_map(|seat| &seat.has);
        has.filter(|(_, partitions)| !partitions.is_empty())
            .map(|(id, _)| *id)
    }

    /// Partitions of the topic that the member has.
    pub(super) fn of_topic(
        &self,
        member: &Arc<str>,
        topic: TopicId,
    ) -> impl Iterator<Item = PartitionId> + '_ {
        let has = self.seats.get(member).and_then(|seat| seat.has.get(&topic));
        has.into_iter().flatten().copied()
    }

    /// Every partition of the member.
    pub(super) fn of_member(&self, member: &Arc<str>) -> impl Iterator<Item = PartitionId> + '_ {
        let has = self
            .seats
            .get(member)
            .into_iter()
            .flat_map(|seat| seat.has.values());
        has.flatten().copied()
    }

    /// Who has the partition.
    pub(super) fn owner(&self, partition: PartitionId) -> Option<&'a Arc<str>> {
        self.owners.get(&partition).copied()
    }

    /// Whether the member was to have the partition before.
    pub(super) fn had(&self, member: &Arc<str>, partition: PartitionId) -> bool {
        let seat = self.seats.get(member);
        seat.is_some_and(|seat| seat.member.previous.contains(&partition))
    }

    /// Whether the member subscribes to the partition's topic.
    pub(super) fn may_have(&self, member: &'a Arc<str>, partition: PartitionId) -> bool {
        self.subscribers(partition.topic_id).contains(&member)
    }

    /// Whether a replica of the partition is in the member's rack.
    pub(super) fn is_near(&self, member: &Arc<str>, partition: PartitionId) -> bool {
        let rack = self
            .seats
            .get(member)
            .and_then(|seat| seat.member.rack.as_ref());
        rack.is_some_and(|rack| self.racks(partition).contains(rack))
    }

    fn racks(&self, partition: PartitionId) -> &'a [Arc<str>] {
        let topic = self
            .topics
            .get(&partition.topic_id)
            .map(|subscribed| subscribed.topic);
        let at = usize::try_from(partition.partition).ok();
        let racks = topic
            .zip(at)
            .and_then(|(topic, at)| topic.partition_racks.get(at));
        racks.map_or(&[], |racks| racks)
    }

    /// Partitions that no replica is near to their member, though racks of both are known.
    pub(super) fn far(&self) -> Vec<(PartitionId, &'a Arc<str>)> {
        let far = self.owners.iter().filter(|(partition, member)| {
            let has_rack = self
                .seats
                .get(*member)
                .is_some_and(|s| s.member.rack.is_some());
            has_rack && !self.racks(**partition).is_empty() && !self.is_near(member, **partition)
        });
        far.map(|(partition, member)| (*partition, *member))
            .collect()
    }

    /// The assignment.
    pub(super) fn into_assignments(self) -> BTreeMap<Arc<str>, Assignment> {
        let assignment = |seat: Seat<'_>| seat.has.into_values().flatten().collect();
        let seats = self.seats.into_iter();
        seats
            .map(|(id, seat)| (Arc::clone(id), assignment(seat)))
            .collect()
    }
}
