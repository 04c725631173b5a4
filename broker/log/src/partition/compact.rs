//! Compacting a live log: what is due, one pass over it, its figures.
//!
//! A pass reads and writes beside appends and reads; only putting a copy in the place of its originals
//! (`swap.rs`) takes the partition's mutex. See [`crate::compaction`] for the whole picture.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use millstream_proto::Offset;

use super::{PartitionLog, view::View};
use crate::{
    compaction::{
        Compactable, CompactionError, CompactionReport, CompactionRequest, Pace,
        cleaned::{self, CleanedSegment, FinishedSegment},
        filter::{Fate, Filter, LastBatches, RECORD_BYTES_MAX, RecordCounts, marker_of},
        key_map::KeyMap,
        plan,
        reader::{self, SegmentReader},
        transactions::TransactionTracker,
    },
    error::{ReadError, StorageError},
    hooks,
    reserve::is_full_error,
    segment::{Segment, Source},
    segment_meta::SegmentMeta,
    walk::Continuity,
};

/// What one pass works on.
struct Pass<'a> {
    request: &'a CompactionRequest,
    pace: &'a mut dyn Pace,
    view: View,
    /// Segments that may be compacted, the oldest first.
    segments: Vec<Arc<Segment>>,
    first_dirty: Offset,
    end: Offset,
    report: CompactionReport,
}

impl PartitionLog {
    /// What can be compacted now; `None` where the topic does not ask for it or the partition was not
    /// used since the start. Reads headers at most.
    ///
    /// # Errors
    /// An offline partition; what the disk says.
    pub fn compactable(
        &self,
        now_ms: i64,
        high_watermark: Offset,
    ) -> Result<Option<Compactable>, StorageError> {
        let config = self.config();
        if !config.cleanup_compact || !self.view().is_opened() {
            return Ok(None);
        }
        let view = self.opened_view()?;
        let segments = self.compactable_segments(&view, now_ms, high_watermark);
        let first_dirty = self.first_dirty(&view);
        let mut found = Compactable {
            first_dirty,
            end: end_of(&segments).unwrap_or(first_dirty).max(first_dirty),
            ..Compactable::default()
        };
        for segment in &segments {
            let meta = segment.meta();
            if meta.end_offset() <= first_dirty {
                found.clean_bytes += meta.size_bytes;
                continue;
            }
            found.dirty_bytes += meta.size_bytes;
            if let Some(max_lag_ms) = config.compaction.max_lag_ms {
                let file = segment
                    .open_file()
                    .map_err(|error| self.read_failed(&segment.log_path(), error))?;
                found.is_overdue |= reader::first_timestamp(&*file)
                    .is_some_and(|first_ms| !plan::is_younger(first_ms, now_ms, max_lag_ms));
            }
        }
        Ok(Some(found))
    }

    /// One pass: keeps of each key that has a record in the dirty part the newest one, as far as the
    /// map of keys reaches. Whether it is due is for the caller to say. Waits for the disk, for other
    /// passes on the same data directory, and as `pace` says.
    ///
    /// # Errors
    /// Why it ended before its end; what it has put in place stays.
    pub fn compact(
        &self,
        request: &CompactionRequest,
        pace: &mut dyn Pace,
    ) -> Result<CompactionReport, CompactionError> {
        let turn = self.directory.wait_compaction_turn();
        let started = Instant::now();
        let result = match self.compact_in_turn(request, pace) {
            Err(CompactionError::Storage(StorageError::Closed)) => Err(CompactionError::Stopped),
            other => other,
        };
        drop(turn);
        let counters = &self.directory.counters;
        match &result {
            Ok(_) => counters.compacted(started.elapsed(), false),
            Err(CompactionError::Stopped | CompactionError::LogChanged) => {}
            Err(_) => counters.compacted(started.elapsed(), true),
        }
        result
    }

    fn compact_in_turn(
        &self,
        request: &CompactionRequest,
        pace: &mut dyn Pace,
    ) -> Result<CompactionReport, CompactionError> {
        let view = self.opened_view()?;
        let segments = self.compactable_segments(&view, request.now_ms, request.high_watermark);
        let first_dirty = self.first_dirty(&view);
        let end = end_of(&segments).unwrap_or(Offset::ZERO);
        let report = CompactionReport {
            from: first_dirty,
            to: first_dirty,
            is_complete: true,
            ..CompactionReport::default()
        };
        if end <= first_dirty {
            return Ok(report);
        }
        let mut pass = Pass {
            request,
            pace,
            view,
            segments,
            first_dirty,
            end,
            report,
        };
        self.refuse_damaged(&pass)?;
        let (map, map_end) = self.fill_map(&mut pass)?;
        pass.report.to = map_end;
        pass.report.is_complete = map_end == end;
        pass.report.keys = map.len();
        pass.report.map_bytes = map.bytes();
        self.copy_segments(&mut pass, &map, map_end)?;
        self.note_cleaned(map_end, pass.view.positions.truncations)?;
        Ok(pass.report)
    }

