//! Offsets by time, by leader epoch and by transaction; producers.

use std::sync::Arc;

use millstream_proto::{
    LeaderEpoch, Offset, ProducerId,
    record::{Batch, TimestampType},
};

use crate::{
    error::{ReadError, StorageError},
    index::AbortedTransaction,
    producer::ProducerEntry,
    segment::Segment,
    segment_meta::NO_TIMESTAMP,
    walk::{self, Located, Walk},
};

use super::{PartitionLog, view::View};

/// Bytes that the records of a batch may have once decompressed, when a record is searched by time. They
/// are decompressed in stretches.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

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

/// Which record of a log is searched.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// The first record at or after this time...
    timestamp: i64,
    /// ...and at or after this offset...
    log_start: Offset,
    /// ...and before this one.
    end_exclusive: Offset,
}

/// How the largest timestamp is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// By what is known of each segment, batches without records included.
    AtSegments,
    /// By the header of each batch.
    AtBatches,
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
        let view = self.opened_view()?;
        let target = Target {
            timestamp,
            log_start: view.positions.log_start,
            end_exclusive: end_exclusive.min(view.positions.log_end),
        };
        for segment in view.segments.iter() {
            let meta = segment.meta();
            if meta.max_timestamp_ms < timestamp || meta.end_offset() <= target.log_start {
                continue;
            }
            if let Some(found) = self.search_segment(segment, &target)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp below `end_exclusive`. Waits for the disk.
    ///
    /// # Errors
    /// Corruption, an offline partition, what the disk says.
    pub fn max_timestamp_offset(
        &self,
        end_exclusive: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let view = self.opened_view()?;
        let end = end_exclusive.min(view.positions.log_end);
        let Some(timestamp) = self.largest_timestamp(&view, end, Look::AtSegments)? else {
            return Ok(None);
        };
        if let Some(found) = self.offset_for_timestamp(timestamp, end)? {
            return Ok(Some(found));
        }
        // It is the time of a batch that compaction emptied.
        match self.largest_timestamp(&view, end, Look::AtBatches)? {
            Some(timestamp) => self.offset_for_timestamp(timestamp, end),
            None => Ok(None),
        }
    }

    /// The largest timestamp of batches with records that lie in `[log_start, end)`.
    fn largest_timestamp(
        &self,
        view: &View,
        end: Offset,
        look: Look,
    ) -> Result<Option<i64>, ReadError> {
        let log_start = view.positions.log_start;
        let mut largest = None;
        for segment in view.segments.iter() {
            let meta = segment.meta();
            if meta.size_bytes == 0 || meta.end_offset() <= log_start || meta.base_offset >= end {
                continue;
            }
            let whole = meta.end_offset() <= end && meta.base_offset >= log_start;
            let segment_largest = if whole && look == Look::AtSegments {
                Some(meta.max_timestamp_ms)
            } else if Some(meta.max_timestamp_ms) > largest {
                self.largest_in_part(segment, log_start, end)?
            } else {
                None
            };
            largest = largest.max(segment_largest);
        }
        Ok(largest.filter(|timestamp| *timestamp != NO_TIMESTAMP))
    }

    fn largest_in_part(
        &self,
        segment: &Arc<Segment>,
        log_start: Offset,
        end: Offset,
    ) -> Result<Option<i64>, ReadError> {
        let mut walk = self.walk_from(segment, log_start)?;
        let mut largest = None;
        while let Some(batch) = walk.next()? {
            if batch.header.last_offset() >= end {
                break;
            }
            if batch.header.last_offset() >= log_start && batch.header.record_count() > 0 {
                largest = largest.max(Some(batch.header.max_timestamp()));
            }
        }
        Ok(largest)
    }

    fn search_segment(
        &self,
        segment: &Arc<Segment>,
        target: &Target,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        // The time index gives the last offset of a batch before which all timestamps are smaller.
        let from = segment
            .with_indexes(|indexes| indexes.time.lookup(target.timestamp.saturating_sub(1)))
            .map_err(|error| self.read_failed(&segment.log_path(), error))?
            .map_or(segment.base_offset(), |entry| entry.last_offset)
            .max(target.log_start);
        let mut walk = self.walk_from(segment, from)?;
        while let Some(batch) = walk.next()? {
            if batch.header.base_offset() >= target.end_exclusive {
                return Ok(None);
            }
            let is_candidate = batch.header.max_timestamp() >= target.timestamp
                && batch.header.last_offset() >= target.log_start
                && batch.header.record_count() > 0;
            if is_candidate && let Some(found) = self.search_batch(segment, &batch, target)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_batch(
        &self,
        segment: &Arc<Segment>,
        batch: &Located,
        target: &Target,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let header = &batch.header;
        let found = |timestamp, offset| TimestampOffset {
            timestamp,
            offset,
            leader_epoch: header.leader_epoch(),
        };
        if header.timestamp_type() == TimestampType::LogAppendTime {
            let offset = header.base_offset().max(target.log_start);
            return Ok(
                (offset < target.end_exclusive).then(|| found(header.max_timestamp(), offset))
            );
        }
        let path = segment.log_path();
        let corrupt = |reason: String| StorageError::Corrupt {
            file: path.clone(),
            position: batch.position,
            reason,
        };
        let source = segment
            .source(batch.end(), false)
            .map_err(|error| self.source_failed(path.clone(), batch.end(), error))?;
        let bytes = walk::copy(&source, &path, &(batch.position..batch.end()))?;
        let batch = Batch::parse(bytes).map_err(|error| corrupt(error.to_string()))?;
        batch
            .verify_crc()
            .map_err(|error| corrupt(error.to_string()))?;
        let mut records = batch
            .scan(DECOMPRESSED_BYTES_MAX)
            .map_err(|error| corrupt(error.to_string()))?;
        while let Some(record) = records
            .start()
            .map_err(|error| corrupt(error.to_string()))?
        {
            if record.offset >= target.end_exclusive {
                return Ok(None);
            }
            if record.timestamp >= target.timestamp && record.offset >= target.log_start {
                return Ok(Some(found(record.timestamp, record.offset)));
            }
        }
        Ok(None)
    }

    /// A walk from somewhere at or before the batch that contains the offset.
    fn walk_from(&self, segment: &Arc<Segment>, offset: Offset) -> Result<Walk, StorageError> {
        let (path, end) = (segment.log_path(), segment.size_bytes());
        let source = segment
            .source(end, false)
            .map_err(|error| self.source_failed(path.clone(), end, error))?;
        let start = self.locate(segment, &source, end, offset)?;
        Ok(Walk::new(source, path, start.position, end))
    }

    /// Where `leader_epoch` ends here; `None` when the log does not know: the epoch is newer than all
    /// of them or older than all that are kept.
    ///
    /// # Errors
    /// An offline partition; what the disk says when the log is opened for the first time.
    pub fn epoch_end(&self, leader_epoch: LeaderEpoch) -> Result<Option<EpochEnd>, ReadError> {
        let view = self.opened_view()?;
        let end = view
            .epochs
            .end_offset(leader_epoch, view.positions.log_end)
            .map(|end| EpochEnd {
                leader_epoch: end.leader_epoch,
                end_offset: end.start_offset,
            });
        Ok(end)
    }

    /// Newest leader epoch with a record in this log.
    ///
    /// # Errors
    /// As [`PartitionLog::epoch_end`].
    pub fn latest_epoch(&self) -> Result<Option<LeaderEpoch>, ReadError> {
        let view = self.opened_view()?;
        Ok(view.epochs.latest().map(|latest| latest.leader_epoch))
    }

    /// Leader epoch of the record at an offset, by the epoch history.
    ///
    /// # Errors
    /// As [`PartitionLog::epoch_end`].
    pub fn epoch_at(&self, offset: Offset) -> Result<Option<LeaderEpoch>, ReadError> {
        Ok(self.opened_view()?.epochs.epoch_at(offset))
    }

    /// The producers that it remembers, by id. Waits for the disk where the log was not opened yet.
    ///
    /// # Errors
    /// An offline partition; what the disk says.
    pub fn producers(&self) -> Result<Vec<(ProducerId, ProducerEntry)>, StorageError> {
        let writer = self.writer()?;
        let producers = writer.producers.sorted().into_iter();
        Ok(producers.map(|(id, entry)| (id, entry.clone())).collect())
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
        let view = self.opened_view()?;
        let first = view.segment_index(start).unwrap_or(0);
        let mut aborted = Vec::new();
        for segment in view.segments.iter().skip(first) {
            let (found, complete) = segment
                .with_transactions(|index| index.aborted_in(start, end))
                .map_err(|error| self.transactions_failed(segment, error))?;
            aborted.extend(found);
            if complete {
                break;
            }
        }
        Ok(aborted)
    }

    /// As [`PartitionLog::aborted_transactions`], from memory only; never blocks. `None` where the disk is
    /// needed.
    #[must_use]
    pub fn aborted_transactions_cached(
        &self,
        start: Offset,
        end: Offset,
    ) -> Option<Vec<AbortedTransaction>> {
        let view = self.view();
        let first = view.segment_index(start)?;
        let mut aborted = Vec::new();
        for segment in view.segments.iter().skip(first) {
            let (found, complete) =
                segment.with_known_transactions(|index| index.aborted_in(start, end))?;
            aborted.extend(found);
            if complete {
                break;
            }
        }
        Some(aborted)
    }

    pub(super) fn transactions_failed(
        &self,
        segment: &Arc<Segment>,
        error: std::io::Error,
    ) -> StorageError {
        let path = segment.path_of(crate::layout::FileKind::TransactionIndex);
        if error.kind() == std::io::ErrorKind::InvalidData {
            return StorageError::Corrupt {
                file: path,
                position: 0,
                reason: error.to_string(),
            };
        }
        self.read_failed(&path, error)
    }

    /// Tells the log that the high watermark moved: transactions whose marker lies below it are
    /// decided. Cheap when there are none.
    pub fn advance_high_watermark(&self, high_watermark: Offset) {
        if self.positions().first_unstable.is_none() {
            return;
        }
        if let Ok(mut writer) = self.writer() {
            writer.producers.advance(high_watermark);
            let first_unstable = writer.producers.transactions().first_unstable();
            self.publish(|view| view.positions.first_unstable = first_unstable);
        }
    }
}
