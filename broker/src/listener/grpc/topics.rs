//! `TopicService`.

use millstream_proto::{
    ErrorCode,
    grpc::v1::{self, topic_service_server::TopicService},
};
use tonic::{Request, Response, Status};

use super::{
    control::Control,
    wire::{self, count32},
};
use crate::{
    quorum::TopicImage,
    service::{
        RequestContext, ServiceError, Services,
        topics::{
            CreatedTopic, NewTopic, PartitionDescription, PartitionLogDescription,
            TopicDescription, TopicRef,
        },
    },
};

/// Adapter of [`TopicService`].
#[derive(Debug)]
pub(super) struct TopicAdapter {
    control: Control,
}

impl TopicAdapter {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[tonic::async_trait]
impl TopicService for TopicAdapter {
    async fn create_topics(
        &self,
        request: Request<v1::CreateTopicsRequest>,
    ) -> Result<Response<v1::CreateTopicsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: std::sync::Arc<Services>, context| async move {
            let mut results = Vec::with_capacity(request.topics.len());
            for topic in request.topics {
                let topic = new_topic(topic);
                let created = services
                    .create_topic(&context, &topic, request.validate_only)
                    .await;
                results.push(created_to_wire(topic.name, created));
            }
            v1::CreateTopicsResponse { results }
        };
        self.control.run(context, work).await
    }

    async fn delete_topics(
        &self,
        request: Request<v1::DeleteTopicsRequest>,
    ) -> Result<Response<v1::DeleteTopicsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: std::sync::Arc<Services>, context| async move {
            let mut results = Vec::with_capacity(request.names.len());
            for name in request.names {
                let deleted = services
                    .delete_topic(&context, &name, request.validate_only)
                    .await;
                let (topic_id, error) = match deleted {
                    Ok(id) => (id.as_bytes().to_vec().into(), None),
                    Err(error) => (bytes::Bytes::new(), Some(wire::error(error))),
                };
                results.push(v1::DeleteTopicResult {
                    name,
                    error,
                    topic_id,
                });
            }
            v1::DeleteTopicsResponse { results }
        };
        self.control.run(context, work).await
    }

    async fn create_partitions(
        &self,
        request: Request<v1::CreatePartitionsRequest>,
    ) -> Result<Response<v1::CreatePartitionsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: std::sync::Arc<Services>, context: RequestContext| async move {
            let created = services
                .create_partitions(
                    &context,
                    &request.name,
                    request.partitions,
                    request.validate_only,
                )
                .await;
            v1::CreatePartitionsResponse {
                error: created.err().map(wire::error),
            }
        };
        self.control.run(context, work).await
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let context = wire::context(&request);
        let include_internal = request.get_ref().include_internal;
        let work = move |services: std::sync::Arc<Services>, context: RequestContext| async move {
            let topics = services.list_topics(&context, include_internal);
            v1::ListTopicsResponse {
                topics: topics.iter().map(|topic| listing(topic)).collect(),
            }
        };
        self.control.run(context, work).await
    }

    async fn describe_topics(
        &self,
        request: Request<v1::DescribeTopicsRequest>,
    ) -> Result<Response<v1::DescribeTopicsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: std::sync::Arc<Services>, context: RequestContext| async move {
            let describe =
                |topic: &TopicRef| services.describe_topic(&context, topic, request.include_log);
            let by_name = request.names.iter().map(|name| {
                let described = describe(&TopicRef::Name(name.clone()));
                description(&services, name.clone(), &bytes::Bytes::new(), described)
            });
            let by_id = request.topic_ids.iter().map(|bytes| {
                let described = wire::topic_id(bytes).and_then(|id| describe(&TopicRef::Id(id)));
                description(&services, String::new(), bytes, described)
            });
            v1::DescribeTopicsResponse {
                topics: by_name.chain(by_id).collect(),
            }
        };
        self.control.run(context, work).await
    }
}

/// 0 asks for the default.
fn new_topic(topic: v1::NewTopic) -> NewTopic {
    NewTopic {
        name: topic.name,
        partitions: Some(topic.partitions).filter(|count| *count != 0),
        replication_factor: Some(topic.replication_factor).filter(|count| *count != 0),
        configs: topic.configs.into_iter().collect(),
    }
}

fn created_to_wire(
    name: String,
    created: Result<CreatedTopic, ServiceError>,
) -> v1::CreateTopicResult {
    match created {
        Ok(created) => v1::CreateTopicResult {
            name,
            error: None,
            topic_id: created
                .topic_id
                .map_or_else(bytes::Bytes::new, |id| id.as_bytes().to_vec().into()),
            partitions: count32(created.partitions),
            replication_factor: count32(created.replication_factor),
            warnings: created.warnings,
        },
        Err(error) => v1::CreateTopicResult {
            name,
            error: Some(wire::error(error)),
            ..v1::CreateTopicResult::default()
        },
    }
}

fn listing(topic: &TopicImage) -> v1::TopicListing {
    v1::TopicListing {
        name: topic.name.to_string(),
        topic_id: topic.topic_id.as_bytes().to_vec().into(),
        partitions: count32(topic.partitions.len()),
        replication_factor: count32(topic.replication_factor()),
        internal: topic.name.is_internal(),
    }
}

fn description(
    services: &Services,
    asked_name: String,
    asked_id: &bytes::Bytes,
    described: Result<TopicDescription, ServiceError>,
) -> v1::TopicDescription {
    match described {
        Ok(topic) => v1::TopicDescription {
            internal: topic.name.is_internal(),
            name: topic.name.to_string(),
            error: None,
            topic_id: topic.topic_id.as_bytes().to_vec().into(),
            partitions: topic
                .partitions
                .into_iter()
                .map(|partition| partition_to_wire(services, partition))
                .collect(),
        },
        Err(error) => v1::TopicDescription {
            name: asked_name,
            error: Some(wire::error(error)),
            topic_id: asked_id.clone(),
            ..v1::TopicDescription::default()
        },
    }
}

fn partition_to_wire(
    services: &Services,
    partition: PartitionDescription,
) -> v1::PartitionDescription {
    let leader = partition.leader.map(|id| {
        let (host, port) = services.broker_address(id).unwrap_or_default();
        v1::Leader {
            broker_id: id.0,
            leader_epoch: partition.leader_epoch.0,
            host,
            port: u32::from(port),
        }
    });
    let leaderless = leader.is_none().then(|| {
        ServiceError::new(
            ErrorCode::LeaderNotAvailable,
            "partition has no leader",
            "wait until one of its replicas is back",
        )
    });
    v1::PartitionDescription {
        partition: partition.partition.0,
        error: partition.error.or(leaderless).map(wire::error),
        leader,
        replicas: partition.replicas.iter().map(|id| id.0).collect(),
        in_sync_replicas: partition.in_sync.iter().map(|id| id.0).collect(),
        log: partition.log.map(log_to_wire),
    }
}

fn log_to_wire(log: PartitionLogDescription) -> v1::PartitionLogDescription {
    v1::PartitionLogDescription {
        log_start_offset: log.log_start.get(),
        last_stable_offset: log.last_stable.get(),
        high_watermark: log.high_watermark.get(),
        flushed_offset: log.flushed.get(),
        log_end_offset: log.log_end.get(),
        size_bytes: log.size_bytes,
        segments: u32::try_from(log.segments).unwrap_or(u32::MAX),
    }
}
