//! `ClusterService`.

use std::sync::Arc;

use millstream_proto::grpc::v1::{self, cluster_service_server::ClusterService};
use tonic::{Request, Response, Status};

use super::{control::Control, wire};
use crate::service::{
    RequestContext, Services,
    cluster::{BrokerDescription, DataDirectoryDescription},
    connections::{Connection, Protocol},
};

/// Adapter of [`ClusterService`].
#[derive(Debug)]
pub(super) struct ClusterAdapter {
    control: Control,
}

impl ClusterAdapter {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterAdapter {
    async fn describe_cluster(
        &self,
        request: Request<v1::DescribeClusterRequest>,
    ) -> Result<Response<v1::DescribeClusterResponse>, Status> {
        let work = |services: Arc<Services>, context: RequestContext| async move {
            let cluster = services.describe_cluster(&context).await?;
            Ok(v1::DescribeClusterResponse {
                cluster_id: cluster.cluster_id,
                controller_id: cluster.controller_id.0,
                brokers: cluster.brokers.into_iter().map(broker).collect(),
            })
        };
        let described = self.control.run(wire::context(&request), work).await?;
        let described: Result<_, crate::service::ServiceError> = described.into_inner();
        described
            .map(Response::new)
            .map_err(|error| wire::status(&error))
    }

    async fn list_clients(
        &self,
        request: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        let work = |services: Arc<Services>, _context| async move {
            let connections = services.connections().list();
            v1::ListClientsResponse {
                broker_id: services.local_broker().id.0,
                connections: connections.iter().map(|it| client(it)).collect(),
            }
        };
        self.control.run(wire::context(&request), work).await
    }
}

fn client(connection: &Connection) -> v1::ClientConnection {
    let protocol = match connection.protocol {
        Protocol::Native => v1::ClientProtocol::Native,
        Protocol::Kafka => v1::ClientProtocol::Kafka,
    };
    let said = connection.said();
    v1::ClientConnection {
        protocol: protocol.into(),
        address: connection.address.to_string(),
        client_id: said.client_id,
        software_name: said.software_name,
        software_version: said.software_version,
        connected_at_ms: connection.connected_at_ms,
        requests: connection.requests(),
    }
}

fn broker(broker: BrokerDescription) -> v1::Broker {
    let registration = &broker.registration;
    let uptime_ms = broker.local.as_ref().map_or(0, |local| local.uptime_ms);
    let directories = broker.local.into_iter().map(|local| local.directory);
    v1::Broker {
        broker_id: registration.broker_id.0,
        host: registration.host.clone(),
        port: u32::from(registration.port),
        rack: registration.rack.clone(),
        version: registration.version.clone(),
        broker_epoch: registration.broker_epoch,
        data_directories: directories.map(data_directory).collect(),
        uptime_ms,
    }
}

fn data_directory(directory: DataDirectoryDescription) -> v1::DataDirectory {
    let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
    v1::DataDirectory {
        path: directory.path.display().to_string(),
        directory_id: directory.directory_id,
        total_bytes: directory.total_bytes,
        available_bytes: directory.available_bytes,
        log_bytes: directory.log_bytes,
        full: directory.is_full,
        partitions: count(directory.partitions),
        offline_partitions: count(directory.offline_partitions),
    }
}
