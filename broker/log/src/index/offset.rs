//! [`OffsetIndex`]: from an offset to a position in the `.log`, sparse.
//!
//! ```text
//! entry, 8 bytes: | relative offset i32 BE | position i32 BE |
//! ```
//! The offset is the *last* one of a batch, relative to the segment's base offset; the position is
//! where that batch starts. Offsets and positions increase strictly. Kafka fills preallocated
//! space with zeros while a segment is active; those are no entries.

use bytes::{Buf, BufMut};
use millstream_proto::Offset;

use super::{
    IndexError,
    sparse::{SparseIndex, StoredEntry, absolute, relative},
};

/// One entry, in absolute terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the batch.
    pub last_offset: Offset,
    /// Where the batch starts in the `.log`, in bytes.
    pub position: u32,
}

/// One entry, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredOffset {
    relative: u32,
    position: u32,
}

impl StoredEntry for StoredOffset {
    const BYTES: usize = 8;
    type Entry = OffsetEntry;

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (relative, position) = (bytes.get_i32(), bytes.get_i32());
        Some(Self {
            relative: u32::try_from(relative).ok()?,
            position: u32::try_from(position).ok()?,
        })
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.put_u32(self.relative);
        bytes.put_u32(self.position);
    }

    fn is_after(self, before: Self) -> bool {
        self.relative > before.relative && self.position > before.position
    }

    fn absolute(self, base_offset: Offset) -> OffsetEntry {
        OffsetEntry {
            last_offset: absolute(base_offset, self.relative),
            position: self.position,
        }
    }
}

/// Offset index of one segment, in memory: 8 bytes an entry.
pub type OffsetIndex = SparseIndex<StoredOffset>;

impl OffsetIndex {
    /// Adds an entry at the end.
    ///
    /// # Errors
    /// When it does not come after the last one, or cannot be expressed in 31 bits.
    pub fn push(&mut self, last_offset: Offset, position: u64) -> Result<(), IndexError> {
        let relative = relative(self.base_offset, last_offset)?;
        let position = i32::try_from(position).ok();
        let position = position.and_then(|position| u32::try_from(position).ok());
        let position = position.ok_or_else(|| self.out_of_order())?;
        self.add(StoredOffset { relative, position })
    }

    /// The last entry whose offset is at most `target`: a batch there, if it confirms the entry,
    /// is at or before the one that contains `target`. `None`: start at position 0.
    #[must_use]
    pub fn lookup(&self, target: Offset) -> Option<OffsetEntry> {
        self.entry(self.first_after(target).checked_sub(1)?)
    }

    /// The entry after the last one that is at most `target`: where to look for the next readable
    /// batch behind a corrupt range.
    #[must_use]
    pub fn lookup_after(&self, target: Offset) -> Option<OffsetEntry> {
        self.entry(self.first_after(target))
    }

    /// The last entry of a batch that starts at `position` at most.
    #[must_use]
    pub fn lookup_position(&self, position: u64) -> Option<OffsetEntry> {
        let after = self
            .entries
            .partition_point(|entry| u64::from(entry.position) <= position);
        self.entry(after.checked_sub(1)?)
    }

    fn first_after(&self, target: Offset) -> usize {
        self.entries
            .partition_point(|entry| absolute(self.base_offset, entry.relative) <= target)
    }

    /// Drops every entry of a batch that starts at `position` or later.
    pub fn truncate(&mut self, position: u64) {
        let keep = self
            .entries
            .partition_point(|entry| u64::from(entry.position) < position);
        self.entries.truncate(keep);
    }
}
