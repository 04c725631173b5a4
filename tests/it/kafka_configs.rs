//! Configuration keys over the Kafka protocol: each does what Kafka says of it, or is refused with the reason.
//!
//! A row of a table below is a key and the test that sees its effect. The tables and what the broker lists are
//! compared, so that no key is stored and ignored.

mod broker;
mod compaction;
mod topic;

use anyhow::Result;
use bytes::Bytes;
use millstream_proto::record::{BatchBuilder, BatchOptions};
use millstream_tests::{
    Daemon, DaemonOptions, Kafka,
    kafka::{ConfigOperation, ConfigOwner, error_name},
};

const TOPIC: &str = "t";
const OF_TOPIC: ConfigOwner<'_> = ConfigOwner::Topic(TOPIC);
const OF_BROKER: ConfigOwner<'_> = ConfigOwner::Broker("1");

/// Makes a test of each effect, and a list of the keys.
macro_rules! seen {
    ($list:ident { $($key:literal => $effects:ident::$effect:ident;)* }) => {
        const $list: &[&str] = &[$($key),*];
        $(#[tokio::test]
        async fn $effect() -> Result<()> {
            $effects::$effect().await
        })*
    };
}

seen! { HONOURED {
    "cleanup.policy" => compaction::a_topic_that_is_compacted_refuses_records_without_a_key;
    "compression.type" => topic::batches_are_stored_with_the_codec_of_their_topic;
    "delete.retention.ms" => compaction::tombstones_go_when_their_time_is_over;
    "flush.messages" => topic::a_log_is_flushed_after_so_many_records;
    "flush.ms" => topic::a_log_is_flushed_after_so_long;
    "index.interval.bytes" => topic::an_index_has_an_entry_every_so_many_bytes;
    "max.compaction.lag.ms" => compaction::what_is_old_is_compacted_however_little_it_is;
    "max.message.bytes" => topic::larger_batches_are_refused;
    "message.timestamp.after.max.ms" => topic::timestamps_too_far_ahead_are_refused;
    "message.timestamp.before.max.ms" => topic::timestamps_too_far_behind_are_refused;
    "message.timestamp.type" => topic::records_have_the_time_of_their_append;
    "millstream.durability" => topic::an_acknowledgement_waits_for_a_flush_or_not;
    "min.cleanable.dirty.ratio" => compaction::a_log_is_compacted_once_enough_of_it_is_new;
    "min.compaction.lag.ms" => compaction::what_is_new_is_not_compacted;
    "min.insync.replicas" => topic::acknowledgements_of_all_are_refused_with_too_few_replicas;
    "preallocate" => topic::a_segment_has_its_disk_space_from_the_beginning;
    "retention.bytes" => topic::old_segments_go_when_there_are_too_many_bytes;
    "retention.ms" => topic::segments_go_when_they_are_too_old;
    "segment.bytes" => topic::a_segment_is_no_larger;
    "segment.ms" => topic::a_segment_is_closed_when_it_is_too_old;
} }

seen! { OF_BROKERS {
    "auto.create.topics.enable" => broker::a_topic_that_is_asked_for_is_created_or_not;
    "broker.rack" => broker::a_broker_has_its_rack;
    "default.replication.factor" => broker::a_new_topic_has_so_many_replicas;
    "fetch.max.bytes" => broker::an_answer_to_a_fetch_has_no_more_bytes;
    "group.consumer.heartbeat.interval.ms" => broker::members_are_told_how_often_to_ask;
    "group.consumer.max.size" => broker::a_group_that_the_broker_assigns_has_no_more_members;
    "group.consumer.migration.policy" => broker::a_group_with_members_changes_its_kind_or_not;
    "group.consumer.session.timeout.ms" => broker::a_silent_member_is_evicted;
    "group.initial.rebalance.delay.ms" => broker::an_empty_group_waits_for_more_members;
    "group.max.session.timeout.ms" => broker::longer_sessions_are_refused;
    "group.max.size" => broker::a_classic_group_has_no_more_members;
    "group.min.session.timeout.ms" => broker::shorter_sessions_are_refused;
    "log.dirs" => broker::the_directory_is_told;
    "max.connections" => broker::more_connections_are_refused;
    "max.connections.per.ip" => broker::more_connections_of_one_address_are_refused;
    "max.incremental.fetch.session.cache.slots" => broker::more_fetch_sessions_are_not_remembered;
    "node.id" => broker::a_broker_has_its_id;
    "num.partitions" => broker::a_new_topic_has_so_many_partitions;
    "offset.metadata.max.bytes" => broker::longer_texts_beside_an_offset_are_refused;
    "offsets.retention.minutes" => broker::offsets_of_a_group_that_is_not_used_expire;
    "offsets.topic.num.partitions" => broker::the_topic_of_offsets_has_so_many_partitions;
    "producer.id.expiration.ms" => broker::a_producer_that_is_silent_is_forgotten;
    "socket.request.max.bytes" => broker::a_larger_request_ends_its_connection;
} }

/// Keys of brokers without which other tests would not end in time, and one that has tests of its own.
const SET_BY_OTHER_TESTS: &[(&str, &str)] = &[
    ("connections.max.idle.ms", "idle_connections.rs"),
    ("log.cleaner.backoff.ms", "all of compaction"),
    (
        "log.cleaner.dedupe.buffer.size",
        "passes with a small map in millstream-log",
    ),
    ("log.retention.check.interval.ms", "all of retention"),
    (
        "offsets.retention.check.interval.ms",
        "offsets.retention.minutes",
    ),
];

