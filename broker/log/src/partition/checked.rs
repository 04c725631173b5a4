//! Batches that were read, checked before anybody gets them: copied into memory, or left in their file
//! for a socket that takes them from there.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::{
    Offset,
    record::{BatchError, BatchHeader, BatchView},
};

use super::{
    Positions,
    read::{ReadBatches, Slice, StoredRange},
};
use crate::{
    error::{ReadError, StorageError},
    io::{Descriptor, Map},
    segment::{Segment, Source},
    walk,
};

/// A shorter range is copied: that costs less than a system call of its own.
const LEFT_IN_FILE_MIN: u64 = 16 << 10;

/// Whole batches, all of them checked.
#[derive(Debug)]
pub struct CheckedBatches<S> {
    /// In order of offset; each holds one batch or several back to back.
    pub slices: Vec<S>,
    /// Sum of their lengths.
    pub size_bytes: usize,
    /// Offset after the last batch; the request's own when there is none.
    pub next_offset: Offset,
    /// Positions at the time of the read.
    pub positions: Positions,
}

/// Contiguous bytes of whole batches that were checked.
#[derive(Debug, Clone)]
pub enum CheckedSlice {
    /// In memory.
    Memory(Bytes),
    /// In a segment's file.
    File(FileRange),
}

/// Bytes of whole batches in a segment's file, which stay what they are while this is there.
#[derive(Debug, Clone)]
pub struct FileRange {
    file: Descriptor,
    position: u64,
    length: usize,
    /// Keeps the bytes from being cut.
    _segment: Arc<Segment>,
}

impl FileRange {
    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where it starts in the file.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Leaves out what was taken from its start.
    pub fn advance(&mut self, bytes: usize) {
        let step = bytes.min(self.length);
        self.position += u64::try_from(step).unwrap_or(u64::MAX);
        self.length -= step;
    }
}

impl AsFd for FileRange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The valid batches at the start of a range, and what is wrong with the next one.
struct ValidStart<S> {
    slice: S,
    size_bytes: usize,
    /// What is wrong behind them, and the offset of it.
    damage: Option<(Offset, StorageError)>,
}

impl<S> ValidStart<S> {
    fn map<T>(self, map: impl FnOnce(S) -> T) -> ValidStart<T> {
        ValidStart {
            slice: map(self.slice),
            size_bytes: self.size_bytes,
            damage: self.damage,
        }
    }
}

impl ReadBatches {
    /// Copies everything out of the files and checks the CRC of every batch that does not come from
    /// memory. Where a later batch is corrupt, those before it are returned, and `next_offset` is where
    /// it starts. Waits for the disk when a range is cold.
    ///
    /// # Errors
    /// The first batch is corrupt; a file that shrank underneath (only this read fails).
    pub fn load(self) -> Result<CheckedBatches<Bytes>, ReadError> {
        self.checked(|bytes| bytes, |range| range.load())
    }

    /// As [`ReadBatches::load`], but ranges that are mapped and long enough stay in their files. Their pages
    /// are in the page cache afterwards, unless memory is short.
    ///
    /// # Errors
    /// As [`ReadBatches::load`].
    pub fn check(self) -> Result<CheckedBatches<CheckedSlice>, ReadError> {
        self.checked(CheckedSlice::Memory, StoredRange::check)
    }

    fn checked<S>(
        self,
        cached: impl Fn(Bytes) -> S,
        stored: impl Fn(StoredRange) -> Result<ValidStart<S>, StorageError>,
    ) -> Result<CheckedBatches<S>, ReadError> {
        let mut checked = CheckedBatches {
            slices: Vec::with_capacity(self.slices.len()),
            size_bytes: 0,
            next_offset: self.next_offset,
            positions: self.positions,
        };
        for slice in self.slices {
            let range = match slice {
                Slice::Cached(bytes) => {
                    checked.size_bytes += bytes.len();
                    checked.slices.push(cached(bytes));
                    continue;
                }
                Slice::Stored(range) => range,
            };
            let start = stored(range)?;
            if start.size_bytes > 0 {
                checked.size_bytes += start.size_bytes;
                checked.slices.push(start.slice);
            }
            if let Some((offset, corrupt)) = start.damage {
                if checked.slices.is_empty() {
                    return Err(corrupt.into());
                }
                checked.next_offset = offset;
                break;
            }
        }
        Ok(checked)
    }
}

impl StoredRange {
    /// Copies the bytes and checks them.
    fn load(self) -> Result<ValidStart<Bytes>, StorageError> {
        let path = self.segment.log_path();
        let bytes = walk::copy(&self.source, &path, &self.range).inspect_err(|_| {
            // A map that faulted stays poisoned: the next read makes a new one.
            self.segment.drop_map();
        })?;
        let start = self.valid_start(&bytes);
        Ok(start.map(|valid| bytes.slice(..valid)))
    }

    /// Checks the bytes where they are, if they can stay there and were not checked before.
    fn check(self) -> Result<ValidStart<CheckedSlice>, StorageError> {
        let Some((map, file)) = self.in_file() else {
            return Ok(self.load()?.map(CheckedSlice::Memory));
        };
        let index = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let range = index(self.range.start)..index(self.range.end);
        let start = match self.segment.is_checked(&self.range) {
            true => map.populate(range.clone()).map(|()| ValidStart {
                slice: range.len(),
                size_bytes: range.len(),
                damage: None,
            }),
            false => map.read(range, |bytes| self.valid_start(bytes)),
        };
        let start = start.map_err(|fault| {
            self.segment.drop_map();
            self.corrupt(0, fault.to_string())
        })?;
        let valid_end = self.range.start + u64::try_from(start.size_bytes).unwrap_or(0);
        self.segment.note_checked(self.range.start..valid_end);
        Ok(start.map(|valid| {
            CheckedSlice::File(FileRange {
                file,
                position: self.range.start,
                length: valid,
                _segment: Arc::clone(&self.segment),
            })
        }))
    }

    fn in_file(&self) -> Option<(&Map, Descriptor)> {
        match &self.source {
            Source::Map(map) if self.len() >= LEFT_IN_FILE_MIN => Some((map, map.descriptor()?)),
            _ => None,
        }
    }

    /// How many of its bytes are valid batches.
    fn valid_start(&self, bytes: &[u8]) -> ValidStart<usize> {
        let mut valid = 0;
        let mut end = self.base_offset;
        let mut damage = None;
        while let Some(rest) = bytes.get(valid..).filter(|rest| !rest.is_empty()) {
            match checked_header(rest) {
                Ok(header) => {
                    valid += header.size_bytes();
                    end = header.last_offset().checked_add(1).unwrap_or(Offset::MAX);
                }
                Err(error) => {
                    damage = Some((end, self.corrupt(valid, error.to_string())));
                    break;
                }
            }
        }
        ValidStart {
            slice: valid,
            size_bytes: valid,
            damage,
        }
    }

    fn corrupt(&self, index: usize, reason: String) -> StorageError {
        StorageError::Corrupt {
            file: self.segment.log_path(),
            position: self.range.start + u64::try_from(index).unwrap_or(u64::MAX),
            reason,
        }
    }
}

/// The header of the first batch, whose CRC fits.
fn checked_header(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let batch = BatchView::parse(bytes)?;
    batch.verify_crc()?;
    Ok(*batch.header())
}
