//! [`Filter`]: decides, batch by batch, what compaction keeps.
//!
//! ```text
//!   record    superseded below the map's end            goes
//!             tombstone, delete horizon of its batch    goes once that has passed
//!             of an aborted transaction                 goes
//!   marker    no batch of its transaction is left       goes once its delete horizon has passed
//!   batch     all of it stays                           its bytes stay
//!             first seen with a tombstone or an unneeded marker: gets its delete horizon
//!             nothing of it stays                       goes, unless it is its producer's last
//!                                                       (emptied) or the last of the segment
//!                                                       (a placeholder: segments meet)
//! ```
//! The rules are Kafka's, see KIP-534 for delete horizons. A record without a key, from a time before
//! the topic was compacted, supersedes nothing and stays.

use std::collections::HashMap;

use bytes::Bytes;
use millstream_proto::{
    Offset, ProducerEpoch, ProducerId,
    record::{
        Batch, BatchHeader, BuildError, Record, RecordError,
        control::{ControlRecord, EndTransactionMarker},
        retained,
    },
};

use super::{
    key_map::KeyMap,
    transactions::{Marker, TransactionTracker},
};
use crate::index::AbortedTransaction;

/// Bytes that the records of one batch may have: as many as its format allows. They are decompressed
/// in stretches.
pub(crate) const RECORD_BYTES_MAX: usize = i32::MAX as usize;

/// Each live producer's last batch of records, `None` where only a marker is known of its epoch.
pub(crate) type LastBatches = HashMap<ProducerId, (ProducerEpoch, Option<Offset>)>;

/// What one pass goes by.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) map: &'a KeyMap,
    /// Records from here on are not in the map.
    pub(crate) map_end: Offset,
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: u64,
    pub(crate) last_batches: &'a LastBatches,
    pub(crate) transactions: TransactionTracker,
    /// Records seen and kept so far.
    pub(crate) records: RecordCounts,
}

/// Records that went in and came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordCounts {
    pub(crate) seen: u64,
    pub(crate) kept: u64,
}

impl RecordCounts {
    /// Records that went since an earlier count.
    pub(crate) const fn removed_since(self, before: Self) -> u64 {
        (self.seen - before.seen) - (self.kept - before.kept)
    }
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Whole,
    /// These bytes take its place.
    Replaced(Bytes),
    /// It goes.
    Gone,
}

impl Fate {
    /// What is written of the batch where it may grow up to `room` bytes: one that does not fit stays as
    /// it is, which is never wrong.
    pub(crate) fn fitting<'a>(&'a self, batch: &'a Batch, room: u64) -> Option<&'a Bytes> {
        match self {
            Self::Whole => Some(batch.bytes()),
            Self::Replaced(bytes)
                if bytes.len() <= batch.bytes().len()
                    || u64::try_from(bytes.len()).is_ok_and(|size| size <= room) =>
            {
                Some(bytes)
            }
            Self::Replaced(_) => Some(batch.bytes()),
            Self::Gone => None,
        }
    }
}

/// A batch's fate, and the entry of the transaction that its marker aborts.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) fate: Fate,
    pub(crate) aborted: Option<AbortedTransaction>,
}

