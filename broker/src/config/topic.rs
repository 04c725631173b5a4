//! Topic configuration under Kafka's names: every key with its default, and whether it is honoured.
//!
//! All 33 keys of Kafka 4.3 are known. A key that is not honoured accepts its default and refuses
//! any other value with the reason: nothing is stored and ignored. One key is ours:
//! `millstream.durability`.

mod keys;

use std::{collections::BTreeMap, str::FromStr};

pub use keys::{KEYS, Kind, Support, TopicKey};

/// What an acknowledged record has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The flush of every in-sync replica: a power cut of all of them loses nothing.
    Fsync,
    /// The append of every in-sync replica: a power cut of all loses at most `log.flush_interval`.
    Replicated,
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments are deleted by time and size.
    pub delete: bool,
    /// Only the last record of each key is kept.
    pub compact: bool,
}

/// Which timestamp a record gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when it appends.
    LogAppendTime,
}

/// What `compression.type` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent it.
    Producer,
    /// None.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// The honoured keys with their effective values; -1 in Kafka's numbers is `None` here.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `flush.messages`: flush after that many records.
    pub flush_messages: i64,
    /// `flush.ms`: flush after that long.
    pub flush_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`: largest record batch.
    pub max_message_bytes: u32,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `preallocate`: reserve the whole segment at once.
    pub preallocate: bool,
    /// `retention.bytes`; `None` for no bound.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` for no bound.
    pub retention_ms: Option<i64>,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `millstream.durability`.
    pub durability: Durability,
    values: BTreeMap<&'static str, String>,
}

/// Why a key or its value is refused; the wire code is `INVALID_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicConfigError {
    /// No key has that name.
    #[error("unknown topic config {found:?}{}", nearest.map(|name| format!(", the nearest is {name}")).unwrap_or_default())]
    UnknownKey {
        /// The name, cut to 64 characters.
        found: String,
        /// The key that is spelled most like it.
        nearest: Option<&'static str>,
    },
    /// The value is not what the key takes.
    #[error("topic config {name} has value {found:?}, expected {expected}")]
    InvalidValue {
        /// The key.
        name: &'static str,
        /// The value, cut to 64 characters.
        found: String,
        /// What it takes.
        expected: String,
    },
    /// The key is not honoured and the value is not its default.
    #[error("topic config {name} only takes its default {default:?}: {reason}")]
    NotSupported {
        /// The key.
        name: &'static str,
        /// The value it accepts.
        default: &'static str,
        /// Why no other.
        reason: &'static str,
    },
    /// Two values contradict each other.
    #[error("topic config {name} is {found}, expected {expected}")]
    Contradiction {
        /// The key.
        name: &'static str,
        /// Its value.
        found: String,
        /// What the other key allows.
        expected: String,
    },
}

impl Default for TopicConfig {
    fn default() -> Self {
        let values: BTreeMap<_, _> = KEYS
            .iter()
            .map(|key| (key.name, key.default.to_owned()))
            .collect();
        Self::typed(values).expect("a test reads every default")
    }
}