/// Defaults of topics under the broker's names, the topic's keys, and values other than Kafka's.
const TOPIC_DEFAULTS: &[(&str, &str, &str)] = &[
    ("compression.type", "compression.type", "gzip"),
    (
        "log.cleaner.delete.retention.ms",
        "delete.retention.ms",
        "1",
    ),
    (
        "log.cleaner.max.compaction.lag.ms",
        "max.compaction.lag.ms",
        "70000",
    ),
    (
        "log.cleaner.min.cleanable.ratio",
        "min.cleanable.dirty.ratio",
        "0.25",
    ),
    (
        "log.cleaner.min.compaction.lag.ms",
        "min.compaction.lag.ms",
        "5",
    ),
    ("log.cleanup.policy", "cleanup.policy", "compact"),
    ("log.flush.interval.messages", "flush.messages", "10"),
    ("log.flush.interval.ms", "flush.ms", "100"),
    ("log.index.interval.bytes", "index.interval.bytes", "100"),
    (
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
        "1000",
    ),
    (
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
        "2000",
    ),
    (
        "log.message.timestamp.type",
        "message.timestamp.type",
        "LogAppendTime",
    ),
    ("log.preallocate", "preallocate", "true"),
    ("log.retention.bytes", "retention.bytes", "5000000"),
    ("log.retention.ms", "retention.ms", "60000"),
    ("log.roll.ms", "segment.ms", "7000"),
    ("log.segment.bytes", "segment.bytes", "1048576"),
    ("message.max.bytes", "max.message.bytes", "1000"),
    ("min.insync.replicas", "min.insync.replicas", "2"),
];

/// Keys of topics that do nothing, and a value that Kafka takes.
const DEFAULT_ONLY: &[(&str, &str)] = &[
    ("compression.gzip.level", "9"),
    ("compression.lz4.level", "1"),
    ("compression.zstd.level", "19"),
    ("file.delete.delay.ms", "0"),
    ("follower.replication.throttled.replicas", "*"),
    ("leader.replication.throttled.replicas", "0:1"),
    ("local.retention.bytes", "1000"),
    ("local.retention.ms", "1000"),
    ("remote.log.copy.disable", "true"),
    ("remote.log.delete.on.disable", "true"),
    ("remote.storage.enable", "true"),
    ("segment.index.bytes", "4096"),
    ("segment.jitter.ms", "1000"),
    ("unclean.leader.election.enable", "true"),
];

/// Starts a daemon with these settings, in which everything that goes by time goes soon.
async fn start(settings: &[(&str, &str)]) -> Result<(Daemon, Kafka)> {
    let options = DaemonOptions::default()
        .set("log.retention_check_interval", "20ms")
        .set("log.compaction_check_interval", "20ms");
    let options = settings
        .iter()
        .fold(options, |options, (key, value)| options.set(key, value));
    let daemon = options.start()?;
    let kafka = Kafka::connect(daemon.kafka()).await?;
    Ok((daemon, kafka))
}

/// A record: timestamp, key, value.
type Plain<'a> = (i64, Option<&'a str>, Option<&'a [u8]>);

fn batch(records: &[Plain<'_>]) -> Result<Bytes> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (timestamp_ms, key, value) in records {
        builder.append(*timestamp_ms, key.map(str::as_bytes), *value, &[])?;
    }
    Ok(builder.finish()?)
}

fn now_ms() -> Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_millis())?)
}

/// Produces to the topic; returns the name of the error, if there is one.
async fn produce(kafka: &mut Kafka, batch: Bytes) -> Result<Option<String>> {
    let code = kafka.produce(TOPIC, 0, batch).await?.error_code;
    Ok((code != 0).then(|| error_name(code)))
}

/// Produces a record of this time and of so many bytes.
async fn produce_bytes(kafka: &mut Kafka, timestamp_ms: i64, bytes: usize) -> Result<()> {
    let value = vec![b'.'; bytes];
    let refused = produce(kafka, batch(&[(timestamp_ms, None, Some(&value))])?).await?;
    assert_eq!(refused, None);
    Ok(())
}

#[tokio::test]
async fn every_key_of_a_topic_has_an_effect_that_is_seen_or_is_refused() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    let configs = kafka.configs(OF_TOPIC).await?;
    let (fixed, free): (Vec<_>, Vec<_>) = configs.into_iter().partition(|config| config.read_only);
    let free: Vec<_> = free.iter().map(|config| &*config.name).collect();
    assert_eq!(free, HONOURED);
    let fixed: Vec<_> = fixed.iter().map(|config| &*config.name).collect();
    let default_only: Vec<_> = DEFAULT_ONLY.iter().map(|(key, _)| *key).collect();
    assert_eq!(fixed, default_only);
    Ok(())
}

#[tokio::test]
async fn a_key_of_a_topic_that_would_do_nothing_takes_its_default_and_says_why_no_other()
-> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    let mut refusals = String::new();
    for (key, value) in DEFAULT_ONLY {
        let default = kafka.config(OF_TOPIC, key).await?;
        let set = ConfigOperation::Set;
        let same = kafka.alter_config(OF_TOPIC, set, key, &default).await?;
        assert_eq!(same.error_code, 0, "{same:?}");
        let other = kafka.alter_config(OF_TOPIC, set, key, value).await?;
        let said = other.error_message.unwrap_or_default();
        let error = error_name(other.error_code);
        refusals += &format!("{key}={value}\n  {error}: {}\n", &*said);
        let created = kafka.create_topic("other", 1, &[(key, value)]).await?;
        assert_eq!(created.error_code, other.error_code, "{created:?}");
        assert_eq!(kafka.config(OF_TOPIC, key).await?, default);
    }
    insta::assert_snapshot!(refusals);
    Ok(())
}
