//! Clients that are connected to a broker: through which listener, and what they say of themselves.

use millstream_proto::grpc::v1::{self, cluster_service_client::ClusterServiceClient};

use super::Admin;
use crate::{
    connection::{ANSWER_BYTES_MAX, Repeat},
    error::Result,
};

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientProtocol {
    /// The native API.
    Native,
    /// Kafka's.
    Kafka,
    /// One that this version of the crate does not know.
    Unknown,
}

/// A connection of a client to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConnection {
    /// The broker.
    pub broker_id: i32,
    /// What it speaks.
    pub protocol: ClientProtocol,
    /// `host:port` of the client.
    pub address: String,
    /// The client id of its latest Kafka request that had one; may be empty.
    pub client_id: String,
    /// Name of its software, as it says; may be empty.
    pub software_name: String,
    /// Version of its software, as it says; may be empty.
    pub software_version: String,
    /// When it began, in milliseconds since the epoch.
    pub connected_at_ms: i64,
    /// Kafka requests or gRPC calls so far.
    pub requests: u64,
}

impl ClientConnection {
    fn from_wire(broker_id: i32, connection: v1::ClientConnection) -> Self {
        Self {
            broker_id,
            protocol: match connection.protocol() {
                v1::ClientProtocol::Native => ClientProtocol::Native,
                v1::ClientProtocol::Kafka => ClientProtocol::Kafka,
                v1::ClientProtocol::Unspecified => ClientProtocol::Unknown,
            },
            address: connection.address,
            client_id: connection.client_id,
            software_name: connection.software_name,
            software_version: connection.software_version,
            connected_at_ms: connection.connected_at_ms,
            requests: connection.requests,
        }
    }
}

impl Admin {
    /// Lists the clients that are connected to the broker that answers, the oldest connection first;
    /// this client is one of them.
    ///
    /// # Errors
    /// What kept the broker from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn list_clients(&self) -> Result<Vec<ClientConnection>> {
        let (answer, _) = self
            .ask("listing the clients", Repeat::Always, |broker| {
                let client = ClusterServiceClient::new(broker.admin.clone());
                let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
                async move { client.list_clients(v1::ListClientsRequest {}).await }
            })
            .await?;
        let broker_id = answer.broker_id;
        let connections = answer.connections.into_iter();
        Ok(connections
            .map(|connection| ClientConnection::from_wire(broker_id, connection))
            .collect())
    }
}
