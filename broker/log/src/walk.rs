//! [`Walk`]: batch headers of a segment one after another, without touching the records.
//!
//! The header's first 21 bytes are outside the batch's CRC, so a walk checks them by continuity: the
//! length stays inside the segment, the next base offset follows the last offset (or is greater in a
//! compacted log), and the leader epoch is what the epoch history gives for the offset.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use millstream_proto::{
    LeaderEpoch, Offset,
    record::{BatchHeader, HEADER_BYTES},
};

use crate::{
    error::StorageError,
    index::SegmentIndexes,
    io::LogFile,
    segment::{Segment, Source},
};

/// Bytes read at once where the segment is not mapped.
const WINDOW_BYTES: usize = 16 * 1024;

/// Headers of a segment from one position on.
#[derive(Debug)]
pub(crate) struct Walk {
    source: Source,
    path: PathBuf,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// One batch found by a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    /// Where it starts in the segment.
    pub(crate) position: u64,
    /// Its header; the CRC is not checked.
    pub(crate) header: BatchHeader,
}

impl Located {
    pub(crate) fn end(&self) -> u64 {
        self.position + u64::try_from(self.header.size_bytes()).unwrap_or(u64::MAX)
    }
}

impl Walk {
    /// Walks the batches between two positions; both must be batch boundaries.
    pub(crate) fn new(source: Source, path: PathBuf, position: u64, end: u64) -> Self {
        Self {
            source,
            path,
            position,
            end,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] for bytes that are no header of a batch inside the segment.
    pub(crate) fn next(&mut self) -> Result<Option<Located>, StorageError> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.end - self.position < HEADER_BYTES as u64 {
            return Err(self.corrupt(format!(
                "{} bytes are left, a batch header has {HEADER_BYTES}",
                self.end - self.position
            )));
        }
        let header = self.header()?;
        let located = Located {
            position: self.position,
            header,
        };
        if located.end() > self.end {
            return Err(self.corrupt(format!(
                "batch of {} bytes ends after the segment's {}",
                header.size_bytes(),
                self.end
            )));
        }
        self.position = located.end();
        Ok(Some(located))
    }

    fn header(&mut self) -> Result<BatchHeader, StorageError> {
        let decoded = match &self.source {
            Source::Map(map) => {
                let start = usize::try_from(self.position).unwrap_or(usize::MAX);
                map.read(start..start.saturating_add(HEADER_BYTES), |bytes| {
                    BatchHeader::decode(bytes)
                })
                .map_err(|fault| self.corrupt(fault.to_string()))?
            }
            Source::File(file) => {
                let file = Arc::clone(file);
                BatchHeader::decode(self.read_window(&*file)?)
            }
        };
        decoded.map_err(|error| self.corrupt(error.to_string()))
    }

    fn read_window(&mut self, file: &dyn LogFile) -> Result<&[u8], StorageError> {
        let wanted = self
            .position
            .checked_sub(self.window_start)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start + HEADER_BYTES <= self.window.len());
        let start = match wanted {
            Some(start) => start,
            None => {
                self.window.resize(WINDOW_BYTES, 0);
                let found = file
                    .read_at(&mut self.window, self.position)
                    .map_err(|error| StorageError::io("read", &self.path, error))?;
                self.window.truncate(found);
                self.window_start = self.position;
                0
            }
        };
        match self.window.get(start..start + HEADER_BYTES) {
            Some(header) => Ok(header),
            None => Err(self.corrupt("the file ends inside a batch".to_owned())),
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The error for damage at the present position.
    pub(crate) fn corrupt(&self, reason: String) -> StorageError {
        StorageError::Corrupt {
            file: self.path.clone(),
            position: self.position,
            reason,
        }
    }
}

/// What the 21 bytes before a batch's checksum must agree with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Continuity {
    /// Offset that the next batch starts at.
    pub(crate) expected: Option<Offset>,
    /// Below it offsets may be missing, as compaction removed their records.
    pub(crate) compacted_below: Offset,
    /// Where the segment ends.
    pub(crate) end: Option<Offset>,
}

impl Continuity {
    /// Checks one batch and moves on behind it.
    pub(crate) fn check(
        &mut self,
        header: &BatchHeader,
        epoch: Option<LeaderEpoch>,
    ) -> Result<(), String> {
        let base = header.base_offset();
        if let Some(expected) = self.expected
            && (base < expected || (base > expected && base > self.compacted_below))
        {
            return Err(format!("base offset is {base}, expected {expected}"));
        }
        if let Some(end) = self.end
            && header.last_offset() >= end
        {
            let last = header.last_offset();
            return Err(format!("last offset is {last}, the segment ends at {end}"));
        }
        if let Some(epoch) = epoch
            && epoch != header.leader_epoch()
        {
            return Err(format!(
                "leader epoch is {}, the epoch history has {epoch} for offset {base}",
                header.leader_epoch()
            ));
        }
        self.expected = header.last_offset().checked_add(1);
        Ok(())
    }
}

/// Builds a segment's indexes anew from its log, in memory.
///
/// # Errors
/// Nothing is replaced when the log cannot be walked to its end.
pub(crate) fn rebuild_indexes(
    segment: &Arc<Segment>,
    compacted_below: Offset,
) -> Result<(), StorageError> {
    let path = segment.log_path();
    let size_bytes = segment.size_bytes();
    let source = segment
        .source(size_bytes, true)
        .map_err(|error| StorageError::io("read", &path, error))?;
    let mut indexes: SegmentIndexes = segment.empty_indexes();
    let mut walk = Walk::new(source, path, 0, size_bytes);
    // An entry for a batch whose offset went bad would confirm it afterwards.
    let mut continuity = Continuity {
        expected: Some(segment.base_offset()),
        compacted_below,
        end: Some(segment.end_offset()),
    };
    while let Some(batch) = walk.next()? {
        continuity
            .check(&batch.header, None)
            .map_err(|reason| walk.corrupt(reason))?;
        let (header, bytes) = (batch.header, batch.end() - batch.position);
        indexes
            .add_batch(
                header.last_offset(),
                batch.position,
                bytes,
                header.max_timestamp(),
            )
            .map_err(|error| walk.corrupt(error.to_string()))?;
    }
    segment.replace_indexes(indexes);
    Ok(())
}

/// Copies a range out of a segment.
pub(crate) fn copy(
    source: &Source,
    path: &std::path::Path,
    range: &std::ops::Range<u64>,
) -> Result<Bytes, StorageError> {
    let index = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    match source {
        Source::Map(map) => map
            .copy(index(range.start)..index(range.end))
            .map_err(|fault| StorageError::Corrupt {
                file: path.to_path_buf(),
                position: range.start,
                reason: fault.to_string(),
            }),
        Source::File(file) => {
            let mut bytes = vec![0; index(range.end - range.start)];
            file.read_exact_at(&mut bytes, range.start)
                .map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => StorageError::Corrupt {
                        file: path.to_path_buf(),
                        position: range.start,
                        reason: format!("the file ends before byte {}", range.end),
                    },
                    _ => StorageError::io("read", path, error),
                })?;
            Ok(bytes.into())
        }
    }
}
