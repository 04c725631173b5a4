//! Groups at a glance, for the first page and the metrics.
//!
//! Read as they are, whether or not that is safe already: a page about a slow disk must not wait for it.

use millstream_engine::group::{GroupListing, OffsetReader, Rebalance};

use super::describe::GroupPartition;
use crate::{
    coordinator::{Behind, CountsNow},
    service::Services,
};

/// A group at a glance.
#[derive(Debug, Clone)]
pub struct GroupOverview {
    /// In short. The id may hold any character.
    pub listing: GroupListing,
    /// Records that it has not committed yet; `None` where it committed nothing.
    pub lag: Option<u64>,
    /// For how long the partition furthest behind has been longer than the commit; `None` while that is
    /// unknown of one, and where it committed nothing.
    pub behind: Option<Behind>,
    /// Its last rebalance.
    pub rebalance: Option<Rebalance>,
}

impl Services {
    /// The groups of this broker, by id.
    #[must_use]
    pub fn groups_in_short(&self) -> Vec<GroupListing> {
        let coordinators = self.groups.partitions().iter();
        let groups =
            coordinators.filter_map(|coordinator| coordinator.peek(|state, _| state.list()));
        let mut groups: Vec<_> = groups.flatten().collect();
        groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
        groups
    }

    /// What the coordinators of this broker have done so far.
    #[must_use]
    pub fn group_counts(&self) -> CountsNow {
        self.groups.counts()
    }

    /// Coordinators of this broker that still read what they are to know; their groups are missing.
    #[must_use]
    pub fn coordinators_loading(&self) -> usize {
        let coordinators = self.groups.partitions().iter();
        let loading = coordinators.filter(|c| c.may_have_groups() && c.peek(|_, _| ()).is_none());
        loading.count()
    }

    /// A group at a glance; `None` when it is gone.
    #[must_use]
    pub fn group_overview(&self, listing: &GroupListing) -> Option<GroupOverview> {
        let group_id = &listing.group_id;
        let coordinator = self.groups.find_coordinator(group_id)?;
        let read = coordinator.peek(|state, _| {
            let described = state.describe(group_id)?;
            let committed = state.committed(group_id, &OffsetReader::Anybody, None)?;
            Ok::<_, millstream_engine::group::Refusal>((described, committed))
        });
        let (described, committed) = read?.ok()?;
        let group = self.description(described, committed);
        Some(GroupOverview {
            listing: group.listing,
            lag: lag(&group.partitions),
            behind: behind(&group.partitions),
            rebalance: group.rebalances.into_iter().next_back(),
        })
    }
}

fn lag(partitions: &[GroupPartition]) -> Option<u64> {
    let lags = partitions.iter().filter_map(GroupPartition::lag);
    lags.map(i64::unsigned_abs)
        .reduce(|sum, lag| sum.saturating_add(lag))
}

fn behind(partitions: &[GroupPartition]) -> Option<Behind> {
    let with_lag = partitions
        .iter()
        .filter(|partition| partition.lag().is_some());
    let all: Option<Vec<_>> = with_lag.map(|partition| partition.behind).collect();
    all?.into_iter().reduce(Behind::furthest)
}
