//! The table of topic keys: Kafka 4.3's 33 with Kafka's defaults, and ours.

use std::fmt;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number in a range, ends included.
    Whole {
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// A number from 0 to 1.
    Ratio,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One or more of these words with commas between.
    ListOf(&'static [&'static str]),
    /// Any text up to 1,024 bytes.
    Text,
}

/// Whether a key does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what Kafka's documentation says.
    Honoured,
    /// Only its default is accepted.
    DefaultOnly {
        /// Why.
        reason: &'static str,
    },
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct TopicKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Kafka's default, as Kafka prints it.
    pub default: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it is honoured.
    pub support: Support,
    /// What it does, in one line.
    pub documentation: &'static str,
}

const LONG_MAX: i64 = i64::MAX;
const INT_MAX: i64 = i32::MAX as i64;

const NO_LEVELS: &str = "each codec runs at its own default level";
const NO_THROTTLE: &str = "replication throttles are not set per topic";
const NO_TIERING: &str = "tiered storage is not built in";

macro_rules! topic_keys {
    ($($name:literal = $default:literal, $kind:expr, $support:expr, $doc:literal;)*) => {
        /// Every key in order of name.
        pub const KEYS: &[TopicKey] = &[$(TopicKey {
            name: $name,
            default: $default,
            kind: $kind,
            support: $support,
            documentation: $doc,
        },)*];
    };
}

const fn whole(min: i64, max: i64) -> Kind {
    Kind::Whole { min, max }
}

const fn default_only(reason: &'static str) -> Support {
    Support::DefaultOnly { reason }
}

use Support::Honoured;

topic_keys! {
    "cleanup.policy" = "delete", Kind::ListOf(&["delete", "compact"]), Honoured,
        "what happens to old records: delete, compact, or both with a comma";
    "compression.gzip.level" = "-1", whole(-1, 9), default_only(NO_LEVELS),
        "level at which the broker compresses with gzip";
    "compression.lz4.level" = "9", whole(1, 17), default_only(NO_LEVELS),
        "level at which the broker compresses with lz4";
    "compression.type" = "producer",
        Kind::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]), Honoured,
        "codec in the log; producer keeps what the producer sent";
    "compression.zstd.level" = "3", whole(-131_072, 22), default_only(NO_LEVELS),
        "level at which the broker compresses with zstd";
    "delete.retention.ms" = "86400000", whole(0, LONG_MAX), Honoured,
        "how long a compacted topic shows that a key was deleted";
    "file.delete.delay.ms" = "60000", whole(0, LONG_MAX),
        default_only("files are deleted at once, readers keep what they have mapped"),
        "how long a deleted segment's files stay";
    "flush.messages" = "9223372036854775807", whole(1, LONG_MAX), Honoured,
        "records after which the log is flushed; 1 flushes before each acknowledgement";
    "flush.ms" = "9223372036854775807", whole(0, LONG_MAX), Honoured,
        "time after which the log is flushed";
    "follower.replication.throttled.replicas" = "", Kind::Text, default_only(NO_THROTTLE),
        "followers whose replication is throttled";
    "index.interval.bytes" = "4096", whole(0, INT_MAX), Honoured,
        "bytes of the log per entry of its index";
    "leader.replication.throttled.replicas" = "", Kind::Text, default_only(NO_THROTTLE),
        "leaders whose replication is throttled";
    "local.retention.bytes" = "-2", whole(-2, LONG_MAX), default_only(NO_TIERING),
        "bytes that stay on the local disk when older ones are tiered";
    "local.retention.ms" = "-2", whole(-2, LONG_MAX), default_only(NO_TIERING),
        "time that records stay on the local disk when older ones are tiered";
    "max.compaction.lag.ms" = "9223372036854775807", whole(1, LONG_MAX), Honoured,
        "a record is compacted at the latest after this time";
    "max.message.bytes" = "1048588", whole(0, INT_MAX), Honoured,
        "largest record batch that may be produced";
    "message.timestamp.after.max.ms" = "3600000", whole(0, LONG_MAX), Honoured,
        "how far a record's timestamp may be ahead of the broker's clock";
    "message.timestamp.before.max.ms" = "9223372036854775807", whole(0, LONG_MAX), Honoured,
        "how far a record's timestamp may be behind the broker's clock";
    "message.timestamp.type" = "CreateTime", Kind::OneOf(&["CreateTime", "LogAppendTime"]), Honoured,
        "whose clock a record's timestamp is from";
    "millstream.durability" = "fsync", Kind::OneOf(&["fsync", "replicated"]), Honoured,
        "what an acknowledged record has survived: fsync, or replicated for memory only";
    "min.cleanable.dirty.ratio" = "0.5", Kind::Ratio, Honoured,
        "share of the log that must be new before it is compacted";
    "min.compaction.lag.ms" = "0", whole(0, LONG_MAX), Honoured,
        "a record is compacted at the earliest after this time";
    "min.insync.replicas" = "1", whole(1, INT_MAX), Honoured,
        "replicas that must be in sync before acks=all is acknowledged";
    "preallocate" = "false", Kind::Bool, Honoured,
        "reserve a segment's whole disk space when it begins";
    "remote.log.copy.disable" = "false", Kind::Bool, default_only(NO_TIERING),
        "stop tiering new segments";
    "remote.log.delete.on.disable" = "false", Kind::Bool, default_only(NO_TIERING),
        "delete tiered segments when tiering is switched off";
    "remote.storage.enable" = "false", Kind::Bool, default_only(NO_TIERING),
        "tier old segments";
    "retention.bytes" = "-1", whole(-1, LONG_MAX), Honoured,
        "bytes of a partition beyond which its oldest segments go; -1 for no bound";
    "retention.ms" = "604800000", whole(-1, LONG_MAX), Honoured,
        "age beyond which a segment goes, by its newest record; -1 for no bound";
    "segment.bytes" = "1073741824", whole(1 << 20, INT_MAX), Honoured,
        "size of a segment";
    "segment.index.bytes" = "10485760", whole(4, INT_MAX),
        default_only("indexes grow as needed"),
        "size of a segment's index";
    "segment.jitter.ms" = "0", whole(0, LONG_MAX),
        default_only("segments roll when they are due"),
        "random part of segment.ms";
    "segment.ms" = "604800000", whole(1, LONG_MAX), Honoured,
        "age at which a segment is closed although it is not full";
    "unclean.leader.election.enable" = "false", Kind::Bool,
        default_only("a replica that is not in sync never leads by itself"),
        "let a replica lead that misses acknowledged records";
}

