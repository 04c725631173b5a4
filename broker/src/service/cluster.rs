//! Cluster: its brokers, and this broker's data directory.

use std::{path::PathBuf, sync::Arc};

use millstream_proto::BrokerId;

use super::{RequestContext, ServiceError, Services};
use crate::quorum::BrokerImage;

/// Who this broker is, fixed while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Id of the cluster, as it is shown.
    pub cluster_id: String,
    /// Id of the data directory, as it is shown.
    pub directory_id: String,
}

/// This broker, as what other protocols say of brokers needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBroker {
    /// Its id.
    pub id: BrokerId,
    /// Failure domain; empty when not configured.
    pub rack: String,
    /// Id of its cluster.
    pub cluster_id: String,
}

/// The cluster as this broker sees it.
#[derive(Debug, Clone)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// Who decides on metadata.
    pub controller_id: BrokerId,
    /// Its brokers, by id.
    pub brokers: Vec<BrokerDescription>,
}

/// One broker.
#[derive(Debug, Clone)]
pub struct BrokerDescription {
    /// As it registered.
    pub registration: Arc<BrokerImage>,
    /// What only the broker itself knows; `None` for others than this one.
    pub local: Option<LocalDescription>,
}

/// What only the broker itself knows.
#[derive(Debug, Clone)]
pub struct LocalDescription {
    /// How long it has been up.
    pub uptime_ms: u64,
    /// Its data directory.
    pub directory: DataDirectoryDescription,
}

/// One data directory.
#[derive(Debug, Clone)]
pub struct DataDirectoryDescription {
    /// Where it is.
    pub path: PathBuf,
    /// Its id.
    pub directory_id: String,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Bytes that may still be written.
    pub available_bytes: u64,
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Produce is refused for want of room.
    pub is_full: bool,
    /// Its partitions.
    pub partitions: usize,
    /// Those of them that serve nothing.
    pub offline_partitions: usize,
}

impl Services {
    /// The cluster, its brokers, and this broker's data directory. Waits for the disk.
    ///
    /// # Errors
    /// The broker failed while it looked.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn describe_cluster(
        self: &Arc<Self>,
        _context: &RequestContext,
    ) -> Result<ClusterDescription, ServiceError> {
        let services = Arc::clone(self);
        let directory = tokio::task::spawn_blocking(move || services.describe_directory());
        let directory = directory.await.map_err(|_| ServiceError::panicked())?;
        let local = self.partitions.local();
        let uptime_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let image = self.quorum.image();
        let brokers = image.brokers().map(|registration| BrokerDescription {
            registration: Arc::clone(registration),
            local: (registration.broker_id == local).then(|| LocalDescription {
                uptime_ms,
                directory: directory.clone(),
            }),
        });
        Ok(ClusterDescription {
            cluster_id: self.identity.cluster_id.clone(),
            controller_id: local,
            brokers: brokers.collect(),
        })
    }

    /// This broker.
    #[must_use]
    pub fn local_broker(&self) -> LocalBroker {
        LocalBroker {
            id: self.partitions.local(),
            rack: self.config.node.rack.clone(),
            cluster_id: self.identity.cluster_id.clone(),
        }
    }

    /// How many changes the metadata has seen.
    #[must_use]
    pub fn metadata_index(&self) -> i64 {
        i64::try_from(self.quorum.image().index()).unwrap_or(i64::MAX)
    }

    /// Where clients reach a broker's native listener.
    #[must_use]
    pub fn broker_address(&self, broker: BrokerId) -> Option<(String, u16)> {
        let image = self.quorum.image();
        let broker = image.broker(broker)?;
        Some((broker.host.clone(), broker.port))
    }

    fn describe_directory(&self) -> DataDirectoryDescription {
        let directory = self.partitions.directory();
        let space = directory.io().space(directory.path()).ok();
        let replicas = self.partitions.all();
        let logs = replicas.iter().filter_map(|replica| replica.log().ok());
        let offline = replicas.iter().filter(|r| r.offline_reason().is_some());
        DataDirectoryDescription {
            path: directory.path().to_owned(),
            directory_id: self.identity.directory_id.clone(),
            total_bytes: space.map_or(0, |space| space.total),
            available_bytes: space.map_or(0, |space| space.available),
            log_bytes: logs.map(|log| log.size_bytes()).sum(),
            is_full: directory.is_full(),
            partitions: replicas.len(),
            offline_partitions: offline.count(),
        }
    }
}
