//! Every API that the daemon advertises, called once in every version: `kafka-protocol` reads the answer, nothing is
//! left of it, and its error codes are those that such a call has.
//!
//! [`codes`] is the table: an API without a row fails the test. Whatever changes something has objects of its own.

mod cluster;
mod groups;
mod records;
mod topics;

use anyhow::{Result, bail, ensure};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ApiVersionsRequest, api_versions_response::ApiVersion},
};
use millstream_tests::{Daemon, DaemonOptions, Kafka, kafka::error_name};
use uuid::Uuid;

/// A topic with a partition and a record.
const TOPIC: &str = "topic";
/// Versions of Produce before it are advertised and refused, for librdkafka (KAFKA-18659).
const PRODUCE_SERVED_FROM: i16 = 3;

/// Who asks, and about what.
struct Scene {
    client: Kafka,
    /// Of [`TOPIC`].
    topic_id: Uuid,
}

impl Scene {
    async fn new(daemon: &Daemon) -> Result<Self> {
        let mut client = Kafka::connect(daemon.kafka()).await?;
        let created = client.create_topic(TOPIC, 1, &[]).await?;
        ensure!(created.error_code == 0, "{created:?}");
        client.put(TOPIC, &["key=value"]).await?;
        Ok(Self {
            client,
            topic_id: created.topic_id,
        })
    }

    /// Creates a topic for one request, and returns its name.
    async fn own_topic(&mut self, api: &str, version: i16) -> Result<String> {
        let name = format!("{api}-{version}");
        let created = self.client.create_topic(&name, 1, &[]).await?;
        ensure!(created.error_code == 0, "{created:?}");
        Ok(name)
    }
}

/// Makes one request, and returns the error codes in its answer.
async fn codes(scene: &mut Scene, api: ApiKey, version: i16) -> Result<Vec<i16>> {
    match api {
        ApiKey::Produce => records::produce(scene, version).await,
        ApiKey::Fetch => records::fetch(scene, version).await,
        ApiKey::ListOffsets => records::list_offsets(scene, version).await,
        ApiKey::Metadata => topics::metadata(scene, version).await,
        ApiKey::OffsetCommit => groups::offset_commit(scene, version).await,
        ApiKey::OffsetFetch => groups::offset_fetch(scene, version).await,
        ApiKey::FindCoordinator => groups::find_coordinator(scene, version).await,
        ApiKey::JoinGroup => groups::join_group(scene, version).await,
        ApiKey::Heartbeat => groups::heartbeat(scene, version).await,
        ApiKey::LeaveGroup => groups::leave_group(scene, version).await,
        ApiKey::SyncGroup => groups::sync_group(scene, version).await,
        ApiKey::DescribeGroups => groups::describe_groups(scene, version).await,
        ApiKey::ListGroups => groups::list_groups(scene, version).await,
        ApiKey::SaslHandshake => cluster::sasl_handshake(scene, version).await,
        ApiKey::ApiVersions => cluster::api_versions(scene, version).await,
        ApiKey::CreateTopics => topics::create_topics(scene, version).await,
        ApiKey::DeleteTopics => topics::delete_topics(scene, version).await,
        ApiKey::DeleteRecords => records::delete_records(scene, version).await,
        ApiKey::InitProducerId => records::init_producer_id(scene, version).await,
        ApiKey::OffsetForLeaderEpoch => records::offset_for_leader_epoch(scene, version).await,
        ApiKey::DescribeConfigs => topics::describe_configs(scene, version).await,
        ApiKey::AlterConfigs => topics::alter_configs(scene, version).await,
        ApiKey::DescribeLogDirs => cluster::describe_log_dirs(scene, version).await,
        ApiKey::SaslAuthenticate => cluster::sasl_authenticate(scene, version).await,
        ApiKey::CreatePartitions => topics::create_partitions(scene, version).await,
        ApiKey::DeleteGroups => groups::delete_groups(scene, version).await,
        ApiKey::IncrementalAlterConfigs => topics::incremental_alter(scene, version).await,
        ApiKey::OffsetDelete => groups::offset_delete(scene, version).await,
        ApiKey::DescribeCluster => cluster::describe_cluster(scene, version).await,
        ApiKey::DescribeProducers => records::describe_producers(scene, version).await,
        ApiKey::ConsumerGroupHeartbeat => groups::consumer_group_heartbeat(scene, version).await,
        ApiKey::ConsumerGroupDescribe => groups::consumer_group_describe(scene, version).await,
        ApiKey::ListConfigResources => cluster::list_config_resources(scene, version).await,
        ApiKey::DescribeTopicPartitions => topics::describe_partitions(scene, version).await,
        _ => bail!("this API has no row in the table"),
    }
}

/// The only error code that the answer to such a request may have.
fn expected(api: ApiKey) -> i16 {
    match api {
        // The listener has no authentication.
        ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => ResponseError::IllegalSaslState.code(),
        _ => 0,
    }
}

/// Calls an API in every version that is served; what is wrong goes to `wrong`.
async fn call_all(
    daemon: &Daemon,
    scene: &mut Scene,
    advertised: &ApiVersion,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let Ok(api) = ApiKey::try_from(advertised.api_key) else {
        wrong.push(format!("{advertised:?}: no such API"));
        return Ok(());
    };
    let first = match api {
        ApiKey::Produce => PRODUCE_SERVED_FROM,
        _ => advertised.min_version,
    };
    for version in first..=advertised.max_version {
        match codes(scene, api, version).await {
            Ok(found) => {
                let is_expected = found.iter().all(|code| *code == expected(api));
                if found.is_empty() || !is_expected {
                    let names = found.into_iter().map(error_name).collect::<Vec<_>>();
                    wrong.push(format!("{api:?} {version}: {names:?}"));
                }
            }
            Err(error) => {
                wrong.push(format!("{api:?} {version}: {error:#}"));
                // The daemon has closed the connection, or nobody knows what comes next on it.
                scene.client = Kafka::connect(daemon.kafka()).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_version_of_every_api_that_is_advertised_is_answered_as_kafka_defines_it()
-> Result<()> {
    let daemon = DaemonOptions::default()
        .set("groups.initial_rebalance_delay", "0s")
        .start()?;
    let mut scene = Scene::new(&daemon).await?;
    let request = ApiVersionsRequest::default();
    let advertised = scene.client.call(0, &request).await?.api_keys;
    ensure!(!advertised.is_empty(), "nothing is advertised");
    let mut wrong = Vec::new();
    for api in &advertised {
        call_all(&daemon, &mut scene, api, &mut wrong).await?;
    }
    ensure!(wrong.is_empty(), "{wrong:#?}\n{}", daemon.log_tail());
    Ok(())
}
