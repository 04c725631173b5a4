//! The cluster: its brokers and their data directories.

use millstream_proto::grpc::v1::{self, cluster_service_client::ClusterServiceClient};

use super::Admin;
use crate::{connection::Repeat, error::Result};

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

impl BrokerDescription {
    fn from_wire(broker: v1::Broker) -> Self {
        Self {
            broker_id: broker.broker_id,
            host: broker.host,
            port: broker.port,
            rack: broker.rack,
            version: broker.version,
            broker_epoch: broker.broker_epoch,
            data_directories: broker
                .data_directories
                .into_iter()
                .map(DataDirectory::from_wire)
                .collect(),
            uptime_ms: broker.uptime_ms,
        }
    }
}

impl DataDirectory {
    fn from_wire(directory: v1::DataDirectory) -> Self {
        Self {
            path: directory.path,
            directory_id: directory.directory_id,
            total_bytes: directory.total_bytes,
            available_bytes: directory.available_bytes,
            log_bytes: directory.log_bytes,
            full: directory.full,
            partitions: directory.partitions,
            offline_partitions: directory.offline_partitions,
        }
    }
}

impl Admin {
    /// Describes the cluster.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let (cluster, _) = self
            .ask("describing the cluster", Repeat::Always, |broker| {
                let mut client = ClusterServiceClient::new(broker.admin.clone());
                async move { client.describe_cluster(v1::DescribeClusterRequest {}).await }
            })
            .await?;
        Ok(ClusterDescription {
            cluster_id: cluster.cluster_id,
            controller_id: cluster.controller_id,
            brokers: cluster
                .brokers
                .into_iter()
                .map(BrokerDescription::from_wire)
                .collect(),
        })
    }
}