    /// Sealed segments that are flushed and listed, wholly below the last stable offset and old enough.
    fn compactable_segments(
        &self,
        view: &View,
        now_ms: i64,
        high_watermark: Offset,
    ) -> Vec<Arc<Segment>> {
        let positions = &view.positions;
        let mut end_max = positions.last_stable(high_watermark).min(positions.flushed);
        if let Some(waiting) = self.sealing().first() {
            end_max = end_max.min(waiting.segment.base_offset());
        }
        let sealed = view.segments.split_last().map_or(&[][..], |(_, rest)| rest);
        let metas: Vec<SegmentMeta> = sealed.iter().map(|segment| segment.meta()).collect();
        let config = self.config();
        let count = plan::count_compactable(&metas, &config.compaction, now_ms, end_max);
        sealed.iter().take(count).cloned().collect()
    }

    fn first_dirty(&self, view: &View) -> Offset {
        self.manifest().cleaned_to().max(view.positions.log_start)
    }

    /// Damage is not copied over: what cannot be read could not be told from what was removed.
    fn refuse_damaged(&self, pass: &Pass<'_>) -> Result<(), StorageError> {
        let damaged = pass.view.corrupt.iter();
        if let Some(range) = damaged
            .into_iter()
            .find(|range| range.offsets.start < pass.end)
        {
            return Err(StorageError::Corrupt {
                file: range.file.clone(),
                position: range.bytes.start,
                reason: range.reason.clone(),
            });
        }
        for pair in pass.segments.windows(2) {
            if let [left, right] = pair
                && left.end_offset() != right.base_offset()
                && right.base_offset() > pass.view.compacted_below
            {
                return Err(StorageError::Corrupt {
                    file: right.log_path(),
                    position: 0,
                    reason: format!("the segment before it ends at {}", left.end_offset()),
                });
            }
        }
        Ok(())
    }

    /// Puts the keys of the dirty part into a map; returns where it was full, or the end.
    fn fill_map(&self, pass: &mut Pass<'_>) -> Result<(KeyMap, Offset), CompactionError> {
        let mut map = KeyMap::new(pass.request.map_bytes_max);
        let aborted = self.aborted_before(pass.first_dirty, pass.end)?;
        let mut transactions = TransactionTracker::new(aborted);
        for segment in pass.segments.clone() {
            if segment.end_offset() <= pass.first_dirty {
                continue;
            }
            let view = pass.view.clone();
            let mut reader = self.reader(&segment, &view)?;
            while let Some(batch) = reader.next()? {
                self.keep_pace(pass, reader.take_bytes_read(), 0)?;
                let corrupt = |error: &dyn std::error::Error| reader.corrupt(error.to_string());
                if batch.is_control() {
                    let marker = marker_of(&batch).map_err(|error| corrupt(&error))?;
                    transactions.see_marker(&batch, marker.as_ref());
                    continue;
                }
                if transactions.see_records(&batch) || batch.last_offset() < pass.first_dirty {
                    continue;
                }
                let records = batch
                    .records(RECORD_BYTES_MAX)
                    .map_err(|error| corrupt(&error))?;
                for record in records {
                    let record = record.map_err(|error| corrupt(&error))?;
                    let Some(key) = record.key.filter(|_| record.offset >= pass.first_dirty) else {
                        continue;
                    };
                    if !map.put(map.fingerprint(&key), record.offset) {
                        return Ok((map, record.offset));
                    }
                }
            }
        }
        Ok((map, pass.end))
    }

