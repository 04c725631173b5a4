//! ListOffsets and OffsetForLeaderEpoch.

use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};
use millstream_proto::{ErrorCode, PartitionIndex, TopicId};

use super::{client::Client, wire};
use crate::service::{
    ServiceError,
    fetch::Isolation,
    offsets::{FoundOffset, OffsetSpec},
};

/// The first version of ListOffsets that says a record's leader epoch.
const LEADER_EPOCH: i16 = 4;
/// What a negative timestamp asks for (ListOffsetsRequest.json of Kafka 4.3).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(super) async fn list_offsets(
    client: Client,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = wire::isolation(request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let topic_id = client.services().topic_id(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let found = match &topic_id {
                Ok(topic_id) => list_offset(&client, *topic_id, asked, isolation).await,
                Err(error) => Err(error.clone()),
            };
            partitions.push(listed(client.version, asked, found));
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// The offset; `None` where nothing answers, without being an error.
async fn list_offset(
    client: &Client,
    topic_id: TopicId,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<FoundOffset>, ServiceError> {
    let spec = match asked.timestamp {
        LATEST => OffsetSpec::Latest,
        EARLIEST | EARLIEST_LOCAL => OffsetSpec::Earliest,
        MAX_TIMESTAMP => OffsetSpec::MaxTimestamp,
        // Nothing is kept elsewhere.
        LATEST_TIERED => return Ok(None),
        timestamp if timestamp >= 0 => OffsetSpec::Timestamp(timestamp),
        timestamp => {
            return Err(ServiceError::new(
                ErrorCode::UnsupportedVersion,
                format!("timestamp {timestamp} asks for an offset that this broker does not know"),
                "ask for -1 (latest), -2 (earliest), -3 (largest timestamp), or a time in ms",
            ));
        }
    };
    let partition = PartitionIndex(asked.partition_index);
    let (services, context) = (client.services(), client.context());
    let known = wire::leader_epoch(asked.current_leader_epoch);
    services.check_leader_epoch(topic_id, partition, known)?;
    let found = services.list_offset(&context, topic_id, partition, isolation, spec);
    found.await.map(Some)
}

fn listed(
    version: i16,
    asked: &ListOffsetsPartition,
    found: Result<Option<FoundOffset>, ServiceError>,
) -> ListOffsetsPartitionResponse {
    let response =
        ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
    match found {
        Ok(Some(FoundOffset {
            offset: Some(offset),
            timestamp_ms,
            leader_epoch,
        })) => {
            let found = response
                .with_offset(offset.get())
                .with_timestamp(timestamp_ms.unwrap_or(-1));
            match version {
                LEADER_EPOCH.. => found.with_leader_epoch(leader_epoch.0),
                _ => found,
            }
        }
        Ok(_) => response.with_offset(-1).with_timestamp(-1),
        Err(error) => response
            .with_error_code(error.code.number())
            .with_offset(-1)
            .with_timestamp(-1),
    }
}

pub(super) async fn offset_for_leader_epoch(
    client: Client,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let topic_id = client.services().topic_id(&topic.topic);
        let partitions = topic.partitions.iter().map(|asked| {
            let end = topic_id
                .clone()
                .and_then(|topic_id| epoch_end(&client, topic_id, asked));
            end.unwrap_or_else(|error| {
                EpochEndOffset::default()
                    .with_error_code(error.code.number())
                    .with_partition(asked.partition)
            })
        });
        OffsetForLeaderTopicResult::default()
            .with_partitions(partitions.collect())
            .with_topic(topic.topic)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn epoch_end(
    client: &Client,
    topic_id: TopicId,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ServiceError> {
    let partition = PartitionIndex(asked.partition);
    let known = wire::leader_epoch(asked.current_leader_epoch);
    let services = client.services();
    services.check_leader_epoch(topic_id, partition, known)?;
    let wanted = wire::leader_epoch(asked.leader_epoch);
    let end = match wanted {
        Some(epoch) => services.leader_epoch_end(topic_id, partition, epoch)?,
        None => None,
    };
    let found = EpochEndOffset::default().with_partition(asked.partition);
    Ok(match end {
        Some((epoch, end)) => found.with_leader_epoch(epoch.0).with_end_offset(end.get()),
        None => found,
    })
}