impl TopicConfig {
    /// The configuration of a topic: `self` (the broker's defaults) under the topic's own configs.
    ///
    /// # Errors
    /// Every key or value that is refused, in order of key.
    pub fn with_overrides<'a>(
        &self,
        overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Vec<TopicConfigError>> {
        let mut values = self.values.clone();
        let mut errors = Vec::new();
        for (name, value) in overrides {
            match check(name, value) {
                Ok((name, value)) => drop(values.insert(name, value)),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let config = Self::typed(values).map_err(|error| vec![error])?;
        config.check_together().map_err(|error| vec![error])?;
        Ok(config)
    }

    /// The same with configs as metadata has them.
    ///
    /// # Errors
    /// As [`TopicConfig::with_overrides`].
    pub fn with_configs(
        &self,
        configs: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<TopicConfigError>> {
        self.with_overrides(configs.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }

    /// The value of any of the [`KEYS`], as Kafka prints it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn check_together(&self) -> Result<(), TopicConfigError> {
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return Err(TopicConfigError::Contradiction {
                name: "min.compaction.lag.ms",
                found: self.min_compaction_lag_ms.to_string(),
                expected: format!(
                    "at most max.compaction.lag.ms, which is {}",
                    self.max_compaction_lag_ms
                ),
            });
        }
        Ok(())
    }

    fn typed(values: BTreeMap<&'static str, String>) -> Result<Self, TopicConfigError> {
        let read = Reader(&values);
        Ok(Self {
            cleanup_policy: read.parse("cleanup.policy")?,
            compression_type: read.parse("compression.type")?,
            delete_retention_ms: read.parse("delete.retention.ms")?,
            flush_messages: read.parse("flush.messages")?,
            flush_ms: read.parse("flush.ms")?,
            index_interval_bytes: read.parse("index.interval.bytes")?,
            max_compaction_lag_ms: read.parse("max.compaction.lag.ms")?,
            max_message_bytes: read.parse("max.message.bytes")?,
            timestamp_after_max_ms: read.parse("message.timestamp.after.max.ms")?,
            timestamp_before_max_ms: read.parse("message.timestamp.before.max.ms")?,
            timestamp_type: read.parse("message.timestamp.type")?,
            min_cleanable_dirty_ratio: read.parse("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms: read.parse("min.compaction.lag.ms")?,
            min_insync_replicas: read.parse("min.insync.replicas")?,
            preallocate: read.parse("preallocate")?,
            retention_bytes: u64::try_from(read.parse::<i64>("retention.bytes")?).ok(),
            retention_ms: Some(read.parse::<i64>("retention.ms")?).filter(|ms| *ms >= 0),
            segment_bytes: read.parse("segment.bytes")?,
            segment_ms: read.parse("segment.ms")?,
            durability: read.parse("millstream.durability")?,
            values,
        })
    }
}

struct Reader<'a>(&'a BTreeMap<&'static str, String>);

impl Reader<'_> {
    fn parse<T: FromStr>(&self, name: &'static str) -> Result<T, TopicConfigError> {
        let text = self.0.get(name).map_or("", String::as_str);
        text.parse().map_err(|_| TopicConfigError::InvalidValue {
            name,
            found: shortened(text),
            expected: keys::find(name).map_or_else(String::new, |key| key.kind.to_string()),
        })
    }
}

/// Checks one key and value, and returns both in the form in which they are stored.
///
/// # Errors
/// Unknown key, bad value, or a value other than the default of a key that is not honoured.
pub fn check(name: &str, value: &str) -> Result<(&'static str, String), TopicConfigError> {
    let key = keys::find(name).ok_or_else(|| TopicConfigError::UnknownKey {
        found: shortened(name),
        nearest: crate::config::nearest(name, KEYS.iter().map(|key| key.name)),
    })?;
    let stored = key
        .kind
        .read(value)
        .ok_or_else(|| TopicConfigError::InvalidValue {
            name: key.name,
            found: shortened(value),
            expected: key.kind.to_string(),
        })?;
    match key.support {
        Support::DefaultOnly { reason } if stored != key.default => {
            Err(TopicConfigError::NotSupported {
                name: key.name,
                default: key.default,
                reason,
            })
        }
        Support::DefaultOnly { .. } | Support::Honoured => Ok((key.name, stored)),
    }
}

/// Cuts what came from outside to a length that fits a message.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A text that a key's [`Kind`] let through and that is none of its values.
#[derive(Debug)]
pub struct NotAValue;

impl FromStr for CleanupPolicy {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let words: Vec<&str> = text.split(',').collect();
        let policy = Self {
            delete: words.contains(&"delete"),
            compact: words.contains(&"compact"),
        };
        (policy.delete || policy.compact)
            .then_some(policy)
            .ok_or(NotAValue)
    }
}

macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),* }) => {
        impl FromStr for $type {
            type Err = NotAValue;

            fn from_str(text: &str) -> Result<Self, NotAValue> {
                match text { $($word => Ok(Self::$variant),)* _ => Err(NotAValue) }
            }
        }
    };
}

words!(Durability { "fsync" => Fsync, "replicated" => Replicated });
words!(TimestampType { "CreateTime" => CreateTime, "LogAppendTime" => LogAppendTime });
words!(CompressionType {
    "producer" => Producer, "uncompressed" => Uncompressed, "gzip" => Gzip,
    "snappy" => Snappy, "lz4" => Lz4, "zstd" => Zstd
});

#[cfg(test)]
mod tests;
