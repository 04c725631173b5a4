//! The second half of a pass: segments are copied without what is superseded, group by group, the
//! oldest first.
//!
//! A segment of which everything stays is not written: a copy begins where the first batch goes or
//! changes, with what was kept before it.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use millstream_proto::{Offset, record::Batch};

use super::{super::PartitionLog, Pass};
use crate::{
    compaction::{
        CompactionError,
        cleaned::{self, CleanedSegment, FinishedSegment},
        filter::{Fate, Filter, LastBatches, RecordCounts, Verdict},
        key_map::KeyMap,
        plan,
        transactions::TransactionTracker,
    },
    error::StorageError,
    hooks,
    index::TransactionIndex,
    reserve::is_full_error,
    segment::Segment,
    segment_meta::SegmentMeta,
};

impl PartitionLog {
    /// Copies the segments that the map reaches.
    pub(super) fn copy_segments(
        &self,
        pass: &mut Pass<'_>,
        map: &KeyMap,
        map_end: Offset,
    ) -> Result<(), CompactionError> {
        let mut segments = std::mem::take(&mut pass.segments);
        segments.retain(|segment| segment.base_offset() < map_end);
        let start = segments
            .first()
            .map_or(Offset::ZERO, |first| first.base_offset());
        let last_batches = self.last_batches()?;
        let config = self.config();
        let mut filter = Filter {
            map,
            map_end,
            now_ms: pass.request.now_ms,
            delete_retention_ms: config.compaction.delete_retention_ms,
            last_batches: &last_batches,
            transactions: TransactionTracker::new(self.aborted_in(start, pass.end)?),
            records: RecordCounts::default(),
        };
        let metas: Vec<SegmentMeta> = segments.iter().map(|segment| segment.meta()).collect();
        let merged_max = plan::merged_max(self.directory.limits().open_segments_max);
        for count in plan::group(&metas, config.segment_bytes, merged_max) {
            let group: Vec<_> = segments.drain(..count.min(segments.len())).collect();
            self.replace_group(pass, &group, &mut filter)?;
        }
        pass.report.records_before = filter.records.seen;
        pass.report.records_after = filter.records.kept;
        Ok(())
    }

    /// Puts a copy of the group in its place, where that is any different.
    fn replace_group(
        &self,
        pass: &mut Pass<'_>,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
    ) -> Result<(), CompactionError> {
        let Some(first) = group.first() else {
            return Ok(());
        };
        let seen_before = filter.records;
        let before: u64 = group.iter().map(|segment| segment.size_bytes()).sum();
        let after = self
            .copy_beside(pass, group, filter)
            .and_then(|finished| {
                let Some(finished) = finished else {
                    return Ok(before);
                };
                hooks::reached(hooks::Phase::Compaction);
                let after = finished.entry.meta.size_bytes;
                self.swap(group, finished, pass.view.positions.truncations)?;
                Ok(after)
            })
            .inspect_err(|_| {
                // Where nobody knows whether it is committed the next start may need the copy.
                if self.offline.get().is_none() {
                    self.remove_copy(first.base_offset());
                }
            })?;
        let report = &mut pass.report;
        report.bytes_before += before;
        report.bytes_after += after;
        report.segments_before += group.len();
        report.segments_after += 1;
        let removed = filter.records.removed_since(seen_before);
        let counters = &self.directory.counters;
        counters
            .compaction_removed_records
            .fetch_add(removed, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what stays of a group beside it, durably; `None` where that is all of one segment as it
    /// is.
    fn copy_beside(
        &self,
        pass: &mut Pass<'_>,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
    ) -> Result<Option<FinishedSegment>, CompactionError> {
        let view = pass.view.clone();
        let mut copy = GroupCopy::new(self, group)?;
        for segment in group {
            let mut reader = self.reader(segment, &view)?;
            while let Some(batch) = reader.next()? {
                copy.source_left = copy.source_left.saturating_sub(size_of(&batch));
                let is_last = copy.source_left == 0;
                let verdict = filter
                    .judge(&batch, is_last)
                    .map_err(|error| reader.corrupt(error.to_string()))?;
                let written = copy.take(pass, &batch, verdict)?;
                self.keep_pace(pass, reader.take_bytes_read(), written)?;
            }
            // It was just summed up.
            segment.set_identity(None);
        }
        copy.finish(pass)
    }

    /// Whether so many bytes can be written beside the log; true where the disk does not say.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        let space = self.directory.io().space(&self.path);
        space.map_or(true, |space| space.available >= bytes)
    }

    fn check_room(&self, copy_bytes: u64) -> Result<(), CompactionError> {
        let space = self
            .directory
            .io()
            .space(&self.path)
            .map_err(|error| StorageError::io("stat", &self.path, error))?;
        // As much as a full disk needs for itself is left to the others.
        let needed = copy_bytes.saturating_add(self.directory.limits().disk_reserve_bytes);
        if space.available >= needed {
            return Ok(());
        }
        Err(CompactionError::NoRoom {
            needed,
            available: space.available,
        })
    }

    /// Nothing of the log depends on the copy yet: only the pass fails.
    fn copy_failed(&self, error: io::Error) -> CompactionError {
        let failed = if is_full_error(&error) {
            self.directory.full_error()
        } else {
            StorageError::io("write a compacted copy in", &self.path, error)
        };
        failed.into()
    }

    /// A copy that gets no place; what stays of it is removed at the next start.
    fn remove_copy(&self, base_offset: Offset) {
        let io = &**self.directory.io();
        if let Err(error) = cleaned::remove(io, &self.path, base_offset) {
            tracing::warn!(partition = %self.name, %error, "cannot remove a compacted copy");
        }
    }

    fn last_batches(&self) -> Result<LastBatches, StorageError> {
        let writer = self.writer()?;
        let producers = writer.producers.sorted().into_iter();
        Ok(producers
            .map(|(id, entry)| {
                let last = entry.last_batch().map(|batch| batch.last_offset);
                (id, (entry.epoch, last))
            })
            .collect())
    }
}

/// The copy of a group while it is written.
struct GroupCopy<'a> {
    log: &'a PartitionLog,
    group: &'a [Arc<Segment>],
    /// `None` as long as all of the group's one segment stays.
    begun: Option<CleanedSegment<'a>>,
    /// Bytes at the start of that segment that stay.
    unchanged_bytes: u64,
    aborted: TransactionIndex,
    /// Bytes of the group that were not looked at yet.
    source_left: u64,
}

