//! The cluster: its brokers and their data directories.

use super::Admin;
use crate::error::Result;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker that changes metadata.
    pub controller_id: i32,
    /// Its brokers.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerDescription {
    /// Its id.
    pub broker_id: i32,
    /// Host of its native listener.
    pub host: String,
    /// Port of its native listener.
    pub port: u32,
    /// Where it stands.
    pub rack: String,
    /// Version of the daemon.
    pub version: String,
    /// Counts its starts.
    pub broker_epoch: i64,
    /// Where it keeps its data.
    pub data_directories: Vec<DataDirectory>,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
}

/// A data directory of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataDirectory {
    /// Its path on the broker.
    pub path: String,
    /// Its id.
    pub directory_id: String,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Free bytes of its file system.
    pub available_bytes: u64,
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Whether produce is refused because the disk is full.
    pub full: bool,
    /// Number of partitions.
    pub partitions: u32,
    /// Partitions that do not serve.
    pub offline_partitions: u32,
}

impl Admin {
    /// Describes the cluster.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        todo!()
    }
}
