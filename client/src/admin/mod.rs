//! [`Admin`]: topics, configurations, offsets and the cluster. Every call has a deadline; calls for
//! several items return a result for each.

mod cluster;
mod configs;
mod offsets;
mod topics;

use std::{sync::Arc, time::Duration};

pub use cluster::{BrokerDescription, ClusterDescription, DataDirectory};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub use offsets::{ListedOffset, OffsetSpec};
pub use topics::{
    CreatedTopic, Leader, NewTopic, PartitionDescription, PartitionLog, TopicDescription,
    TopicListing,
};

use crate::connection::Connection;

/// Administration of a cluster.
///
/// A call fails as a whole where the cluster cannot be asked; where one item is refused, that
/// item's result says so. Calls that only read, and calls that are the same done twice, are tried
/// again until their deadline; others are not once they may have reached the broker.
///
/// # Cancel safety
/// Dropping the future of a call that changes something leaves it done or not done.
#[derive(Debug, Clone)]
pub struct Admin {
    connection: Arc<Connection>,
    deadline: Duration,
}

impl Admin {
    pub(crate) fn new(_connection: Arc<Connection>) -> Self {
        todo!()
    }

    /// Gives every call of the returned value `deadline` instead of the client's request timeout.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}
