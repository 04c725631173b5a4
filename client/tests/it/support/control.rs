//! The fake broker's other services: topics, offsets, producer ids, configurations, the cluster.

use std::sync::Arc;

use bytes::Bytes;
use millstream_proto::{
    ErrorCode,
    grpc::v1::{
        self, cluster_service_server as cluster, config_service_server as config,
        offset_service_server as offset, producer_id_service_server as producer_id,
        topic_service_server as topic,
    },
};
use tonic::{Request, Response, Status, transport::server::Router};

use super::{Inner, State, Topic, wire_error};

pub(crate) fn add_services(router: Router, inner: Arc<Inner>) -> Router {
    router
        .add_service(topic::TopicServiceServer::new(Control(Arc::clone(&inner))))
        .add_service(offset::OffsetServiceServer::new(Control(Arc::clone(
            &inner,
        ))))
        .add_service(producer_id::ProducerIdServiceServer::new(Control(
            Arc::clone(&inner),
        )))
        .add_service(config::ConfigServiceServer::new(Control(Arc::clone(
            &inner,
        ))))
        .add_service(cluster::ClusterServiceServer::new(Control(inner)))
}

pub(crate) struct Control(Arc<Inner>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

fn unknown(name: &str) -> v1::TopicDescription {
    let error = Some(wire_error(ErrorCode::UnknownTopicOrPartition));
    v1::TopicDescription {
        name: name.to_owned(),
        error,
        ..Default::default()
    }
}

fn describe(name: &str, topic: &Topic, state: &State) -> v1::TopicDescription {
    let partitions = (0_i32..).zip(&topic.partitions).map(|(partition, _)| {
        let leader = state.leaders.get(&partition);
        v1::PartitionDescription {
            partition,
            leader: Some(v1::Leader {
                broker_id: 1,
                host: leader.map_or_else(String::new, |leader| leader.ip().to_string()),
                port: leader.map_or(0, |leader| leader.port().into()),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    v1::TopicDescription {
        name: name.to_owned(),
        topic_id: Bytes::copy_from_slice(&topic.id),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl topic::TopicService for Control {
    async fn create_topics(
        &self,
        request: Request<v1::CreateTopicsRequest>,
    ) -> Answer<v1::CreateTopicsResponse> {
        self.0.control_gate().await;
        let mut state = self.0.state();
        let results = request.into_inner().topics.into_iter().map(|new| {
            if state.topics.contains_key(&new.name) {
                let error = Some(wire_error(ErrorCode::TopicAlreadyExists));
                return v1::CreateTopicResult {
                    name: new.name,
                    error,
                    ..Default::default()
                };
            }
            state.create_topic(&new.name, usize::try_from(new.partitions).unwrap().max(1));
            v1::CreateTopicResult {
                topic_id: Bytes::copy_from_slice(&state.topics[&new.name].id),
                name: new.name,
                partitions: new.partitions.max(1),
                replication_factor: 1,
                ..Default::default()
            }
        });
        answer(v1::CreateTopicsResponse {
            results: results.collect(),
        })
    }

    async fn delete_topics(
        &self,
        request: Request<v1::DeleteTopicsRequest>,
    ) -> Answer<v1::DeleteTopicsResponse> {
        let mut state = self.0.state();
        let results = request.into_inner().names.into_iter().map(|name| {
            let deleted = state.topics.remove(&name);
            let refused = || wire_error(ErrorCode::UnknownTopicOrPartition);
            let error = if deleted.is_some() {
                None
            } else {
                Some(refused())
            };
            v1::DeleteTopicResult {
                name,
                error,
                ..Default::default()
            }
        });
        let results = results.collect();
        drop(state);
        self.0.notify();
        answer(v1::DeleteTopicsResponse { results })
    }

    async fn create_partitions(
        &self,
        request: Request<v1::CreatePartitionsRequest>,
    ) -> Answer<v1::CreatePartitionsResponse> {
        let request = request.into_inner();
        let mut state = self.0.state();
        let total = usize::try_from(request.partitions).unwrap();
        let error = match state.topics.get_mut(&request.name) {
            None => Some(wire_error(ErrorCode::UnknownTopicOrPartition)),
            Some(topic) if topic.partitions.len() >= total => {
                Some(wire_error(ErrorCode::InvalidPartitions))
            }
            Some(topic) => {
                topic.partitions.resize_with(total, Default::default);
                None
            }
        };
        answer(v1::CreatePartitionsResponse { error })
    }

    async fn list_topics(
        &self,
        _: Request<v1::ListTopicsRequest>,
    ) -> Answer<v1::ListTopicsResponse> {
        let state = self.0.state();
        let topics = state.topics.iter().map(|(name, topic)| v1::TopicListing {
            name: name.clone(),
            topic_id: Bytes::copy_from_slice(&topic.id),
            partitions: i32::try_from(topic.partitions.len()).unwrap(),
            replication_factor: 1,
            internal: false,
        });
        answer(v1::ListTopicsResponse {
            topics: topics.collect(),
        })
    }

    async fn describe_topics(
        &self,
        request: Request<v1::DescribeTopicsRequest>,
    ) -> Answer<v1::DescribeTopicsResponse> {
        self.0.control_gate().await;
        let mut state = self.0.state();
        state.topics_asked += 1;
        let topics = request.into_inner().names.into_iter().map(|name| {
            let topic = state.topics.get(&name);
            topic.map_or_else(|| unknown(&name), |topic| describe(&name, topic, &state))
        });
        let topics = topics.collect();
        drop(state);
        self.0.notify();
        answer(v1::DescribeTopicsResponse { topics })
    }
}

#[tonic::async_trait]
impl offset::OffsetService for Control {
    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Answer<v1::ListOffsetsResponse> {
        use v1::offset_query::Spec;
        self.0.control_gate().await;
        let mut state = self.0.state();
        let results = request.into_inner().queries.into_iter().map(|query| {
            let log = match state.log(&query.topic_id, query.partition) {
                Ok(log) => log,
                Err(code) => {
                    return v1::OffsetResult {
                        error: Some(wire_error(code)),
                        ..Default::default()
                    };
                }
            };
            let at_time = |time| {
                let batch = log
                    .batches
                    .iter()
                    .find(|batch| batch.max_timestamp() >= time);
                batch.map_or(-1, |batch| batch.base_offset().get())
            };
            let offset = match query.spec.unwrap() {
                Spec::Earliest(_) => log.log_start_offset,
                Spec::Latest(_) => log.high_watermark(),
                Spec::MaxTimestamp(_) => log.log_end_offset - 1,
                Spec::TimestampMs(time) => at_time(time),
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
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Answer<v1::DeleteRecordsResponse> {
        let mut state = self.0.state();
        let results = request.into_inner().items.into_iter().map(|item| {
            let mut result = v1::DeleteRecordsResult::default();
            match state.log(&item.topic_id, item.partition) {
                Ok(log) if item.before_offset > log.high_watermark() => {
                    result.error = Some(wire_error(ErrorCode::OffsetOutOfRange));
                }
                Ok(log) => {
                    let before = item.before_offset;
                    log.log_start_offset = if before < 0 {
                        log.high_watermark()
                    } else {
                        before
                    };
                    result.log_start_offset = log.log_start_offset;
                }
                Err(code) => result.error = Some(wire_error(code)),
            }
            result
        });
        answer(v1::DeleteRecordsResponse {
            results: results.collect(),
        })
    }
}

#[tonic::async_trait]
impl producer_id::ProducerIdService for Control {
    async fn init_producer_id(
        &self,
        _: Request<v1::InitProducerIdRequest>,
    ) -> Answer<v1::InitProducerIdResponse> {
        self.0.control_gate().await;
        let mut state = self.0.state();
        state.last_producer_id += 1;
        let producer_id = state.last_producer_id;
        answer(v1::InitProducerIdResponse {
            producer_id,
            ..Default::default()
        })
    }
}

#[tonic::async_trait]
impl config::ConfigService for Control {
    async fn describe_configs(
        &self,
        request: Request<v1::DescribeConfigsRequest>,
    ) -> Answer<v1::DescribeConfigsResponse> {
        let state = self.0.state();
        let results = request.into_inner().resources.into_iter().map(|resource| {
            let exists = state.topics.contains_key(&resource.name);
            let entry = v1::ConfigEntry {
                name: "retention.ms".to_owned(),
                value: "604800000".to_owned(),
                source: v1::ConfigSource::Default.into(),
                ..Default::default()
            };
            v1::ConfigResourceDescription {
                resource: Some(resource),
                error: (!exists).then(|| wire_error(ErrorCode::UnknownTopicOrPartition)),
                entries: vec![entry],
            }
        });
        answer(v1::DescribeConfigsResponse {
            results: results.collect(),
        })
    }

    async fn alter_configs(
        &self,
        request: Request<v1::AlterConfigsRequest>,
    ) -> Answer<v1::AlterConfigsResponse> {
        let known = |change: &v1::ConfigChange| change.name == "retention.ms";
        let all_known = request.into_inner().changes.iter().all(known);
        let error = (!all_known).then(|| wire_error(ErrorCode::InvalidConfig));
        answer(v1::AlterConfigsResponse { error })
    }
}

#[tonic::async_trait]
impl cluster::ClusterService for Control {
    async fn describe_cluster(
        &self,
        _: Request<v1::DescribeClusterRequest>,
    ) -> Answer<v1::DescribeClusterResponse> {
        answer(v1::DescribeClusterResponse {
            cluster_id: "fake".to_owned(),
            controller_id: 1,
            brokers: vec![v1::Broker {
                broker_id: 1,
                ..Default::default()
            }],
        })
    }

    async fn list_clients(
        &self,
        _: Request<v1::ListClientsRequest>,
    ) -> Answer<v1::ListClientsResponse> {
        Err(Status::unimplemented("list clients"))
    }
}
