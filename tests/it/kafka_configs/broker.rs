//! Effects of the settings of a broker that Kafka has, too.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse, DescribeClusterRequest, DescribeConfigsRequest,
        DescribeLogDirsRequest, DescribeProducersRequest, FetchRequest, GroupId,
        InitProducerIdRequest, JoinGroupRequest, MetadataRequest, MetadataResponse,
        OffsetCommitRequest, OffsetFetchRequest, ProducerId,
        describe_configs_request::DescribeConfigsResource,
        describe_producers_request,
        join_group_request::JoinGroupRequestProtocol,
        metadata_request::MetadataRequestTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
    },
    protocol::StrBytes,
};
use millstream_proto::{
    ProducerEpoch,
    record::{BatchBuilder, BatchOptions, ProducerIdentity},
};
use millstream_tests::{
    Kafka, binary,
    kafka::{ConfigOperation, ConfigOwner, FETCH_VERSION, error_name, fetch_request, topic_name},
};

use super::{
    OF_BROKER, OF_BROKERS, OF_TOPIC, SET_BY_OTHER_TESTS, TOPIC, TOPIC_DEFAULTS, batch, now_ms,
    produce, produce_bytes, start,
};

const WITHIN: Duration = Duration::from_secs(20);
/// Versions of requests in which they have what is needed here and no more.
const METADATA_VERSION: i16 = 4;
const JOIN_GROUP_VERSION: i16 = 3;
const CONSUMER_HEARTBEAT_VERSION: i16 = 0;
const MEMBER_TYPE_VERSION: i16 = 1;
const OFFSET_COMMIT_VERSION: i16 = 6;
const OFFSET_FETCH_VERSION: i16 = 5;
/// Where a value comes from: the broker's configuration.
const FROM_BROKER: i8 = 4;

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

#[tokio::test]
async fn every_key_of_a_broker_that_kafka_has_is_in_a_table() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let reference = binary::data("kafka-4.3.1-reference/broker-configs.json");
    let reference: serde_json::Value = serde_json::from_slice(&fs::read(reference)?)?;
    let names = reference.as_array().context("a list of keys")?.iter();
    let kafkas: BTreeSet<_> = names.filter_map(|key| key["name"].as_str()).collect();
    let configs = kafka.configs(OF_BROKER).await?;
    let names = configs.iter().map(|config| &*config.name);
    let found: BTreeSet<_> = names.filter(|name| kafkas.contains(name)).collect();
    let elsewhere = SET_BY_OTHER_TESTS.iter().map(|(key, _)| *key);
    let defaults = TOPIC_DEFAULTS.iter().map(|(key, ..)| *key);
    let listed = OF_BROKERS.iter().copied().chain(elsewhere).chain(defaults);
    assert_eq!(found, listed.collect());
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_read_at_the_start_takes_what_it_is_and_nothing_else() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    for config in kafka.configs(OF_BROKER).await? {
        let (name, value) = (&*config.name, config.value.unwrap_or_default());
        let set = ConfigOperation::Set;
        let same = kafka.alter_config(OF_BROKER, set, name, &value).await?;
        assert_eq!(same.error_code, 0, "{same:?}");
        if !config.read_only {
            continue;
        }
        let other = format!("{}1", &*value);
        let refused = kafka.alter_config(OF_BROKER, set, name, &other).await?;
        assert_eq!(error_name(refused.error_code), "InvalidConfig", "{name}");
        let said = refused.error_message.unwrap_or_default();
        let of_topics = name.starts_with("log.") || name.starts_with("topics.config.");
        let expected = "configuration of a broker cannot be changed while it runs \
            (change its configuration file and restart it; defaults for topics can be changed, \
            topics.config.*)";
        assert!(of_topics || *said == *expected, "{name}: {said}");
        assert!(!said.is_empty(), "{name}");
    }
    let unknown = ("no.such.key", "1");
    let refused = kafka
        .alter_config(OF_BROKER, ConfigOperation::Set, unknown.0, unknown.1)
        .await?;
    assert_eq!(error_name(refused.error_code), "InvalidConfig");
    Ok(())
}

