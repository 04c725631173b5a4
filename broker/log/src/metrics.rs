//! [`LogFigures`]: counters and gauges of a data directory, for the broker's metrics.

/// A snapshot of a data directory's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// Batches appended.
    pub appends: u64,
    /// Their bytes.
    pub append_bytes: u64,
    /// Time spent in appends, µs.
    pub append_us: u64,
    /// Flushes of a partition.
    pub flushes: u64,
    /// Time spent in them, µs.
    pub flush_us: u64,
    /// Flushes that failed.
    pub flush_failures: u64,
    /// Reads answered from the tail cache.
    pub tail_cache_hits: u64,
    /// Reads that went to the disk's files.
    pub tail_cache_misses: u64,
    /// Bytes charged to the tail cache.
    pub tail_cache_bytes: u64,
    /// Bytes appended and not yet flushed.
    pub unflushed_bytes: u64,
    /// Segments with an open file.
    pub open_segments: u64,
    /// Bytes of mapped segments.
    pub mapped_bytes: u64,
    /// Partitions that went offline.
    pub offline_partitions: u64,
    /// Times the disk became full.
    pub disk_full_count: u64,
    /// Segments removed by retention, truncation or delete_records.
    pub segments_removed: u64,
}
