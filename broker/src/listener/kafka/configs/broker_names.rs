//! Settings of a broker under the names that Kafka gives them, where they mean the same.

use std::time::Duration;

use crate::{
    config::value::{ByteSize, Value},
    service::configs::{ConfigEntry, TOPIC_PREFIX},
};

/// How Kafka writes a value that has a unit here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    AsItIs,
    Bytes,
    Milliseconds,
    Minutes,
}

/// Kafka's name, ours, and how Kafka writes its value.
const NAMES: &[(&str, &str, Form)] = &[
    (
        "auto.create.topics.enable",
        "topics.auto_create",
        Form::AsItIs,
    ),
    ("broker.rack", "node.rack", Form::AsItIs),
    (
        "connections.max.idle.ms",
        "network.kafka_idle_timeout",
        Form::Milliseconds,
    ),
    (
        "default.replication.factor",
        "topics.replication_factor",
        Form::AsItIs,
    ),
    (
        "fetch.max.bytes",
        "limits.fetch_response_bytes_max",
        Form::Bytes,
    ),
    (
        GROUP_HEARTBEAT,
        "groups.heartbeat_interval",
        Form::Milliseconds,
    ),
    (
        "group.consumer.max.size",
        "groups.members_max",
        Form::AsItIs,
    ),
    (
        "group.consumer.migration.policy",
        "groups.migration",
        Form::AsItIs,
    ),
    (GROUP_SESSION, "groups.session_timeout", Form::Milliseconds),
    (
        "group.initial.rebalance.delay.ms",
        "groups.initial_rebalance_delay",
        Form::Milliseconds,
    ),
    (
        "group.max.session.timeout.ms",
        "groups.classic_session_timeout_max",
        Form::Milliseconds,
    ),
    ("group.max.size", "groups.members_max", Form::AsItIs),
    (
        "group.min.session.timeout.ms",
        "groups.classic_session_timeout_min",
        Form::Milliseconds,
    ),
    (
        "log.cleaner.backoff.ms",
        "log.compaction_check_interval",
        Form::Milliseconds,
    ),
    (
        "log.cleaner.dedupe.buffer.size",
        "log.compaction_map_bytes",
        Form::Bytes,
    ),
    ("log.dirs", "data_dir", Form::AsItIs),
    (
        "log.retention.check.interval.ms",
        "log.retention_check_interval",
        Form::Milliseconds,
    ),
    ("max.connections", "limits.connections_max", Form::AsItIs),
    (
        "max.connections.per.ip",
        "limits.connections_per_address_max",
        Form::AsItIs,
    ),
    (
        "max.incremental.fetch.session.cache.slots",
        "limits.fetch_sessions_max",
        Form::AsItIs,
    ),
    ("node.id", "node.id", Form::AsItIs),
    ("num.partitions", "topics.partitions", Form::AsItIs),
    (
        "offset.metadata.max.bytes",
        "groups.offset_metadata_bytes_max",
        Form::Bytes,
    ),
    (
        "offsets.retention.check.interval.ms",
        "groups.offsets_expiry_check_interval",
        Form::Milliseconds,
    ),
    (
        "offsets.retention.minutes",
        "groups.offsets_retention",
        Form::Minutes,
    ),
    (
        "offsets.topic.num.partitions",
        "groups.offsets_topic_partitions",
        Form::AsItIs,
    ),
    (
        "producer.id.expiration.ms",
        "log.producer_id_expiration",
        Form::Milliseconds,
    ),
    (
        "socket.request.max.bytes",
        "limits.request_bytes_max",
        Form::Bytes,
    ),
];

const GROUP_HEARTBEAT: &str = "group.consumer.heartbeat.interval.ms";
const GROUP_SESSION: &str = "group.consumer.session.timeout.ms";

/// A group's keys, which have the broker's values here, without what stands before them in the broker's names.
const OF_GROUPS: &[&str] = &[GROUP_HEARTBEAT, GROUP_SESSION];
const GROUP_PREFIX: &str = "group.";

/// Kafka's name of a broker's default for topics, and the topic's key.
const TOPIC_DEFAULTS: &[(&str, &str)] = &[
    ("compression.type", "compression.type"),
    ("log.cleaner.delete.retention.ms", "delete.retention.ms"),
    ("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"),
    (
        "log.cleaner.min.cleanable.ratio",
        "min.cleanable.dirty.ratio",
    ),
    ("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"),
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.flush.interval.messages", "flush.messages"),
    ("log.flush.interval.ms", "flush.ms"),
    ("log.index.interval.bytes", "index.interval.bytes"),
    (
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
    ),
    (
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
    ),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("log.preallocate", "preallocate"),
    ("log.retention.bytes", "retention.bytes"),
    ("log.retention.ms", "retention.ms"),
    ("log.roll.ms", "segment.ms"),
    ("log.segment.bytes", "segment.bytes"),
    ("message.max.bytes", "max.message.bytes"),
    ("min.insync.replicas", "min.insync.replicas"),
];

/// The topic's key of which this is the broker's default.
pub(super) fn topic_key(kafkas: &str) -> Option<&'static str> {
    let found = TOPIC_DEFAULTS.iter().find(|(name, _)| *name == kafkas);
    found.map(|(_, key)| *key)
}

