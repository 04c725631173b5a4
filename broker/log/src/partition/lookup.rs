//! Offsets by time, by leader epoch and by transaction.

use millstream_proto::{LeaderEpoch, Offset};

use super::PartitionLog;
use crate::error::ReadError;

/// A record found by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its timestamp, ms since 1970.
    pub timestamp: i64,
    /// Its offset.
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// Where a leader epoch ends in this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch not after the one asked for.
    pub leader_epoch: LeaderEpoch,
    /// Exclusive end of its records.
    pub end_offset: Offset,
}

/// A transaction whose records a read_committed reader drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: millstream_proto::ProducerId,
    /// Its first record.
    pub first_offset: Offset,
}

impl PartitionLog {
    /// The first record at or after `timestamp` (ms) below `end_exclusive`. Waits for the disk.
    ///
    /// # Errors
    /// Corruption, an offline partition, what the disk says.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        end_exclusive: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let _ = (timestamp, end_exclusive);
        todo!()
    }

    /// The first record with the largest timestamp below `end_exclusive`. Waits for the disk.
    ///
    /// # Errors
    /// Corruption, an offline partition, what the disk says.
    pub fn max_timestamp_offset(
        &self,
        end_exclusive: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let _ = end_exclusive;
        todo!()
    }

    /// Where `leader_epoch` ends here; `None` when it is later than all epochs of the log.
    ///
    /// # Errors
    /// An offline partition; what the disk says when the log is opened for the first time.
    pub fn epoch_end(&self, leader_epoch: LeaderEpoch) -> Result<Option<EpochEnd>, ReadError> {
        let _ = leader_epoch;
        todo!()
    }

    /// Newest leader epoch with a record in this log.
    ///
    /// # Errors
    /// As [`PartitionLog::epoch_end`].
    pub fn latest_epoch(&self) -> Result<Option<LeaderEpoch>, ReadError> {
        todo!()
    }

    /// Aborted transactions with records in `[start, end)`. Waits for the disk.
    ///
    /// # Errors
    /// Corruption, an offline partition, what the disk says.
    pub fn aborted_transactions(
        &self,
        start: Offset,
        end: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let _ = (start, end);
        todo!()
    }
}
