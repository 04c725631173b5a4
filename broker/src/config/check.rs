//! What no single key can see: values that make no sense, alone or together.

use super::{Config, HostPort, KEYS, Value, load::Loaded};
use crate::error::Refusal;

/// Keys that must not be zero.
const NOT_ZERO: &[&str] = &[
    "shutdown_timeout",
    "runtime.blocking_threads_max",
    "limits.connections_max",
    "limits.connections_per_address_max",
    "limits.http_connections_max",
    "limits.streams_per_connection_max",
    "limits.request_bytes_max",
    "limits.in_flight_bytes_max",
    "limits.decoding_bytes_max",
    "limits.produce_stream_bytes_max",
    "limits.produce_stream_batches_max",
    "limits.fetch_partition_credit_bytes_max",
    "limits.fetch_stream_credit_bytes_max",
    "limits.fetch_stream_partitions_max",
    "limits.kafka_requests_in_flight_max",
    "limits.fetch_response_bytes_max",
    "limits.topics_max",
    "limits.partitions_max",
    "limits.partitions_per_topic_max",
    "limits.open_segments_max",
    "limits.mapped_bytes_max",
    "limits.unflushed_bytes_max",
    "network.send_stall_timeout",
    "network.keepalive_interval",
    "network.keepalive_timeout",
    "network.kafka_idle_timeout",
    "log.flush_interval",
    "log.flush_threads",
    "log.append_stall",
    "log.retention_check_interval",
    "log.compaction_check_interval",
    "log.compaction_map_bytes",
    "log.recovery_point_interval",
    "log.recovery_point_bytes",
    "log.idle_timeout",
    "log.producer_id_expiration",
    "groups.offsets_topic_partitions",
    "groups.offsets_expiry_check_interval",
    "groups.offsets_expired_at_once_max",
    "groups.groups_per_partition_max",
    "groups.members_max",
    "groups.session_timeout",
    "groups.rebalance_timeout",
    "groups.heartbeat_interval",
    "groups.subscription_topics_max",
    "groups.regex_program_bytes_max",
    "groups.id_bytes_max",
    "groups.member_answers_max",
    "groups.commit_stream_requests_max",
    "groups.commit_stream_offsets_max",
    "groups.load_threads",
    "groups.reload_backoff",
    "groups.lag_sample_interval",
    "groups.lag_samples_max",
    "metadata.snapshot_bytes",
    "metadata.proposals_queued_max",
    "metadata.producer_id_block",
    "topics.partitions",
];

/// gRPC frames carry a 32-bit length; beyond this a single message is no longer bounded memory.
const REQUEST_BYTES_MAX: u64 = 1 << 30;

/// Everything that is wrong with a configuration whose values each parsed.
pub(super) fn check(loaded: &Loaded) -> Vec<Refusal> {
    let mut problems = Vec::new();
    not_zero(loaded, &mut problems);
    ranges(&loaded.config, &mut problems);
    addresses(&loaded.config, &mut problems);
    further_listeners(&loaded.config, &mut problems);
    groups(&loaded.config, &mut problems);
    problems
}

fn not_zero(loaded: &Loaded, problems: &mut Vec<Refusal>) {
    for key in KEYS.iter().filter(|key| NOT_ZERO.contains(&&*key.path())) {
        let value = (key.print)(&loaded.config);
        let is_zero = matches!(value.as_str(), "0" | "\"0s\"" | "\"0B\"");
        if is_zero {
            let path = key.path();
            let source = loaded.source(&path);
            let default = (key.print)(&Config::default());
            problems.push(Refusal::new(
                format!("{path} is {value}, expected more than zero, set by {source}"),
                format!("the default is {default}"),
            ));
        }
    }
}

