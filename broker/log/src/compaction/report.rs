//! What a pass is told, what it reports, and why it fails.

use millstream_proto::Offset;

use crate::error::StorageError;

/// What one pass is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionRequest {
    /// The broker's clock, ms since 1970: for lags and delete horizons.
    pub now_ms: i64,
    /// Nothing at or above it is compacted.
    pub high_watermark: Offset,
    /// Bytes that the map of keys may take. When it is full the pass ends there, and the next one
    /// goes on.
    pub map_bytes_max: usize,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionReport {
    /// Where the dirty part began before.
    pub from: Offset,
    /// Where it begins now.
    pub to: Offset,
    /// Whether the map took all that could be compacted.
    pub is_complete: bool,
    /// Bytes read, to fill the map and to copy.
    pub bytes_read: u64,
    /// Bytes written in the place of what was read.
    pub bytes_written: u64,
    /// Bytes of the segments that were looked at, before and after.
    pub bytes_before: u64,
    /// Their bytes after the pass.
    pub bytes_after: u64,
    /// Records in them before, tombstones and markers included.
    pub records_before: u64,
    /// Records in them after.
    pub records_after: u64,
    /// Segments before.
    pub segments_before: usize,
    /// Segments after.
    pub segments_after: usize,
    /// Keys in the map.
    pub keys: usize,
    /// Memory of the map.
    pub map_bytes: usize,
}

/// Why a pass ended before its end. Each segment is as it was or compacted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CompactionError {
    /// Its pace said so, or the log was closed or deleted.
    #[error("compaction was asked to stop")]
    Stopped,
    /// The log was truncated, or segments were removed.
    #[error("log changed while it was compacted")]
    LogChanged,
    /// A copy might not fit on the disk beside what it replaces.
    #[error("compaction needs {needed} bytes beside the log, {available} are available")]
    NoRoom {
        /// Bytes of the segments to copy.
        needed: u64,
        /// Bytes that may still be written.
        available: u64,
    },
    /// Corrupt batches, or what the disk says. Damage stops the compaction of this log until it is
    /// mended: nothing is dropped that cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