/// The name of a broker's default for a topic's key; the key's own where it has no other.
pub(super) fn of_default(topic_key: &str) -> &str {
    let found = TOPIC_DEFAULTS.iter().find(|(_, key)| *key == topic_key);
    found.map_or(topic_key, |(name, _)| name)
}

/// Our name of a key that can be changed; others are as they came.
pub(super) fn ours(kafkas: &str) -> String {
    topic_key(kafkas).map_or_else(|| kafkas.to_owned(), |key| format!("{TOPIC_PREFIX}{key}"))
}

/// Whether Kafka writes the value of this key as a number and ours has a unit.
pub(super) fn is_converted(kafkas: &str) -> bool {
    let mut names = NAMES.iter();
    names.any(|(name, _, form)| *name == kafkas && *form != Form::AsItIs)
}

/// The entries that Kafka has, too, under its names and in their order; others stay as they are, behind them.
pub(super) fn under_kafkas_names(entries: Vec<ConfigEntry>) -> Vec<ConfigEntry> {
    let (mut known, mut others): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for entry in entries {
        let kafkas = renamed(&entry);
        if kafkas.is_empty() {
            others.push(entry);
        }
        known.extend(kafkas);
    }
    known.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    known.append(&mut others);
    known
}

/// The configuration of any group, from the broker's under Kafka's names.
pub(super) fn of_groups(broker: Vec<ConfigEntry>) -> Vec<ConfigEntry> {
    let of_groups = broker.into_iter().filter_map(|entry| {
        let name = OF_GROUPS.iter().find(|name| **name == entry.name)?;
        let name = name.strip_prefix(GROUP_PREFIX)?.to_owned();
        Some(ConfigEntry { name, ..entry })
    });
    of_groups.collect()
}

/// An entry under each name that Kafka has for it.
fn renamed(entry: &ConfigEntry) -> Vec<ConfigEntry> {
    let under = |name: &str, form: Form| ConfigEntry {
        name: name.to_owned(),
        value: form.of(&entry.value),
        default_value: form.of(&entry.default_value),
        ..entry.clone()
    };
    let topic_key = entry.name.strip_prefix(TOPIC_PREFIX);
    let topic_defaults = TOPIC_DEFAULTS
        .iter()
        .filter(|(_, key)| topic_key == Some(key))
        .map(|(name, _)| under(name, Form::AsItIs));
    let same = NAMES.iter().filter(|(_, ours, _)| *ours == entry.name);
    topic_defaults
        .chain(same.map(|(name, _, form)| under(name, *form)))
        .collect()
}

impl Form {
    /// A value of ours as Kafka writes it.
    fn of(self, ours: &str) -> String {
        let duration = |unit: u128| Duration::from_text(ours).map(|time| time.as_millis() / unit);
        let number = match self {
            Self::AsItIs => None,
            Self::Bytes => ByteSize::from_text(ours).map(|size| u128::from(size.0)),
            Self::Milliseconds => duration(1),
            Self::Minutes => duration(60_000),
        };
        number.map_or_else(|| ours.to_owned(), |number| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, service::configs::ConfigSource};

    fn entry(name: &str, value: &str) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: value.to_owned(),
            source: ConfigSource::Default,
            read_only: true,
            beneath: Vec::new(),
            default_value: value.to_owned(),
            documentation: String::new(),
        }
    }

    fn named(entries: Vec<ConfigEntry>) -> Vec<(String, String)> {
        let named = entries.into_iter().map(|entry| (entry.name, entry.value));
        named.collect()
    }

    #[test]
    fn every_name_is_of_a_key_and_its_default_has_the_form() {
        let defaults = config::Config::default();
        for (kafkas, ours, form) in NAMES {
            let key = config::KEYS.iter().find(|key| key.path() == *ours);
            let value = (key.expect("a key").print)(&defaults).replace('"', "");
            let is_number = form.of(&value).parse::<u64>().is_ok();
            assert!(is_number || *form == Form::AsItIs, "{kafkas}: {value}");
        }
    }

    #[test]
    fn values_are_in_kafkas_units_and_a_key_may_have_two_names() {
        let ours = vec![
            entry("groups.offsets_retention", "7d"),
            entry("limits.request_bytes_max", "32MiB"),
            entry("groups.members_max", "1000"),
            entry("topics.config.segment.ms", "5"),
            entry("log.flush_threads", "8"),
            entry("groups.session_timeout", "45s"),
        ];
        let kafkas = [
            ("group.consumer.max.size", "1000"),
            (GROUP_SESSION, "45000"),
            ("group.max.size", "1000"),
            ("log.roll.ms", "5"),
            ("offsets.retention.minutes", "10080"),
            ("socket.request.max.bytes", "33554432"),
            ("log.flush_threads", "8"),
        ];
        let kafkas = kafkas.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let renamed = under_kafkas_names(ours);
        assert_eq!(named(renamed.clone()), kafkas);
        let of_groups = named(of_groups(renamed));
        assert_eq!(
            of_groups,
            [("consumer.session.timeout.ms".to_owned(), "45000".to_owned())]
        );
    }
}
