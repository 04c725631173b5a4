//! Reading whole batches, from the tail cache or from the segments' files.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use millstream_proto::Offset;

use crate::{
    error::{ReadError, StorageError},
    index::SegmentIndexes,
    segment::{Segment, Source},
    walk::{self, Continuity, Walk},
};

use super::{PartitionLog, Positions, view::View};

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
    /// A range of a segment's file, not yet checked.
    Stored(StoredRange),
}

/// Contiguous whole batches in a segment's file. Keeps the segment's bytes from being cut.
#[derive(Debug, Clone)]
pub struct StoredRange {
    pub(super) segment: Arc<Segment>,
    pub(super) source: Source,
    pub(super) range: Range<u64>,
    /// Where its first batch starts.
    pub(super) base_offset: Offset,
}

impl StoredRange {
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
}

impl PartitionLog {
    /// Reads from memory only; never blocks. `None` when the disk is needed: call
    /// [`PartitionLog::read`] and [`ReadBatches::load`] or [`ReadBatches::check`] where blocking is
    /// allowed.
    ///
    /// # Errors
    /// An offset out of range, an offline partition.
    pub fn read_cached(&self, request: &ReadRequest) -> Result<Option<ReadBatches>, ReadError> {
        self.check_serving()?;
        let positions = self.positions();
        check_range(request.offset, &positions)?;
        let end = request.end_exclusive.min(positions.log_end);
        if request.offset >= end {
            return Ok(Some(ReadBatches::nothing(request.offset, positions)));
        }
        let hit =
            self.directory
                .tail_cache
                .read(&self.tail, request.offset, request.max_bytes, end);
        Ok(hit.map(|hit| {
            self.used.store(true, Ordering::Relaxed);
            let next_offset = if hit.slices.is_empty() {
                request.offset
            } else {
                hit.last_offset.checked_add(1).unwrap_or(Offset::MAX)
            };
            ReadBatches {
                slices: hit.slices.into_iter().map(Slice::Cached).collect(),
                size_bytes: hit.size_bytes,
                next_offset,
                positions,
            }
        }))
    }

