//! [`OffsetCheck`] and [`TimeCheck`]: every entry of an index against the batch it points to.
//!
//! Entries and batches are both in order, so one walk over the batches settles all entries. An
//! entry that should be there and is not cannot be told from a sparse index.

use std::{iter::Peekable, path::PathBuf, vec};

use super::super::{Report, ScannedBatch};
use crate::{
    index::{OffsetEntry, OffsetIndex, TimeEntry, TimeIndex},
    segment_meta::NO_TIMESTAMP,
};

/// Entries with their positions in the file.
type Entries<T> = Peekable<vec::IntoIter<(u64, T)>>;

fn numbered<T>(entries: impl Iterator<Item = T>, entry_bytes: usize) -> Entries<T> {
    let positions = (0..).step_by(entry_bytes);
    positions
        .zip(entries)
        .collect::<Vec<_>>()
        .into_iter()
        .peekable()
}

/// An offset index while its segment is read.
pub(super) struct OffsetCheck {
    file: PathBuf,
    entries: Entries<OffsetEntry>,
}

impl OffsetCheck {
    pub(super) fn new(file: PathBuf, index: &OffsetIndex) -> Self {
        let entries = numbered(index.iter(), OffsetIndex::ENTRY_BYTES);
        Self { file, entries }
    }

    pub(super) fn see(&mut self, batch: &ScannedBatch, report: &mut Report) {
        while let Some((at, entry)) = self
            .entries
            .next_if(|(_, entry)| u64::from(entry.position) <= batch.position)
        {
            if u64::from(entry.position) < batch.position {
                self.unmatched(at, entry, report);
            } else if entry.last_offset != batch.last_offset() {
                let reason = format!(
                    "entry has offset {} for byte {}, the batch there ends with offset {}",
                    entry.last_offset,
                    entry.position,
                    batch.last_offset()
                );
                report.add_at(&self.file, at, reason);
            }
        }
    }

    pub(super) fn finish(mut self, report: &mut Report) {
        while let Some((at, entry)) = self.entries.next() {
            self.unmatched(at, entry, report);
        }
    }

    fn unmatched(&self, at: u64, entry: OffsetEntry, report: &mut Report) {
        let reason = format!(
            "entry for offset {} points to byte {}, where no batch starts",
            entry.last_offset, entry.position
        );
        report.add_at(&self.file, at, reason);
    }
}

/// A time index while its segment is read.
pub(super) struct TimeCheck {
    file: PathBuf,
    entries: Entries<TimeEntry>,
    max_timestamp_ms: i64,
}

impl TimeCheck {
    pub(super) fn new(file: PathBuf, index: &TimeIndex) -> Self {
        let entries = numbered(index.iter(), TimeIndex::ENTRY_BYTES);
        Self {
            file,
            entries,
            max_timestamp_ms: NO_TIMESTAMP,
        }
    }

    pub(super) fn see(&mut self, batch: &ScannedBatch, report: &mut Report) {
        while let Some((at, entry)) = self
            .entries
            .next_if(|(_, entry)| entry.last_offset <= batch.last_offset())
        {
            if entry.last_offset < batch.last_offset() {
                self.unmatched(at, entry, report);
            } else if entry.timestamp_ms != batch.max_timestamp() {
                let reason = format!(
                    "entry has timestamp {} for offset {}, its batch has {}",
                    entry.timestamp_ms,
                    entry.last_offset,
                    batch.max_timestamp()
                );
                report.add_at(&self.file, at, reason);
            } else if entry.timestamp_ms <= self.max_timestamp_ms {
                let reason = format!(
                    "entry has timestamp {}, an earlier batch has {}",
                    entry.timestamp_ms, self.max_timestamp_ms
                );
                report.add_at(&self.file, at, reason);
            }
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(batch.max_timestamp());
    }

    pub(super) fn finish(mut self, report: &mut Report) {
        while let Some((at, entry)) = self.entries.next() {
            self.unmatched(at, entry, report);
        }
    }

    fn unmatched(&self, at: u64, entry: TimeEntry, report: &mut Report) {
        let reason = format!(
            "entry for timestamp {} has offset {}, with which no batch ends",
            entry.timestamp_ms, entry.last_offset
        );
        report.add_at(&self.file, at, reason);
    }
}
