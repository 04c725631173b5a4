//! InitProducerId: ids for idempotent producers.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use millstream_proto::ErrorCode;

use super::client::Client;

/// No producer id, and no epoch.
const NONE: i16 = -1;

pub(super) async fn init_producer_id(
    client: Client,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(code.number())
            .with_producer_id(ProducerId(NONE.into()))
            .with_producer_epoch(NONE)
    };
    if request.transactional_id.is_some() {
        tracing::info!(
            client = &*client.client_id,
            "transactional producer is refused: this broker has no transactions yet"
        );
        return refused(ErrorCode::InvalidRequest);
    }
    let is_epoch_missing =
        (request.producer_id.0 == i64::from(NONE)) != (request.producer_epoch == NONE);
    if is_epoch_missing {
        return refused(ErrorCode::InvalidRequest);
    }
    // A producer without transactions that lost its place begins anew, as with Kafka.
    let context = client.context();
    match client.services().init_producer_id(&context).await {
        Ok((id, epoch)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id.0))
            .with_producer_epoch(epoch.0),
        Err(error) => refused(error.code),
    }
}
