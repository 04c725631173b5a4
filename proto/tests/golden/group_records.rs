//! Records of `__consumer_offsets` are what DumpLogSegments `--offsets-decoder` prints of them.

use std::{collections::BTreeMap, fs};

use millstream_proto::group_record::{AssignedTopic, Decoded, GroupRecord};
use serde_json::{Value, json};

use super::{batches, data, records};

const PARTITION: &str = "__consumer_offsets-0";

/// Key and payload of every record, as dumped; a payload of null deletes.
fn dumped() -> Vec<(Value, Value)> {
    let text = fs::read_to_string(data().join(format!("dump/{PARTITION}.txt"))).unwrap();
    text.lines()
        .filter_map(|line| {
            line.split_once(" headerKeys: [] key: ")?
                .1
                .split_once(" payload: ")
        })
        .map(|(key, payload)| {
            let payload = match payload {
                "<DELETE>" => Value::Null,
                payload => serde_json::from_str(payload).unwrap(),
            };
            (serde_json::from_str(key).unwrap(), payload)
        })
        .collect()
}

fn stored() -> Vec<GroupRecord> {
    batches(PARTITION)
        .iter()
        .flat_map(records)
        .map(|record| {
            match GroupRecord::decode(record.key.as_deref(), record.value.as_deref()).unwrap() {
                Decoded::Known(known) => {
                    let written = known.encode().unwrap();
                    assert_eq!(written, (record.key.unwrap(), record.value), "{known:?}");
                    known
                }
                Decoded::Skipped { key_type } => panic!("key type {key_type} is skipped"),
            }
        })
        .collect()
}

fn topics(topics: &[AssignedTopic]) -> Value {
    topics
        .iter()
        .map(|topic| {
            let mut shown = json!({
                "topicId": topic.topic_id.to_string(), "partitions": topic.partitions,
            });
            if !topic.assignment_epochs.is_empty() {
                shown["assignmentEpochs"] = json!(topic.assignment_epochs);
            }
            shown
        })
        .collect()
}

fn key(record: &GroupRecord) -> Value {
    let (number, data) = match record {
        GroupRecord::OffsetCommit(key, _) => (
            "1",
            json!({"group": key.group_id, "topic": key.topic, "partition": key.partition.0}),
        ),
        GroupRecord::ClassicGroup(group, _) => ("2", json!({ "group": group })),
        GroupRecord::ConsumerGroup(group, _) => ("3", json!({ "groupId": group })),
        GroupRecord::TargetAssignment(group, _) => ("6", json!({ "groupId": group })),
        GroupRecord::Member(key, _)
        | GroupRecord::TargetMember(key, _)
        | GroupRecord::CurrentMember(key, _) => {
            let number = match record {
                GroupRecord::Member(..) => "5",
                GroupRecord::TargetMember(..) => "7",
                _ => "8",
            };
            (
                number,
                json!({"groupId": key.group_id, "memberId": key.member_id}),
            )
        }
        other => panic!("{other:?} is not in the data set"),
    };
    json!({"type": number, "data": data})
}

/// As dumped, but for what is in the format of a classic group's protocol.
fn payload(record: &GroupRecord) -> Value {
    let (version, data) = match record {
        GroupRecord::OffsetCommit(_, Some(value)) => {
            let topic_id = value.topic_id.unwrap().to_string();
            let data = json!({
                "offset": value.offset, "leaderEpoch": value.leader_epoch, "metadata": value.metadata,
                "commitTimestamp": value.commit_timestamp_ms, "topicId": topic_id,
            });
            ("4", data)
        }
        GroupRecord::ClassicGroup(_, Some(value)) => {
            let member = |member: &millstream_proto::group_record::ClassicMember| {
                json!({
                    "memberId": member.member_id, "groupInstanceId": member.instance_id,
                    "clientId": member.client_id, "clientHost": member.client_host,
                    "rebalanceTimeout": member.rebalance_timeout_ms,
                    "sessionTimeout": member.session_timeout_ms,
                })
            };
            let data = json!({
                "protocolType": value.protocol_type, "generation": value.generation,
                "protocol": value.protocol, "leader": value.leader,
                "currentStateTimestamp": value.current_state_timestamp_ms,
                "members": value.members.iter().map(member).collect::<Value>(),
            });
            ("3", data)
        }
        GroupRecord::ConsumerGroup(_, Some(value)) => {
            let mut data = json!({"epoch": value.epoch});
            if value.metadata_hash != 0 {
                data["metadataHash"] = json!(value.metadata_hash);
            }
            ("0", data)
        }
        GroupRecord::TargetAssignment(_, Some(value)) => {
            let data = json!({
                "assignmentEpoch": value.assignment_epoch,
                "assignmentTimestamp": value.assignment_timestamp_ms,
            });
            ("0", data)
        }
        GroupRecord::Member(_, Some(value)) => {
            assert_eq!(value.classic, None);
            let data = json!({
                "instanceId": value.instance_id, "rackId": value.rack_id,
                "clientId": value.client_id, "clientHost": value.client_host,
                "subscribedTopicNames": value.topic_names, "subscribedTopicRegex": value.topic_regex,
                "rebalanceTimeoutMs": value.rebalance_timeout_ms, "serverAssignor": value.assignor,
                "classicMemberMetadata": null,
            });
            ("0", data)
        }
        GroupRecord::TargetMember(_, Some(value)) => {
            ("0", json!({"topicPartitions": topics(&value.partitions)}))
        }
        GroupRecord::CurrentMember(_, Some(value)) => {
            let data = json!({
                "memberEpoch": value.member_epoch,
                "previousMemberEpoch": value.previous_member_epoch,
                "state": value.state.number(), "assignedPartitions": topics(&value.assigned),
                "partitionsPendingRevocation": topics(&value.pending_revocation),
            });
            ("0", data)
        }
        _ => return Value::Null,
    };
    json!({"version": version, "data": data})
}

/// Takes out of a dumped payload what DumpLogSegments decodes beyond Kafka's record format.
fn without_protocol_fields(mut payload: Value) -> Value {
    let members = payload
        .pointer_mut("/data/members")
        .and_then(Value::as_array_mut);
    for member in members.into_iter().flatten() {
        let member = member.as_object_mut().unwrap();
        assert!(member.remove("subscription").is_some());
        assert!(member.remove("assignment").is_some());
    }
    payload
}

#[test]
fn every_record_of_groups_is_what_was_dumped_and_is_written_with_the_same_bytes() {
    let dumped = dumped();
    let stored = stored();
    assert_eq!(stored.len(), 18);
    assert_eq!(stored.len(), dumped.len());
    for (record, (dumped_key, dumped_payload)) in stored.iter().zip(dumped) {
        assert_eq!(key(record), dumped_key);
        assert_eq!(payload(record), without_protocol_fields(dumped_payload));
    }
}

#[test]
fn the_last_record_of_each_key_is_what_the_groups_committed() {
    let mut offsets = BTreeMap::new();
    for record in stored() {
        if let GroupRecord::OffsetCommit(key, value) = record {
            let place = (key.group_id, key.topic, key.partition.0);
            match value {
                Some(value) => offsets.insert(place, value.offset),
                None => offsets.remove(&place),
            };
        }
    }
    let expected = ["classic-group", "consumer-group"]
        .into_iter()
        .flat_map(|group| {
            [
                ("flights-none", 1, 100),
                ("flights-zstd", 0, 200),
                ("flights-zstd", 1, 200),
            ]
            .map(|(topic, partition, offset)| {
                ((group.to_owned(), topic.to_owned(), partition), offset)
            })
        });
    assert_eq!(offsets, expected.collect());
}
