//! Which topics Metadata speaks of: all, none, those that are missing, those that are the broker's own.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use kafka_protocol::messages::{
    MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic,
};
use millstream_tests::{
    Daemon, Kafka,
    kafka::{error_name, topic_name},
};

/// The versions that the broker serves.
const NEWEST: i16 = 13;
/// The first version in which no list of topics is another thing than an empty one.
const NULLABLE: i16 = 1;
/// The first version that says whether a missing topic shall be created.
const AUTO_CREATION: i16 = 4;

async fn connect(daemon: &Daemon, topics: &[&str]) -> Result<Kafka> {
    let mut client = Kafka::connect(daemon.kafka()).await?;
    for topic in topics {
        let created = client.create_topic(topic, 1, &[]).await?;
        assert_eq!(created.error_code, 0, "{created:?}");
    }
    Ok(client)
}

fn names(answer: &MetadataResponse) -> BTreeSet<&str> {
    let names = answer.topics.iter().filter_map(|topic| topic.name.as_ref());
    names.map(|name| &***name).collect()
}

#[tokio::test]
async fn all_topics_and_none_are_asked_for_as_each_version_does() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon, &["a", "b"]).await?;
    let (all, none) = (BTreeSet::from(["a", "b"]), BTreeSet::new());
    let empty = MetadataRequest::default().with_topics(Some(Vec::new()));
    let null = MetadataRequest::default().with_topics(None);
    let answer = client.call(0, &empty).await?;
    assert_eq!(names(&answer), all, "version 0 has no other way to ask");
    for version in NULLABLE..=NEWEST {
        let answer = client.call(version, &null).await?;
        assert_eq!(names(&answer), all, "version {version}");
        let answer = client.call(version, &empty).await?;
        assert_eq!(names(&answer), none, "version {version}");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_topic_is_created_only_where_the_client_wants_it() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon, &[]).await?;
    for version in AUTO_CREATION..=NEWEST {
        let name = format!("missing-{version}");
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
        let mut request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false);
        for _ in 0..2 {
            let answer = client.call(version, &request).await?;
            let found = answer.topics.first().context("one result a topic")?;
            let error = error_name(found.error_code);
            assert_eq!(error, "UnknownTopicOrPartition", "version {version}");
        }
        request.allow_auto_topic_creation = true;
        let answer = client.call(version, &request).await?;
        let found = answer.topics.first().context("one result a topic")?;
        assert_eq!((found.error_code, found.partitions.len()), (0, 1), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn only_the_topics_of_brokers_are_internal() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon, &["__metrics", "mine", "__transaction_state"]).await?;
    let all = MetadataRequest::default().with_topics(None);
    for version in NULLABLE..=NEWEST {
        let answer = client.call(version, &all).await?;
        let internal = answer.topics.iter().filter(|topic| topic.is_internal);
        let internal: Vec<_> = internal.filter_map(|topic| topic.name.as_deref()).collect();
        assert_eq!(internal.len(), 1, "version {version}: {internal:?}");
        assert_eq!(&**internal[0], "__transaction_state", "version {version}");
    }
    Ok(())
}
