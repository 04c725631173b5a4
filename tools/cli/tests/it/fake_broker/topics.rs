//! The cluster is one broker, topics are described and listed, offsets looked up; to create a topic
//! takes for ever, and nothing else is done.

use std::sync::Arc;

use millstream_proto::{
    ErrorCode,
    grpc::v1::{
        self,
        cluster_service_server::{ClusterService, ClusterServiceServer},
        offset_query::Spec,
        offset_service_server::{OffsetService, OffsetServiceServer},
        topic_service_server::{TopicService, TopicServiceServer},
    },
};
use tonic::{Request, Status};

use super::{Answer, Shared, Topic, answer, error};

pub(super) struct Topics(Arc<Shared>);

pub(super) fn topics(shared: Arc<Shared>) -> TopicServiceServer<Topics> {
    TopicServiceServer::new(Topics(shared))
}

pub(super) fn offsets(shared: Arc<Shared>) -> OffsetServiceServer<Topics> {
    OffsetServiceServer::new(Topics(shared))
}

pub(super) fn cluster(shared: Arc<Shared>) -> ClusterServiceServer<Topics> {
    ClusterServiceServer::new(Topics(shared))
}

fn describe(name: String, topic: Option<&Topic>) -> v1::TopicDescription {
    let Some(topic) = topic else {
        let error = error(ErrorCode::UnknownTopicOrPartition, "unknown topic");
        return v1::TopicDescription {
            name,
            error,
            ..Default::default()
        };
    };
    let partitions =
        (0..)
            .zip(&topic.partitions)
            .map(|(partition, log)| v1::PartitionDescription {
                partition,
                leader: Some(v1::Leader::default()),
                log: Some(v1::PartitionLogDescription {
                    log_start_offset: log.log_start_offset,
                    last_stable_offset: log.log_end_offset,
                    high_watermark: log.log_end_offset,
                    flushed_offset: log.log_end_offset,
                    log_end_offset: log.log_end_offset,
                    ..Default::default()
                }),
                ..Default::default()
            });
    v1::TopicDescription {
        name,
        topic_id: topic.id.clone(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl TopicService for Topics {
    async fn create_topics(
        &self,
        _: Request<v1::CreateTopicsRequest>,
    ) -> Answer<v1::CreateTopicsResponse> {
        self.0.change(|state| state.creations_asked += 1);
        std::future::pending().await
    }

    async fn delete_topics(
        &self,
        _: Request<v1::DeleteTopicsRequest>,
    ) -> Answer<v1::DeleteTopicsResponse> {
        Err(Status::unimplemented("delete"))
    }

    async fn create_partitions(
        &self,
        _: Request<v1::CreatePartitionsRequest>,
    ) -> Answer<v1::CreatePartitionsResponse> {
        Err(Status::unimplemented("create partitions"))
    }

    async fn list_topics(
        &self,
        _: Request<v1::ListTopicsRequest>,
    ) -> Answer<v1::ListTopicsResponse> {
        let state = self.0.state();
        let topics = state.topics.iter().map(|(name, topic)| v1::TopicListing {
            name: name.clone(),
            topic_id: topic.id.clone(),
            ..Default::default()
        });
        answer(v1::ListTopicsResponse {
            topics: topics.collect(),
        })
    }

    async fn describe_topics(
        &self,
        request: Request<v1::DescribeTopicsRequest>,
    ) -> Answer<v1::DescribeTopicsResponse> {
        let state = self.0.state();
        let names = request.into_inner().names.into_iter();
        let topics = names.map(|name| {
            let topic = state.topics.get(&name);
            describe(name, topic)
        });
        answer(v1::DescribeTopicsResponse {
            topics: topics.collect(),
        })
    }
}

#[tonic::async_trait]
impl OffsetService for Topics {
    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Answer<v1::ListOffsetsResponse> {
        let state = self.0.state();
        let results = request.into_inner().queries.into_iter().map(|query| {
            let log = state.partition(&query.topic_id, query.partition).unwrap();
            let at_time = |wanted| {
                let mut batches = log.batches.iter();
                let found = batches.find(|(_, time, _)| *time >= wanted);
                found.map_or(-1, |(base_offset, _, _)| *base_offset)
            };
            let offset = match query.spec.unwrap() {
                Spec::Earliest(_) => log.log_start_offset,
                Spec::Latest(_) => log.log_end_offset,
                Spec::MaxTimestamp(_) => log.log_end_offset - 1,
                Spec::TimestampMs(wanted) => at_time(wanted),
            };
            v1::OffsetResult {
                offset,
                timestamp_ms: -1,
                ..Default::default()
            }
        });
        answer(v1::ListOffsetsResponse {
            results: results.collect(),
        })
    }

    async fn delete_records(
        &self,
        _: Request<v1::DeleteRecordsRequest>,
    ) -> Answer<v1::DeleteRecordsResponse> {
        Err(Status::unimplemented("delete records"))
    }
}

#[tonic::async_trait]
impl ClusterService for Topics {
    async fn describe_cluster(
        &self,
        _: Request<v1::DescribeClusterRequest>,
    ) -> Answer<v1::DescribeClusterResponse> {
        answer(v1::DescribeClusterResponse::default())
    }

    async fn list_clients(
        &self,
        _: Request<v1::ListClientsRequest>,
    ) -> Answer<v1::ListClientsResponse> {
        let connections = self.0.state().clients.clone();
        answer(v1::ListClientsResponse {
            broker_id: 1,
            connections,
        })
    }
}
