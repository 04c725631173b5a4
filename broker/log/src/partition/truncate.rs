//! Truncation, without waiting for readers.
//!
//! ```text
//!   before:  A [0..100)   B [100..200)   C [200..250)     truncate to 150
//!   after:   A [0..100)   B [100..150)   D [150..150)     C renamed away
//!                             └ same file, ends where D begins; its stale tail is cut off
//!                               once the last reader of the old B is gone
//! ```
//! The recovery point is lowered and the manifest forgets what goes first, both durably: whatever a
//! crash leaves in between is above them, and a segment ends where the next one begins in recovery,
//! too. A segment that the manifest still vouched for would come back whole instead.

use std::{path::PathBuf, sync::Arc};

use millstream_proto::{
    Offset,
    record::{Batch, BatchHeader, control::ControlRecord},
};

use crate::{
    error::StorageError,
    index::SegmentIndexes,
    io::OpenMode,
    layout::FileKind,
    log_start,
    producer::{ProducerState, sidecar},
    segment::Segment,
    segment_meta::SegmentMeta,
    walk::{self, Located, Walk},
};

use super::{PartitionLog, checkpoint::Sealing, view::View, writer::WriterGuard};

/// What is appended to the name of a file that was truncated away.
const DELETED_EXTENSION: &str = "deleted";

/// The part of a segment that a truncation keeps.
struct Kept {
    meta: SegmentMeta,
    indexes: SegmentIndexes,
}