#[tokio::test]
async fn a_topic_has_the_brokers_defaults_until_it_sets_its_own() -> Result<()> {
    let paths = TOPIC_DEFAULTS
        .iter()
        .map(|(_, key, value)| (format!("topics.config.{key}"), *value));
    let paths: Vec<_> = paths.collect();
    let settings: Vec<_> = paths
        .iter()
        .map(|(path, value)| (&**path, *value))
        .collect();
    let (_daemon, mut kafka) = start(&settings).await?;
    let own = [
        ("message.timestamp.type", "CreateTime"),
        ("min.insync.replicas", "1"),
    ];
    kafka.create_topic(TOPIC, 1, &own).await?;
    let of_topic = kafka.configs(OF_TOPIC).await?;
    for (of_broker, key, value) in TOPIC_DEFAULTS {
        assert_eq!(kafka.config(OF_BROKER, of_broker).await?, *value);
        let found = of_topic.iter().find(|config| &*config.name == *key);
        let found = found.with_context(|| (*key).to_owned())?;
        if own.iter().all(|(own, _)| own != key) {
            assert_eq!(found.value.as_deref(), Some(*value), "{key}");
            assert_eq!(found.config_source, FROM_BROKER, "{key}");
        }
    }
    // And they do what they say: two are enough, as they are one configuration.
    let larger = batch(&[(now_ms()?, Some("k"), Some(&[b'.'; 1_000]))])?;
    let refused = produce(&mut kafka, larger).await?;
    assert_eq!(refused.as_deref(), Some("MessageTooLarge"));
    let own_time = batch(&[(now_ms()? - 3_000, Some("k"), None)])?;
    let refused = produce(&mut kafka, own_time).await?;
    assert_eq!(refused.as_deref(), Some("InvalidTimestamp"));
    Ok(())
}

async fn metadata(kafka: &mut Kafka, topic: &str) -> Result<MetadataResponse> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true);
    kafka.call(METADATA_VERSION, &request).await
}

pub(super) async fn a_topic_that_is_asked_for_is_created_or_not() -> Result<()> {
    for (auto_create, error) in [("true", 0), ("false", 3)] {
        let (_daemon, mut kafka) = start(&[("topics.auto_create", auto_create)]).await?;
        let answer = metadata(&mut kafka, TOPIC).await?;
        assert_eq!(answer.topics[0].error_code, error, "{auto_create}");
    }
    Ok(())
}

pub(super) async fn a_broker_has_its_rack() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("node.rack", "north")]).await?;
    let answer = kafka.call(0, &DescribeClusterRequest::default()).await?;
    assert_eq!(answer.brokers[0].rack.as_deref(), Some("north"));
    let answer = metadata(&mut kafka, TOPIC).await?;
    assert_eq!(answer.brokers[0].rack.as_deref(), Some("north"));
    Ok(())
}

pub(super) async fn a_broker_has_its_id() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("node.id", "7")]).await?;
    let answer = metadata(&mut kafka, TOPIC).await?;
    assert_eq!(answer.brokers[0].node_id, BrokerId(7));
    assert_eq!(answer.topics[0].partitions[0].leader_id, BrokerId(7));
    Ok(())
}

pub(super) async fn a_new_topic_has_so_many_partitions() -> Result<()> {
    const DEFAULT: i32 = -1;
    let (_daemon, mut kafka) = start(&[("topics.partitions", "3")]).await?;
    let created = kafka.create_topic(TOPIC, DEFAULT, &[]).await?;
    assert_eq!((created.error_code, created.num_partitions), (0, 3));
    let answer = metadata(&mut kafka, "asked-for").await?;
    assert_eq!(answer.topics[0].partitions.len(), 3);
    Ok(())
}

pub(super) async fn a_new_topic_has_so_many_replicas() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("topics.replication_factor", "1")]).await?;
    let answer = metadata(&mut kafka, TOPIC).await?;
    assert_eq!(answer.topics[0].partitions[0].replica_nodes, [BrokerId(1)]);
    let two = start(&[("topics.replication_factor", "2")]).await;
    let refused = two.err().context("two replicas on one broker")?;
    let said = format!("{refused:?}");
    ensure!(
        said.contains("topics.replication_factor is 2, expected 1"),
        "{said}"
    );
    Ok(())
}