    /// Reads whole batches from memory or from the segments' files. Waits for the disk when the range
    /// is cold.
    ///
    /// # Errors
    /// An offset out of range, corruption, an offline partition, what the disk says.
    pub fn read(&self, request: &ReadRequest) -> Result<ReadBatches, ReadError> {
        if let Some(cached) = self.read_cached(request)? {
            return Ok(cached);
        }
        self.used.store(true, Ordering::Relaxed);
        let view = self.opened_view()?;
        check_range(request.offset, &view.positions)?;
        let read = self.read_stored(request, &view);
        if let Err(ReadError::Storage(StorageError::Corrupt { .. })) = &read {
            let counters = &self.directory.counters;
            counters.corrupt_reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    fn read_stored(&self, request: &ReadRequest, view: &View) -> Result<ReadBatches, ReadError> {
        let end = request.end_exclusive.min(view.positions.log_end);
        let mut found = ReadBatches::nothing(request.offset, view.positions);
        let first = view.segment_index(request.offset).unwrap_or(0);
        for (index, segment) in view.segments.iter().enumerate().skip(first) {
            if found.next_offset >= end || (index > first && found.size_bytes >= request.max_bytes)
            {
                break;
            }
            // A missing segment is not skipped.
            match self.refuse_corrupt(view, found.next_offset) {
                Err(error) if found.slices.is_empty() => return Err(error.into()),
                Err(_) => break,
                Ok(()) => {}
            }
            let sealed = index + 1 < view.segments.len();
            let wanted = ReadRequest {
                offset: found.next_offset.max(segment.base_offset()),
                max_bytes: request.max_bytes - found.size_bytes.min(request.max_bytes),
                end_exclusive: end,
            };
            let is_first = found.slices.is_empty();
            match self.read_segment(segment, sealed, &wanted, view, is_first) {
                Ok(Some((range, next_offset))) => {
                    found.size_bytes += usize::try_from(range.len()).unwrap_or(usize::MAX);
                    found.next_offset = next_offset;
                    let is_whole = range.range.end == segment.size_bytes();
                    found.slices.push(Slice::Stored(range));
                    // A smaller batch of the next segment might still fit: it must wait its turn.
                    if !is_whole {
                        break;
                    }
                }
                // Nothing is left of the segment, as after a compaction of its end.
                Ok(None) if is_first && found.next_offset >= segment.end_offset() => {}
                Ok(None) => break,
                Err(error) if is_first => return Err(error.into()),
                // What comes before the damage is served; the next read starts at it.
                Err(_) => break,
            }
        }
        Ok(found)
    }

    /// The batches of one segment from the one that contains the offset; `None` when none fits.
    pub(super) fn read_segment(
        &self,
        segment: &Arc<Segment>,
        sealed: bool,
        wanted: &ReadRequest,
        view: &View,
        is_first: bool,
    ) -> Result<Option<(StoredRange, Offset)>, StorageError> {
        self.refuse_corrupt(view, wanted.offset)?;
        let size_bytes = segment.size_bytes();
        let path = segment.log_path();
        let source = segment
            .source(size_bytes, sealed)
            .map_err(|error| self.source_failed(path.clone(), size_bytes, error))?;
        self.check_identity(segment, &source, view)?;
        let start = self.locate(segment, &source, size_bytes, wanted.offset)?;
        let mut walk = Walk::new(source.clone(), path, start.position, size_bytes);
        let mut continuity = start.continuity;
        continuity.end = Some(segment.end_offset());
        let max_bytes = u64::try_from(wanted.max_bytes).unwrap_or(u64::MAX);
        let mut range: Option<Range<u64>> = None;
        let mut base_offset = wanted.offset;
        let mut next_offset = wanted.offset;
        let mut is_refused = false;
        while let Some(batch) =
            self.next_checked(&mut walk, &mut continuity, view, range.is_some())?
        {
            let header = &batch.header;
            if header.last_offset() < wanted.offset {
                continue;
            }
            let from = range.as_ref().map_or(batch.position, |range| range.start);
            let fits = batch.end() - from <= max_bytes || (is_first && range.is_none());
            if header.last_offset() >= wanted.end_exclusive || !fits {
                is_refused = true;
                break;
            }
            let is_start = range.is_none();
            range = Some(from..batch.end());
            next_offset = header.last_offset().checked_add(1).unwrap_or(Offset::MAX);
            if !is_start {
                continue;
            }
            base_offset = header.base_offset();
            if let Some(ahead) = self.skip_checked(segment, &source, &batch, wanted)? {
                range = Some(from..ahead.position);
                next_offset = ahead.header.base_offset();
                walk = Walk::new(
                    source.clone(),
                    segment.log_path(),
                    ahead.position,
                    size_bytes,
                );
                continuity.expected = Some(next_offset);
            }
        }
        // A last batch whose header went bad may end too early.
        if range.is_none() && !is_refused && wanted.offset < segment.end_offset() {
            return Err(walk.corrupt(format!("no batch holds offset {}", wanted.offset)));
        }
        let found = range.map(|range| StoredRange {
            segment: Arc::clone(segment),
            source,
            range,
            base_offset,
        });
        Ok(found.map(|found| (found, next_offset)))
    }

    /// The batch up to which all that is wanted from `first` on was checked before: their headers need not
    /// be looked at again. `None` where the index knows none, or the batch does not confirm it.
    fn skip_checked(
        &self,
        segment: &Arc<Segment>,
        source: &Source,
        first: &walk::Located,
        wanted: &ReadRequest,
    ) -> Result<Option<walk::Located>, StorageError> {
        let path = segment.log_path();
        let max_bytes = u64::try_from(wanted.max_bytes).unwrap_or(u64::MAX);
        let end = first.position.saturating_add(max_bytes);
        let find = |indexes: &SegmentIndexes| {
            let entry = indexes.offset.lookup_position(end)?;
            match entry.last_offset > wanted.end_exclusive {
                true => indexes.offset.lookup(wanted.end_exclusive),
                false => Some(entry),
            }
        };
        let found = segment.with_indexes(find);
        let Some(entry) = found.map_err(|error| self.read_failed(&path, error))? else {
            return Ok(None);
        };
        let position = u64::from(entry.position);
        if position <= first.end() || !segment.is_checked(&(first.position..position)) {
            return Ok(None);
        }
        let mut walk = Walk::new(source.clone(), path, position, segment.size_bytes());
        let batch = walk.next().ok().flatten();
        Ok(batch.filter(|batch| batch.header.last_offset() == entry.last_offset))
    }

    /// The next header, checked by continuity. After the first batch was found damage ends the range
    /// instead of failing the read.
    fn next_checked(
        &self,
        walk: &mut Walk,
        continuity: &mut Continuity,
        view: &View,
        has_batches: bool,
    ) -> Result<Option<walk::Located>, StorageError> {
        let next = walk.next().and_then(|batch| {
            let Some(batch) = batch else { return Ok(None) };
            let epoch = view.epochs.epoch_at(batch.header.base_offset());
            match continuity.check(&batch.header, epoch) {
                Ok(()) => Ok(Some(batch)),
                Err(reason) => Err(StorageError::Corrupt {
                    file: walk.path().to_path_buf(),
                    position: batch.position,
                    reason,
                }),
            }
        });
        match next {
            Err(_) if has_batches => Ok(None),
            other => other,
        }
    }

    /// Where to start walking for an offset: a position that the index gives and the batch there
    /// confirms, else the segment's start.
    pub(super) fn locate(
        &self,
        segment: &Arc<Segment>,
        source: &Source,
        size_bytes: u64,
        offset: Offset,
    ) -> Result<Start, StorageError> {
        let path = segment.log_path();
        let mut from_start = Start {
            position: 0,
            continuity: Continuity {
                expected: Some(segment.base_offset()),
                compacted_below: self.view().compacted_below,
                end: None,
            },
        };
        for attempt in 0..2 {
            let entry = segment
                .with_indexes(|indexes| indexes.offset.lookup(offset))
                .map_err(|error| self.read_failed(&path, error))?;
            if !segment.take_index_damaged() {
                let Some(entry) = entry else {
                    return Ok(from_start);
                };
                let position = u64::from(entry.position);
                let mut walk = Walk::new(source.clone(), path.clone(), position, size_bytes);
                if let Ok(Some(batch)) = walk.next()
                    && batch.header.last_offset() == entry.last_offset
                {
                    from_start.position = position;
                    from_start.continuity.expected = Some(batch.header.base_offset());
                    return Ok(from_start);
                }
            }
            if attempt == 0 {
                tracing::warn!(file = %path.display(), "offset index does not fit the log, it is rebuilt");
                if walk::rebuild_indexes(segment, self.view().compacted_below).is_err() {
                    // The log itself is damaged somewhere: walk it from the start as far as it goes.
                    return Ok(from_start);
                }
            }
        }
        Ok(from_start)
    }

    fn refuse_corrupt(&self, view: &View, offset: Offset) -> Result<(), StorageError> {
        match view
            .corrupt
            .iter()
            .find(|range| range.offsets.contains(&offset))
        {
            None => Ok(()),
            Some(range) => Err(StorageError::Corrupt {
                file: range.file.clone(),
                position: range.bytes.start,
                reason: range.reason.clone(),
            }),
        }
    }

    pub(super) fn source_failed(
        &self,
        file: PathBuf,
        size_bytes: u64,
        error: std::io::Error,
    ) -> StorageError {
        if error.kind() == std::io::ErrorKind::InvalidInput {
            return StorageError::Corrupt {
                file,
                position: size_bytes,
                reason: error.to_string(),
            };
        }
        self.read_failed(&file, error)
    }
}

/// Where a walk starts, and what its first batch must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) position: u64,
    pub(super) continuity: Continuity,
}

impl ReadBatches {
    fn nothing(offset: Offset, positions: Positions) -> Self {
        Self {
            slices: Vec::new(),
            size_bytes: 0,
            next_offset: offset,
            positions,
        }
    }
}

pub(super) fn check_range(offset: Offset, positions: &Positions) -> Result<(), ReadError> {
    if offset < positions.log_start || offset > positions.log_end {
        return Err(ReadError::OutOfRange {
            requested: offset,
            log_start: positions.log_start,
            log_end: positions.log_end,
        });
    }
    Ok(())
}
