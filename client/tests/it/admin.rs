//! Admin calls: a result per item, deadlines, errors.

use std::time::{Duration, Instant};

use millstream::{
    Error, ErrorCode, IsolationLevel, NewTopic,
    admin::{ConfigChange, ConfigResource, OffsetSpec},
};

use crate::support::FakeBroker;

fn code<T: std::fmt::Debug>(result: &Result<T, Error>) -> Option<ErrorCode> {
    result.as_ref().unwrap_err().code()
}

#[tokio::test]
async fn topics_have_a_result_each() {
    let broker = FakeBroker::start(1).await;
    let admin = broker.client().await.admin();
    let topics = vec![NewTopic::new("new").partitions(3), NewTopic::new("t")];
    let created = admin.create_topics(topics, false).await.unwrap();
    assert_eq!(created[0].1.as_ref().unwrap().partitions, 3);
    assert_eq!(
        (created[1].0.as_str(), code(&created[1].1)),
        ("t", Some(ErrorCode::TopicAlreadyExists))
    );
    let described = admin
        .describe_topics(&["new", "nobody"], false)
        .await
        .unwrap();
    assert_eq!(described[0].1.as_ref().unwrap().partitions.len(), 3);
    assert_eq!(
        code(&described[1].1),
        Some(ErrorCode::UnknownTopicOrPartition)
    );
    let names: Vec<_> = admin
        .list_topics(false)
        .await
        .unwrap()
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["new", "t"]);
    let deleted = admin
        .delete_topics(&["new", "nobody"], false)
        .await
        .unwrap();
    assert!(deleted[0].1.is_ok() && deleted[1].1.is_err());
    let again = admin.create_topic(NewTopic::new("t")).await;
    assert_eq!(code(&again), Some(ErrorCode::TopicAlreadyExists));
}

#[tokio::test]
async fn partitions_are_added_and_never_taken() {
    let broker = FakeBroker::start(1).await;
    let admin = broker.client().await.admin();
    admin.create_partitions("t", 4, false).await.unwrap();
    assert_eq!(admin.list_topics(false).await.unwrap()[0].partitions, 4);
    assert_eq!(
        code(&admin.create_partitions("t", 2, false).await),
        Some(ErrorCode::InvalidPartitions)
    );
}

#[tokio::test]
async fn offsets_have_a_result_each() {
    let broker = FakeBroker::start(2).await;
    broker.append(0, &["a", "b", "c"]);
    let admin = broker.client().await.admin();
    let queries = [
        ("t", 0, OffsetSpec::Earliest),
        ("t", 0, OffsetSpec::Latest),
        ("t", 0, OffsetSpec::TimestampMs(2_000)),
        ("t", 5, OffsetSpec::Latest),
        ("nobody", 0, OffsetSpec::Latest),
    ];
    let listed = admin
        .list_offsets(&queries, IsolationLevel::ReadUncommitted)
        .await
        .unwrap();
    let offsets: Vec<_> = listed[..3]
        .iter()
        .map(|listed| listed.as_ref().unwrap().offset)
        .collect();
    assert_eq!(offsets, [Some(0), Some(3), None]);
    assert!(matches!(
        listed[3],
        Err(Error::UnknownPartition {
            partition: 5,
            partitions: 2,
            ..
        })
    ));
    assert_eq!(code(&listed[4]), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn records_are_deleted_below_an_offset() {
    let broker = FakeBroker::start(2).await;
    broker.append(0, &["a", "b", "c"]);
    broker.append(1, &["d"]);
    let admin = broker.client().await.admin();
    let items = [("t", 0, Some(2)), ("t", 1, None), ("t", 0, Some(9))];
    let deleted = admin.delete_records(&items).await.unwrap();
    assert_eq!(
        (deleted[0].as_ref().unwrap(), deleted[1].as_ref().unwrap()),
        (&2, &1)
    );
    assert_eq!(code(&deleted[2]), Some(ErrorCode::OffsetOutOfRange));
}

#[tokio::test]
async fn a_topic_created_anew_is_found_behind_the_cache() {
    let broker = FakeBroker::start(1).await;
    let admin = broker.client().await.admin();
    let query = [("t", 0, OffsetSpec::Latest)];
    let isolation = IsolationLevel::ReadUncommitted;
    admin.list_offsets(&query, isolation).await.unwrap();
    broker.change(|state| state.create_topic("t", 1));
    broker.append(0, &["a"]);
    let listed = admin.list_offsets(&query, isolation).await.unwrap();
    assert_eq!(listed[0].as_ref().unwrap().offset, Some(1));
}

#[tokio::test]
async fn configurations_are_shown_and_changed() {
    let broker = FakeBroker::start(1).await;
    let admin = broker.client().await.admin();
    let resources = ["t", "nobody"].map(|name| ConfigResource::Topic(name.to_owned()));
    let shown = admin.describe_configs(&resources, &[]).await.unwrap();
    assert_eq!(shown[0].1.as_ref().unwrap()[0].name, "retention.ms");
    assert!(shown[1].1.is_err());
    let set = |name: &str| {
        [ConfigChange::Set {
            name: name.to_owned(),
            value: "1".to_owned(),
        }]
    };
    admin
        .alter_configs(&resources[0], &set("retention.ms"), false)
        .await
        .unwrap();
    let refused = admin
        .alter_configs(&resources[0], &set("nonsense"), false)
        .await;
    assert_eq!(code(&refused), Some(ErrorCode::InvalidConfig));
}

#[tokio::test]
async fn the_cluster_is_described() {
    let broker = FakeBroker::start(0).await;
    let cluster = broker
        .client()
        .await
        .admin()
        .describe_cluster()
        .await
        .unwrap();
    assert_eq!(
        (cluster.cluster_id.as_str(), cluster.brokers.len()),
        ("fake", 1)
    );
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let broker = FakeBroker::start(1).await;
    let admin = broker
        .client()
        .await
        .admin()
        .deadline(Duration::from_millis(100));
    broker.state().control_held = true;
    let started = Instant::now();
    let error = admin.describe_topics(&["t"], false).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TimedOut {
                operation: "describing topics",
                ..
            }
        ),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_change_is_not_made_twice_when_its_answer_is_lost() {
    let broker = FakeBroker::start(1).await;
    let admin = broker.client().await.admin();
    broker.state().control_held = true;
    let creating = tokio::spawn(async move { admin.create_topic(NewTopic::new("new")).await });
    let held = async {
        while !creating.is_finished() {
            broker.proxy.break_connections();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), held)
        .await
        .unwrap();
    let error = creating.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Disconnected { .. } | Error::Unreachable { .. }
        ),
        "{error}"
    );
}
