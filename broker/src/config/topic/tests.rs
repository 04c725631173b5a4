//! Topic keys against what an Apache Kafka 4.3.1 broker answers, and their refusals.

use super::*;

/// Names and defaults as DescribeConfigs of a fresh Kafka 4.3.1 broker returns them.
const KAFKA: &str = "\
cleanup.policy=delete\n\
compression.gzip.level=-1\n\
compression.lz4.level=9\n\
compression.type=producer\n\
compression.zstd.level=3\n\
delete.retention.ms=86400000\n\
file.delete.delay.ms=60000\n\
flush.messages=9223372036854775807\n\
flush.ms=9223372036854775807\n\
follower.replication.throttled.replicas=\n\
index.interval.bytes=4096\n\
leader.replication.throttled.replicas=\n\
local.retention.bytes=-2\n\
local.retention.ms=-2\n\
max.compaction.lag.ms=9223372036854775807\n\
max.message.bytes=1048588\n\
message.timestamp.after.max.ms=3600000\n\
message.timestamp.before.max.ms=9223372036854775807\n\
message.timestamp.type=CreateTime\n\
min.cleanable.dirty.ratio=0.5\n\
min.compaction.lag.ms=0\n\
min.insync.replicas=1\n\
preallocate=false\n\
remote.log.copy.disable=false\n\
remote.log.delete.on.disable=false\n\
remote.storage.enable=false\n\
retention.bytes=-1\n\
retention.ms=604800000\n\
segment.bytes=1073741824\n\
segment.index.bytes=10485760\n\
segment.jitter.ms=0\n\
segment.ms=604800000\n\
unclean.leader.election.enable=false\n\
";

#[test]
fn keys_and_defaults_are_kafkas_and_one_is_ours() {
    let ours: Vec<(&str, &str)> = KEYS
        .iter()
        .map(|key| (key.name, key.default))
        .filter(|(name, _)| *name != "millstream.durability")
        .collect();
    let kafkas: Vec<(&str, &str)> = KAFKA
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(kafkas.len(), 33);
    assert_eq!(ours, kafkas);
}

#[test]
fn every_default_is_accepted_and_kept_as_it_stands() {
    let config = TopicConfig::default();
    for key in KEYS {
        assert_eq!(
            check(key.name, key.default),
            Ok((key.name, key.default.to_owned()))
        );
        assert_eq!(config.value(key.name), Some(key.default));
    }
}

#[test]
fn another_value_of_a_key_that_is_not_honoured_is_refused_with_the_reason() {
    for key in KEYS {
        let Support::DefaultOnly { reason } = key.support else {
            continue;
        };
        let other = match key.kind {
            Kind::Bool => "true",
            Kind::Whole { .. } => "5",
            Kind::Text => "0:1",
            _ => panic!("{}", key.name),
        };
        let error = check(key.name, other).expect_err(key.name);
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

#[test]
fn values_out_of_range_or_of_another_kind_are_refused() {
    for (name, value) in [
        ("retention.ms", "-2"),
        ("retention.ms", "1.5"),
        ("retention.ms", "9223372036854775808"),
        ("segment.bytes", "1048575"),
        ("segment.bytes", "2147483648"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "delete,delete"),
        ("cleanup.policy", "delete,shred"),
        ("compression.type", "brotli"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("preallocate", "yes"),
        ("millstream.durability", "FSYNC"),
        ("min.insync.replicas", "0"),
    ] {
        let error = check(name, value).expect_err(name);
        assert!(
            matches!(error, TopicConfigError::InvalidValue { .. }),
            "{error}"
        );
    }
}

#[test]
fn refusals_name_key_value_and_what_is_expected() {
    let text = |name, value| check(name, value).expect_err("refused").to_string();
    assert_eq!(
        text("retention.bites", "1"),
        "unknown topic config \"retention.bites\", the nearest is retention.bytes"
    );
    assert_eq!(text("\r\nx", "1"), "unknown topic config \"\\r\\nx\"");
    assert_eq!(
        text("segment.bytes", "10"),
        "topic config segment.bytes has value \"10\", expected a whole number from 1048576 to 2147483647"
    );
}

#[test]
fn overrides_lie_over_the_defaults_and_report_every_error() {
    let defaults = TopicConfig::default();
    let topic = defaults
        .with_overrides([("retention.bytes", "5000"), ("cleanup.policy", "compact")])
        .expect("valid");
    assert_eq!(topic.retention_bytes, Some(5000));
    assert!(topic.cleanup_policy.compact && !topic.cleanup_policy.delete);
    assert_eq!(topic.retention_ms, Some(604_800_000));
    let errors = defaults.with_overrides([("a", "1"), ("segment.ms", "0")]);
    assert_eq!(errors.expect_err("two").len(), 2);
}
