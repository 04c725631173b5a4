//! DescribeCluster, and the brokers as every answer that names them shows them.

use kafka_protocol::{
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use super::{authorized, client::Client};

/// What DescribeCluster calls brokers, as opposed to controllers.
const BROKERS: i8 = 1;

/// A broker as Kafka clients reach it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: BrokerId,
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) rack: Option<StrBytes>,
}

/// The brokers that serve Kafka clients: this one.
pub(super) fn nodes(client: &Client) -> Vec<Node> {
    let local = client.services().local_broker();
    let advertised = &client.gate.advertised;
    let rack = Some(local.rack.clone()).filter(|rack| !rack.is_empty());
    vec![Node {
        id: BrokerId(local.id.0),
        host: StrBytes::from_string(advertised.host.clone()),
        port: i32::from(advertised.port),
        rack: rack.map(StrBytes::from_string),
    }]
}

pub(super) async fn describe_cluster(
    client: Client,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let local = client.services().local_broker();
    let response = DescribeClusterResponse::default()
        .with_endpoint_type(request.endpoint_type)
        .with_cluster_id(StrBytes::from_string(local.cluster_id));
    if request.endpoint_type != BROKERS {
        let message = "this listener is for clients: endpoint type 1 (brokers) is served";
        return response
            .with_error_code(ErrorCode::MismatchedEndpointType.number())
            .with_error_message(Some(StrBytes::from_static_str(message)));
    }
    let brokers = nodes(&client).into_iter().map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(node.id)
            .with_host(node.host)
            .with_port(node.port)
            .with_rack(node.rack)
    });
    let asks = request.include_cluster_authorized_operations;
    response
        .with_controller_id(BrokerId(local.id.0))
        .with_cluster_authorized_operations(authorized::if_asked(asks, authorized::OF_CLUSTER))
        .with_brokers(brokers.collect())
}
