//! Apache Kafka's DumpLogSegments `--offsets-decoder` reads every kind of record that we write of groups.

use std::fs;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use millstream_proto::{
    PartitionIndex, TopicId,
    group_record::{
        AssignedTopic, ClassicGroupValue, ClassicMemberMetadata, ConsumerGroupValue,
        CurrentMemberValue, GroupRecord, MemberKey, MemberState, MemberValue, OffsetCommitKey,
        OffsetCommitValue, PartitionMetadataValue, RebalanceKey, RebalanceValue,
        RegularExpressionKey, RegularExpressionValue, TargetAssignmentValue, TargetMemberValue,
        TopicMetadata,
    },
    record::{BatchBuilder, BatchOptions},
};
use serde_json::{Value, json};

use crate::kafka_tools::dump_log_segments;

const TOPIC_ID: TopicId = TopicId::from_bytes([7; 16]);
/// Says of a record with a key type of ours.
const SKIPPED: &str = "Unknown record type 16384 at offset 13, skipping.";

fn member_key() -> MemberKey {
    MemberKey {
        group_id: "g".into(),
        member_id: "m".into(),
    }
}

fn partitions(assignment_epochs: &[i32]) -> Vec<AssignedTopic> {
    vec![AssignedTopic {
        topic_id: TOPIC_ID,
        partitions: vec![0, 300],
        assignment_epochs: assignment_epochs.to_vec(),
    }]
}

fn commit(
    partition: i32,
    expire_timestamp_ms: Option<i64>,
    topic_id: Option<TopicId>,
) -> GroupRecord {
    let key = OffsetCommitKey {
        group_id: "g".into(),
        topic: "t".into(),
        partition: PartitionIndex(partition),
    };
    let value = OffsetCommitValue {
        offset: 5,
        leader_epoch: if topic_id.is_some() { 2 } else { -1 },
        metadata: "é".into(),
        commit_timestamp_ms: 9,
        expire_timestamp_ms,
        topic_id,
    };
    GroupRecord::OffsetCommit(key, Some(value))
}

fn member(classic: Option<ClassicMemberMetadata>) -> GroupRecord {
    let value = MemberValue {
        instance_id: Some("i".into()),
        rack_id: classic.is_some().then(|| "r".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        topic_names: vec!["t".into(), "u".into()],
        topic_regex: Some("t.*".into()),
        rebalance_timeout_ms: 60_000,
        assignor: Some("uniform".into()),
        classic,
    };
    GroupRecord::Member(member_key(), Some(value))
}

fn shown_member(rack: Option<&str>, classic: &Value) -> Value {
    json!({
        "instanceId": "i", "rackId": rack, "clientId": "c", "clientHost": "/127.0.0.1",
        "subscribedTopicNames": ["t", "u"], "subscribedTopicRegex": "t.*",
        "rebalanceTimeoutMs": 60_000, "serverAssignor": "uniform", "classicMemberMetadata": classic,
    })
}

/// Offset commits and classic groups, with what the tool shows: key type, version and fields.
fn old_records() -> Vec<(GroupRecord, i16, Value)> {
    let shown_commit = |more: Value| {
        let mut shown = json!({"offset": 5, "metadata": "é", "commitTimestamp": 9});
        let (shown_fields, more) = (shown.as_object_mut(), more.as_object().cloned());
        if let (Some(fields), Some(more)) = (shown_fields, more) {
            fields.extend(more);
        }
        shown
    };
    let id = TOPIC_ID.to_string();
    let empty = ClassicGroupValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: None,
        leader: None,
        current_state_timestamp_ms: 8,
        members: Vec::new(),
    };
    let shown_empty = json!({
        "protocolType": "consumer", "generation": 3, "protocol": null, "leader": null,
        "currentStateTimestamp": 8, "members": [],
    });
    vec![
        (
            commit(0, None, Some(TOPIC_ID)),
            4,
            shown_commit(json!({"leaderEpoch": 2, "topicId": id})),
        ),
        (
            commit(1, Some(11), None),
            1,
            shown_commit(json!({"expireTimestamp": 11})),
        ),
        (
            GroupRecord::ClassicGroup("g".into(), Some(empty)),
            3,
            shown_empty,
        ),
    ]
}

