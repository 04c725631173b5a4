//! `/api/v1/overview`: the broker at a glance, as JSON.
//!
//! | query | answers |
//! |---|---|
//! | none | everything, at most [`ROWS_MAX`](crate::service::overview::ROWS_MAX) rows of a kind |
//! | `find=TEXT` | topics and groups whose name contains the text |
//!
//! 503 until the partitions are open. Traffic of topics is counted since the daemon started: who wants
//! a rate asks twice.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{HttpState, page};
use crate::{
    health::Phase,
    partition::TrafficCounts,
    service::{
        groups::overview::GroupOverview,
        overview::{Listing, OfflinePartition, Overview, TopicOverview},
        throughput,
    },
};

const CONTENT_TYPE: &str = "application/json";

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Question {
    find: String,
}

pub(super) async fn answer(
    State(state): State<HttpState>,
    Query(question): Query<Question>,
) -> Response {
    let Some(services) = state.services.get() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match services.overview(&question.find).await {
        Ok(overview) => {
            let body = body(&overview, state.health.phase()).to_string();
            (page::headers(CONTENT_TYPE), body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn body(overview: &Overview, phase: Phase) -> Value {
    let Overview {
        now_ms,
        broker,
        disk,
        partitions,
        offline,
        throughput,
        topics,
        groups,
        coordinators_loading,
    } = overview;
    let address = broker.address.as_ref();
    json!({
        "now_ms": now_ms,
        "broker": {
            "id": broker.broker_id.0,
            "phase": phase_name(phase),
            "address": address.map(|(host, port)| format!("{host}:{port}")),
            "cluster_id": broker.cluster_id,
            "version": broker.version,
            "uptime_ms": broker.uptime_ms,
        },
        "disk": {
            "path": disk.path.display().to_string(),
            "total_bytes": disk.total_bytes,
            "available_bytes": disk.available_bytes,
            "log_bytes": disk.log_bytes,
            "full": disk.is_full,
        },
        "partitions": partitions,
        "offline": listing(offline, offline_json),
        "throughput": throughput_json(throughput),
        "topics": listing(topics, topic_json),
        "groups": listing(groups, group_json),
        "coordinators_loading": coordinators_loading,
    })
}

/// Rates per second, oldest first, by what was counted.
fn throughput_json(samples: &[TrafficCounts]) -> Value {
    let rates = |of: fn(&TrafficCounts) -> u64| samples.iter().map(of).collect::<Vec<_>>();
    json!({
        "interval_ms": u64::try_from(throughput::INTERVAL.as_millis()).unwrap_or(u64::MAX),
        "samples_max": throughput::SAMPLES_MAX,
        "produced_records": rates(|sample| sample.produced_records),
        "produced_bytes": rates(|sample| sample.produced_bytes),
        "fetched_records": rates(|sample| sample.fetched_records),
        "fetched_bytes": rates(|sample| sample.fetched_bytes),
    })
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Stopping => "stopping",
    }
}

fn listing<T>(listing: &Listing<T>, row: impl Fn(&T) -> Value) -> Value {
    json!({
        "rows": listing.rows.iter().map(row).collect::<Vec<_>>(),
        "found": listing.found,
        "total": listing.total,
    })
}

fn offline_json(offline: &OfflinePartition) -> Value {
    json!({"partition": offline.partition.to_string(), "reason": *offline.reason})
}

fn topic_json(topic: &TopicOverview) -> Value {
    json!({
        "name": topic.name.as_str(),
        "partitions": topic.partitions,
        "offline_partitions": topic.offline_partitions,
        "records": topic.records,
        "log_end": topic.log_end,
        "size_bytes": topic.size_bytes,
        "internal": topic.is_internal,
        "durability": topic.durability,
        "cleanup_policy": topic.cleanup_policy,
        "traffic": traffic_json(&topic.traffic),
    })
}

fn group_json(group: &GroupOverview) -> Value {
    json!({
        "id": *group.listing.group_id,
        "state": group.listing.state,
        "members": group.listing.members,
        "lag": group.lag,
        "behind_ms": group.behind.map(|behind| behind.ms),
        "behind_is_minimum": group.behind.is_some_and(|behind| behind.is_minimum),
        "rebalance": group.rebalance.as_ref().map(|rebalance| json!({
            "timestamp_ms": rebalance.timestamp_ms,
            "reason": *rebalance.reason,
        })),
    })
}

fn traffic_json(traffic: &TrafficCounts) -> Value {
    json!({
        "produced_records": traffic.produced_records,
        "produced_bytes": traffic.produced_bytes,
        "fetched_records": traffic.fetched_records,
        "fetched_bytes": traffic.fetched_bytes,
    })
}
