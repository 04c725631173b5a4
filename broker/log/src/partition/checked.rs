//! Batches that were read, checked before anybody gets them: copied into memory, or left in their file
//! for a socket that takes them from there.

use std::{
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use millstream_proto::{
    Offset,
    record::{BatchError, BatchHeader, BatchView},
};

use super::{
    PartitionLog, Positions,
    read::{ReadBatches, ReadRequest, Slice, StoredRange, check_range},
};
use crate::{
    error::{ReadError, StorageError},
    io::{Descriptor, MapFault},
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

impl PartitionLog {
    /// Reads batches that are in memory although not in the tail cache: their pages are in the page cache, and
    /// they were checked before. Waits for nothing, unless such a page is taken away meanwhile. `None` where
    /// that is not known beforehand: [`PartitionLog::read`] and [`ReadBatches::check`] find out.
    #[must_use]
    pub fn read_resident(&self, request: &ReadRequest) -> Option<CheckedBatches<CheckedSlice>> {
        self.check_serving().ok()?;
        let view = self.view().clone();
        check_range(request.offset, &view.positions).ok()?;
        let wanted = ReadRequest {
            end_exclusive: request.end_exclusive.min(view.positions.log_end),
            ..*request
        };
        let index = view.segment_index(wanted.offset)?;
        let segment = view.segments.get(index)?;
        let is_sealed = index + 1 < view.segments.len();
        let max_bytes = u64::try_from(wanted.max_bytes).ok()?;
        if !segment.is_resident(wanted.offset, max_bytes, is_sealed) {
            return None;
        }
        let (range, next_offset) = self
            .read_segment(segment, is_sealed, &wanted, &view, true)
            .ok()??;
        // Of the next segment nothing is known.
        if is_sealed && range.range.end == segment.size_bytes() {
            return None;
        }
        if !segment.is_checked(&range.range) {
            return None;
        }
        self.used.store(true, Ordering::Relaxed);
        let start = match range.descriptor() {
            Some(file) => range.left_in(file, range.valid_whole()),
            None => range.load().ok()?.map(CheckedSlice::Memory),
        };
        start.damage.is_none().then(|| CheckedBatches {
            slices: vec![start.slice],
            size_bytes: start.size_bytes,
            next_offset,
            positions: view.positions,
        })
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
        let is_checked = self.segment.is_checked(&self.range);
        match self.descriptor() {
            Some(file) if is_checked => {
                if let Source::Map(map) = &self.source {
                    let populated = map.populate(self.indexes());
                    populated.map_err(|fault| self.faulted(&fault))?;
                }
                Ok(self.left_in(file, self.valid_whole()))
            }
            Some(file) if let Source::Map(map) = &self.source => {
                let start = map.read(self.indexes(), |bytes| self.valid_start(bytes));
                let start = start.map_err(|fault| self.faulted(&fault))?;
                let valid_end = self.range.start + u64::try_from(start.size_bytes).unwrap_or(0);
                self.segment.note_checked(self.range.start..valid_end);
                Ok(self.left_in(file, start))
            }
            _ => Ok(self.load()?.map(CheckedSlice::Memory)),
        }
    }

    /// The file, where its bytes can stay in it: there are enough of them, all of them, and sending them is not
    /// going to wait for the disk.
    fn descriptor(&self) -> Option<Descriptor> {
        if self.len() < LEFT_IN_FILE_MIN {
            return None;
        }
        let file = match &self.source {
            Source::Map(map) => map.descriptor(),
            Source::File(file) if self.segment.is_recent(&self.range) => file.descriptor(),
            Source::File(_) => None,
        };
        file.filter(|file| file.reaches(self.range.end))
    }

    fn left_in(&self, file: Descriptor, start: ValidStart<usize>) -> ValidStart<CheckedSlice> {
        start.map(|length| {
            CheckedSlice::File(FileRange {
                file,
                position: self.range.start,
                length,
                _segment: Arc::clone(&self.segment),
            })
        })
    }

    fn indexes(&self) -> Range<usize> {
        let index = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        index(self.range.start)..index(self.range.end)
    }

    fn faulted(&self, fault: &MapFault) -> StorageError {
        // A map that faulted stays poisoned: the next read makes a new one.
        self.segment.drop_map();
        self.corrupt(0, fault.to_string())
    }

    /// All of its bytes are valid batches.
    fn valid_whole(&self) -> ValidStart<usize> {
        let size_bytes = self.indexes().len();
        ValidStart {
            slice: size_bytes,
            size_bytes,
            damage: None,
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