/// Records of KIP-848 about a group, with what the tool shows.
fn consumer_group_records() -> Vec<(GroupRecord, i16, Value)> {
    let topic = TopicMetadata {
        topic_id: TOPIC_ID,
        topic: "t".into(),
        partitions: 2,
        partition_racks: vec![(PartitionIndex(1), vec!["r".into()])],
    };
    let topics = PartitionMetadataValue {
        topics: vec![topic],
    };
    let shown_topics = json!({"topics": [{
        "topicId": TOPIC_ID.to_string(), "topicName": "t", "numPartitions": 2,
        "partitionMetadata": [{"partition": 1, "racks": ["r"]}],
    }]});
    let regex = RegularExpressionKey {
        group_id: "g".into(),
        regular_expression: "t.*".into(),
    };
    let resolved = RegularExpressionValue {
        topics: vec!["t".into()],
        version: 4,
        timestamp_ms: 10,
    };
    let epoch = |metadata_hash| {
        let value = ConsumerGroupValue {
            epoch: 7,
            metadata_hash,
        };
        GroupRecord::ConsumerGroup("g".into(), Some(value))
    };
    let target = TargetAssignmentValue {
        assignment_epoch: 7,
        assignment_timestamp_ms: 12,
    };
    vec![
        (epoch(-3), 0, json!({"epoch": 7, "metadataHash": -3})),
        (epoch(0), 0, json!({"epoch": 7})),
        (
            GroupRecord::PartitionMetadata("g".into(), Some(topics)),
            0,
            shown_topics,
        ),
        (
            GroupRecord::TargetAssignment("g".into(), Some(target)),
            0,
            json!({"assignmentEpoch": 7, "assignmentTimestamp": 12}),
        ),
        (
            GroupRecord::RegularExpression(regex, Some(resolved)),
            0,
            json!({"topics": ["t"], "version": 4, "timestamp": 10}),
        ),
    ]
}

/// Records of KIP-848 about a member, with what the tool shows.
fn member_records() -> Vec<(GroupRecord, i16, Value)> {
    let id = TOPIC_ID.to_string();
    let classic = ClassicMemberMetadata {
        session_timeout_ms: 45_000,
        protocols: vec![("range".into(), Bytes::from_static(&[1, 2, 3]))],
    };
    let shown_classic = json!({
        "sessionTimeoutMs": 45_000,
        "supportedProtocols": [{"name": "range", "metadata": "AQID"}],
    });
    let target = TargetMemberValue {
        partitions: partitions(&[]),
    };
    let current = CurrentMemberValue {
        member_epoch: 7,
        previous_member_epoch: 6,
        state: MemberState::UnrevokedPartitions,
        assigned: partitions(&[5, 7]),
        pending_revocation: partitions(&[4, 4]),
    };
    let shown = |epochs: Value| json!([{"topicId": id, "partitions": [0, 300], "assignmentEpochs": epochs}]);
    let shown_current = json!({
        "memberEpoch": 7, "previousMemberEpoch": 6, "state": 1,
        "assignedPartitions": shown(json!([5, 7])),
        "partitionsPendingRevocation": shown(json!([4, 4])),
    });
    vec![
        (member(None), 0, shown_member(None, &Value::Null)),
        (
            member(Some(classic)),
            0,
            shown_member(Some("r"), &shown_classic),
        ),
        (
            GroupRecord::TargetMember(member_key(), Some(target)),
            0,
            json!({"topicPartitions": [{"topicId": id, "partitions": [0, 300]}]}),
        ),
        (
            GroupRecord::CurrentMember(member_key(), Some(current)),
            0,
            shown_current,
        ),
    ]
}

/// Not last, so that a record follows the one that the tool skips.
fn ours() -> GroupRecord {
    let key = RebalanceKey {
        group_id: "g".into(),
        slot: 0,
    };
    let value = RebalanceValue {
        group_epoch: 7,
        timestamp_ms: 1,
        members: 2,
        reason: "member m joined".into(),
    };
    GroupRecord::Rebalance(key, Some(value))
}

fn append(batch: &mut BatchBuilder, record: &GroupRecord) -> Result<()> {
    let (key, value) = record.encode()?;
    batch.append(1_000, Some(&key), value.as_deref(), &[])?;
    Ok(())
}

#[test]
fn dump_log_segments_shows_every_record_of_groups_that_we_write() -> Result<()> {
    let records: Vec<_> = old_records()
        .into_iter()
        .chain(consumer_group_records())
        .chain(member_records())
        .collect();
    let deleted = GroupRecord::Member(member_key(), None);
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for (record, ..) in &records {
        append(&mut batch, record)?;
    }
    append(&mut batch, &deleted)?;
    append(&mut batch, &ours())?;
    append(&mut batch, &deleted)?;
    let work = tempfile::tempdir()?;
    let segment = work.path().join("00000000000000000000.log");
    fs::write(&segment, batch.finish()?)?;
    let (text, complaints) = dump_log_segments(work.path(), &[segment], &["--offsets-decoder"])?;
    assert_eq!(complaints, "");
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(" headerKeys: [] ").map(|(_, shown)| shown))
        .collect();
    assert_eq!(lines.len(), records.len() + 3, "{text}");
    for ((record, version, fields), line) in records.iter().zip(&lines) {
        let (_, payload) = line
            .split_once(" payload: ")
            .with_context(|| format!("{record:?}: {line}"))?;
        let shown: Value = serde_json::from_str(payload)?;
        assert_eq!(shown["version"], json!(version.to_string()), "{record:?}");
        assert_eq!(&shown["data"], fields, "{record:?}");
    }
    let deletion = r#"key: {"type":"5","data":{"groupId":"g","memberId":"m"}} payload: <DELETE>"#;
    let [first, skipped, last] = lines[records.len()..] else {
        unreachable!("three lines follow");
    };
    assert_eq!(first, deletion);
    assert!(skipped.contains(SKIPPED), "{skipped}");
    assert_eq!(last, deletion);
    Ok(())
}
