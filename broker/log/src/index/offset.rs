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

use super::IndexError;

/// One entry, in absolute terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the batch.
    pub last_offset: Offset,
    /// Where the batch starts in the `.log`, in bytes.
    pub position: u32,
}

/// Offset index of one segment, in memory: 8 bytes an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Vec<(u32, u32)>,
}

impl OffsetIndex {
    /// Bytes of an entry in the file.
    pub const ENTRY_BYTES: usize = 8;

    /// An index without entries.
    #[must_use]
    pub const fn new(base_offset: Offset) -> Self {
        Self {
            base_offset,
            entries: Vec::new(),
        }
    }

    /// Reads the content of an `.index` file.
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
        let mut entries = Vec::with_capacity(bytes.len() / Self::ENTRY_BYTES);
        while bytes.has_remaining() {
            let (relative, position) = (bytes.get_i32(), bytes.get_i32());
            let error = IndexError::Order {
                index: entries.len(),
            };
            let (Ok(relative), Ok(position)) = (u32::try_from(relative), u32::try_from(position))
            else {
                return Err(error);
            };
            if let Some((last_relative, last_position)) = entries.last()
                && (relative <= *last_relative || position <= *last_position)
            {
                return Err(error);
            }
            entries.push((relative, position));
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
        for (relative, position) in entries {
            bytes.put_u32(*relative);
            bytes.put_u32(*position);
        }
        bytes
    }

    /// Adds an entry at the end.
    ///
    /// # Errors
    /// When it does not come after the last one, or cannot be expressed in 31 bits.
    pub fn push(&mut self, last_offset: Offset, position: u64) -> Result<(), IndexError> {
        let relative = relative(self.base_offset, last_offset)?;
        let error = IndexError::Order {
            index: self.entries.len(),
        };
        let Some(position) = i32::try_from(position)
            .ok()
            .and_then(|position| u32::try_from(position).ok())
        else {
            return Err(error);
        };
        match self.entries.last() {
            Some((before, at)) if relative <= *before || position <= *at => Err(error),
            _ => {
                self.entries.push((relative, position));
                Ok(())
            }
        }
    }

    /// The last entry whose offset is at most `target`: a batch there, if it confirms the entry,
    /// is at or before the one that contains `target`. `None`: start at position 0.
    #[must_use]
    pub fn lookup(&self, target: Offset) -> Option<OffsetEntry> {
        let after = self
            .entries
            .partition_point(|(relative, _)| self.absolute(*relative) <= target);
        self.entry(after.checked_sub(1)?)
    }

    /// The entry after the last one that is at most `target`: where to look for the next readable
    /// batch behind a corrupt range.
    #[must_use]
    pub fn lookup_after(&self, target: Offset) -> Option<OffsetEntry> {
        self.entry(
            self.entries
                .partition_point(|(relative, _)| self.absolute(*relative) <= target),
        )
    }

    /// Entry number `index`, from 0.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<OffsetEntry> {
        let (relative, position) = self.entries.get(index)?;
        Some(OffsetEntry {
            last_offset: self.absolute(*relative),
            position: *position,
        })
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<OffsetEntry> {
        self.entry(self.entries.len().checked_sub(1)?)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = OffsetEntry> + '_ {
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

    /// Drops every entry of a batch that starts at `position` or later.
    pub fn truncate(&mut self, position: u64) {
        let keep = self
            .entries
            .partition_point(|(_, at)| u64::from(*at) < position);
        self.entries.truncate(keep);
    }

    fn absolute(&self, relative: u32) -> Offset {
        self.base_offset
            .checked_add(relative)
            .unwrap_or(Offset::MAX)
    }
}

/// An offset as the 31 bits above the base that index files hold.
pub(super) fn relative(base_offset: Offset, offset: Offset) -> Result<u32, IndexError> {
    offset
        .distance_from(base_offset)
        .filter(|distance| i32::try_from(*distance).is_ok())
        .ok_or(IndexError::Range {
            offset: offset.get(),
            base_offset: base_offset.get(),
        })
}
