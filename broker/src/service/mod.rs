//! What the broker does for its clients, once for all protocols.
//!
//! ```text
//!   listener/grpc ─┐
//!   (listener/...) ┴─► Services ─► coordinator, partition, quorum
//! ```
//!
//! Nothing here knows a wire format: requests and answers are plain structs, a refusal is a
//! [`ServiceError`] with Kafka's number, what is wrong, and what to do about it. Admin operations give
//! a result per item. What waits for the disk does so on the blocking pool.

pub mod cluster;
pub mod configs;
pub mod connections;
pub mod context;
pub mod error;
pub mod fetch;
pub mod groups;
pub mod in_flight;
pub mod offsets;
pub mod overview;
pub mod produce;
pub mod producer_ids;
pub mod producers;
pub mod throughput;
pub mod topics;

use std::sync::Arc;

use tokio::sync::Mutex;

pub use context::RequestContext;
pub use error::{ServiceError, excerpt};

use crate::{
    clock::Clock,
    config::Config,
    coordinator::{GroupCoordinators, OFFSETS_TOPIC},
    partition::{Partitions, Replica, Traffic},
    quorum::MetadataQuorum,
};
use millstream_proto::{ErrorCode, PartitionIndex, TopicId};

/// Everything that the services stand on.
#[derive(Debug)]
pub struct Dependencies {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Where each configured value came from.
    pub sources: configs::ValueSources,
    /// The daemon's time.
    pub clock: Clock,
    /// The authority on topics and brokers.
    pub quorum: Arc<dyn MetadataQuorum>,
    /// The replicas of this broker.
    pub partitions: Arc<Partitions>,
    /// The coordinators of this broker.
    pub groups: Arc<GroupCoordinators>,
    /// Who this broker is.
    pub identity: cluster::Identity,
}

/// The operations of the broker. Cheap to share in an [`Arc`].
#[derive(Debug)]
pub struct Services {
    pub(crate) config: Arc<Config>,
    sources: configs::ValueSources,
    clock: Clock,
    quorum: Arc<dyn MetadataQuorum>,
    partitions: Arc<Partitions>,
    groups: Arc<GroupCoordinators>,
    identity: cluster::Identity,
    producer_ids: producer_ids::Blocks,
    in_flight: in_flight::InFlightBytes,
    decoding: in_flight::InFlightBytes,
    traffic: Arc<Traffic>,
    connections: Arc<connections::Connections>,
    throughput: Arc<throughput::Throughput>,
    /// Held while somebody takes an overview: all who look take one thread together.
    looking: Arc<Mutex<()>>,
}

impl Services {
    /// Puts the services together.
    #[must_use]
    pub fn new(dependencies: Dependencies) -> Arc<Self> {
        let Dependencies {
            config,
            sources,
            clock,
            quorum,
            partitions,
            groups,
            identity,
        } = dependencies;
        let traffic = Arc::<Traffic>::default();
        let in_flight = in_flight::InFlightBytes::new(config.limits.in_flight_bytes_max);
        let decoding = in_flight::InFlightBytes::new(config.limits.decoding_bytes_max);
        Arc::new(Self {
            config,
            sources,
            clock,
            quorum,
            partitions,
            groups,
            identity,
            producer_ids: producer_ids::Blocks::default(),
            in_flight,
            decoding,
            throughput: Arc::new(throughput::Throughput::new(Arc::clone(&traffic))),
            traffic,
            connections: Arc::default(),
            looking: Arc::default(),
        })
    }

    /// The limits that listeners apply.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What clients produced and fetched on this broker.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Who is connected to this broker.
    #[must_use]
    pub const fn connections(&self) -> &Arc<connections::Connections> {
        &self.connections
    }

    /// Milliseconds since 1970 in UTC.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    /// How fast, in the last minutes.
    #[must_use]
    pub fn throughput(&self) -> &Arc<throughput::Throughput> {
        &self.throughput
    }

    fn replica(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
    ) -> Result<Arc<Replica>, ServiceError> {
        self.partitions
            .get(topic_id, partition)
            .ok_or_else(|| self.unknown_partition(topic_id, partition))
    }

    /// Refuses what only coordinators may do to the topic that they keep their state in.
    ///
    /// # Errors
    /// It is that topic.
    fn refuse_own_topic(name: &str, what: &str) -> Result<(), ServiceError> {
        if name != OFFSETS_TOPIC {
            return Ok(());
        }
        Err(ServiceError::new(
            ErrorCode::InvalidTopicException,
            format!("topic {name} is the broker's own, {what}"),
            "commit and delete offsets with millstream offsets, delete groups with millstream groups",
        ))
    }

    /// Says whether it is the topic or the partition that does not exist.
    fn unknown_partition(&self, topic_id: TopicId, partition: PartitionIndex) -> ServiceError {
        match self.quorum.image().topic_by_id(topic_id) {
            Some(topic) => ServiceError::unknown_partition(topic, partition),
            None => ServiceError::unknown_topic_id(topic_id),
        }
    }
}