fn ranges(config: &Config, problems: &mut Vec<Refusal>) {
    let mut refuse = |what: String, hint: &str| problems.push(Refusal::new(what, hint));
    if config.node.id < 0 {
        refuse(
            format!("node.id is {}, expected at least 0", config.node.id),
            "the default is 1",
        );
    }
    if config.limits.request_bytes_max.0 > REQUEST_BYTES_MAX {
        let found = config.limits.request_bytes_max;
        refuse(
            format!("limits.request_bytes_max is \"{found}\", expected at most \"1GiB\""),
            "the default is \"32MiB\"",
        );
    }
    if config.topics.replication_factor != 1 {
        let found = config.topics.replication_factor;
        refuse(
            format!(
                "topics.replication_factor is {found}, expected 1: this cluster has one broker"
            ),
            "remove it",
        );
    }
    if config.topics.partitions > config.limits.partitions_per_topic_max {
        let (found, max) = (
            config.topics.partitions,
            config.limits.partitions_per_topic_max,
        );
        refuse(
            format!("topics.partitions is {found}, limits.partitions_per_topic_max allows {max}"),
            "lower the one or raise the other",
        );
    }
}

fn groups(config: &Config, problems: &mut Vec<Refusal>) {
    let groups = &config.groups;
    for (name, min, default, max) in [
        (
            "session_timeout",
            groups.session_timeout_min,
            groups.session_timeout,
            groups.session_timeout_max,
        ),
        (
            "rebalance_timeout",
            groups.rebalance_timeout_min,
            groups.rebalance_timeout,
            groups.rebalance_timeout_max,
        ),
    ] {
        if !(min..=max).contains(&default) {
            let [min, default, max] = [min, default, max].map(|value| value.to_toml());
            problems.push(Refusal::new(
                format!("groups.{name} is {default}, expected {min} to {max}"),
                format!("these are groups.{name}_min and groups.{name}_max"),
            ));
        }
    }
    if groups.offsets_topic_partitions > config.limits.partitions_per_topic_max {
        let found = groups.offsets_topic_partitions;
        let max = config.limits.partitions_per_topic_max;
        problems.push(Refusal::new(
            format!(
                "groups.offsets_topic_partitions is {found}, limits.partitions_per_topic_max allows {max}"
            ),
            "lower the one or raise the other",
        ));
    }
}

fn addresses(config: &Config, problems: &mut Vec<Refusal>) {
    let listeners = &config.listeners;
    let mut named = vec![
        ("native_address", &listeners.native_address),
        ("kafka_address", &listeners.kafka_address),
        ("http_address", &listeners.http_address),
    ];
    let more = listeners.kafka_more.iter();
    named.extend(more.map(|more| ("kafka_more", &more.address)));
    for (index, (one, address)) in named.iter().enumerate() {
        for (other, _) in named.iter().skip(index + 1).filter(|(_, a)| a == address) {
            if address.port != 0 {
                let what = if one == other {
                    format!("listeners.{one} listens on {address} twice")
                } else {
                    format!("listeners.{one} and listeners.{other} are both {address}")
                };
                problems.push(Refusal::new(
                    what,
                    "give them different ports, by default 9192, 9092 and 9292",
                ));
            }
        }
    }
    for (name, address, advertised) in [
        (
            "native",
            &listeners.native_address,
            &listeners.native_advertised,
        ),
        (
            "kafka",
            &listeners.kafka_address,
            &listeners.kafka_advertised,
        ),
    ] {
        if advertised.is_none() && is_unspecified(address) {
            problems.push(Refusal::new(
                format!("listeners.{name}_address is {address}, which clients cannot connect to"),
                format!("set listeners.{name}_advertised to the name and port that clients use"),
            ));
        }
    }
}

fn further_listeners(config: &Config, problems: &mut Vec<Refusal>) {
    for more in &config.listeners.kafka_more {
        if more.address.port == 0 {
            problems.push(Refusal::new(
                format!("listeners.kafka_more has {more}, which listens on port 0"),
                "write BIND=ADVERTISED with the port that the advertised address leads to",
            ));
        }
        let told = &more.advertised;
        if told.port == 0 || is_unspecified(told) {
            problems.push(Refusal::new(
                format!("listeners.kafka_more advertises {told}, which clients cannot connect to"),
                "write BIND=ADVERTISED with the name and port that clients use",
            ));
        }
    }
}

fn is_unspecified(address: &HostPort) -> bool {
    let parsed = address.host.parse::<std::net::IpAddr>();
    parsed.is_ok_and(|address| address.is_unspecified())
}
