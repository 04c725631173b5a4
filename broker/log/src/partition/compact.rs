//! Compacting a live log: one pass over it, its figures.
//!
//! A pass reads and writes beside appends and reads; that a copy takes the place of its originals
//! (`swap.rs`) does not keep them waiting either. Whether one is due is in [`due`], copying in [`copy`],
//! the whole picture in [`crate::compaction`].

mod copy;
mod due;

pub(super) use due::DirtyAtStart;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use millstream_proto::Offset;

use super::{LogState, PartitionLog, view::View};
use crate::{
    compaction::{
        CompactionError, CompactionReport, CompactionRequest, Pace,
        dirty_keys::DirtyKeys,
        key_map::KeyMap,
        plan,
        reader::{Known, SegmentReader},
        transactions::TransactionTracker,
    },
    error::{ReadError, StorageError},
    index::AbortedTransaction,
    layout::FileKind,
    manifest::ManifestEntry,
    segment::Segment,
    segment_meta::SegmentMeta,
    walk::Continuity,
};

/// What one pass works on.
struct Pass<'a> {
    request: &'a CompactionRequest,
    pace: &'a mut dyn Pace,
    /// As it was at the beginning, but without segments: who holds one keeps its file and its blocks.
    view: View,
    /// Segments that may be compacted, the oldest first.
    segments: Vec<Arc<Segment>>,
    first_dirty: Offset,
    end: Offset,
    report: CompactionReport,
}

impl PartitionLog {
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
            // Its files may be gone, or a namesake's.
            Err(_) if self.state() == LogState::Closed => Err(CompactionError::Stopped),
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
        let mut view = self.opened_view()?;
        let segments = self.compactable_segments(&view, request.now_ms, request.high_watermark);
        view.segments = Arc::default();
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
        let first = pass.segments.first().map(|segment| segment.base_offset());
        match self.go_through(&mut pass) {
            Ok(()) => Ok(pass.report),
            // Whatever it met: files of segments that are gone cannot be opened any more.
            Err(_) if self.has_lost(first, pass.view.positions.truncations) => {
                Err(CompactionError::LogChanged)
            }
            Err(error) => Err(error),
        }
    }

    fn go_through(&self, pass: &mut Pass<'_>) -> Result<(), CompactionError> {
        self.refuse_damaged(pass)?;
        let (map, map_end) = self.fill_map(pass)?;
        pass.report.to = map_end;
        pass.report.is_complete = map_end == pass.end;
        pass.report.keys = map.len();
        pass.report.map_bytes = map.bytes();
        self.copy_segments(pass, &map, map_end)?;
        self.note_cleaned(map_end, pass.view.positions.truncations)
    }

    /// Whether a truncation or a retention took segments from a pass that began at `first`.
    fn has_lost(&self, first: Option<Offset>, truncations: u64) -> bool {
        let view = self.view();
        let begins = view.segments.first().map(|segment| segment.base_offset());
        view.positions.truncations != truncations || begins > first
    }

    /// Sealed segments that are flushed and do not wait to be listed, wholly below the last stable offset
    /// and old enough.
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
        pass.segments
            .iter()
            .try_for_each(|segment| self.check_aborted(segment))
    }

    /// No batch tells that an entry of a `.txnindex` is missing: what was aborted would pass for
    /// committed, and supersede what was.
    fn check_aborted(&self, segment: &Arc<Segment>) -> Result<(), StorageError> {
        let found = segment
            .with_transactions(|index| crc32fast::hash(&index.encode_from(0)))
            .map_err(|error| self.transactions_failed(segment, error))?;
        let Some(entry) = self.sealed_entry(segment) else {
            return Ok(());
        };
        let expected = entry.checksums.transaction_index;
        if found == expected {
            return Ok(());
        }
        Err(StorageError::Corrupt {
            file: segment.path_of(FileKind::TransactionIndex),
            position: 0,
            reason: format!("its CRC-32 is {found:08x}, the manifest has {expected:08x}"),
        })
    }

    /// Puts the keys of the dirty part into a map; returns where it was full, or the end.
    fn fill_map(&self, pass: &mut Pass<'_>) -> Result<(KeyMap, Offset), CompactionError> {
        let mut keys = DirtyKeys {
            map: KeyMap::new(pass.request.map_bytes_max),
            transactions: TransactionTracker::new(self.aborted_in(pass.first_dirty, pass.end)?),
            first_dirty: pass.first_dirty,
        };
        let view = pass.view.clone();
        for segment in pass.segments.clone() {
            if segment.end_offset() <= pass.first_dirty {
                continue;
            }
            let mut reader = self.reader(&segment, &view)?;
            let mut full_at = None;
            // To its end also when the map is full: only then it is known to be the file that was sealed.
            while let Some(batch) = reader.next()? {
                self.keep_pace(pass, reader.take_bytes_read(), 0)?;
                if full_at.is_none() {
                    let added = keys.add(&batch);
                    full_at = added.map_err(|error| reader.corrupt(error.to_string()))?;
                }
            }
            if let Some(end) = full_at {
                return Ok((keys.map, end));
            }
        }
        Ok((keys.map, pass.end))
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
        let known = Known {
            path,
            meta: segment.meta(),
            sealed: self.sealed_entry(segment),
            continuity: Continuity {
                expected: Some(segment.base_offset()),
                compacted_below: view.compacted_below,
                end: Some(segment.end_offset()),
            },
            epochs: &view.epochs,
        };
        Ok(SegmentReader::new(file, known))
    }

    /// How the manifest has a segment. It has none of what recovery ended, or of what another program
    /// wrote.
    fn sealed_entry(&self, segment: &Segment) -> Option<ManifestEntry> {
        let manifest = self.manifest();
        let entry = manifest.get(segment.base_offset())?;
        (entry.sealed && entry.meta == segment.meta()).then_some(*entry)
    }

    fn aborted_in(
        &self,
        start: Offset,
        end: Offset,
    ) -> Result<Vec<AbortedTransaction>, StorageError> {
        self.aborted_transactions(start, end)
            .map_err(|error| match error {
                ReadError::Storage(error) => error,
                other => StorageError::io("read", &self.path, std::io::Error::other(other)),
            })
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
}

fn end_of(segments: &[Arc<Segment>]) -> Option<Offset> {
    segments.last().map(|segment| segment.end_offset())
}
