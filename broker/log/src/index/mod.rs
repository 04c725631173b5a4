//! Indexes of a segment in Kafka's formats: offset, time, aborted transactions.
//!
//! An index is a hint. It is never fsynced on the append path, and what a look-up returns counts
//! only once the batch at that position confirms it. A sealed segment's manifest entry holds the
//! CRC of its index files, so that a wrong one is rebuilt instead of trusted.

mod offset;
mod segment;
mod sparse;
mod time;
mod transaction;

#[cfg(test)]
mod tests;

pub use offset::{OffsetEntry, OffsetIndex, StoredOffset};
pub use segment::SegmentIndexes;
pub use sparse::{SparseIndex, StoredEntry};
pub use time::{StoredTime, TimeEntry, TimeIndex};
pub use transaction::{AbortedTransaction, TransactionIndex};

/// Why a file is no index of its kind. A hint that does not decode is rebuilt, never served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Not a whole number of entries.
    #[error("{bytes} bytes are not a multiple of {entry_bytes}")]
    Length {
        /// Bytes found.
        bytes: usize,
        /// Bytes of an entry.
        entry_bytes: usize,
    },
    /// An entry does not come after the one before it, or is negative.
    #[error("entry {index} is out of order")]
    Order {
        /// Which entry, from 0.
        index: usize,
    },
    /// An entry is written in a version that this build does not know.
    #[error("entry {index} has version {found}, expected 0")]
    Version {
        /// Which entry, from 0.
        index: usize,
        /// The version found.
        found: i16,
    },
    /// The offset is 2^31 or more above the segment's base, or below it.
    #[error("offset {offset} cannot be relative to base offset {base_offset}")]
    Range {
        /// The offset.
        offset: i64,
        /// The segment's base offset.
        base_offset: i64,
    },
}
