//! [`PartitionLog`]: the live log of one partition.
//!
//! One writer at a time under a short mutex; readers take a snapshot of the published positions and
//! segments and never wait for the writer.

mod append;
mod lookup;
mod read;

pub use append::{AppendContext, Appended, Origin};
pub use lookup::{AbortedTransaction, EpochEnd, TimestampOffset};
pub use read::{ReadBatches, ReadRequest, Slice};

use std::{fmt, sync::Arc};

use millstream_proto::{Offset, TopicId, TopicPartition};

use crate::{
    config::LogConfig,
    context::DataDirectory,
    error::{Offline, StorageError},
};

/// The live log of one partition. All methods take `&self`; those that may wait for the disk say so.
#[derive(Debug)]
pub struct PartitionLog {
    partition: TopicPartition,
}

/// Published positions, taken together. Exclusive ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// First readable offset.
    pub log_start: Offset,
    /// First offset on this broker's disk; `log_start` may be lower once segments are tiered.
    pub local_log_start: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// End of what a flush covers.
    pub flushed: Offset,
    /// Durable; below it a bad batch is corruption.
    pub recovery_point: Offset,
    /// First offset of the earliest open transaction.
    pub first_unstable: Option<Offset>,
    /// Counts truncations: what was read under another generation may be gone.
    pub truncations: u64,
}

impl Positions {
    /// Exclusive end for read_committed below the given high watermark.
    #[must_use]
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.first_unstable
            .map_or(high_watermark, |unstable| unstable.min(high_watermark))
    }
}

/// Told when positions move or the partition goes offline. Called on whatever thread did it, without
/// any lock of the log held, possibly late and out of order: read [`PartitionLog::positions`] anew.
/// Must not block.
pub trait LogObserver: Send + Sync + fmt::Debug {
    /// log_end, flushed, log_start or first_unstable moved.
    fn advanced(&self);

    /// The partition serves nothing more.
    fn went_offline(&self, offline: &Offline);
}

/// Whether a partition serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Online,
    /// It does not, and why.
    Offline(Offline),
    /// It was closed or deleted on purpose.
    Closed,
}

impl PartitionLog {
    /// Creates the directory and first segment of a new partition, durable on return.
    /// Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; a directory that exists already.
    pub fn create(
        directory: &Arc<DataDirectory>,
        partition: TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
    ) -> Result<Arc<Self>, StorageError> {
        let _ = (directory, topic_id, config, &partition);
        todo!()
    }

    /// Which partition this is.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Who is told of progress. Replaces an earlier one.
    pub fn set_observer(&self, observer: Arc<dyn LogObserver>) {
        let _ = observer;
        todo!()
    }

    /// Replaces the settings for all later operations.
    pub fn set_config(&self, config: Arc<LogConfig>) {
        let _ = config;
        todo!()
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        todo!()
    }

    /// The published positions.
    #[must_use]
    pub fn positions(&self) -> Positions {
        todo!()
    }

    /// Whether it serves.
    #[must_use]
    pub fn state(&self) -> LogState {
        todo!()
    }

    /// Bytes of record batches on disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }

    /// Segments on disk, the active one included.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        todo!()
    }

    /// Flushes everything appended so far on this thread and returns the flushed offset.
    /// Waits for the disk.
    ///
    /// # Errors
    /// A failed flush takes the partition offline: it is never retried.
    pub fn flush(&self) -> Result<Offset, StorageError> {
        todo!()
    }

    /// Asks the directory's flusher to flush; the observer hears of it. Never blocks.
    /// Appends to an fsync topic do this themselves.
    pub fn request_flush(&self) {
        todo!()
    }

    /// Removes everything from `offset` on, without waiting for readers. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), StorageError> {
        let _ = offset;
        todo!()
    }

    /// Removes everything and starts anew at `offset`. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), StorageError> {
        let _ = offset;
        todo!()
    }

    /// Moves log_start up to `offset` (durable on return), and removes segments wholly below it.
    /// Returns the new log_start. The caller bounds `offset` by the high watermark. Waits for the disk.
    ///
    /// # Errors
    /// [`crate::ReadError::OutOfRange`] beyond the log's end; what the disk says.
    pub fn delete_records(&self, offset: Offset) -> Result<Offset, crate::ReadError> {
        let _ = offset;
        todo!()
    }

    /// Removes old segments by time and size, none that reaches past `high_watermark`. Returns how
    /// many. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn apply_retention(
        &self,
        now_ms: i64,
        high_watermark: Offset,
    ) -> Result<usize, StorageError> {
        let _ = (now_ms, high_watermark);
        todo!()
    }

    /// Rolls the active segment when `segment.ms` says so. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn roll_if_due(&self, now_ms: i64) -> Result<bool, StorageError> {
        let _ = now_ms;
        todo!()
    }

    /// Closes files and maps and gives preallocated blocks back if nothing was appended or read
    /// since the last call. Waits for the disk.
    pub fn release_idle_resources(&self) {
        todo!()
    }

    /// Flushes, writes snapshots, gives preallocated blocks back; nothing is accepted afterwards.
    /// Returns what the clean-shutdown marker says of this partition. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; then the partition must not be listed in the marker.
    pub fn close(&self) -> Result<ClosedLog, StorageError> {
        todo!()
    }

    /// Renames the directory to a deletion name, durable on return, and removes its files in the
    /// background. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn delete(&self) -> Result<(), StorageError> {
        todo!()
    }
}

/// What a clean-shutdown marker says of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedLog {
    /// First readable offset.
    pub log_start: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// Newest leader epoch in the log, -1 when there is none.
    pub leader_epoch: i32,
}
