//! FindCoordinator: this broker, for groups.

use kafka_protocol::{
    messages::{
        FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use super::super::{client::Client, cluster, producer_ids::NO_TRANSACTIONS};

/// The first version that asks for several keys.
const SEVERAL_KEYS: i16 = 4;
/// What a key names, by its type.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(in super::super) async fn find_coordinator(
    client: Client,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let find = |key: StrBytes| coordinator(&client, request.key_type, key);
    if client.version >= SEVERAL_KEYS {
        let found = request.coordinator_keys.into_iter().map(find);
        return FindCoordinatorResponse::default().with_coordinators(found.collect());
    }
    let found = find(request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn coordinator(client: &Client, key_type: i8, key: StrBytes) -> Coordinator {
    let found = Coordinator::default().with_key(key);
    let node = cluster::nodes(client).into_iter().next();
    match node {
        Some(node) if key_type == GROUP => found
            .with_node_id(node.id)
            .with_host(node.host)
            .with_port(node.port),
        _ => {
            let message =
                "this broker coordinates groups; transactions and share groups it has none";
            let code = match key_type {
                TRANSACTION => NO_TRANSACTIONS,
                _ => ErrorCode::InvalidRequest,
            };
            found
                .with_error_code(code.number())
                .with_error_message(Some(StrBytes::from_static_str(message)))
                .with_node_id((-1).into())
                .with_port(-1)
        }
    }
}
