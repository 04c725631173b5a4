//! Answers of the Kafka protocol that no client library of the other tests asks for: refusals of what the broker
//! has not, what a client is authorized to do, and how long an old client wants its offsets to be kept.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiVersionsRequest, BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
        DescribeClusterRequest, DescribeGroupsRequest, DescribeTopicPartitionsRequest,
        FindCoordinatorRequest, InitProducerIdRequest, JoinGroupRequest, MetadataRequest,
        OffsetCommitRequest, OffsetFetchRequest, ProducerId, SaslAuthenticateRequest,
        SaslHandshakeRequest, TransactionalId,
        describe_topic_partitions_request::TopicRequest,
        join_group_request::JoinGroupRequestProtocol,
        metadata_request::MetadataRequestTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
};
use millstream_proto::{PartitionIndex, TopicName, TopicPartition};
use millstream_tests::{
    Daemon, DaemonOptions, Kafka,
    kafka::{group_id, text, topic_name},
};

const TOPIC: &str = "t";
/// A group that only has offsets, and one that the broker assigns.
const COMMITTED: &str = "committed";
const ASSIGNED: &str = "assigned";
/// A commit's retention that is the broker's.
const FOR_EVER: i64 = -1;
/// How long a coordinator may load, and an offset may stay that has expired.
const WITHIN: Duration = Duration::from_secs(20);

async fn connect(daemon: &Daemon) -> Result<Kafka> {
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let created = client.create_topic(TOPIC, 1, &[]).await?;
    assert_eq!(created.error_code, 0, "{created:?}");
    Ok(client)
}

/// The error of an answer that has to have one.
fn refusal(code: i16) -> Result<ResponseError> {
    ResponseError::try_from_code(code).context("it is not refused")
}

fn is_retriable(code: i16) -> bool {
    ResponseError::try_from_code(code).is_some_and(|error| error.is_retriable())
}

#[tokio::test]
async fn a_transactional_producer_is_refused_for_good() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("payments"))))
        .with_transaction_timeout_ms(60_000);
    for version in 0..=5 {
        let answer = client.call(version, &request).await?;
        let refusal = refusal(answer.error_code)?;
        assert_eq!(
            refusal,
            ResponseError::TransactionalIdAuthorizationFailed,
            "version {version}"
        );
        assert!(!refusal.is_retriable());
        let given = (answer.producer_id, answer.producer_epoch);
        assert_eq!(given, (ProducerId(-1), -1), "version {version}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_coordinates_transactions() -> Result<()> {
    const TRANSACTION: i8 = 1;
    /// The first version that asks for several keys.
    const SEVERAL_KEYS: i16 = 4;
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    for version in 1..=6 {
        let request = FindCoordinatorRequest::default().with_key_type(TRANSACTION);
        let request = match version {
            SEVERAL_KEYS.. => request.with_coordinator_keys(vec![text("payments")]),
            _ => request.with_key(text("payments")),
        };
        let answer = client.call(version, &request).await?;
        let (code, node, said) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.error_code, found.node_id, found.error_message),
            None => (answer.error_code, answer.node_id, answer.error_message),
        };
        let refusal = refusal(code)?;
        assert_eq!(
            refusal,
            ResponseError::TransactionalIdAuthorizationFailed,
            "version {version}"
        );
        assert!(!refusal.is_retriable());
        assert_eq!(node, BrokerId(-1), "version {version}");
        let said = said.context("a reason")?;
        assert!(said.contains("transactions"), "{}", &*said);
    }
    Ok(())
}

#[tokio::test]
async fn who_wants_to_authenticate_where_nobody_does_is_told_so() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    for version in 0..=1 {
        let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        let answer = client.call(version, &request).await?;
        assert_eq!(refusal(answer.error_code)?, ResponseError::IllegalSaslState);
        assert!(answer.mechanisms.is_empty(), "{answer:?}");
    }
    for version in 0..=2 {
        let bytes = Bytes::from_static(b"\0user\0password");
        let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes);
        let answer = client.call(version, &request).await?;
        assert_eq!(refusal(answer.error_code)?, ResponseError::IllegalSaslState);
        let said = answer.error_message.clone().context("a reason")?;
        assert!(said.contains("no authentication"), "{}", &*said);
        assert!(answer.auth_bytes.is_empty(), "{answer:?}");
    }
    // The connection is as good as before.
    client.describe_topics(&[TOPIC.to_owned()]).await.map(drop)
}

