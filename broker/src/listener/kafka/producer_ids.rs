//! InitProducerId, and DescribeProducers: who writes to a partition.

use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId,
    describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
};
use millstream_proto::{ErrorCode, PartitionIndex};

use super::{client::Client, wire};
use crate::service::producers::ProducerDescription;

/// How transactional producers are refused. librdkafka asks again and again after any other error but one of
/// authorization (`rd_kafka_txn_handle_FindCoordinator`), and its `init_transactions` waits for ever.
pub(super) const NO_TRANSACTIONS: ErrorCode = ErrorCode::TransactionalIdAuthorizationFailed;

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
        return refused(NO_TRANSACTIONS);
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

pub(super) async fn describe_producers(
    client: Client,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let (services, context) = (client.services(), client.context());
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let topic_id = services.topic_id(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let described = match &topic_id {
                Ok(id) => {
                    let partition = PartitionIndex(index);
                    services.describe_producers(&context, *id, partition).await
                }
                Err(error) => Err(error.clone()),
            };
            let response = PartitionResponse::default().with_partition_index(index);
            partitions.push(match described {
                Ok(found) => response.with_active_producers(found.into_iter().map(state).collect()),
                Err(error) => response
                    .with_error_code(error.code.number())
                    .with_error_message(wire::error_message(&error)),
            });
        }
        topics.push(
            TopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DescribeProducersResponse::default().with_topics(topics)
}

fn state(producer: ProducerDescription) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id.0))
        .with_producer_epoch(producer.epoch.into())
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_start.unwrap_or(-1))
}