pub(super) async fn an_answer_to_a_fetch_has_no_more_bytes() -> Result<()> {
    const LARGE: usize = 600_000;
    let (_daemon, mut kafka) = start(&[("limits.fetch_response_bytes_max", "1MiB")]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    for _ in 0..3 {
        produce_bytes(&mut kafka, now_ms()?, LARGE).await?;
    }
    let data = kafka.fetch(TOPIC, 0, 0, i32::MAX).await?;
    let bytes = data.records.unwrap_or_default().len();
    assert!((LARGE..1 << 20).contains(&bytes), "{bytes} bytes");
    Ok(())
}

pub(super) async fn more_fetch_sessions_are_not_remembered() -> Result<()> {
    /// Asks for a session.
    const NEW: (i32, i32) = (0, 0);
    let (daemon, mut kafka) = start(&[("limits.fetch_sessions_max", "1")]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    let request: FetchRequest = fetch_request(TOPIC, 0, 0, 1 << 20)
        .with_max_wait_ms(0)
        .with_session_id(NEW.0)
        .with_session_epoch(NEW.1);
    let first = kafka.call(FETCH_VERSION, &request).await?;
    let mut other = Kafka::connect(daemon.kafka()).await?;
    let second = other.call(FETCH_VERSION, &request).await?;
    assert!(
        first.session_id != 0 && second.session_id == 0,
        "{first:?} {second:?}"
    );
    Ok(())
}

/// Joins the group by KIP-848; the broker says who it is.
async fn join_consumer(kafka: &mut Kafka) -> Result<ConsumerGroupHeartbeatResponse> {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name(TOPIC)]))
        .with_topic_partitions(Some(Vec::new()));
    kafka.call(CONSUMER_HEARTBEAT_VERSION, &request).await
}

/// Joins the group by the classic protocol; returns the name of the error, if there is one.
async fn join_classic(kafka: &mut Kafka, session_timeout_ms: i32) -> Result<Option<String>> {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(session_timeout_ms)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol]);
    let code = kafka.call(JOIN_GROUP_VERSION, &request).await?.error_code;
    Ok((code != 0).then(|| error_name(code)))
}

const SESSION_MS: i32 = 30_000;
/// An empty classic group does not wait for more members.
const NO_DELAY: (&str, &str) = ("groups.initial_rebalance_delay", "0s");

pub(super) async fn members_are_told_how_often_to_ask() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("groups.heartbeat_interval", "1234ms")]).await?;
    let joined = join_consumer(&mut kafka).await?;
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 1234));
    Ok(())
}

pub(super) async fn a_group_that_the_broker_assigns_has_no_more_members() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("groups.members_max", "1")]).await?;
    assert_eq!(join_consumer(&mut kafka).await?.error_code, 0);
    let refused = join_consumer(&mut kafka).await?;
    assert_eq!(error_name(refused.error_code), "GroupMaxSizeReached");
    Ok(())
}

pub(super) async fn a_classic_group_has_no_more_members() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("groups.members_max", "1"), NO_DELAY]).await?;
    assert_eq!(join_classic(&mut kafka, SESSION_MS).await?, None);
    let refused = join_classic(&mut kafka, SESSION_MS).await?;
    assert_eq!(refused.as_deref(), Some("GroupMaxSizeReached"));
    Ok(())
}

/// What the members of the group speak, as ConsumerGroupDescribe numbers it: 0 classic, 1 consumer.
async fn member_types(kafka: &mut Kafka) -> Result<Vec<i8>> {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
    let answer = kafka.call(MEMBER_TYPE_VERSION, &request).await?;
    let members = answer.groups[0].members.iter();
    let mut types: Vec<i8> = members.map(|member| member.member_type).collect();
    types.sort_unstable();
    Ok(types)
}

pub(super) async fn a_group_with_members_changes_its_kind_or_not() -> Result<()> {
    for (policy, error) in [("bidirectional", 0), ("disabled", 69)] {
        let (_daemon, mut kafka) = start(&[("groups.migration", policy), NO_DELAY]).await?;
        assert_eq!(join_classic(&mut kafka, SESSION_MS).await?, None);
        let joined = join_consumer(&mut kafka).await?;
        assert_eq!(joined.error_code, error, "{policy}: {joined:?}");
        if error == 0 {
            assert_eq!(member_types(&mut kafka).await?, [0, 1]);
        }
    }
    Ok(())
}

pub(super) async fn a_silent_member_is_evicted() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("groups.session_timeout", "1s")]).await?;
    assert_eq!(join_consumer(&mut kafka).await?.error_code, 0);
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
    let start = Instant::now();
    let mut members = 1;
    while members > 0 && start.elapsed() < WITHIN {
        members = kafka.call(0, &request).await?.groups[0].members.len();
    }
    assert_eq!(members, 0);
    Ok(())
}

pub(super) async fn an_empty_group_waits_for_more_members() -> Result<()> {
    let waits = |delay: &'static str| async move {
        let (_daemon, mut kafka) = start(&[("groups.initial_rebalance_delay", delay)]).await?;
        let start = Instant::now();
        assert_eq!(join_classic(&mut kafka, SESSION_MS).await?, None);
        anyhow::Ok(start.elapsed())
    };
    // By default it is three seconds.
    let (short, long) = (waits("1ms").await?, waits("4s").await?);
    assert!(short < Duration::from_secs(3), "{short:?}");
    assert!(long >= Duration::from_secs(4), "{long:?}");
    Ok(())
}