/// Why a batch cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// Its records cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What is left of it cannot be written.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl Filter<'_> {
    /// Judges the next batch, whose CRC was checked. `is_last` says that it is the last of what will
    /// be one segment.
    pub(crate) fn judge(&mut self, batch: &Batch, is_last: bool) -> Result<Verdict, FilterError> {
        self.records.seen += u64::from(batch.record_count());
        let (fate, aborted) = if batch.is_control() {
            self.judge_control(batch)?
        } else {
            (self.judge_records(batch)?, None)
        };
        let fate = match fate {
            Fate::Gone if is_last => held_place(batch)?,
            fate => fate,
        };
        self.records.kept += match &fate {
            Fate::Whole => u64::from(batch.record_count()),
            Fate::Replaced(bytes) => {
                BatchHeader::decode(bytes).map_or(0, |header| u64::from(header.record_count()))
            }
            Fate::Gone => 0,
        };
        Ok(Verdict { fate, aborted })
    }

    fn judge_control(
        &mut self,
        batch: &Batch,
    ) -> Result<(Fate, Option<AbortedTransaction>), FilterError> {
        let marker = marker_of(batch)?;
        match self.transactions.see_marker(batch, marker.as_ref()) {
            Marker::Needed(aborted) => return Ok((Fate::Whole, aborted)),
            Marker::Unneeded => {}
        }
        if batch.record_count() == 0 {
            return Ok((self.of_emptied(batch), None));
        }
        let fate = match batch.delete_horizon_ms() {
            Some(horizon_ms) if horizon_ms <= self.now_ms => self.without_records(batch)?,
            Some(_) => Fate::Whole,
            None => self.stamped(batch, |_| true)?.unwrap_or(Fate::Whole),
        };
        Ok((fate, None))
    }

    fn judge_records(&mut self, batch: &Batch) -> Result<Fate, FilterError> {
        if self.transactions.see_records(batch) {
            return self.without_records(batch);
        }
        if batch.record_count() == 0 {
            return Ok(self.of_emptied(batch));
        }
        if batch.base_offset() >= self.map_end {
            return Ok(Fate::Whole);
        }
        let mut stays = Vec::new();
        let mut has_tombstone = false;
        for record in batch.records(RECORD_BYTES_MAX)? {
            let record = record?;
            let is_kept = self.keeps(batch, &record);
            has_tombstone |= is_kept && record.key.is_some() && record.value.is_none();
            stays.push(is_kept);
        }
        if !stays.contains(&true) {
            return self.without_records(batch);
        }
        let stays_at = |index: usize| stays.get(index) == Some(&true);
        if has_tombstone
            && batch.delete_horizon_ms().is_none()
            && let Some(stamped) = self.stamped(batch, stays_at)?
        {
            return Ok(stamped);
        }
        if !stays.contains(&false) {
            return Ok(Fate::Whole);
        }
        let bytes = rebuilt(batch, stays_at, batch.delete_horizon_ms())?;
        Ok(Fate::Replaced(bytes))
    }

    /// What stays of a batch with a delete horizon; `None` where a timestamp is too far from it for the
    /// format. Then its tombstones or its marker stay for good.
    fn stamped(
        &self,
        batch: &Batch,
        stays_at: impl Fn(usize) -> bool,
    ) -> Result<Option<Fate>, FilterError> {
        match rebuilt(batch, stays_at, Some(self.horizon())) {
            Err(FilterError::Build(BuildError::Timestamp { .. })) => Ok(None),
            built => Ok(Some(Fate::Replaced(built?))),
        }
    }

    fn keeps(&self, batch: &BatchHeader, record: &Record) -> bool {
        let Some(key) = record.key.as_deref() else {
            return true;
        };
        if record.offset >= self.map_end {
            return true;
        }
        let newest = self.map.get(self.map.fingerprint(key));
        if newest.is_some_and(|newest| record.offset < newest) {
            return false;
        }
        let has_passed = |horizon_ms: i64| horizon_ms <= self.now_ms;
        record.value.is_some() || !batch.delete_horizon_ms().is_some_and(has_passed)
    }

    fn horizon(&self) -> i64 {
        self.now_ms
            .saturating_add_unsigned(self.delete_retention_ms)
    }

    /// Nothing of its records stays.
    fn without_records(&self, batch: &BatchHeader) -> Result<Fate, FilterError> {
        if !self.is_last_of_producer(batch) {
            return Ok(Fate::Gone);
        }
        if batch.record_count() == 0 {
            return Ok(Fate::Whole);
        }
        Ok(Fate::Replaced(retained::emptied(batch)?))
    }

    /// It was emptied before.
    fn of_emptied(&self, batch: &BatchHeader) -> Fate {
        if self.is_last_of_producer(batch) {
            Fate::Whole
        } else {
            Fate::Gone
        }
    }

    /// Whether a live producer's last sequence, or its epoch, is known from this batch alone.
    fn is_last_of_producer(&self, batch: &BatchHeader) -> bool {
        if !batch.has_producer_id() {
            return false;
        }
        match self.last_batches.get(&batch.producer_id()) {
            Some((_, Some(last_offset))) => *last_offset == batch.last_offset(),
            Some((epoch, None)) => batch.is_control() && *epoch == batch.producer_epoch(),
            None => false,
        }
    }
}

/// The marker in a control batch.
pub(crate) fn marker_of(batch: &Batch) -> Result<Option<EndTransactionMarker>, RecordError> {
    let Some(record) = batch.records(RECORD_BYTES_MAX)?.next().transpose()? else {
        return Ok(None);
    };
    Ok(match ControlRecord::decode(&record) {
        Ok(ControlRecord::EndTransaction(marker)) => Some(marker),
        _ => None,
    })
}

/// The batch with those of its records that stay, told by their index. They are read anew, one at a
/// time: a batch may decompress to much more than is kept of it.
fn rebuilt(
    batch: &Batch,
    stays_at: impl Fn(usize) -> bool,
    delete_horizon_ms: Option<i64>,
) -> Result<Bytes, FilterError> {
    let records = batch.records(RECORD_BYTES_MAX)?.enumerate();
    let kept = records
        .filter(|(index, _)| stays_at(*index))
        .map(|(_, record)| record.map_err(FilterError::from));
    retained::with_records(batch, kept, delete_horizon_ms)
}

/// Nothing of the batch stays, but its offsets end the segment.
fn held_place(batch: &Batch) -> Result<Fate, BuildError> {
    let bytes = retained::placeholder(batch)?;
    if bytes == batch.bytes() {
        return Ok(Fate::Whole);
    }
    Ok(Fate::Replaced(bytes))
}

#[cfg(test)]
mod tests;