impl<'a> GroupCopy<'a> {
    fn new(log: &'a PartitionLog, group: &'a [Arc<Segment>]) -> Result<Self, CompactionError> {
        let mut copy = Self {
            log,
            group,
            begun: None,
            unchanged_bytes: 0,
            aborted: TransactionIndex::new(),
            source_left: group.iter().map(|segment| segment.size_bytes()).sum(),
        };
        if group.len() > 1 {
            copy.begun = Some(copy.begin()?);
        }
        Ok(copy)
    }

    /// Takes the next batch; returns how many bytes were written.
    fn take(
        &mut self,
        pass: &mut Pass<'_>,
        batch: &Batch,
        verdict: Verdict,
    ) -> Result<u64, CompactionError> {
        if let Some(aborted) = verdict.aborted {
            self.aborted
                .push(aborted)
                .map_err(|error| self.log.copy_failed(io::Error::other(error)))?;
        }
        if self.begun.is_none() && verdict.fate == Fate::Whole {
            self.unchanged_bytes += size_of(batch);
            return Ok(0);
        }
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.catch_up(pass)?,
        };
        let copy = self.begun.insert(begun);
        let room = plan::room(copy.size_bytes(), self.source_left);
        let written = match verdict.fate.fitting(batch, room) {
            Some(bytes) => copy.push(bytes),
            None => Ok(0),
        };
        written.map_err(|error| self.log.copy_failed(error))
    }

    /// Begins the copy with what stays at the segment's start.
    fn catch_up(&self, pass: &mut Pass<'_>) -> Result<CleanedSegment<'a>, CompactionError> {
        let mut copy = self.begin()?;
        let view = pass.view.clone();
        for segment in self.group {
            let mut reader = self.log.reader(segment, &view)?;
            while copy.size_bytes() < self.unchanged_bytes
                && let Some(batch) = reader.next()?
            {
                let written = copy.push(batch.bytes());
                let written = written.map_err(|error| self.log.copy_failed(error))?;
                self.log
                    .keep_pace(pass, reader.take_bytes_read(), written)?;
            }
        }
        Ok(copy)
    }

    fn begin(&self) -> Result<CleanedSegment<'a>, CompactionError> {
        let log = self.log;
        let bytes: u64 = self.group.iter().map(|segment| segment.size_bytes()).sum();
        log.check_room(bytes)?;
        let base_offset = self
            .group
            .first()
            .map_or(Offset::ZERO, |first| first.base_offset());
        let interval = u64::from(log.config().index_interval_bytes);
        let io = &**log.directory.io();
        CleanedSegment::create(io, &log.path, base_offset, interval)
            .map_err(|error| log.copy_failed(error))
    }

    fn finish(self, pass: &mut Pass<'_>) -> Result<Option<FinishedSegment>, CompactionError> {
        let Some(copy) = self.begun else {
            return Ok(None);
        };
        let unwritten = copy.unwritten_bytes();
        let finished = copy
            .finish(self.aborted)
            .map_err(|error| self.log.copy_failed(error))?;
        // Other names of the directory may be at stake: such a failure is not the copy's alone.
        self.log.sync_directory()?;
        self.log.keep_pace(pass, 0, unwritten)?;
        Ok(Some(finished))
    }
}

fn size_of(batch: &Batch) -> u64 {
    u64::try_from(batch.bytes().len()).unwrap_or(u64::MAX)
}
