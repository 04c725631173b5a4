//! Groups: list and delete.

use std::sync::Arc;

pub use millstream_engine::group::GroupListing;
use millstream_engine::group::{Event, GroupType, Refusal, Reply};

use super::replied;
use crate::{
    coordinator::{CoordinatorError, OffsetsPartition},
    service::{RequestContext, ServiceError, Services},
};

/// Which groups are wanted; all where a list is empty.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// In these states, by Kafka's names in any case.
    pub states: Vec<String>,
    /// Of these kinds.
    pub types: Vec<GroupType>,
}

impl GroupFilter {
    fn lets_through(&self, group: &GroupListing) -> bool {
        let mut states = self.states.iter();
        let is_in_state =
            self.states.is_empty() || states.any(|state| state.eq_ignore_ascii_case(group.state));
        is_in_state && (self.types.is_empty() || self.types.contains(&group.group_type))
    }
}

impl Services {
    /// The groups, by id, and why some of them may be missing.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn list_groups(
        &self,
        _context: &RequestContext,
        filter: &GroupFilter,
    ) -> (Vec<GroupListing>, Option<ServiceError>) {
        let mut groups = Vec::new();
        let mut missing = None;
        for coordinator in self.groups.partitions() {
            if !coordinator.may_have_groups() {
                continue;
            }
            match list(coordinator).await {
                Ok(listed) => groups.extend(listed.into_iter().filter(|g| filter.lets_through(g))),
                Err(error) => missing = Some(ServiceError::coordinator(&error)),
            }
        }
        groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
        (groups, missing)
    }

    /// Forgets a group with its offsets.
    ///
    /// # Errors
    /// It does not exist or has members; there is no coordinator now.
    ///
    /// # Cancel safety
    /// When it is dropped the group may or may not be deleted.
    pub async fn delete_group(
        &self,
        _context: &RequestContext,
        group_id: &str,
    ) -> Result<(), ServiceError> {
        let Some(coordinator) = self.groups.find_coordinator(group_id) else {
            return Err(ServiceError::group_not_found(group_id));
        };
        let group_id = Arc::from(group_id);
        let event = |ticket| Event::DeleteGroup(ticket, group_id);
        match replied(coordinator.ask(event)).await? {
            Reply::GroupDeleted => Ok(()),
            _ => Err(ServiceError::panicked()),
        }
    }
}

async fn list(coordinator: &OffsetsPartition) -> Result<Vec<GroupListing>, CoordinatorError> {
    let (groups, settling) = coordinator.read(|state, _| state.list())?;
    settling.settled().await?;
    Ok(groups)
}

impl ServiceError {
    /// There is no such group, as there is none at all.
    pub(super) fn group_not_found(group_id: &str) -> Self {
        Self::group(&Refusal::GroupNotFound {
            group_id: Arc::from(group_id),
        })
    }
}
