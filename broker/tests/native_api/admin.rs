//! Admin calls that succeed, and what they change.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millstream_broker::{
    clock::Clock, config::Config, maintenance::Maintenance, shutdown::Shutdown,
};
use millstream_log::io::DiskIo;
use millstream_proto::grpc::v1::{self, offset_query::Spec};
use tonic::transport::Channel;

use crate::{
    broker::Broker,
    client::{Fetcher, Producer, TIMESTAMP_MS, batch, connect, create_topic, within},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");

pub(crate) async fn delete_topic(channel: &Channel, name: &str) {
    let mut client = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let request = v1::DeleteTopicsRequest {
        names: vec![name.into()],
        validate_only: false,
    };
    let response = within("delete_topics", client.delete_topics(request)).await;
    let results = response.expect("answered").into_inner().results;
    assert_eq!(results[0].error, None);
}

async fn offset(channel: &Channel, topic_id: &Bytes, spec: Spec) -> (i64, i64) {
    let mut client = v1::offset_service_client::OffsetServiceClient::new(channel.clone());
    let request = v1::ListOffsetsRequest {
        isolation_level: 0,
        queries: vec![v1::OffsetQuery {
            topic_id: topic_id.clone(),
            partition: 0,
            spec: Some(spec),
        }],
    };
    let response = within("list_offsets", client.list_offsets(request)).await;
    let mut results = response.expect("answered").into_inner().results;
    let result = results.remove(0);
    assert_eq!(result.error, None);
    (result.offset, result.timestamp_ms)
}

async fn describe(channel: &Channel, name: &str) -> v1::TopicDescription {
    let mut client = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let request = v1::DescribeTopicsRequest {
        names: vec![name.into()],
        topic_ids: Vec::new(),
        include_log: true,
    };
    let response = within("describe_topics", client.describe_topics(request)).await;
    response.expect("answered").into_inner().topics.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_listed_described_and_grown() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let id = create_topic(&channel, "b", 2, &[KEEP]).await;
    create_topic(&channel, "a", 1, &[]).await;
    create_topic(&channel, "__transaction_state", 1, &[]).await;
    let mut client = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let mut names = Vec::new();
    for include_internal in [false, true] {
        let request = v1::ListTopicsRequest { include_internal };
        let listed = client
            .list_topics(request)
            .await
            .expect("answered")
            .into_inner();
        names.push(
            listed
                .topics
                .into_iter()
                .map(|t| t.name)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(
        names,
        [vec!["a", "b"], vec!["__transaction_state", "a", "b"]]
    );
    let request = v1::CreatePartitionsRequest {
        name: "b".into(),
        partitions: 3,
        validate_only: false,
    };
    let grown = client
        .create_partitions(request)
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(grown.error, None);
    let mut producer = Producer::open(&channel).await;
    producer.send(&id, 2, batch(&[b"x", b"y"])).await;
    assert_eq!(
        producer.ack().await.error,
        None,
        "the new partition serves at once"
    );
    let topic = describe(&channel, "b").await;
    assert_eq!(
        (topic.error, &topic.topic_id, topic.partitions.len()),
        (None, &id, 3)
    );
    let last = &topic.partitions[2];
    let leader = last.leader.as_ref().expect("leader");
    assert_eq!(
        (leader.broker_id, leader.port),
        (1, u32::from(broker.address.port()))
    );
    let log = last.log.as_ref().expect("log");
    assert_eq!(
        (log.high_watermark, log.flushed_offset, log.log_end_offset),
        (2, 2, 2)
    );
    assert_eq!(log.segments, 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_found_by_end_and_by_time_and_records_deleted() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    producer.produce(&topic, batch(&[b"a", b"b", b"c"])).await;
    assert_eq!(
        offset(&channel, &topic, Spec::Earliest(true)).await,
        (0, -1)
    );
    assert_eq!(offset(&channel, &topic, Spec::Latest(true)).await, (3, -1));
    let at = |ms| offset(&channel, &topic, Spec::TimestampMs(ms));
    assert_eq!(at(TIMESTAMP_MS).await, (0, TIMESTAMP_MS));
    assert_eq!(at(TIMESTAMP_MS + 1).await, (-1, -1), "no record is as late");
    let mut client = v1::offset_service_client::OffsetServiceClient::new(channel.clone());
    for (before_offset, expected) in [(2, 2), (1, 2), (-1, 3)] {
        let request = v1::DeleteRecordsRequest {
            items: vec![v1::DeleteRecordsItem {
                topic_id: topic.clone(),
                partition: 0,
                before_offset,
            }],
        };
        let deleted = client
            .delete_records(request)
            .await
            .expect("answered")
            .into_inner();
        assert_eq!(deleted.results[0].error, None);
        assert_eq!(deleted.results[0].log_start_offset, expected);
    }
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 2, 1 << 20).await;
    fetcher.data().await;
    let failed = fetcher.failed().await;
    assert_eq!((failed.log_start_offset, failed.high_watermark), (3, 3));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_config_is_shown_and_in_force_and_survives_a_restart() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let change = v1::AlterConfigsRequest {
        resource: Some(of_topic()),
        changes: vec![v1::ConfigChange {
            name: "max.message.bytes".into(),
            operation: Some(v1::config_change::Operation::Set("200".into())),
        }],
        validate_only: false,
    };
    let mut client = v1::config_service_client::ConfigServiceClient::new(channel.clone());
    let altered = client
        .alter_configs(change)
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(altered.error, None);
    let mut producer = Producer::open(&channel).await;
    let refused = producer.produce(&topic, batch(&[&[7; 300]])).await;
    assert_eq!(refused.error.expect("too large").name, "MESSAGE_TOO_LARGE");
    broker.stop().await;
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let mut client = v1::config_service_client::ConfigServiceClient::new(channel.clone());
    let request = v1::DescribeConfigsRequest {
        resources: vec![of_topic()],
        keys: vec!["max.message.bytes".into(), "retention.ms".into()],
    };
    let described = client
        .describe_configs(request)
        .await
        .expect("answered")
        .into_inner();
    let entries = described.results[0].entries.iter();
    let found: Vec<_> = entries
        .map(|e| (e.name.as_str(), e.value.as_str(), e.source()))
        .collect();
    let set = v1::ConfigSource::Topic;
    assert_eq!(
        found,
        [
            ("max.message.bytes", "200", set),
            ("retention.ms", "-1", set)
        ]
    );
    broker.stop().await;
}

fn of_topic() -> v1::ConfigResource {
    v1::ConfigResource {
        r#type: v1::ConfigResourceType::Topic.into(),
        name: "t".into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_removes_what_retention_does_not_keep() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.log.retention_check_interval = Duration::from_millis(20);
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config.clone()).await;
    let channel = connect(broker.address).await;
    let small = [KEEP, ("segment.bytes", "1048576"), ("retention.bytes", "1")];
    let topic = create_topic(&channel, "t", 1, &small).await;
    let mut producer = Producer::open(&channel).await;
    for _ in 0..12 {
        assert_eq!(
            producer
                .produce(&topic, batch(&[&[7; 200_000]]))
                .await
                .error,
            None
        );
    }
    assert_eq!(offset(&channel, &topic, Spec::Earliest(true)).await.0, 0);
    let shutdown = Shutdown::new();
    let maintenance = Maintenance::new(Arc::clone(&broker.partitions), &config, Clock::new());
    let running = tokio::spawn(maintenance.run(shutdown.clone()));
    let removed = async {
        while offset(&channel, &topic, Spec::Earliest(true)).await.0 == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("old segments to go", removed).await;
    assert_eq!(offset(&channel, &topic, Spec::Latest(true)).await.0, 12);
    shutdown.begin(Duration::from_secs(1));
    within("maintenance to end", running)
        .await
        .expect("no panic");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_health_and_producer_ids_answer() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.metadata.producer_id_block = 2;
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config.clone()).await;
    let channel = connect(broker.address).await;
    let mut cluster = v1::cluster_service_client::ClusterServiceClient::new(channel.clone());
    let described = cluster
        .describe_cluster(v1::DescribeClusterRequest {})
        .await;
    let described = described.expect("answered").into_inner();
    assert_eq!(
        (described.cluster_id.as_str(), described.brokers.len()),
        ("test-cluster", 1)
    );
    let path = directory.path().display().to_string();
    assert_eq!(described.brokers[0].data_directories[0].path, path);
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let service = "millstream.v1.ProduceService".to_owned();
    let checked = health
        .check(tonic_health::pb::HealthCheckRequest { service })
        .await;
    assert_eq!(checked.expect("answered").into_inner().status, 1, "SERVING");
    let mut given = Vec::new();
    given.extend(producer_ids(&channel, 3).await);
    broker.stop_unclean().await;
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config).await;
    given.extend(producer_ids(&connect(broker.address).await, 3).await);
    let count = given.len();
    given.sort_unstable();
    given.dedup();
    assert_eq!(
        given.len(),
        count,
        "no id is given twice, not even over a restart"
    );
    broker.stop().await;
}

async fn producer_ids(channel: &Channel, count: usize) -> Vec<i64> {
    let mut client = v1::producer_id_service_client::ProducerIdServiceClient::new(channel.clone());
    let mut ids = Vec::new();
    for _ in 0..count {
        let given = client.init_producer_id(v1::InitProducerIdRequest {}).await;
        let given = given.expect("answered").into_inner();
        assert_eq!(given.error, None);
        ids.push(given.producer_id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_told_the_services_under_both_names_of_reflection() {
    use tonic_reflection::pb::{
        v1,
        v1alpha::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        },
    };
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut alpha = ServerReflectionClient::new(channel.clone());
    let answers = alpha.server_reflection_info(tokio_stream::once(request));
    let mut answers = within("v1alpha", answers)
        .await
        .expect("served")
        .into_inner();
    let answer = within("services", answers.message())
        .await
        .expect("answered");
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.expect("one").message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = listed.service.into_iter().map(|it| it.name).collect();
    assert!(
        names.contains(&"millstream.v1.TopicService".to_owned()),
        "{names:?}"
    );

    let mut stable = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answers = stable.server_reflection_info(tokio_stream::once(request));
    assert!(within("v1", answers).await.is_ok());
}