impl PartitionLog {
    /// Removes everything from `offset` on, without waiting for readers. A batch that reaches `offset`
    /// goes as a whole. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), StorageError> {
        let segments_turn = self.wait_segments_turn();
        let mut writer = self.writer()?;
        let view = self.view().clone();
        if offset >= view.positions.log_end {
            return Ok(());
        }
        let index = view
            .segment_index(offset)
            .filter(|_| offset >= view.positions.log_start);
        let Some((segment, index)) =
            index.and_then(|index| view.segments.get(index).map(|segment| (segment, index)))
        else {
            drop((writer, segments_turn));
            return self.truncate_fully_and_start_at(offset);
        };
        let kept = self.kept_part(segment, offset)?;
        if kept.meta.end_offset() < view.positions.log_start {
            // The batch that holds log_start goes as a whole: nothing is left.
            drop((writer, segments_turn));
            return self.truncate_fully_and_start_at(kept.meta.end_offset());
        }
        let turn = self.wait_recovery_turn();
        self.directory
            .lower_recovery_point(&self.name, kept.meta.end_offset())?;
        self.note_cut_in_manifest(&kept.meta)?;
        self.replace_tail(&mut writer, &view, index, kept)
            .inspect_err(|error| self.truncated_halfway(error))?;
        drop((turn, writer, segments_turn));
        self.notify();
        Ok(())
    }

    /// Removes everything and starts anew at `offset`. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), StorageError> {
        let segments_turn = self.wait_segments_turn();
        let mut writer = self.writer()?;
        let view = self.view().clone();
        let turn = self.wait_recovery_turn();
        self.directory
            .lower_recovery_point(&self.name, Offset::ZERO)?;
        self.note_cut_in_manifest(&SegmentMeta::empty(Offset::ZERO))?;
        self.replace_all(&mut writer, &view, offset)
            .inspect_err(|error| self.truncated_halfway(error))?;
        self.directory.set_recovery_point(&self.name, offset);
        drop((turn, writer, segments_turn));
        self.notify();
        Ok(())
    }

    /// Files are renamed away and others are not there yet: what is published is not on disk. The next
    /// start makes it whole.
    fn truncated_halfway(&self, error: &StorageError) {
        self.go_offline(&format!("a truncation ended half way: {error}"));
    }

    /// Puts an empty segment at `offset` in the place of all segments.
    fn replace_all(
        &self,
        writer: &mut WriterGuard<'_>,
        view: &View,
        offset: Offset,
    ) -> Result<(), StorageError> {
        self.rename_all_away(&view.segments)?;
        self.forget_cuts_from(Offset::ZERO)?;
        let active = self.create_segment(offset)?;
        let io = &**self.directory.io();
        self.directory
            .with_reserve(|| {
                log_start::store(io, &self.path, offset)?;
                crate::epoch::EpochHistory::new().store(io, &self.path)
            })
            .map_err(|error| self.write_failed("truncate", &self.path, error))?;
        self.remove_snapshots_from(Offset::ZERO);
        self.sync_directory()?;
        self.sealing().clear();
        writer.switch_to(Arc::clone(&active));
        writer.producers = ProducerState::new();
        self.directory.tail_cache.clear(&self.tail);
        self.publish(|view| {
            let truncations = view.positions.truncations + 1;
            *view = View::unopened(super::Positions::starting_at(offset));
            view.positions.truncations = truncations;
            view.segments = Arc::new(vec![active]);
        });
        Ok(())
    }

    /// Takes the segments out of the manifest that reach beyond the kept part, and notes where that
    /// ends its file. Durable.
    fn note_cut_in_manifest(&self, kept: &SegmentMeta) -> Result<(), StorageError> {
        let mut manifest = self.manifest();
        // Under the manifest's lock: the background must not vouch for what is on its way out.
        self.sealing()
            .retain(|sealing| sealing.end_offset <= kept.end_offset());
        let before = manifest.clone();
        manifest.retain(|entry| entry.meta.end_offset() <= kept.end_offset());
        manifest.forget_compaction_from(kept.end_offset());
        // Until their files are gone they still end where they ended: a file may hold a stale tail of
        // an earlier truncation.
        let gone = before.entries().iter().filter(|entry| entry.sealed);
        for meta in gone.map(|entry| entry.meta) {
            if meta.end_offset() > kept.end_offset() {
                manifest.set_cut(meta.base_offset, meta.size_bytes);
            }
        }
        if manifest.get(kept.base_offset).is_none() {
            manifest.set_cut(kept.base_offset, kept.size_bytes);
        }
        if *manifest == before {
            return Ok(());
        }
        self.store_manifest(&manifest)
            .map_err(|error| self.write_failed("truncate", &self.path, error))
    }

    /// Forgets where files were ended that are renamed away, once that is durable and before others
    /// get their names.
    fn forget_cuts_from(&self, offset: Offset) -> Result<(), StorageError> {
        let mut manifest = self.manifest();
        if !manifest.forget_cuts_from(offset) {
            return Ok(());
        }
        self.sync_directory()?;
        self.store_manifest(&manifest)
            .map_err(|error| self.write_failed("truncate", &self.path, error))
    }

    /// Walks the batches of a segment that end before `offset`.
    fn kept_part(&self, segment: &Arc<Segment>, offset: Offset) -> Result<Kept, StorageError> {
        let mut meta = SegmentMeta::empty(segment.base_offset());
        let mut indexes = segment.empty_indexes();
        self.walk_segment(segment, |batch, walk| {
            if batch.header.last_offset() >= offset {
                return Ok(false);
            }
            let (last_offset, max_timestamp) =
                (batch.header.last_offset(), batch.header.max_timestamp());
            let bytes = batch.end() - batch.position;
            indexes
                .add_batch(last_offset, batch.position, bytes, max_timestamp)
                .map_err(|error| walk.corrupt(error.to_string()))?;
            meta.add_batch(last_offset, bytes, max_timestamp);
            Ok(true)
        })?;
        Ok(Kept { meta, indexes })
    }

    /// Visits a segment's batches until the visitor has enough.
    fn walk_segment(
        &self,
        segment: &Arc<Segment>,
        mut visit: impl FnMut(&Located, &Walk) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let (path, end) = (segment.log_path(), segment.size_bytes());
        let source = segment
            .source(end, false)
            .map_err(|error| self.read_failed(&path, error))?;
        let mut walk = Walk::new(source, path, 0, end);
        while let Some(batch) = walk.next()? {
            if !visit(&batch, &walk)? {
                break;
            }
        }
        Ok(())
    }

    /// Puts an empty segment behind the kept part of segment `index`.
    fn replace_tail(
        &self,
        writer: &mut WriterGuard<'_>,
        view: &View,
        index: usize,
        kept: Kept,
    ) -> Result<(), StorageError> {
        let end = kept.meta.end_offset();
        let is_whole_segment_gone = kept.meta.size_bytes == 0;
        let first_gone = if is_whole_segment_gone {
            index
        } else {
            index + 1
        };
        let (_, gone) = view.segments.split_at(first_gone.min(view.segments.len()));
        self.rename_all_away(gone)?;
        self.forget_cuts_from(end)?;
        let mut segments: Vec<_> = view.segments.iter().take(first_gone).cloned().collect();
        let cut = if is_whole_segment_gone {
            None
        } else {
            self.cut_last(&mut segments, kept)?
        };
        let active = self.create_segment(end)?;
        self.remove_snapshots_from(end.checked_add(1).unwrap_or(Offset::MAX));
        let mut epochs = view.epochs.as_ref().clone();
        if epochs.truncate_from_end(end) {
            let io = &**self.directory.io();
            self.directory
                .with_reserve(|| epochs.store(io, &self.path))
                .map_err(|error| self.write_failed("truncate", &self.path, error))?;
        }
        self.sync_directory()?;
        writer.producers = self.replay_producers(&segments, end)?;
        self.forget_sealed_from(&segments, cut, end, &writer.producers)?;
        segments.push(Arc::clone(&active));
        writer.switch_to(active);
        self.directory.tail_cache.truncate(&self.tail, end);
        let first_unstable = writer.producers.transactions().first_unstable();
        self.publish(|view| {
            let positions = &mut view.positions;
            positions.log_end = end;
            positions.flushed = positions.flushed.min(end);
            positions.recovery_point = positions.recovery_point.min(end);
            positions.first_unstable = first_unstable;
            positions.truncations += 1;
            view.segments = Arc::new(segments);
            view.epochs = Arc::new(epochs);
            view.compacted_below = view.compacted_below.min(end);
        });
        Ok(())
    }

    /// Replaces the last segment of the list by its kept part.
    fn cut_last(
        &self,
        segments: &mut Vec<Arc<Segment>>,
        kept: Kept,
    ) -> Result<Option<Arc<Segment>>, StorageError> {
        let Some(old) = segments.pop() else {
            return Ok(None);
        };
        let path = old.log_path();
        let failed = |error| self.write_failed("truncate", &path, error);
        let cut = old.cut(&self.segment_deps(), kept.meta).map_err(failed)?;
        let mut indexes = kept.indexes;
        indexes
            .seal()
            .map_err(std::io::Error::other)
            .and_then(|()| {
                let io = self.directory.io();
                let open = |kind| io.open(&cut.path_of(kind), OpenMode::Create);
                indexes.rewrite(&*open(FileKind::OffsetIndex)?, &*open(FileKind::TimeIndex)?)
            })
            .map_err(failed)?;
        cut.replace_indexes(indexes);
        self.cut_transactions(&cut).map_err(failed)?;
        segments.push(Arc::clone(&cut));
        Ok(Some(cut))
    }

    fn cut_transactions(&self, cut: &Arc<Segment>) -> std::io::Result<()> {
        let kept = cut.with_transactions(|index| index.len())?;
        let path = cut.path_of(FileKind::TransactionIndex);
        match self.directory.io().open(&path, OpenMode::Write) {
            Ok(file) => {
                let bytes = kept * crate::index::TransactionIndex::ENTRY_BYTES;
                file.set_len(u64::try_from(bytes).map_err(std::io::Error::other)?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The manifest and the queue to it lose what was truncated; the cut segment is summed up anew.
    fn forget_sealed_from(
        &self,
        kept: &[Arc<Segment>],
        cut: Option<Arc<Segment>>,
        end: Offset,
        producers: &ProducerState,
    ) -> Result<(), StorageError> {
        self.sealing().retain(|sealing| {
            kept.iter()
                .any(|segment| Arc::ptr_eq(segment, &sealing.segment))
        });
        if let Some(segment) = cut {
            self.seal_later(Sealing {
                segment,
                checksum: None,
                end_offset: end,
                producers: Arc::new(producers.clone()),
            });
            if self.flush.list() {
                self.directory.background.add_dirty(self.weak(), None);
            }
        }
        Ok(())
    }

    /// Renames segments away, the newest first. The oldest follows once the others are durably gone: a
    /// power cut must not leave a later one as the start of the log.
    fn rename_all_away(&self, segments: &[Arc<Segment>]) -> Result<(), StorageError> {
        let Some((oldest, later)) = segments.split_first() else {
            return Ok(());
        };
        for segment in later.iter().rev() {
            self.rename_away(segment)?;
        }
        if !later.is_empty() {
            self.sync_directory()?;
        }
        self.rename_away(oldest)
    }

    /// Renames a segment's files away; open handles and maps of readers stay valid. The files are
    /// removed in the background.
    fn rename_away(&self, segment: &Arc<Segment>) -> Result<(), StorageError> {
        let io = self.directory.io();
        segment.abandon();
        for kind in FileKind::ALL {
            if matches!(kind, FileKind::Snapshot | FileKind::Producers) {
                continue;
            }
            let path = segment.path_of(kind);
            let away = PathBuf::from(format!("{}.{DELETED_EXTENSION}", path.display()));
            match io.rename(&path, &away) {
                Ok(()) => self.directory.background.remove_later(away),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.write_failed("rename", &path, error)),
            }
        }
        Ok(())
    }

    /// Removes what a stop left of files that were truncated away.
    pub(super) fn remove_renamed_files(&self) {
        let io = self.directory.io();
        let Ok(entries) = io.list_dir(&self.path) else {
            return;
        };
        for entry in entries {
            if entry
                .name
                .extension()
                .is_some_and(|extension| extension == DELETED_EXTENSION)
            {
                // What cannot be removed is found again at the next start.
                let _ = io.remove_file(&self.path.join(&entry.name));
            }
        }
    }

    fn remove_snapshots_from(&self, offset: Offset) {
        let io = &**self.directory.io();
        let Ok(entries) = io.list_dir(&self.path) else {
            return;
        };
        for entry in entries {
            if let Some((FileKind::Snapshot | FileKind::Producers, at)) =
                FileKind::parse(&entry.name)
                && at >= offset
            {
                // A leftover is of an offset that recovery does not reach.
                let _ = io.remove_file(&self.path.join(&entry.name));
            }
        }
    }

    pub(super) fn sync_directory(&self) -> Result<(), StorageError> {
        self.directory
            .io()
            .sync_dir(&self.path)
            .map_err(|error| self.write_failed("sync directory", &self.path, error))
    }

    /// Producer state at `end`: the newest stored one at or below it, and the batches behind that.
    fn replay_producers(
        &self,
        segments: &[Arc<Segment>],
        end: Offset,
    ) -> Result<ProducerState, StorageError> {
        let io = &**self.directory.io();
        let entries = io
            .list_dir(&self.path)
            .map_err(|error| self.read_failed(&self.path, error))?;
        let mut stored: Vec<Offset> = entries
            .iter()
            .filter_map(|entry| match FileKind::parse(&entry.name) {
                Some((FileKind::Producers, offset)) if offset <= end => Some(offset),
                _ => None,
            })
            .collect();
        stored.sort_unstable();
        let newest = stored.iter().rev().find_map(|offset| {
            let loaded = sidecar::load(io, &self.path, *offset).ok().flatten();
            loaded.map(|state| (*offset, state))
        });
        let (from, mut producers) = newest.unwrap_or_default();
        for segment in segments
            .iter()
            .filter(|segment| segment.end_offset() > from)
        {
            let source = segment
                .source(segment.size_bytes(), false)
                .map_err(|error| self.read_failed(&segment.log_path(), error))?;
            self.walk_segment(segment, |batch, walk| {
                if batch.header.base_offset() >= from && batch.header.has_producer_id() {
                    let range = batch.position..batch.end();
                    let bytes = || walk::copy(&source, &segment.log_path(), &range);
                    replay_batch(&mut producers, &batch.header, bytes)
                        .map_err(|error| walk.corrupt(error.to_string()))?;
                }
                Ok(true)
            })?;
        }
        Ok(producers)
    }
}

fn replay_batch(
    producers: &mut ProducerState,
    header: &BatchHeader,
    bytes: impl FnOnce() -> Result<bytes::Bytes, StorageError>,
) -> Result<(), Box<dyn std::error::Error>> {
    let seen_ms = header.max_timestamp();
    if !header.is_control() {
        producers.apply(header, header.base_offset(), seen_ms);
        return Ok(());
    }
    let batch = Batch::parse(bytes()?)?;
    if let Some(record) = batch.records(batch.bytes().len())?.next()
        && let ControlRecord::EndTransaction(marker) = ControlRecord::decode(&record?)?
    {
        producers.apply_marker(header, &marker, header.base_offset(), seen_ms);
    }
    Ok(())
}
