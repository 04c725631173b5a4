//! [`LogConfig`]: what a topic's configuration asks of one partition's log, replaceable while it runs.

use millstream_proto::record::Compression;

use crate::compaction::CompactionConfig;

/// Settings of one partition log. The broker translates Kafka's topic keys (`segment.bytes`,
/// `retention.ms`, ...) into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is rolled before it grows past this (`segment.bytes`).
    pub segment_bytes: u32,
    /// A segment is rolled once its first batch is older than this (`segment.ms`).
    pub segment_ms: u64,
    /// Bytes of batches between two entries of the sparse indexes (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Age, by record timestamp, past which a segment is removed; `None` keeps it (`retention.ms`).
    pub retention_ms: Option<u64>,
    /// Size of the log above which its oldest segments are removed (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// Largest batch accepted, header included (`max.message.bytes`).
    pub max_message_bytes: u32,
    /// Which timestamps records get and which are accepted.
    pub timestamps: TimestampPolicy,
    /// Records after which a flush is asked for; 1 is a flush before every acknowledgement
    /// (`flush.messages`).
    pub flush_messages: Option<u64>,
    /// Age of the oldest unflushed record at which a flush is asked for (`flush.ms`).
    pub flush_ms: Option<u64>,
    /// Whether a new segment reserves its whole size at once (`preallocate`).
    pub preallocate: bool,
    /// What an acknowledgement and the high watermark rest on (`millstream.durability`).
    pub durability: Durability,
    /// Whether old segments may be removed by retention (`cleanup.policy` has `delete`).
    pub cleanup_delete: bool,
    /// Whether superseded records may be removed (`cleanup.policy` has `compact`); then every record
    /// needs a key.
    pub cleanup_compact: bool,
    /// When and how superseded records are removed, where they may be.
    pub compaction: CompactionConfig,
    /// What codec batches are stored with (`compression.type`).
    pub compression: CompressionPolicy,
    /// Whether clients may write transactions. Where nobody ends them an open one would hold the last
    /// stable offset back for ever.
    pub accepts_transactions: bool,
}

impl LogConfig {
    /// Age at which a segment is rolled: the active one is never compacted, so it must not outlast
    /// the time within which records shall be.
    pub(crate) fn roll_ms(&self) -> u64 {
        let max_lag_ms = self.compaction.max_lag_ms.filter(|_| self.cleanup_compact);
        self.segment_ms.min(max_lag_ms.unwrap_or(u64::MAX))
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * 3600 * 1000),
            retention_bytes: None,
            max_message_bytes: 1_048_588,
            timestamps: TimestampPolicy::default(),
            flush_messages: None,
            flush_ms: None,
            preallocate: false,
            durability: Durability::Fsync,
            cleanup_delete: true,
            cleanup_compact: false,
            compaction: CompactionConfig::default(),
            compression: CompressionPolicy::Producer,
            accepts_transactions: true,
        }
    }
}

/// What an acknowledgement rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every append asks for a flush; nothing is shown that a power cut can take back.
    #[default]
    Fsync,
    /// The page cache of the in-sync set; flushed within `log.flush_interval`.
    Replicated,
}

/// Which timestamps a topic stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampPolicy {
    /// Whether the broker's clock replaces the producer's (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: bool,
    /// How far before the broker's clock a producer's timestamp may lie
    /// (`message.timestamp.before.max.ms`).
    pub before_max_ms: u64,
    /// How far after it (`message.timestamp.after.max.ms`).
    pub after_max_ms: u64,
}

impl Default for TimestampPolicy {
    fn default() -> Self {
        Self {
            log_append_time: false,
            before_max_ms: i64::MAX.unsigned_abs(),
            after_max_ms: 3_600_000,
        }
    }
}

/// `compression.type` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionPolicy {
    /// Batches are stored as the producer sent them.
    #[default]
    Producer,
    /// Batches of another codec are decoded and compressed anew.
    Fixed(Compression),
}

/// Broker-wide bounds that all partitions of a data directory share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// Segments with an open file, over all partitions.
    pub open_segments_max: usize,
    /// Bytes of segments mapped for reading, over all partitions.
    pub mapped_bytes_max: u64,
    /// Bytes of recent batches kept in memory, charged by backing allocation.
    pub tail_cache_bytes_max: usize,
    /// Bytes appended but not yet flushed, over all partitions; appends beyond it are refused.
    pub unflushed_bytes_max: u64,
    /// Threads that flush partitions in parallel; started when first needed. 0 also leaves out the
    /// background thread: then whoever opened the directory flushes and checkpoints.
    pub flush_threads_max: usize,
    /// What a `replicated` topic can lose to a power cut at most (`log.flush_interval`): everything is
    /// flushed within it.
    pub flush_interval_ms: u64,
    /// The recovery point trails the flushed offset by at most this time...
    pub recovery_point_interval_ms: u64,
    /// ...and by at most these bytes.
    pub recovery_point_bytes: u64,
    /// Size of the file that is given up when the disk is full (`log.disk_reserve`).
    pub disk_reserve_bytes: u64,
    /// Time after which an idle producer id is forgotten (`producer.id.expiration.ms`).
    pub producer_id_expiration_ms: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            open_segments_max: 4096,
            mapped_bytes_max: 4 << 30,
            tail_cache_bytes_max: 32 << 20,
            unflushed_bytes_max: 256 << 20,
            flush_threads_max: 8,
            flush_interval_ms: 1000,
            recovery_point_interval_ms: 1000,
            recovery_point_bytes: 64 << 20,
            disk_reserve_bytes: 64 << 20,
            producer_id_expiration_ms: 24 * 3600 * 1000,
        }
    }
}
