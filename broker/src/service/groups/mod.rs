//! Groups: members, committed offsets, and their administration.
//!
//! Group ids, member ids and the like go to the coordinator as they came: its engine knows their
//! bounds. What only the broker knows is looked up here: topics by id, partitions, regular expressions,
//! the ends of logs.

pub mod admin;
pub mod classic;
pub mod describe;
pub mod figures;
pub mod members;
pub mod offsets;
pub mod overview;
mod refusal;

use std::sync::Arc;

pub use millstream_engine::group::{Assignment, GroupType, OffsetReader, PartitionId};

use super::{ServiceError, Services};
use crate::coordinator::{CoordinatorError, OffsetsPartition, Replying};
use millstream_engine::group::Reply;

impl Services {
    /// The coordinator of a group that is about to be, or is.
    async fn coordinator(&self, group_id: &str) -> Result<&Arc<OffsetsPartition>, ServiceError> {
        let coordinator = self.groups.coordinator(group_id).await;
        coordinator.map_err(|error| ServiceError::coordinator(&error))
    }
}

/// The one answer to a request.
async fn replied(replying: Result<Replying, CoordinatorError>) -> Result<Reply, ServiceError> {
    let replying = replying.map_err(|error| ServiceError::coordinator(&error))?;
    match replying.await.unwrap_or(Err(CoordinatorError::Stopping)) {
        Ok(Reply::Refused(refusal)) => Err(ServiceError::group(&refusal)),
        Ok(reply) => Ok(reply),
        Err(lost) => Err(ServiceError::coordinator(&lost).may_have_been_written()),
    }
}
