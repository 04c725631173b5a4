//! Groups in figures, for metrics.
//!
//! Read as they are, whether or not that is safe already: metrics of a slow disk must not wait for it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use millstream_engine::group::OffsetReader;

use super::{admin::GroupListing, describe::GroupPartition};
use crate::{coordinator::Behind, service::Services};

/// All groups of this broker in figures.
#[derive(Debug, Clone, Default)]
pub struct GroupFigures {
    /// Groups by kind and state.
    pub groups: BTreeMap<(&'static str, &'static str), usize>,
    /// Groups of the coordinator that has most.
    pub groups_most: usize,
    /// Members of all groups.
    pub members: usize,
    /// Members of the group that has most.
    pub members_most: usize,
    /// By group and topic, `groups.lag_metrics_max` at most.
    pub lags: Vec<TopicLag>,
    /// Groups that are left out there because of that bound.
    pub groups_without_lag: usize,
    /// Answers and pushes that wait for the disk.
    pub waiting_answers: usize,
}

/// How far a group is behind in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLag {
    /// The group, whose id may hold any character.
    pub group_id: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// Records that it has not committed yet.
    pub records: u64,
    /// For how long the partition furthest behind has been longer than the commit; `None` while that is
    /// unknown of one.
    pub behind: Option<Behind>,
}

impl GroupFigures {
    fn add(&mut self, groups: &[GroupListing]) {
        self.groups_most = self.groups_most.max(groups.len());
        for group in groups {
            let key = (group.group_type.name(), group.state);
            *self.groups.entry(key).or_default() += 1;
            self.members += group.members;
            self.members_most = self.members_most.max(group.members);
        }
    }
}

impl TopicLag {
    fn of(group_id: &Arc<str>, partition: &GroupPartition) -> Option<Self> {
        Some(Self {
            group_id: Arc::clone(group_id),
            topic: Arc::clone(&partition.topic),
            records: partition.lag()?.unsigned_abs(),
            behind: partition.behind,
        })
    }

    fn add(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        self.behind = self.behind.zip(other.behind).map(|(a, b)| a.furthest(b));
    }
}

impl Services {
    /// The groups of this broker in figures.
    #[must_use]
    pub fn group_figures(&self) -> GroupFigures {
        let mut figures = GroupFigures::default();
        let mut group_ids = Vec::new();
        for coordinator in self.groups.partitions() {
            figures.waiting_answers += coordinator.waiting_answers();
            if let Some(groups) = coordinator.peek(|state, _| state.list()) {
                figures.add(&groups);
                group_ids.extend(groups.into_iter().map(|group| group.group_id));
            }
        }
        group_ids.sort_unstable();
        (figures.lags, figures.groups_without_lag) = self.lags(group_ids);
        figures
    }

    /// Lags of the first groups, and how many groups are left out.
    fn lags(&self, group_ids: Vec<Arc<str>>) -> (Vec<TopicLag>, usize) {
        let max = self.config.groups.lag_metrics_max;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut lags = Vec::new();
        let mut group_ids = group_ids.into_iter();
        while let Some(group_id) = group_ids.next() {
            let of_group = self.lags_of(&group_id);
            if lags.len() + of_group.len() > max {
                return (lags, 1 + group_ids.len());
            }
            lags.extend(of_group);
        }
        (lags, 0)
    }

    /// By topic; of a group that is gone, none.
    fn lags_of(&self, group_id: &Arc<str>) -> Vec<TopicLag> {
        let committed = self
            .groups
            .find_coordinator(group_id)
            .and_then(|coordinator| {
                coordinator.peek(|state, _| state.committed(group_id, &OffsetReader::Anybody, None))
            });
        let image = self.quorum.image();
        let mut lags: BTreeMap<Arc<str>, TopicLag> = BTreeMap::new();
        for committed in committed.and_then(Result::ok).unwrap_or_default() {
            let (topic, index) = (Arc::clone(&committed.topic), committed.partition);
            let partition = self.group_partition(topic, index, Some(committed), None, &image);
            let Some(lag) = TopicLag::of(group_id, &partition) else {
                continue;
            };
            match lags.entry(partition.topic) {
                Entry::Vacant(entry) => drop(entry.insert(lag)),
                Entry::Occupied(mut entry) => entry.get_mut().add(&lag),
            }
        }
        lags.into_values().collect()
    }
}
