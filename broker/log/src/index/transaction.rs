//! [`TransactionIndex`]: the aborted transactions of a segment, in order of their abort markers.
//!
//! ```text
//! entry, 34 bytes, big-endian:
//! | version i16 = 0 | producer id i64 | first offset i64 | last offset i64 | last stable offset i64 |
//! ```
//! The last offset is that of the abort marker; the last stable offset is the one right after the
//! marker was written. The file exists only where the segment holds an abort marker.

use bytes::{Buf, BufMut};
use millstream_proto::{Offset, ProducerId};

use super::IndexError;

const VERSION: i16 = 0;

/// One aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// Last stable offset once the marker was written: no transaction that starts below it is
    /// decided by a later marker.
    pub last_stable_offset: Offset,
}

/// Aborted transactions of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionIndex {
    entries: Vec<AbortedTransaction>,
}

impl TransactionIndex {
    /// Bytes of an entry in the file.
    pub const ENTRY_BYTES: usize = 34;

    /// An index without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Reads the content of a `.txnindex` file.
    ///
    /// # Errors
    /// When it is not a whole number of entries in order of their last offsets.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, IndexError> {
        if !bytes.len().is_multiple_of(Self::ENTRY_BYTES) {
            return Err(IndexError::Length {
                bytes: bytes.len(),
                entry_bytes: Self::ENTRY_BYTES,
            });
        }
        let mut index = Self::new();
        while bytes.has_remaining() {
            let found = bytes.get_i16();
            if found != VERSION {
                return Err(IndexError::Version {
                    index: index.len(),
                    found,
                });
            }
            let producer_id = ProducerId(bytes.get_i64());
            let mut offset = || Offset::new(bytes.get_i64());
            let (Some(first_offset), Some(last_offset), Some(last_stable_offset)) =
                (offset(), offset(), offset())
            else {
                return Err(IndexError::Order { index: index.len() });
            };
            index.push(AbortedTransaction {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset,
            })?;
        }
        Ok(index)
    }

    /// The content of the file from entry `from` (counted from 0) on.
    #[must_use]
    pub fn encode_from(&self, from: usize) -> Vec<u8> {
        let entries = self.entries.get(from..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(entries.len() * Self::ENTRY_BYTES);
        for entry in entries {
            bytes.put_i16(VERSION);
            bytes.put_i64(entry.producer_id.0);
            bytes.put_i64(entry.first_offset.get());
            bytes.put_i64(entry.last_offset.get());
            bytes.put_i64(entry.last_stable_offset.get());
        }
        bytes
    }

    /// Adds a transaction at the end.
    ///
    /// # Errors
    /// When its marker does not come after the last one's, or before its own first record.
    pub fn push(&mut self, transaction: AbortedTransaction) -> Result<(), IndexError> {
        let in_order = self
            .entries
            .last()
            .is_none_or(|last| last.last_offset < transaction.last_offset);
        if !in_order || transaction.first_offset > transaction.last_offset {
            return Err(IndexError::Order {
                index: self.entries.len(),
            });
        }
        self.entries.push(transaction);
        Ok(())
    }

    /// Transactions that touch offsets from `start` up to `end`, and whether later segments need
    /// not be asked: true once an entry's last stable offset has passed `end`.
    #[must_use]
    pub fn aborted_in(&self, start: Offset, end: Offset) -> (Vec<AbortedTransaction>, bool) {
        let mut found = Vec::new();
        for entry in &self.entries {
            if entry.last_offset >= start && entry.first_offset < end {
                found.push(*entry);
            }
            if entry.last_stable_offset >= end {
                return (found, true);
            }
        }
        (found, false)
    }

    /// All entries in order.
    #[must_use]
    pub fn entries(&self) -> &[AbortedTransaction] {
        &self.entries
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

    /// Drops every transaction whose marker is at `end` or later.
    pub fn truncate(&mut self, end: Offset) {
        let keep = self
            .entries
            .partition_point(|entry| entry.last_offset < end);
        self.entries.truncate(keep);
    }
}
