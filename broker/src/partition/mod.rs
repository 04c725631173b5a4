//! Partition replicas of this broker: append, wait for the acknowledgement, read, park.
//!
//! ```text
//!   append ──► PartitionLog ──► LogObserver ──► engine::replication ──► acknowledgements, high watermark
//!   read   ◄── PartitionLog                                          └► wakes parked reads
//! ```
//!
//! Appends run on the caller's task; nothing here owns a task of its own. A [`Replica`] is the only
//! thing that moves a high watermark, and only as `millstream_engine::replication` says.

pub mod append_gate;
pub mod error;
pub mod opening;
pub mod pending_ack;
pub mod quarantine;
pub mod registry;
pub mod replica;
pub mod replica_config;
pub mod traffic;
pub mod wakeups;
pub mod watcher;

pub use append_gate::AppendGate;
pub use error::{AckLost, PartitionError};
pub use opening::OpenReport;
pub use pending_ack::PendingAck;
pub use registry::Partitions;
pub use replica::{AcksWanted, Appending, Isolation, Offsets, Replica};
pub use replica_config::ReplicaConfig;
pub use traffic::{Traffic, TrafficCounts};
pub use wakeups::{Parked, Wakeups};
pub use watcher::ReplicaWatcher;
