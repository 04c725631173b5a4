//! Reading whole batches.

use bytes::Bytes;
use millstream_proto::Offset;

use super::{PartitionLog, Positions};
use crate::{error::ReadError, io::Map};

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// The first batch returned is the one that contains this offset.
    pub offset: Offset,
    /// Bytes after which no further batch is added. The first batch is returned even when larger.
    pub max_bytes: usize,
    /// Batches that reach this offset are not returned: the high watermark, the last stable offset,
    /// or the log's end for a follower.
    pub end_exclusive: Offset,
}

/// Whole batches, back to back over the slices.
#[derive(Debug)]
pub struct ReadBatches {
    /// In order of offset; empty when nothing is readable at the offset yet.
    pub slices: Vec<Slice>,
    /// Sum of their lengths.
    pub size_bytes: usize,
    /// Offset after the last batch returned; the request's own when there is none.
    pub next_offset: Offset,
    /// Positions at the time of the read.
    pub positions: Positions,
}

/// Contiguous bytes of whole batches.
#[derive(Debug, Clone)]
pub enum Slice {
    /// From memory: checked when it was appended.
    Cached(Bytes),
    /// A range of a mapped segment.
    Mapped(MappedRange),
}

/// Contiguous whole batches in a mapped segment, not yet checked.
#[derive(Debug, Clone)]
pub struct MappedRange {
    map: Map,
    range: std::ops::Range<u64>,
}

impl MappedRange {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether it holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The map, for a plaintext socket.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }
}

impl ReadBatches {
    /// Copies everything out of the maps under their guard, checks the CRC of every batch that does
    /// not come from memory, and returns the bytes. Waits for the disk when a range is cold.
    ///
    /// # Errors
    /// Corruption; a file that shrank underneath (only this read fails).
    pub fn into_bytes(self) -> Result<Vec<Bytes>, ReadError> {
        todo!()
    }
}

impl PartitionLog {
    /// Reads from memory only; never blocks. `None` when the disk is needed: call
    /// [`PartitionLog::read`] and [`ReadBatches::into_bytes`] where blocking is allowed.
    ///
    /// # Errors
    /// An offset out of range, an offline partition.
    pub fn read_cached(&self, request: &ReadRequest) -> Result<Option<ReadBatches>, ReadError> {
        let _ = request;
        todo!()
    }

    /// Reads whole batches from memory or maps. Waits for the disk when the range is cold.
    ///
    /// # Errors
    /// An offset out of range, corruption, an offline partition, what the disk says.
    pub fn read(&self, request: &ReadRequest) -> Result<ReadBatches, ReadError> {
        let _ = request;
        todo!()
    }
}
