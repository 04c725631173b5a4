//! [`LogFigures`]: counters and gauges of a data directory, for the broker's metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A snapshot of a data directory's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// Batches appended.
    pub appends: u64,
    /// Their bytes.
    pub append_bytes: u64,
    /// Time spent in appends, µs.
    pub append_us: u64,
    /// The slowest append since the last call of this function, µs.
    pub append_us_max: u64,
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
    /// Batches found corrupt by reads.
    pub corrupt_reads: u64,
    /// Compaction passes that came to their end.
    pub compactions: u64,
    /// Compaction passes that failed: corrupt data, no room, what the disk says.
    pub compaction_failures: u64,
    /// Time spent in compaction passes, µs, waiting for their turn and pace included.
    pub compaction_us: u64,
    /// Bytes that compaction read.
    pub compaction_read_bytes: u64,
    /// Bytes that compaction wrote.
    pub compaction_written_bytes: u64,
    /// Records that compaction removed.
    pub compaction_removed_records: u64,
}

/// What [`LogFigures`] is read from.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appends: AtomicU64,
    pub(crate) append_bytes: AtomicU64,
    append_us: AtomicU64,
    append_us_max: AtomicU64,
    flushes: AtomicU64,
    flush_us: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) offline_partitions: AtomicU64,
    pub(crate) segments_removed: AtomicU64,
    pub(crate) corrupt_reads: AtomicU64,
    compactions: AtomicU64,
    compaction_failures: AtomicU64,
    compaction_us: AtomicU64,
    pub(crate) compaction_read_bytes: AtomicU64,
    pub(crate) compaction_written_bytes: AtomicU64,
    pub(crate) compaction_removed_records: AtomicU64,
}

impl Counters {
    pub(crate) fn appended(&self, bytes: usize, took: Duration) {
        let us = us(took);
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.append_bytes
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.append_us.fetch_add(us, Ordering::Relaxed);
        self.append_us_max.fetch_max(us, Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self, took: Duration) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flush_us.fetch_add(us(took), Ordering::Relaxed);
    }

    pub(crate) fn compacted(&self, took: Duration, has_failed: bool) {
        let counter = match has_failed {
            true => &self.compaction_failures,
            false => &self.compactions,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.compaction_us.fetch_add(us(took), Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> LogFigures {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogFigures {
            appends: get(&self.appends),
            append_bytes: get(&self.append_bytes),
            append_us: get(&self.append_us),
            append_us_max: self.append_us_max.swap(0, Ordering::Relaxed),
            flushes: get(&self.flushes),
            flush_us: get(&self.flush_us),
            flush_failures: get(&self.flush_failures),
            offline_partitions: get(&self.offline_partitions),
            segments_removed: get(&self.segments_removed),
            corrupt_reads: get(&self.corrupt_reads),
            compactions: get(&self.compactions),
            compaction_failures: get(&self.compaction_failures),
            compaction_us: get(&self.compaction_us),
            compaction_read_bytes: get(&self.compaction_read_bytes),
            compaction_written_bytes: get(&self.compaction_written_bytes),
            compaction_removed_records: get(&self.compaction_removed_records),
            ..LogFigures::default()
        }
    }
}

fn us(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
