//! [`Admin`]: topics, configurations, offsets, groups and the cluster. Every call has a deadline; calls for
//! several items return a result for each.

mod clients;
mod cluster;
mod configs;
mod group_offsets;
mod groups;
mod offsets;
mod topics;

use std::{future::Future, sync::Arc, time::Duration};

pub use clients::{ClientConnection, ClientProtocol};
pub use cluster::{BrokerDescription, ClusterDescription, DataDirectory};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub use group_offsets::{CommitOffset, CommittedOffset};
pub(crate) use group_offsets::{NO_MEMBER_EPOCH, is_fenced};
pub use groups::{
    GroupDescription, GroupListing, GroupMember, GroupPartition, GroupType, Rebalance,
};
pub use offsets::{ListedOffset, OffsetSpec};
pub use topics::{
    CreatedTopic, Leader, NewTopic, PartitionDescription, PartitionLog, TopicDescription,
    TopicListing,
};

use millstream_proto::{
    TopicId,
    grpc::{topic_id_from_wire, v1},
};
use tonic::{Response, Status};

use crate::{
    connection::{Broker, Connection, Repeat},
    error::{Error, Result},
};

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
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        let deadline = connection.config.request_timeout;
        Self {
            connection,
            deadline,
        }
    }

    /// Gives every call of the returned value `deadline` instead of the client's request timeout.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks any broker.
    async fn ask<T, F>(
        &self,
        operation: &'static str,
        repeat: Repeat,
        call: impl FnMut(Arc<Broker>) -> F,
    ) -> Result<(T, Arc<str>)>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.connection
            .call_any(operation, self.deadline, repeat, call)
            .await
    }
}

/// Pairs each item asked for with its answer; the broker answers in the order asked.
fn pair<A, W, T>(
    asked: impl ExactSizeIterator<Item = A>,
    answers: Vec<W>,
    broker: &str,
    read: impl Fn(W) -> Result<T>,
) -> Result<Vec<(A, Result<T>)>> {
    if answers.len() != asked.len() {
        return Err(Error::Protocol {
            broker: broker.to_owned(),
            reason: format!("{} results for {} items", answers.len(), asked.len()),
        });
    }
    Ok(asked.zip(answers.into_iter().map(read)).collect())
}

/// Turns the error field of an answer into a result.
fn refusal(error: Option<v1::Error>) -> Result<()> {
    error.map_or(Ok(()), |error| Err(Error::from_wire(error)))
}

/// Reads a topic id.
fn topic_id(bytes: &[u8], broker: &str) -> Result<TopicId> {
    topic_id_from_wire(bytes).map_err(|found| Error::Protocol {
        broker: broker.to_owned(),
        reason: format!("topic id has {found} bytes, expected 16"),
    })
}