/// Commits an offset in the oldest version that is served, as somebody who is no member.
async fn commit(client: &mut Kafka, retention_ms: i64) -> Result<()> {
    const VERSION: i16 = 2;
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(COMMITTED))
        .with_retention_time_ms(retention_ms)
        .with_topics(vec![topic]);
    let start = Instant::now();
    loop {
        let answer = client.call(VERSION, &request).await?;
        let code = answer.topics[0].partitions[0].error_code;
        if !is_retriable(code) || start.elapsed() > WITHIN {
            assert_eq!(code, 0, "{answer:?}");
            return Ok(());
        }
    }
}

#[tokio::test]
async fn an_offset_is_kept_for_as_long_as_an_old_client_says() -> Result<()> {
    let daemon = DaemonOptions::default()
        .set("groups.offsets_expiry_check_interval", "20ms")
        .start()?;
    let mut client = connect(&daemon).await?;
    let partition = TopicPartition {
        topic: TopicName::new(TOPIC)?,
        partition: PartitionIndex(0),
    };
    commit(&mut client, 1).await?;
    let start = Instant::now();
    let mut offset = Some(5);
    while offset.is_some() && start.elapsed() < WITHIN {
        let asked = std::slice::from_ref(&partition);
        let found = client.committed(COMMITTED, None, asked).await??;
        offset = found.get(&partition).copied().flatten();
    }
    assert_eq!(offset, None, "the broker's own retention is a week");
    Ok(())
}

/// What Kafka 4.3.1 answers without an authorizer: bits of AclOperation.
const OF_TOPIC: i32 = 3_576;
const OF_GROUP: i32 = 3_400;
const OF_CLUSTER: i32 = 8_096;
const NOT_ASKED: i32 = i32::MIN;

#[tokio::test]
async fn offsets_of_all_topics_and_of_none_are_told_apart() -> Result<()> {
    /// Versions in which no list of topics asks for all, and that name one group.
    const NULLABLE: std::ops::RangeInclusive<i16> = 2..=7;
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    commit(&mut client, FOR_EVER).await?;
    for version in NULLABLE {
        let all = OffsetFetchRequest::default()
            .with_group_id(group_id(COMMITTED))
            .with_topics(None);
        let answer = client.call(version, &all).await?;
        let topics: Vec<_> = answer.topics.iter().map(|topic| &**topic.name).collect();
        assert_eq!(topics, [TOPIC], "version {version}");
        let none = all.with_topics(Some(Vec::new()));
        let answer = client.call(version, &none).await?;
        assert!(answer.topics.is_empty(), "version {version}");
    }
    Ok(())
}

/// Clients before version 4 cannot decode a feature that is supported from 0 on (KAFKA-17011).
#[tokio::test]
async fn a_feature_that_old_clients_cannot_read_is_told_to_new_ones_only() -> Result<()> {
    const NAMED: i16 = 3;
    const FROM_ZERO: i16 = 4;
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("test"))
        .with_client_software_version(text("1"));
    for version in [NAMED, FROM_ZERO] {
        let answer = client.call(version, &request).await?;
        let supported = answer.supported_features.iter();
        let supported: Vec<_> = supported
            .map(|feature| (&*feature.name, feature.min_version, feature.max_version))
            .collect();
        let expected: &[_] = match version {
            NAMED => &[],
            _ => &[("group.version", 0, 1)],
        };
        assert_eq!(supported, expected, "version {version}");
        let finalized = answer.finalized_features.iter();
        let finalized: Vec<_> = finalized
            .map(|feature| (&*feature.name, feature.max_version_level))
            .collect();
        assert_eq!(finalized, [("group.version", 1)], "version {version}");
    }
    Ok(())
}

