//! The groups and offsets that Apache Kafka wrote are those that its own tool shows, once a coordinator
//! of ours has replayed them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use millstream_engine::group::{Config, Coordinator, GroupType, OffsetReader, Topic, Topics};
use millstream_log::{inspect::LogScan, io::DiskIo};
use millstream_proto::group_record::{Decoded, GroupRecord};
use millstream_tests::binary;
use serde_json::Value;

const PARTITION: &str = "__consumer_offsets-0";
/// Partitions of each topic of the data set.
const PARTITIONS: usize = 2;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What is left of the records that the dump shows: of each key the newest, unless it deletes.
fn dumped() -> Result<BTreeMap<String, (Value, Value)>> {
    let path = binary::data("kafka-4.3.1-log/dump").join(format!("{PARTITION}.txt"));
    let mut left = BTreeMap::new();
    for line in fs::read_to_string(path)?.lines() {
        let Some((_, shown)) = line.split_once(" headerKeys: [] key: ") else {
            continue;
        };
        let (key, payload) = shown.split_once(" payload: ").context("key and payload")?;
        if payload == "<DELETE>" {
            left.remove(key);
        } else {
            let both = (serde_json::from_str(key)?, serde_json::from_str(payload)?);
            left.insert(key.to_owned(), both);
        }
    }
    Ok(left)
}

/// Data of the keys and payloads of one type.
fn of_type<'a>(
    dumped: &'a BTreeMap<String, (Value, Value)>,
    wanted: &str,
) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let both = dumped
        .values()
        .filter(move |(key, _)| key["type"] == wanted);
    both.map(|(key, payload)| (&key["data"], &payload["data"]))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| value.to_string())
}

fn number(value: &Value) -> Result<i64> {
    value.as_i64().with_context(|| value.to_string())
}

/// The topics of which offsets are committed.
fn topics(dumped: &BTreeMap<String, (Value, Value)>) -> Result<Topics> {
    let mut topics = BTreeMap::new();
    for (key, value) in of_type(dumped, "1") {
        let id = text(&value["topicId"])?.parse()?;
        let topic = Topic::without_racks(id, PARTITIONS);
        topics.insert(Arc::from(text(&key["topic"])?), topic);
    }
    Ok(Topics::new(1, topics))
}

fn replayed(topics: Topics) -> Result<Coordinator> {
    let mut coordinator = Coordinator::new(Config::default(), Arc::new(topics));
    let path = binary::data("kafka-4.3.1-log")
        .join(PARTITION)
        .join("00000000000000000000.log");
    for batch in LogScan::open(&DiskIo, &path)? {
        for record in batch?.records(BATCH_BYTES_MAX)? {
            let record = record?;
            match GroupRecord::decode(record.key.as_deref(), record.value.as_deref())? {
                Decoded::Known(record) => coordinator.replay(&record),
                Decoded::Skipped { key_type } => anyhow::bail!("key type {key_type} is skipped"),
            }
        }
    }
    Ok(coordinator)
}

#[test]
fn a_coordinator_has_the_groups_of_kafkas_log() -> Result<()> {
    let dumped = dumped()?;
    let coordinator = replayed(topics(&dumped)?)?;
    let mut expected = BTreeSet::new();
    for (key, value) in of_type(&dumped, "2") {
        let members = value["members"].as_array().context("members")?.len();
        expected.insert((
            text(&key["group"])?,
            "Classic",
            number(&value["generation"])?,
            members,
        ));
    }
    let members = |group: &Value| {
        of_type(&dumped, "5")
            .filter(|(key, _)| key["groupId"] == *group)
            .count()
    };
    for (key, value) in of_type(&dumped, "3") {
        let group = &key["groupId"];
        expected.insert((
            text(group)?,
            "Consumer",
            number(&value["epoch"])?,
            members(group),
        ));
    }
    let listed = coordinator.list();
    let mut found = BTreeSet::new();
    for group in &listed {
        let described = coordinator.describe(&group.group_id)?;
        let kind = match group.group_type {
            GroupType::Classic => "Classic",
            GroupType::Consumer => "Consumer",
            GroupType::Simple => "Simple",
        };
        assert_eq!(group.state, "Empty", "{group:?}");
        found.insert((
            &*group.group_id,
            kind,
            i64::from(described.group_epoch),
            group.members,
        ));
    }
    assert_eq!(found, expected);
    assert_eq!(found.len(), 2);
    Ok(())
}

#[test]
fn a_coordinator_has_the_offsets_of_kafkas_log() -> Result<()> {
    let dumped = dumped()?;
    let coordinator = replayed(topics(&dumped)?)?;
    let mut expected = BTreeSet::new();
    for (key, value) in of_type(&dumped, "1") {
        expected.insert((
            text(&key["group"])?.to_owned(),
            text(&key["topic"])?.to_owned(),
            number(&key["partition"])?,
            number(&value["offset"])?,
            number(&value["leaderEpoch"])?,
            text(&value["metadata"])?.to_owned(),
            number(&value["commitTimestamp"])?,
            text(&value["topicId"])?.to_owned(),
        ));
    }
    let mut found = BTreeSet::new();
    for group in coordinator.list() {
        let group_id = group.group_id;
        for committed in coordinator.committed(&group_id, &OffsetReader::Anybody, None)? {
            found.insert((
                group_id.to_string(),
                committed.topic.to_string(),
                i64::from(committed.partition),
                committed.offset,
                i64::from(committed.leader_epoch),
                committed.metadata,
                committed.commit_timestamp_ms,
                committed.topic_id.context("the topic's id")?.to_string(),
            ));
        }
    }
    assert_eq!(found, expected);
    assert_eq!(found.len(), 6);
    Ok(())
}
