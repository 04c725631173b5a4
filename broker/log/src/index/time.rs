//! [`TimeIndex`]: from a timestamp to an offset, sparse.
//!
//! ```text
//! entry, 12 bytes: | timestamp i64 BE, milliseconds | relative offset i32 BE |
//! ```
//! Each entry holds the largest timestamp of the segment so far and the last offset of the earliest
//! batch that has it. Timestamps increase strictly, offsets with them. One more entry is written
//! when the segment is sealed or the log is closed.

use bytes::{Buf, BufMut};
use millstream_proto::Offset;

use super::{
    IndexError,
    sparse::{SparseIndex, StoredEntry, absolute, relative},
};

/// One entry, in absolute terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Largest timestamp so far, in milliseconds.
    pub timestamp_ms: i64,
    /// Last offset of the earliest batch that has it.
    pub last_offset: Offset,
}

/// One entry, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTime {
    timestamp_ms: i64,
    relative: u32,
}

impl StoredEntry for StoredTime {
    const BYTES: usize = 12;
    type Entry = TimeEntry;

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (timestamp_ms, relative) = (bytes.get_i64(), bytes.get_i32());
        Some(Self {
            timestamp_ms,
            relative: u32::try_from(relative).ok()?,
        })
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.put_i64(self.timestamp_ms);
        bytes.put_u32(self.relative);
    }

    fn is_after(self, before: Self) -> bool {
        self.timestamp_ms > before.timestamp_ms && self.relative > before.relative
    }

    fn absolute(self, base_offset: Offset) -> TimeEntry {
        TimeEntry {
            timestamp_ms: self.timestamp_ms,
            last_offset: absolute(base_offset, self.relative),
        }
    }
}

/// Time index of one segment, in memory: 16 bytes an entry.
pub type TimeIndex = SparseIndex<StoredTime>;

impl TimeIndex {
    /// Adds an entry unless the timestamp is no larger than the last one's; says whether it did.
    ///
    /// # Errors
    /// When the offset goes backwards or cannot be expressed in 31 bits.
    pub fn push(&mut self, timestamp_ms: i64, last_offset: Offset) -> Result<bool, IndexError> {
        let relative = relative(self.base_offset, last_offset)?;
        let last = self.entries.last();
        if last.is_some_and(|last| timestamp_ms <= last.timestamp_ms) {
            return Ok(false);
        }
        self.add(StoredTime {
            timestamp_ms,
            relative,
        })?;
        Ok(true)
    }

    /// The last entry whose timestamp is at most `target_ms`: no batch before its own has a
    /// timestamp above it, so a search for the first one at or after `target_ms` may start there.
    /// `None`: start at the segment's first batch.
    #[must_use]
    pub fn lookup(&self, target_ms: i64) -> Option<TimeEntry> {
        let after = self
            .entries
            .partition_point(|entry| entry.timestamp_ms <= target_ms);
        self.entry(after.checked_sub(1)?)
    }

    /// Drops every entry whose offset is `end` or later.
    pub fn truncate(&mut self, end: Offset) {
        let keep = self
            .entries
            .partition_point(|entry| absolute(self.base_offset, entry.relative) < end);
        self.entries.truncate(keep);
    }
}