/// The id that a member is given begins with what its client calls itself.
#[tokio::test]
async fn a_client_with_the_longest_id_gets_one_that_it_can_join_with() -> Result<()> {
    const JOIN_GROUP: i16 = 9;
    const ID_BYTES_MAX: usize = 255;
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    client.set_client_id(&"x".repeat(ID_BYTES_MAX));
    commit(&mut client, FOR_EVER).await?;
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let mut request = JoinGroupRequest::default()
        .with_group_id(group_id("classic"))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let given = client.call(JOIN_GROUP, &request).await?;
    let refusal = refusal(given.error_code)?;
    assert_eq!(refusal, ResponseError::MemberIdRequired);
    assert!(given.member_id.len() > ID_BYTES_MAX, "{}", given.member_id);
    request.member_id = given.member_id;
    let joined = client.call(JOIN_GROUP, &request).await?;
    assert_eq!(joined.error_code, 0, "{joined:?}");
    assert_eq!(joined.leader, request.member_id);
    Ok(())
}

#[tokio::test]
async fn who_asks_may_do_everything_to_a_topic_and_the_cluster() -> Result<()> {
    /// The last one that has both.
    const METADATA_VERSION: i16 = 10;
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    for (asks, of_topic, of_cluster) in
        [(true, OF_TOPIC, OF_CLUSTER), (false, NOT_ASKED, NOT_ASKED)]
    {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_include_topic_authorized_operations(asks)
            .with_include_cluster_authorized_operations(asks);
        let answer = client.call(METADATA_VERSION, &request).await?;
        assert_eq!(answer.topics[0].topic_authorized_operations, of_topic);
        assert_eq!(answer.cluster_authorized_operations, of_cluster);

        let request =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(asks);
        let answer = client.call(0, &request).await?;
        assert_eq!(answer.cluster_authorized_operations, of_cluster);
    }
    // This one cannot be asked for, and is always told.
    let topic = TopicRequest::default().with_name(topic_name(TOPIC));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![topic]);
    let answer = client.call(0, &request).await?;
    assert_eq!(answer.topics[0].topic_authorized_operations, OF_TOPIC);
    Ok(())
}

/// Joins by KIP-848, once the coordinator has loaded.
async fn join(client: &mut Kafka) -> Result<()> {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(ASSIGNED))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name(TOPIC)]))
        .with_topic_partitions(Some(Vec::new()));
    let start = Instant::now();
    loop {
        let answer = client.call(0, &request).await?;
        if !is_retriable(answer.error_code) || start.elapsed() > WITHIN {
            assert_eq!(answer.error_code, 0, "{answer:?}");
            return Ok(());
        }
    }
}

#[tokio::test]
async fn who_asks_may_do_everything_to_a_group_that_is_there() -> Result<()> {
    /// The last one in which a group that is not there is no error.
    const DESCRIBE_GROUPS_VERSION: i16 = 5;
    let daemon = Daemon::start()?;
    let mut client = connect(&daemon).await?;
    commit(&mut client, FOR_EVER).await?;
    join(&mut client).await?;
    for (asks, expected) in [(true, OF_GROUP), (false, NOT_ASKED)] {
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![group_id(COMMITTED)])
            .with_include_authorized_operations(asks);
        let answer = client.call(DESCRIBE_GROUPS_VERSION, &request).await?;
        assert_eq!(answer.groups[0].authorized_operations, expected);

        let request = ConsumerGroupDescribeRequest::default()
            .with_group_ids(vec![group_id(ASSIGNED), group_id(COMMITTED)])
            .with_include_authorized_operations(asks);
        let answer = client.call(1, &request).await?;
        let groups = answer.groups.iter();
        let found = groups.map(|group| group.authorized_operations);
        assert_eq!(found.collect::<Vec<_>>(), [expected, NOT_ASKED]);
    }
    Ok(())
}
