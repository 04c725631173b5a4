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

use super::{IndexError, offset::relative};

/// One entry, in absolute terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Largest timestamp so far, in milliseconds.
    pub timestamp_ms: i64,
    /// Last offset of the earliest batch that has it.
    pub last_offset: Offset,
}

/// Time index of one segment, in memory: 16 bytes an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: Vec<(i64, u32)>,
}

impl TimeIndex {
    /// Bytes of an entry in the file.
    pub const ENTRY_BYTES: usize = 12;

    /// An index without entries.
    #[must_use]
    pub const fn new(base_offset: Offset) -> Self {
        Self {
            base_offset,
            entries: Vec::new(),
        }
    }

    /// Reads the content of a `.timeindex` file.
    ///
    /// # Errors
    /// When it is not a whole number of entries that increase.
    pub fn decode(base_offset: Offset, mut bytes: &[u8]) -> Result<Self, IndexError> {
        if !bytes.len().is_multiple_of(Self::ENTRY_BYTES) {
            return Err(IndexError::Length {
                bytes: bytes.len(),
                entry_bytes: Self::ENTRY_BYTES,
            });
        }
        let mut entries: Vec<(i64, u32)> = Vec::with_capacity(bytes.len() / Self::ENTRY_BYTES);
        while bytes.has_remaining() {
            let (timestamp_ms, relative) = (bytes.get_i64(), bytes.get_i32());
            let error = IndexError::Order {
                index: entries.len(),
            };
            let Ok(relative) = u32::try_from(relative) else {
                return Err(error);
            };
            if let Some((before, at)) = entries.last()
                && (timestamp_ms <= *before || relative <= *at)
            {
                return Err(error);
            }
            entries.push((timestamp_ms, relative));
        }
        Ok(Self {
            base_offset,
            entries,
        })
    }

    /// The content of the file from entry `from` (counted from 0) on.
    #[must_use]
    pub fn encode_from(&self, from: usize) -> Vec<u8> {
        let entries = self.entries.get(from..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(entries.len() * Self::ENTRY_BYTES);
        for (timestamp_ms, relative) in entries {
            bytes.put_i64(*timestamp_ms);
            bytes.put_u32(*relative);
        }
        bytes
    }

    /// Adds an entry unless the timestamp is no larger than the last one's; says whether it did.
    ///
    /// # Errors
    /// When the offset goes backwards or cannot be expressed in 31 bits.
    pub fn push(&mut self, timestamp_ms: i64, last_offset: Offset) -> Result<bool, IndexError> {
        let relative = relative(self.base_offset, last_offset)?;
        match self.entries.last() {
            Some((before, _)) if timestamp_ms <= *before => return Ok(false),
            Some((_, at)) if relative <= *at => {
                return Err(IndexError::Order {
                    index: self.entries.len(),
                });
            }
            _ => self.entries.push((timestamp_ms, relative)),
        }
        Ok(true)
    }

    /// The last entry whose timestamp is at most `target_ms`: no batch before its own has a
    /// timestamp above it, so a search for the first one at or after `target_ms` may start there.
    /// `None`: start at the segment's first batch.
    #[must_use]
    pub fn lookup(&self, target_ms: i64) -> Option<TimeEntry> {
        let after = self
            .entries
            .partition_point(|(timestamp_ms, _)| *timestamp_ms <= target_ms);
        self.entry(after.checked_sub(1)?)
    }

    /// Entry number `index`, from 0.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<TimeEntry> {
        let (timestamp_ms, relative) = self.entries.get(index)?;
        Some(TimeEntry {
            timestamp_ms: *timestamp_ms,
            last_offset: self
                .base_offset
                .checked_add(*relative)
                .unwrap_or(Offset::MAX),
        })
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<TimeEntry> {
        self.entry(self.entries.len().checked_sub(1)?)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = TimeEntry> + '_ {
        (0..self.entries.len()).filter_map(|index| self.entry(index))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops every entry whose offset is `end` or later.
    pub fn truncate(&mut self, end: Offset) {
        let keep = (0..self.entries.len())
            .take_while(|index| {
                self.entry(*index)
                    .is_some_and(|entry| entry.last_offset < end)
            })
            .count();
        self.entries.truncate(keep);
    }
}