    /// Copies the segments that the map reaches, group by group, the oldest first.
    fn copy_segments(
        &self,
        pass: &mut Pass<'_>,
        map: &KeyMap,
        map_end: Offset,
    ) -> Result<(), CompactionError> {
        pass.segments
            .retain(|segment| segment.base_offset() < map_end);
        let last_batches = self.last_batches()?;
        let config = self.config();
        let log_start = pass.view.positions.log_start;
        let mut filter = Filter {
            map,
            map_end,
            now_ms: pass.request.now_ms,
            delete_retention_ms: config.compaction.delete_retention_ms,
            last_batches: &last_batches,
            transactions: TransactionTracker::new(self.aborted_before(log_start, pass.end)?),
            records: RecordCounts::default(),
        };
        let segments = std::mem::take(&mut pass.segments);
        let metas: Vec<SegmentMeta> = segments.iter().map(|segment| segment.meta()).collect();
        let mut rest = segments.as_slice();
        for count in plan::group(&metas, config.segment_bytes) {
            let (group, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = after;
            self.copy_group(pass, group, &mut filter)?;
        }
        let report = &mut pass.report;
        report.records_before = filter.records.seen;
        report.records_after = filter.records.kept;
        let removed = report.records_before - report.records_after;
        let counters = &self.directory.counters;
        counters
            .compaction_removed_records
            .fetch_add(removed, Ordering::Relaxed);
        Ok(())
    }

    fn copy_group(
        &self,
        pass: &mut Pass<'_>,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
    ) -> Result<(), CompactionError> {
        let Some(first) = group.first() else {
            return Ok(());
        };
        let base_offset = first.base_offset();
        let before: u64 = group.iter().map(|segment| segment.size_bytes()).sum();
        self.check_room(before)?;
        let io = &**self.directory.io();
        let copied = self
            .copy_beside(pass, group, filter)
            .and_then(|(finished, is_changed)| {
                hooks::reached(hooks::Phase::Compaction);
                let after = finished.entry.meta.size_bytes;
                if is_changed || group.len() > 1 {
                    self.swap(group, finished, pass.view.positions.truncations)?;
                } else {
                    remove_copy(io, &self.path, base_offset);
                }
                Ok(after)
            })
            .inspect_err(|_| {
                // Where nobody knows whether it is committed the next start may need the copy.
                if self.offline.get().is_none() {
                    remove_copy(io, &self.path, base_offset);
                }
            });
        let report = &mut pass.report;
        report.bytes_before += before;
        report.bytes_after += copied?;
        report.segments_before += group.len();
        report.segments_after += 1;
        Ok(())
    }

    /// Writes what stays of a group beside it; true when that is less than all.
    fn copy_beside(
        &self,
        pass: &mut Pass<'_>,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
    ) -> Result<(FinishedSegment, bool), CompactionError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Err(CompactionError::LogChanged);
        };
        let interval = u64::from(self.config().index_interval_bytes);
        let io = &**self.directory.io();
        let mut copy = CleanedSegment::create(io, &self.path, first.base_offset(), interval)
            .map_err(|error| self.copy_failed(error))?;
        let mut is_changed = false;
        let view = pass.view.clone();
        for segment in group {
            let mut reader = self.reader(segment, &view)?;
            while let Some(batch) = reader.next()? {
                let is_last = Arc::ptr_eq(segment, last) && reader.is_at_end();
                let verdict = filter
                    .judge(&batch, is_last)
                    .map_err(|error| reader.corrupt(error.to_string()))?;
                is_changed |= verdict.fate != Fate::Whole;
                let written = match verdict.fate {
                    Fate::Whole => copy.push(batch.bytes()),
                    Fate::Replaced(bytes) => copy.push(&bytes),
                    Fate::Gone => Ok(0),
                };
                let written = written
                    .and_then(|written| match verdict.aborted {
                        Some(aborted) => copy.push_aborted(aborted).map(|()| written),
                        None => Ok(written),
                    })
                    .map_err(|error| self.copy_failed(error))?;
                self.keep_pace(pass, reader.take_bytes_read(), written)?;
            }
        }
        let unwritten = copy.unwritten_bytes();
        let finished = copy.finish().map_err(|error| self.copy_failed(error))?;
        self.keep_pace(pass, 0, unwritten)?;
        Ok((finished, is_changed))
    }

    fn reader<'a>(
        &self,
        segment: &Arc<Segment>,
        view: &'a View,
    ) -> Result<SegmentReader<'a>, StorageError> {
        let path = segment.log_path();
        let file = segment
            .open_file()
            .map_err(|error| self.read_failed(&path, error))?;
        self.check_identity(segment, &Source::File(Arc::clone(&file)), view)?;
        let continuity = Continuity {
            expected: Some(segment.base_offset()),
            compacted_below: view.compacted_below,
            end: Some(segment.end_offset()),
        };
        let meta = segment.meta();
        Ok(SegmentReader::new(
            file,
            path,
            &meta,
            continuity,
            &view.epochs,
        ))
    }

    /// Counts what was read and written; an error once the pass must end.
    fn keep_pace(
        &self,
        pass: &mut Pass<'_>,
        bytes_read: u64,
        bytes_written: u64,
    ) -> Result<(), CompactionError> {
        if bytes_read + bytes_written == 0 {
            return Ok(());
        }
        pass.report.bytes_read += bytes_read;
        pass.report.bytes_written += bytes_written;
        let counters = &self.directory.counters;
        counters
            .compaction_read_bytes
            .fetch_add(bytes_read, Ordering::Relaxed);
        counters
            .compaction_written_bytes
            .fetch_add(bytes_written, Ordering::Relaxed);
        self.check_serving()?;
        if pass.pace.spent(bytes_read + bytes_written) {
            Ok(())
        } else {
            Err(CompactionError::Stopped)
        }
    }

    fn check_room(&self, needed: u64) -> Result<(), CompactionError> {
        let space = self
            .directory
            .io()
            .space(&self.path)
            .map_err(|error| StorageError::io("stat", &self.path, error))?;
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

    fn aborted_before(
        &self,
        start: Offset,
        end: Offset,
    ) -> Result<Vec<crate::AbortedTransaction>, StorageError> {
        self.aborted_transactions(start, end)
            .map_err(|error| match error {
                ReadError::Storage(error) => error,
                other => StorageError::io("read", &self.path, io::Error::other(other)),
            })
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

fn end_of(segments: &[Arc<Segment>]) -> Option<Offset> {
    segments.last().map(|segment| segment.end_offset())
}

/// A copy that gets no place; what stays of it is removed at the next start.
fn remove_copy(io: &dyn crate::io::LogIo, dir: &std::path::Path, base_offset: Offset) {
    if let Err(error) = cleaned::remove(io, dir, base_offset) {
        tracing::warn!(dir = %dir.display(), %error, "cannot remove a compacted copy");
    }
}
