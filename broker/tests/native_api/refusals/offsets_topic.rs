//! What nobody may do to the topic that groups are kept in, though everybody may read it.

use millstream_proto::grpc::v1;

use super::{KEEP, Refusals};
use crate::{
    broker::Broker,
    client::{Fetcher, Producer, batch, connect, create_topic, try_create_topic},
    member::{Commits, NOBODY, commit, refusal},
};

const OFFSETS_TOPIC: &str = "__consumer_offsets";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_topic() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let mut found = Refusals::default();
    for name in [OFFSETS_TOPIC, "__consumer.offsets"] {
        let created = try_create_topic(&channel, name, 1, &[]).await;
        found.add(&format!("create {name}"), created.error);
    }
    let mut commits = Commits::open(&channel).await;
    let answer = commits.commit(commit("g", NOBODY, &topic, (0, 1))).await;
    assert_eq!(refusal(answer), None, "the first group creates it");
    let mut topics = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let request = v1::DescribeTopicsRequest {
        names: vec![OFFSETS_TOPIC.into()],
        ..v1::DescribeTopicsRequest::default()
    };
    let described = topics.describe_topics(request).await.expect("answered");
    let described = described.into_inner().topics.remove(0);
    assert_eq!((described.internal, described.partitions.len()), (true, 50));
    let own = described.topic_id;
    let mut producer = Producer::open(&channel).await;
    let ack = producer.produce(&own, batch(&[b"x"])).await;
    found.add("produce to it", ack.error);
    let request = v1::DeleteTopicsRequest {
        names: vec![OFFSETS_TOPIC.into()],
        validate_only: false,
    };
    let deleted = topics.delete_topics(request).await.expect("answered");
    let deleted = deleted.into_inner().results.remove(0);
    found.add("delete it", deleted.error);
    let request = v1::CreatePartitionsRequest {
        name: OFFSETS_TOPIC.into(),
        partitions: 60,
        validate_only: false,
    };
    let grown = topics.create_partitions(request).await.expect("answered");
    found.add("add partitions to it", grown.into_inner().error);
    let mut offsets = v1::offset_service_client::OffsetServiceClient::new(channel.clone());
    let request = v1::DeleteRecordsRequest {
        items: vec![v1::DeleteRecordsItem {
            topic_id: own.clone(),
            partition: 0,
            before_offset: -1,
        }],
    };
    let deleted = offsets.delete_records(request).await.expect("answered");
    let deleted = deleted.into_inner().results.remove(0);
    found.add("delete its records", deleted.error);
    let mut configs = v1::config_service_client::ConfigServiceClient::new(channel.clone());
    for (key, value) in [
        ("cleanup.policy", "delete"),
        ("millstream.durability", "replicated"),
    ] {
        let request = v1::AlterConfigsRequest {
            resource: Some(v1::ConfigResource {
                r#type: v1::ConfigResourceType::Topic.into(),
                name: OFFSETS_TOPIC.into(),
            }),
            changes: vec![v1::ConfigChange {
                name: key.into(),
                operation: Some(v1::config_change::Operation::Set(value.into())),
            }],
            validate_only: false,
        };
        let altered = configs.alter_configs(request).await.expect("answered");
        found.add(&format!("set its {key}"), altered.into_inner().error);
    }
    insta::assert_snapshot!("offsets_topic", found.0);
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &own, 0, 1 << 20).await;
    fetcher.data().await;
    broker.stop().await;
}
