//! [`SparseIndex`]: what offset and time index have in common: entries of a fixed size, relative to
//! the segment's base offset, each after the one before it in both of its fields.

use bytes::Buf;
use millstream_proto::Offset;

use super::IndexError;

/// One entry as it is kept and written.
pub trait StoredEntry: Copy {
    /// Bytes of an entry in the file.
    const BYTES: usize;
    /// The entry in absolute terms.
    type Entry;

    /// Takes an entry off the front; `None` when it is out of range. There are enough bytes.
    fn read(bytes: &mut &[u8]) -> Option<Self>;

    /// Puts the entry at the end.
    fn write(self, bytes: &mut Vec<u8>);

    /// Whether it may follow `before`: both fields increase.
    fn is_after(self, before: Self) -> bool;

    /// In absolute terms.
    fn absolute(self, base_offset: Offset) -> Self::Entry;
}

/// Index of one segment, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseIndex<S> {
    pub(super) base_offset: Offset,
    pub(super) entries: Vec<S>,
}

impl<S: StoredEntry> SparseIndex<S> {
    /// Bytes of an entry in the file.
    pub const ENTRY_BYTES: usize = S::BYTES;

    /// An index without entries.
    #[must_use]
    pub const fn new(base_offset: Offset) -> Self {
        Self {
            base_offset,
            entries: Vec::new(),
        }
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// When it is not a whole number of entries that increase.
    pub fn decode(base_offset: Offset, mut bytes: &[u8]) -> Result<Self, IndexError> {
        if !bytes.len().is_multiple_of(S::BYTES) {
            return Err(IndexError::Length {
                bytes: bytes.len(),
                entry_bytes: S::BYTES,
            });
        }
        let mut index = Self::new(base_offset);
        index.entries.reserve_exact(bytes.len() / S::BYTES);
        while bytes.has_remaining() {
            let entry = S::read(&mut bytes).ok_or_else(|| index.out_of_order())?;
            index.add(entry)?;
        }
        Ok(index)
    }

    /// The content of the file from entry `from` (counted from 0) on.
    #[must_use]
    pub fn encode_from(&self, from: usize) -> Vec<u8> {
        let entries = self.entries.get(from..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(entries.len() * S::BYTES);
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        bytes
    }

    /// Adds an entry at the end.
    pub(super) fn add(&mut self, entry: S) -> Result<(), IndexError> {
        match self.entries.last() {
            Some(before) if !entry.is_after(*before) => Err(self.out_of_order()),
            _ => {
                self.entries.push(entry);
                Ok(())
            }
        }
    }

    /// Says that the next entry does not fit.
    pub(super) fn out_of_order(&self) -> IndexError {
        IndexError::Order {
            index: self.entries.len(),
        }
    }

    /// Entry number `index`, from 0.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<S::Entry> {
        let entry = self.entries.get(index)?;
        Some(entry.absolute(self.base_offset))
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<S::Entry> {
        self.entry(self.entries.len().checked_sub(1)?)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = S::Entry> + '_ {
        let base_offset = self.base_offset;
        self.entries
            .iter()
            .map(move |entry| entry.absolute(base_offset))
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

/// The offset again.
pub(super) fn absolute(base_offset: Offset, relative: u32) -> Offset {
    base_offset.checked_add(relative).unwrap_or(Offset::MAX)
}
