//! [`BatchScanner`]: walks the batches of one `.log` with a buffer of bounded size.
//!
//! It decides whether the bytes at a position are a batch; what a bad one means is decided by
//! [`super::walk`].

use std::{io, ops::Range};

use millstream_proto::record::{BatchError, BatchHeader, HEADER_BYTES};

use crate::io::LogFile;

/// Bytes read at once: headers of small batches come in runs.
const WINDOW_BYTES: usize = 64 << 10;
/// Bytes read at once where batches are larger than that and only headers are wanted.
const HEADER_WINDOW_BYTES: usize = 4 << 10;
/// Where the part of a batch starts that its CRC covers.
const CRC_COVERS_FROM: usize = 21;
/// Where a batch holds its CRC.
pub(super) const CRC_AT: usize = 17;

/// Reads batches of one file up to a limit.
#[derive(Debug)]
pub struct BatchScanner<'a> {
    file: &'a dyn LogFile,
    /// Bytes of the file that may be looked at.
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<'a> BatchScanner<'a> {
    /// Looks at the first `limit` bytes of a file.
    pub fn new(file: &'a dyn LogFile, limit: u64) -> Self {
        Self {
            file,
            limit,
            window: Vec::new(),
            window_at: 0,
            window_bytes: WINDOW_BYTES,
        }
    }

    /// Bytes of the file that may be looked at.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The header of the batch at `position`; it may reach past the limit.
    ///
    /// # Errors
    /// Outer: the system. Inner: the bytes are no batch.
    pub fn header(&mut self, position: u64) -> io::Result<Result<BatchHeader, BatchError>> {
        let bytes = self.bytes(position, HEADER_BYTES)?;
        let header = BatchHeader::decode(bytes);
        if let Ok(header) = &header {
            self.window_bytes = if header.size_bytes() > WINDOW_BYTES / 8 {
                HEADER_WINDOW_BYTES
            } else {
                WINDOW_BYTES
            };
        }
        Ok(header)
    }

    /// Up to `length` bytes at `position`, fewer at the limit; `length` is at most a window.
    pub fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let covered = position
            .checked_sub(self.window_at)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| {
                skip.checked_add(length)
                    .is_some_and(|end| end <= self.window.len())
            });
        let skip = match covered {
            Some(skip) => skip,
            None => {
                self.fill(position, length.max(self.window_bytes).min(left))?;
                0
            }
        };
        Ok(self.window.get(skip..skip + length).unwrap_or_default())
    }

    fn fill(&mut self, position: u64, length: usize) -> io::Result<()> {
        self.window.resize(length, 0);
        self.window_at = position;
        let result = self.file.read_exact_at(&mut self.window, position);
        if result.is_err() {
            self.window.clear();
        }
        result
    }

    /// Whether the CRC-32C of the batch at `position` fits its bytes, taking `size_bytes` as its
    /// length whatever its length field says.
    pub fn crc_fits(&mut self, position: u64, size_bytes: u64, stored: u32) -> io::Result<bool> {
        if position.saturating_add(size_bytes) > self.limit {
            return Ok(false);
        }
        let covered = position + CRC_COVERS_FROM as u64..position + size_bytes;
        Ok(self.crc_of(covered, 0)? == stored)
    }

    /// Whether the CRC-32C would fit all bytes from `position` to the limit with another header.
    pub(super) fn crc_fits_with(
        &mut self,
        position: u64,
        header: &[u8; HEADER_BYTES],
        stored: u32,
    ) -> io::Result<bool> {
        let (_, covered) = header.split_at(CRC_COVERS_FROM);
        let records = position + HEADER_BYTES as u64..self.limit;
        Ok(self.crc_of(records, crc32c::crc32c(covered))? == stored)
    }

    fn crc_of(&mut self, range: Range<u64>, mut crc: u32) -> io::Result<u32> {
        let mut at = range.start;
        while at < range.end {
            let step = usize::try_from(range.end - at)
                .unwrap_or(usize::MAX)
                .min(WINDOW_BYTES);
            self.window_bytes = WINDOW_BYTES;
            crc = crc32c::crc32c_append(crc, self.bytes(at, step)?);
            at += u64::try_from(step).map_err(io::Error::other)?;
        }
        Ok(crc)
    }

    /// The CRC field of the bytes at `position`, whatever else they are.
    pub fn stored_crc(&mut self, position: u64) -> io::Result<Option<u32>> {
        let bytes = self.bytes(position, HEADER_BYTES)?;
        Ok(bytes
            .get(CRC_AT..CRC_AT + 4)
            .and_then(|field| field.try_into().ok())
            .map(u32::from_be_bytes))
    }
}
