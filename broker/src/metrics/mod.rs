//! The daemon's metrics, in Prometheus' text format.
//!
//! ```text
//!   catalog: what there is ──► Figures: what it is now ──► /metrics
//!                          └─► documentation: docs/metrics.md
//! ```
//! Nothing is counted here: figures that components count already are read when somebody asks. How often
//! something took how long they count with [`histogram`]. All names begin with `millstream_`.

pub mod catalog;
pub mod documentation;
pub mod figures;
pub mod histogram;
pub mod process;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{encoding::text::encode, registry::Registry};

pub use figures::Figures;
use figures::FiguresCollector;
pub use histogram::{DurationCounts, DurationHistogram};

use crate::config::{Config, Groups};

/// What every name begins with.
const PREFIX: &str = "millstream";

/// All metrics of the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix(PREFIX))),
        }
    }
}

impl Metrics {
    /// Registers figures that are read when somebody asks; for use while the daemon starts.
    pub fn register(&self, read: impl Fn(&mut Figures) + Send + Sync + 'static) {
        let collector = FiguresCollector::new(read);
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(collector));
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a metric cannot be written as text, a defect.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        encode(&mut out, &registry).map(|()| out)
    }
}

/// The configured limits, so that a dashboard can show how near each is.
pub fn limits(figures: &mut Figures, config: &Config) {
    let limits = &config.limits;
    for (name, value) in [
        ("connections_max", u64::from(limits.connections_max)),
        (
            "connections_per_address_max",
            u64::from(limits.connections_per_address_max),
        ),
        (
            "http_connections_max",
            u64::from(limits.http_connections_max),
        ),
        (
            "streams_per_connection_max",
            u64::from(limits.streams_per_connection_max),
        ),
        ("request_bytes_max", limits.request_bytes_max.0),
        ("in_flight_bytes_max", limits.in_flight_bytes_max.0),
        ("decoding_bytes_max", limits.decoding_bytes_max.0),
        (
            "produce_stream_bytes_max",
            limits.produce_stream_bytes_max.0,
        ),
        (
            "produce_stream_batches_max",
            u64::from(limits.produce_stream_batches_max),
        ),
        (
            "fetch_partition_credit_bytes_max",
            limits.fetch_partition_credit_bytes_max.0,
        ),
        (
            "fetch_stream_credit_bytes_max",
            limits.fetch_stream_credit_bytes_max.0,
        ),
        (
            "fetch_stream_partitions_max",
            u64::from(limits.fetch_stream_partitions_max),
        ),
        (
            "kafka_requests_in_flight_max",
            u64::from(limits.kafka_requests_in_flight_max),
        ),
        (
            "fetch_response_bytes_max",
            limits.fetch_response_bytes_max.0,
        ),
        ("fetch_sessions_max", u64::from(limits.fetch_sessions_max)),
        ("topics_max", u64::from(limits.topics_max)),
        ("partitions_max", u64::from(limits.partitions_max)),
        (
            "partitions_per_topic_max",
            u64::from(limits.partitions_per_topic_max),
        ),
        ("open_segments_max", u64::from(limits.open_segments_max)),
        ("mapped_bytes_max", limits.mapped_bytes_max.0),
        ("tail_cache_bytes_max", limits.tail_cache_bytes_max.0),
        ("unflushed_bytes_max", limits.unflushed_bytes_max.0),
    ] {
        figures.set_labelled(catalog::LIMIT, &[name], value);
    }
    group_limits(figures, &config.groups);
}

fn group_limits(figures: &mut Figures, groups: &Groups) {
    for (name, value) in [
        (
            "offsets_expired_at_once_max",
            u64::from(groups.offsets_expired_at_once_max),
        ),
        (
            "offset_metadata_bytes_max",
            groups.offset_metadata_bytes_max.0,
        ),
        (
            "groups_per_partition_max",
            u64::from(groups.groups_per_partition_max),
        ),
        ("members_max", u64::from(groups.members_max)),
        (
            "classic_protocols_max",
            u64::from(groups.classic_protocols_max),
        ),
        (
            "classic_metadata_bytes_max",
            groups.classic_metadata_bytes_max.0,
        ),
        ("classic_group_bytes_max", groups.classic_group_bytes_max.0),
        (
            "subscription_topics_max",
            u64::from(groups.subscription_topics_max),
        ),
        ("regex_bytes_max", groups.regex_bytes_max.0),
        ("regex_program_bytes_max", groups.regex_program_bytes_max.0),
        ("id_bytes_max", groups.id_bytes_max.0),
        ("member_answers_max", u64::from(groups.member_answers_max)),
        (
            "commit_stream_requests_max",
            u64::from(groups.commit_stream_requests_max),
        ),
        (
            "commit_stream_offsets_max",
            u64::from(groups.commit_stream_offsets_max),
        ),
        ("lag_samples_max", u64::from(groups.lag_samples_max)),
        ("lag_metrics_max", u64::from(groups.lag_metrics_max)),
    ] {
        figures.set_labelled(catalog::LIMIT, &[&format!("groups.{name}")], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest timeout that a member may ask for bounds no resource of the broker.
    fn is_bound(name: &str) -> bool {
        name.ends_with("_max") && !name.contains("timeout")
    }

    #[test]
    fn every_limit_of_the_configuration_has_a_metric() {
        let mut figures = Figures::default();
        limits(&mut figures, &Config::default());
        let keys = crate::config::KEYS.iter();
        let expected: Vec<_> = keys
            .filter_map(|key| match key.section {
                "limits" => Some(key.name.to_owned()),
                "groups" if is_bound(key.name) => Some(key.path()),
                _ => None,
            })
            .collect();
        let found: Vec<_> = figures.labels_of(catalog::LIMIT).collect();
        assert_eq!(found, expected);
    }
}