pub(super) async fn longer_sessions_are_refused() -> Result<()> {
    let longest = [("groups.classic_session_timeout_max", "20s"), NO_DELAY];
    let (_daemon, mut kafka) = start(&longest).await?;
    let refused = join_classic(&mut kafka, 20_001).await?;
    assert_eq!(refused.as_deref(), Some("InvalidSessionTimeout"));
    assert_eq!(join_classic(&mut kafka, 20_000).await?, None);
    Ok(())
}

pub(super) async fn shorter_sessions_are_refused() -> Result<()> {
    let shortest = [("groups.classic_session_timeout_min", "20s"), NO_DELAY];
    let (_daemon, mut kafka) = start(&shortest).await?;
    let refused = join_classic(&mut kafka, 19_999).await?;
    assert_eq!(refused.as_deref(), Some("InvalidSessionTimeout"));
    assert_eq!(join_classic(&mut kafka, 20_000).await?, None);
    Ok(())
}

/// Commits an offset with a text beside it; returns the name of the error, if there is one.
async fn commit(kafka: &mut Kafka, text: &str) -> Result<Option<String>> {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(5)
        .with_committed_metadata(Some(StrBytes::from_string(text.to_owned())));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_topics(vec![topic]);
    let answer = kafka.call(OFFSET_COMMIT_VERSION, &request).await?;
    let code = answer.topics[0].partitions[0].error_code;
    Ok((code != 0).then(|| error_name(code)))
}

/// Commits once the coordinator has loaded what there is.
async fn commit_at_last(kafka: &mut Kafka, text: &str) -> Result<Option<String>> {
    let start = Instant::now();
    loop {
        let refused = commit(kafka, text).await?;
        let is_retriable = refused
            .as_deref()
            .is_some_and(|error| error.starts_with("Coordinator"));
        if !is_retriable || start.elapsed() > WITHIN {
            return Ok(refused);
        }
    }
}

pub(super) async fn longer_texts_beside_an_offset_are_refused() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("groups.offset_metadata_bytes_max", "5B")]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    assert_eq!(commit_at_last(&mut kafka, "12345").await?, None);
    let refused = commit_at_last(&mut kafka, "123456").await?;
    assert_eq!(refused.as_deref(), Some("OffsetMetadataTooLarge"));
    Ok(())
}

pub(super) async fn offsets_of_a_group_that_is_not_used_expire() -> Result<()> {
    const NO_OFFSET: i64 = -1;
    let settings = [
        ("groups.offsets_retention", "1ms"),
        ("groups.offsets_expiry_check_interval", "20ms"),
    ];
    let (_daemon, mut kafka) = start(&settings).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    assert_eq!(commit_at_last(&mut kafka, "").await?, None);
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]));
    let start = Instant::now();
    let mut offset = 0;
    while offset != NO_OFFSET && start.elapsed() < WITHIN {
        let answer = kafka.call(OFFSET_FETCH_VERSION, &request).await?;
        offset = answer.topics[0].partitions[0].committed_offset;
    }
    assert_eq!(offset, NO_OFFSET);
    Ok(())
}

pub(super) async fn the_topic_of_offsets_has_so_many_partitions() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("groups.offsets_topic_partitions", "3")]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    assert_eq!(commit_at_last(&mut kafka, "").await?, None);
    let answer = metadata(&mut kafka, "__consumer_offsets").await?;
    assert_eq!(answer.topics[0].partitions.len(), 3);
    Ok(())
}

