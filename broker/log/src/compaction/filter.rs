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
        Batch, BatchHeader, BuildError, CompressionError, RecordError, RewriteError,
        control::{ControlRecord, EndTransactionMarker},
        rewrite::{self, RewriteLimits},
    },
};

use super::{
    kept_records::KeptRecords,
    key_map::{Fingerprint, KeyMap},
    transactions::{Marker, TransactionTracker},
};
use crate::index::AbortedTransaction;

/// Bytes that the records of one batch may have: as many as its format allows. They are decompressed
/// in stretches.
pub(crate) const RECORD_BYTES_MAX: usize = i32::MAX as usize;
/// How much larger a batch may be that is made anew: who wrote it may have compressed better, and
/// timestamps may take more bytes behind a delete horizon. At least, and as a multiple.
const REWRITTEN_BYTES_MIN: usize = 1 << 20;
const REWRITTEN_FACTOR: usize = 2;

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

impl Filter<'_> {
    /// Judges the next batch, whose CRC was checked. `is_last` says that it is the last of what will
    /// be one segment.
    pub(crate) fn judge(&mut self, batch: &Batch, is_last: bool) -> Result<Verdict, RewriteError> {
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
    ) -> Result<(Fate, Option<AbortedTransaction>), RewriteError> {
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

    fn judge_records(&mut self, batch: &Batch) -> Result<Fate, RewriteError> {
        if self.transactions.see_records(batch) {
            return self.without_records(batch);
        }
        if batch.record_count() == 0 {
            return Ok(self.of_emptied(batch));
        }
        if batch.base_offset() >= self.map_end {
            return Ok(Fate::Whole);
        }
        let (kept, has_tombstone) = self.kept_of(batch)?;
        if kept.is_none() {
            return self.without_records(batch);
        }
        let stays_at = |index| kept.contains(index);
        if has_tombstone
            && batch.delete_horizon_ms().is_none()
            && let Some(stamped) = self.stamped(batch, stays_at)?
        {
            return Ok(stamped);
        }
        if kept.is_all() {
            return Ok(Fate::Whole);
        }
        let rewritten = rewritten(batch, stays_at, batch.delete_horizon_ms())?;
        Ok(rewritten.map_or(Fate::Whole, Fate::Replaced))
    }

    /// Which records stay, and whether a tombstone is among them.
    fn kept_of(&self, batch: &Batch) -> Result<(KeptRecords, bool), RecordError> {
        let mut kept = KeptRecords::default();
        let mut has_tombstone = false;
        let mut records = batch.scan(RECORD_BYTES_MAX)?;
        while let Some(start) = records.start()? {
            let mut key = self.map.fingerprinting();
            let shape = records.rest::<RecordError>(|piece| {
                key.see(piece);
                Ok(())
            })?;
            let key = shape.has_key.then(|| key.finish());
            let is_kept = self.keeps(batch, start.offset, key, shape.has_value);
            has_tombstone |= is_kept && shape.has_key && !shape.has_value;
            kept.push(is_kept);
        }
        Ok((kept, has_tombstone))
    }

    /// What stays of a batch with a delete horizon; `None` where the format has no room for it. Then its
    /// tombstones or its marker stay for good.
    fn stamped(
        &self,
        batch: &Batch,
        stays_at: impl Fn(u32) -> bool,
    ) -> Result<Option<Fate>, RewriteError> {
        let rewritten = rewritten(batch, stays_at, Some(self.horizon()))?;
        Ok(rewritten.map(Fate::Replaced))
    }

    fn keeps(
        &self,
        batch: &BatchHeader,
        offset: Offset,
        key: Option<Fingerprint>,
        has_value: bool,
    ) -> bool {
        let Some(key) = key else {
            return true;
        };
        if offset >= self.map_end {
            return true;
        }
        let newest = self.map.get(key);
        if newest.is_some_and(|newest| offset < newest) {
            return false;
        }
        let has_passed = |horizon_ms: i64| horizon_ms <= self.now_ms;
        has_value || !batch.delete_horizon_ms().is_some_and(has_passed)
    }

    fn horizon(&self) -> i64 {
        self.now_ms
            .saturating_add_unsigned(self.delete_retention_ms)
    }

    /// Nothing of its records stays.
    fn without_records(&self, batch: &BatchHeader) -> Result<Fate, RewriteError> {
        if !self.is_last_of_producer(batch) {
            return Ok(Fate::Gone);
        }
        if batch.record_count() == 0 {
            return Ok(Fate::Whole);
        }
        Ok(Fate::Replaced(rewrite::emptied(batch)?))
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

/// The batch with those of its records that stay, told by their index; `None` where a timestamp is too
/// far from the horizon, or the batch would be much larger than it was.
fn rewritten(
    batch: &Batch,
    stays_at: impl Fn(u32) -> bool,
    delete_horizon_ms: Option<i64>,
) -> Result<Option<Bytes>, RewriteError> {
    let size_bytes = batch.bytes().len();
    let limits = RewriteLimits {
        plain_bytes_max: RECORD_BYTES_MAX,
        size_bytes_max: (size_bytes * REWRITTEN_FACTOR).max(REWRITTEN_BYTES_MIN),
    };
    match rewrite::retained(batch, stays_at, delete_horizon_ms, &limits) {
        Err(RewriteError::Build(
            BuildError::Timestamp { .. } | BuildError::Compression(CompressionError::NoRoom { .. }),
        )) => Ok(None),
        rewritten => rewritten.map(Some),
    }
}

/// Nothing of the batch stays, but its offsets end the segment.
fn held_place(batch: &Batch) -> Result<Fate, BuildError> {
    let bytes = rewrite::placeholder(batch)?;
    if bytes == batch.bytes() {
        return Ok(Fate::Whole);
    }
    Ok(Fate::Replaced(bytes))
}

#[cfg(test)]
mod tests;