/// The key of that name.
#[must_use]
pub(super) fn find(name: &str) -> Option<&'static TopicKey> {
    KEYS.iter().find(|key| key.name == name)
}

impl Kind {
    /// Reads a value, and returns it in the form in which it is stored.
    #[must_use]
    pub fn read(self, text: &str) -> Option<String> {
        match self {
            Self::Whole { min, max } => {
                let number: i64 = text.parse().ok()?;
                (min..=max).contains(&number).then(|| number.to_string())
            }
            Self::Ratio => {
                let number: f64 = text.parse().ok()?;
                (0.0..=1.0).contains(&number).then(|| number.to_string())
            }
            Self::Bool => {
                let lower = text.to_ascii_lowercase();
                matches!(lower.as_str(), "true" | "false").then_some(lower)
            }
            Self::OneOf(words) => words.contains(&text).then(|| text.to_owned()),
            Self::ListOf(words) => {
                let found: Vec<&str> = text.split(',').map(str::trim).collect();
                let known = found.iter().all(|word| words.contains(word));
                let unique = (1..found.len())
                    .all(|i| !found.iter().take(i).any(|w| Some(w) == found.get(i)));
                (known && unique).then(|| found.join(","))
            }
            Self::Text => (text.len() <= 1024).then(|| text.to_owned()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { min, max: i64::MAX } => write!(f, "a whole number from {min}"),
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Ratio => f.write_str("a number from 0 to 1"),
            Self::Bool => f.write_str("true or false"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::ListOf(words) => write!(f, "{}, or both with a comma", words.join(" or ")),
            Self::Text => f.write_str("a text of at most 1024 bytes"),
        }
    }
}
