//! Settings of a broker under the names that Kafka gives them, where they mean the same.

use crate::service::configs::ConfigEntry;

/// Kafka's name, and ours where the values look the same.
const SAME: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "topics.auto_create"),
    ("broker.rack", "node.rack"),
    ("default.replication.factor", "topics.replication_factor"),
    ("log.dirs", "data_dir"),
    ("node.id", "node.id"),
    ("num.partitions", "topics.partitions"),
    (
        "offsets.topic.num.partitions",
        "groups.offsets_topic_partitions",
    ),
];

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

/// What our key of a default for topics begins with.
const TOPIC_PREFIX: &str = "topics.config.";

/// The topic's key of which this is the broker's default.
pub(super) fn topic_key(kafkas: &str) -> Option<&'static str> {
    let found = TOPIC_DEFAULTS.iter().find(|(name, _)| *name == kafkas);
    found.map(|(_, key)| *key)
}

/// The entries that Kafka has, too, renamed and in order of name; others stay as they are, behind them.
pub(super) fn under_kafkas_names(entries: Vec<ConfigEntry>) -> Vec<ConfigEntry> {
    let renamed = |entry: &ConfigEntry| {
        let ours = &*entry.name;
        let topic = ours.strip_prefix(TOPIC_PREFIX);
        let mut topics = TOPIC_DEFAULTS.iter();
        let as_topic = topic.and_then(|key| topics.find(|(_, name)| *name == key));
        let as_same = SAME.iter().find(|(_, name)| *name == ours);
        as_topic.or(as_same).map(|(kafkas, _)| *kafkas)
    };
    let (mut known, mut others): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for entry in entries {
        match renamed(&entry) {
            Some(name) => known.push(ConfigEntry {
                name: name.to_owned(),
                ..entry
            }),
            None => others.push(entry),
        }
    }
    known.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    known.append(&mut others);
    known
}
