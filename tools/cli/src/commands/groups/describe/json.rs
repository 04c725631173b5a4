//! A group for programs.

use std::time::Duration;

use millstream::admin::{GroupDescription, GroupMember, GroupPartition, Rebalance};
use serde_json::{Value, json};

/// Everything about the group.
pub(super) fn of(group: &GroupDescription) -> Value {
    let lags: Option<Vec<_>> = group.partitions.iter().map(|it| it.lag).collect();
    json!({
        "group": group.group,
        "type": group.group_type.as_str(),
        "state": group.state,
        "group_epoch": group.group_epoch,
        "assignment_epoch": group.assignment_epoch,
        "assignor": group.assignor,
        "coordinator_broker_id": group.coordinator_broker_id,
        "lag": lags.map(|lags| lags.iter().sum::<i64>()),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "partitions": group.partitions.iter().map(partition).collect::<Vec<_>>(),
        "rebalances": group.rebalances.iter().map(rebalance).collect::<Vec<_>>(),
    })
}

fn member(member: &GroupMember) -> Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "member_id": member.member_id,
        "instance_id": some(&member.instance_id),
        "client_id": member.client_id,
        "client_host": member.client_host,
        "rack_id": some(&member.rack_id),
        "member_epoch": member.member_epoch,
        "state": member.state,
        "topics": member.topics,
        "topic_regex": some(&member.topic_regex),
        "assigned": places(&member.assigned),
        "target": places(&member.target),
    })
}

fn places(places: &[(String, i32)]) -> Vec<Value> {
    let places = places.iter();
    places
        .map(|(topic, partition)| json!({ "topic": topic, "partition": partition }))
        .collect()
}

fn partition(partition: &GroupPartition) -> Value {
    json!({
        "topic": partition.topic,
        "topic_id": partition.topic_id.map(|id| id.to_string()),
        "partition": partition.partition,
        "committed_offset": partition.committed_offset,
        "log_start_offset": partition.log_start_offset,
        "log_end_offset": partition.log_end_offset,
        "lag": partition.lag,
        "lag_seconds": partition.lag_time.as_ref().map(Duration::as_secs_f64),
        "lag_seconds_is_minimum": partition.lag_time_is_minimum,
        "metadata": partition.metadata,
        "commit_timestamp_ms": partition.commit_timestamp_ms,
        "member_id": partition.member_id,
    })
}

fn rebalance(rebalance: &Rebalance) -> Value {
    json!({
        "timestamp_ms": rebalance.timestamp_ms,
        "group_epoch": rebalance.group_epoch,
        "members": rebalance.members,
        "reason": rebalance.reason,
    })
}
