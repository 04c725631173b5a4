//! Requests about the records of partitions, and about who writes them.

use std::iter;

use anyhow::Result;
use kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeProducersRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    describe_producers_request,
    fetch_request::{FetchPartition, FetchTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use millstream_proto::record::BatchOptions;
use millstream_tests::{kafka::topic_name, native};

use super::{Scene, TOPIC};

/// Stands for the end of a partition in ListOffsets.
const LATEST: i64 = -1;
/// Stands for the end of a partition in DeleteRecords.
const ALL: i64 = -1;
const NO_BROKER: i32 = -1;

pub(super) async fn produce(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let batch = native::batch(BatchOptions::default(), 1, ["value"]);
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic_name(TOPIC))
        .with_topic_id(scene.topic_id)
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let topics = answer.responses.iter();
    let partitions = topics.flat_map(|topic| &topic.partition_responses);
    Ok(partitions.map(|partition| partition.error_code).collect())
}

pub(super) async fn fetch(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic_name(TOPIC))
        .with_topic_id(scene.topic_id)
        .with_partitions(vec![partition]);
    let request = FetchRequest::default().with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|partition| partition.error_code);
    Ok(iter::once(answer.error_code).chain(codes).collect())
}

pub(super) async fn list_offsets(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let partition = ListOffsetsPartition::default().with_timestamp(LATEST);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(NO_BROKER.into())
        .with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.error_code).collect())
}

pub(super) async fn delete_records(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let name = scene.own_topic("delete-records", version).await?;
    scene.client.put(&name, &["key=value"]).await?;
    let partition = DeleteRecordsPartition::default().with_offset(ALL);
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(&name))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let answer = scene.client.call(version, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.error_code).collect())
}

pub(super) async fn offset_for_leader_epoch(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let partition = OffsetForLeaderPartition::default().with_leader_epoch(0);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id(NO_BROKER.into())
        .with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.error_code).collect())
}

pub(super) async fn init_producer_id(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let answer = scene.client.call(version, &request).await?;
    Ok(vec![answer.error_code])
}

pub(super) async fn describe_producers(scene: &mut Scene, version: i16) -> Result<Vec<i16>> {
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let answer = scene.client.call(version, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.error_code).collect())
}