pub(super) async fn a_producer_that_is_silent_is_forgotten() -> Result<()> {
    let (_daemon, mut kafka) = start(&[("log.producer_id_expiration", "2s")]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(ProducerId(-1));
    let given = kafka.call(4, &request).await?;
    assert_eq!(given.error_code, 0, "{given:?}");
    let options = BatchOptions {
        producer: Some(ProducerIdentity {
            id: millstream_proto::ProducerId(given.producer_id.0),
            epoch: ProducerEpoch(given.producer_epoch),
            base_sequence: 0,
        }),
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    builder.append(now_ms()?, None, None, &[])?;
    assert_eq!(produce(&mut kafka, builder.finish()?).await?, None);
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let start = Instant::now();
    let mut counts = Vec::new();
    while counts.last() != Some(&0) && start.elapsed() < WITHIN {
        let answer = kafka.call(0, &request).await?;
        counts.push(answer.topics[0].partitions[0].active_producers.len());
    }
    counts.dedup();
    assert_eq!(counts, [1, 0]);
    Ok(())
}

pub(super) async fn the_directory_is_told() -> Result<()> {
    let (daemon, mut kafka) = start(&[]).await?;
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let answer = kafka.call(4, &request).await?;
    let found = answer.results[0].log_dir.to_string();
    let expected = daemon.data_dir().display().to_string();
    assert_eq!(found, expected);
    assert_eq!(kafka.config(OF_BROKER, "log.dirs").await?, expected);
    Ok(())
}

async fn is_refused_beyond_one(key: &str) -> Result<()> {
    let (daemon, mut kafka) = start(&[(key, "1")]).await?;
    let request = ApiVersionsRequest::default();
    kafka.call(0, &request).await?;
    let mut second = Kafka::connect(daemon.kafka()).await?;
    ensure!(second.call(0, &request).await.is_err(), "two connections");
    kafka.call(0, &request).await.map(drop)
}

pub(super) async fn more_connections_are_refused() -> Result<()> {
    is_refused_beyond_one("limits.connections_max").await
}

pub(super) async fn more_connections_of_one_address_are_refused() -> Result<()> {
    is_refused_beyond_one("limits.connections_per_address_max").await
}

pub(super) async fn a_larger_request_ends_its_connection() -> Result<()> {
    let (daemon, mut kafka) = start(&[("limits.request_bytes_max", "64KiB")]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    produce_bytes(&mut kafka, now_ms()?, 60_000).await?;
    let larger = batch(&[(0, None, Some(&[b'.'; 70_000]))])?;
    let mut refused = Kafka::connect(daemon.kafka()).await?;
    ensure!(
        refused.produce(TOPIC, 0, larger).await.is_err(),
        "it is taken"
    );
    kafka.configs(OF_TOPIC).await.map(drop)
}

/// As `kafka-configs --entity-default` looks at it.
#[tokio::test]
async fn what_holds_for_all_brokers_lists_what_was_set_there() -> Result<()> {
    const OF_ALL: ConfigOwner<'_> = ConfigOwner::Broker("");
    const KEY: &str = "log.retention.ms";
    const FROM_ALL_BROKERS: i8 = 3;
    let (_daemon, mut kafka) = start(&[]).await?;
    assert!(kafka.configs(OF_ALL).await?.is_empty());
    let set = kafka.alter_config(OF_ALL, ConfigOperation::Set, KEY, "60000");
    assert_eq!(set.await?.error_code, 0);
    let listed = kafka.configs(OF_ALL).await?;
    let listed: Vec<_> = listed
        .iter()
        .map(|it| (&*it.name, it.value.as_deref(), it.config_source))
        .collect();
    assert_eq!(listed, [(KEY, Some("60000"), FROM_ALL_BROKERS)]);
    let unset = kafka.alter_config(OF_ALL, ConfigOperation::Delete, KEY, "");
    assert_eq!(unset.await?.error_code, 0);
    assert!(kafka.configs(OF_ALL).await?.is_empty());
    Ok(())
}

/// What a topic's key would fall back to, layer by layer, each under the name that it is set by.
#[tokio::test]
async fn synonyms_are_every_place_in_which_a_key_is_set() -> Result<()> {
    const VERSION: i16 = 4;
    const TOPIC_TYPE: i8 = 2;
    let (_daemon, mut kafka) = start(&[("topics.config.retention.ms", "30000")]).await?;
    let own = [("retention.ms", "10000")];
    assert_eq!(kafka.create_topic(TOPIC, 1, &own).await?.error_code, 0);
    let key = "log.retention.ms";
    let set = kafka.alter_config(OF_BROKER, ConfigOperation::Set, key, "20000");
    assert_eq!(set.await?.error_code, 0);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_TYPE)
        .with_resource_name(StrBytes::from_static_str(TOPIC))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")]));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let answer = kafka.call(VERSION, &request).await?;
    let found = answer.results.first().and_then(|it| it.configs.first());
    let synonyms = found.context("one key of one resource")?.synonyms.iter();
    let synonyms: Vec<_> = synonyms
        .map(|it| {
            (
                &*it.name,
                it.value.as_deref().unwrap_or_default(),
                it.source,
            )
        })
        .collect();
    let expected = [
        ("retention.ms", "10000", 1),
        (key, "20000", 2),
        (key, "30000", FROM_BROKER),
        (key, "604800000", 5),
    ];
    assert_eq!(synonyms, expected);
    Ok(())
}
