//! [`ReplicaConfig`]: a topic's configuration as a partition's log and its replication take it.

use std::sync::Arc;

use millstream_engine::replication::{Durability as ReplicationDurability, Rules};
use millstream_log::{
    CompactionConfig, CompressionPolicy, Durability as LogDurability, LogConfig, Ratio,
    TimestampPolicy,
};
use millstream_proto::record::Compression;

use crate::config::topic::{CompressionType, Durability, TimestampType, TopicConfig};

/// Kafka's `replica.lag.time.max.ms` by default: a follower that lags longer leaves the in-sync set.
const LAG_TIME_MAX_MS: u64 = 10_000;

/// A partition's settings.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// For its log.
    pub log: Arc<LogConfig>,
    /// For replication.
    pub rules: Rules,
}

impl ReplicaConfig {
    /// Translates a topic's effective configuration.
    #[must_use]
    pub fn new(topic: &TopicConfig) -> Self {
        Self {
            log: Arc::new(log_config(topic)),
            rules: Rules {
                durability: replication_durability(topic),
                in_sync_min: topic.min_insync_replicas,
                lag_time_max_ms: LAG_TIME_MAX_MS,
            },
        }
    }
}

/// `flush.messages=1` is a flush before every acknowledgement, on every replica: that is what
/// replication calls fsync, whatever `millstream.durability` says.
fn replication_durability(topic: &TopicConfig) -> ReplicationDurability {
    if topic.durability == Durability::Fsync || topic.flush_messages == 1 {
        ReplicationDurability::Fsync
    } else {
        ReplicationDurability::Replicated
    }
}

fn log_config(topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: topic.segment_bytes,
        segment_ms: topic.segment_ms.unsigned_abs(),
        index_interval_bytes: topic.index_interval_bytes,
        retention_ms: topic.retention_ms.map(i64::unsigned_abs),
        retention_bytes: topic.retention_bytes,
        max_message_bytes: topic.max_message_bytes,
        timestamps: TimestampPolicy {
            log_append_time: topic.timestamp_type == TimestampType::LogAppendTime,
            before_max_ms: topic.timestamp_before_max_ms.unsigned_abs(),
            after_max_ms: topic.timestamp_after_max_ms.unsigned_abs(),
        },
        flush_messages: bounded(topic.flush_messages),
        flush_ms: bounded(topic.flush_ms),
        preallocate: topic.preallocate,
        durability: match topic.durability {
            Durability::Fsync => LogDurability::Fsync,
            Durability::Replicated => LogDurability::Replicated,
        },
        cleanup_delete: topic.cleanup_policy.delete,
        cleanup_compact: topic.cleanup_policy.compact,
        compaction: CompactionConfig {
            min_lag_ms: topic.min_compaction_lag_ms.unsigned_abs(),
            max_lag_ms: bounded(topic.max_compaction_lag_ms),
            dirty_ratio_min: ratio(topic.min_cleanable_dirty_ratio),
            delete_retention_ms: topic.delete_retention_ms.unsigned_abs(),
        },
        compression: compression_policy(topic.compression_type),
        // There is no transaction coordinator yet.
        accepts_transactions: false,
    }
}

/// A codec by name is what batches are stored with, whatever the producer sent.
const fn compression_policy(wanted: CompressionType) -> CompressionPolicy {
    CompressionPolicy::Fixed(match wanted {
        CompressionType::Producer => return CompressionPolicy::Producer,
        CompressionType::Uncompressed => Compression::None,
        CompressionType::Gzip => Compression::Gzip,
        CompressionType::Snappy => Compression::Snappy,
        CompressionType::Lz4 => Compression::Lz4,
        CompressionType::Zstd => Compression::Zstd,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio is between 0 and 1, and what is not becomes one of them"
)]
fn ratio(value: f64) -> Ratio {
    Ratio::from_millionths((value * 1_000_000.0).round() as u32)
}

/// Kafka writes "never" as the largest number.
fn bounded(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|_| value != i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(overrides: &[(&str, &str)]) -> ReplicaConfig {
        let topic = TopicConfig::default()
            .with_overrides(overrides.iter().copied())
            .expect("valid");
        ReplicaConfig::new(&topic)
    }

    #[test]
    fn kafkas_defaults_become_the_logs_defaults() {
        let expected = LogConfig {
            // There is no transaction coordinator yet.
            accepts_transactions: false,
            ..LogConfig::default()
        };
        assert_eq!(*config(&[]).log, expected);
    }

    #[test]
    fn flush_messages_1_is_fsync_for_replication() {
        let durability = |overrides: &[_]| config(overrides).rules.durability;
        let replicated = ("millstream.durability", "replicated");
        assert_eq!(durability(&[]), ReplicationDurability::Fsync);
        assert_eq!(durability(&[replicated]), ReplicationDurability::Replicated);
        assert_eq!(
            durability(&[replicated, ("flush.messages", "1")]),
            ReplicationDurability::Fsync
        );
    }

    #[test]
    fn a_codec_by_name_is_what_the_log_stores() {
        let policy = |codec| config(&[("compression.type", codec)]).log.compression;
        assert_eq!(policy("producer"), CompressionPolicy::Producer);
        assert_eq!(
            policy("uncompressed"),
            CompressionPolicy::Fixed(Compression::None)
        );
        assert_eq!(policy("zstd"), CompressionPolicy::Fixed(Compression::Zstd));
    }

    #[test]
    fn compaction_takes_lags_ratio_and_retention() {
        let config = config(&[
            ("cleanup.policy", "compact"),
            ("min.compaction.lag.ms", "5"),
            ("max.compaction.lag.ms", "6"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "7"),
        ]);
        assert!(config.log.cleanup_compact && !config.log.cleanup_delete);
        let expected = CompactionConfig {
            min_lag_ms: 5,
            max_lag_ms: Some(6),
            dirty_ratio_min: Ratio::of(1, 100),
            delete_retention_ms: 7,
        };
        assert_eq!(config.log.compaction, expected);
    }

    #[test]
    fn minus_one_is_no_bound() {
        let config = config(&[("retention.ms", "-1"), ("retention.bytes", "4096")]);
        assert_eq!(config.log.retention_ms, None);
        assert_eq!(config.log.retention_bytes, Some(4096));
    }
}
