//! What follows a flush: sealed segments get their snapshot and manifest entry, then the recovery
//! point may pass them.

use std::{
    io,
    sync::{Arc, MutexGuard, PoisonError},
};

use millstream_proto::Offset;

use crate::{
    io::OpenMode,
    layout::FileKind,
    manifest::{self, Manifest, ManifestEntry, SegmentChecksums},
    producer::{ProducerState, sidecar, snapshot},
    segment::Segment,
    segment_meta::SegmentMeta,
};

use super::PartitionLog;

/// A sealed segment whose snapshot, index files and manifest entry are not durable yet.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) segment: Arc<Segment>,
    /// CRC-32 of its `.log` where the appends kept it.
    pub(super) checksum: Option<u32>,
    /// Where the segment ends, and the producer state there.
    pub(super) end_offset: Offset,
    pub(super) producers: Arc<ProducerState>,
}

impl PartitionLog {
    /// One round for a dirty partition: asks for a flush of what is unflushed, finishes what is
    /// flushed, notes its recovery point. True when nothing is left to do.
    pub(crate) fn checkpoint(&self) -> bool {
        self.flush.unlist();
        if !self.is_serving() {
            return true;
        }
        let before = self.positions();
        if before.flushed < before.log_end {
            if self.directory.limits().flush_threads_max == 0 {
                // A failure takes the partition offline.
                let _ = self.flush();
            } else {
                self.request_flush();
            }
        }
        if let Err(error) = self.finish_sealed() {
            tracing::warn!(partition = %self.name, %error, "recovery point waits for a sealed segment");
        }
        let settled = self.raise_recovery_point();
        if let Some(active) = self.view().segments.last() {
            // A hint: what cannot be written now is written later or rebuilt.
            let _ = active.write_pending_indexes();
        }
        settled
    }

    /// Notes how far everything is durable; true when that is the log's end.
    fn raise_recovery_point(&self) -> bool {
        // Neither a truncation nor a deletion comes between the positions and the note.
        let _turn = self.wait_recovery_turn();
        if self.is_deleted() {
            return true;
        }
        let unfinished = self
            .sealing()
            .first()
            .map(|sealing| sealing.segment.base_offset());
        let positions = self.positions();
        let point = unfinished.map_or(positions.flushed, |base| base.min(positions.flushed));
        self.directory.set_recovery_point(&self.name, point);
        point == positions.log_end
    }

    /// Publishes the recovery point that was just written.
    pub(crate) fn publish_recovery_point(&self) {
        let Some(point) = self.directory.recovery_point(&self.name) else {
            return;
        };
        self.flush.checkpointed();
        self.publish(|view| {
            // A truncation in between has lowered what may be believed.
            let durable = point.min(view.positions.flushed);
            view.positions.recovery_point = view.positions.recovery_point.max(durable);
        });
    }

    /// Puts the partition on the list again; true when it was not there.
    pub(crate) fn mark_listed(&self) -> bool {
        self.flush.list()
    }

    /// Has the background finish a sealed segment; returns how many wait.
    pub(super) fn seal_later(&self, sealing: Sealing) -> usize {
        let mut waiting = self.sealing();
        waiting.push(sealing);
        waiting.len()
    }

    /// Writes snapshots and manifest entries of sealed segments that are flushed.
    pub(super) fn finish_sealed(&self) -> io::Result<()> {
        let mut manifest = self.manifest();
        loop {
            // Deleted meanwhile: its names may be a namesake's.
            if self.is_deleted() {
                return Ok(());
            }
            let flushed = self.positions().flushed;
            let next = {
                let mut waiting = self.sealing();
                match waiting.first() {
                    Some(first) if first.end_offset <= flushed => waiting.remove(0),
                    _ => return Ok(()),
                }
            };
            let finished = if self.is_current(&next.segment) {
                self.finish(&mut manifest, &next)
            } else if self.has_segment_at(next.end_offset) {
                // Retention was faster; what producers sent before the next segment still counts.
                self.store_producers(next.end_offset, &next.producers)
            } else {
                continue;
            };
            if let Err(error) = finished {
                self.sealing().insert(0, next);
                return Err(error);
            }
        }
    }

    fn finish(&self, manifest: &mut Manifest, sealing: &Sealing) -> io::Result<()> {
        self.store_producers(sealing.end_offset, &sealing.producers)?;
        let meta = sealing.segment.meta();
        let checksums = self.sync_and_sum(&meta, sealing.checksum)?;
        manifest.insert(ManifestEntry {
            meta,
            checksums,
            sealed: true,
        });
        self.store_manifest(manifest)
    }

    fn is_deleted(&self) -> bool {
        self.closed.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whether a segment still belongs to the log.
    fn is_current(&self, segment: &Arc<Segment>) -> bool {
        let view = self.view();
        view.segments
            .iter()
            .any(|current| Arc::ptr_eq(current, segment))
    }

    fn has_segment_at(&self, base_offset: Offset) -> bool {
        let view = self.view();
        view.segments
            .iter()
            .any(|segment| segment.base_offset() == base_offset)
    }

    /// Writes the producer state at an offset, in both forms.
    pub(super) fn store_producers(
        &self,
        offset: Offset,
        producers: &ProducerState,
    ) -> io::Result<()> {
        let io = &**self.directory.io();
        self.directory.with_reserve(|| {
            sidecar::store(io, &self.path, offset, producers)?;
            snapshot::store(io, &FileKind::Snapshot.path(&self.path, offset), producers)
        })
    }

    /// Makes a segment's index files durable and sums all its files up.
    pub(super) fn sync_and_sum(
        &self,
        meta: &SegmentMeta,
        checksum: Option<u32>,
    ) -> io::Result<SegmentChecksums> {
        let io = &**self.directory.io();
        for kind in [
            FileKind::OffsetIndex,
            FileKind::TimeIndex,
            FileKind::TransactionIndex,
        ] {
            match io.open(&kind.path(&self.path, meta.base_offset), OpenMode::Write) {
                Ok(file) => file.sync_data()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let Some(log) = checksum else {
            return manifest::checksum_segment(io, &self.path, meta);
        };
        // The appends summed the .log up: only the index files are read.
        let indexes = SegmentMeta {
            size_bytes: 0,
            ..*meta
        };
        let checksums = manifest::checksum_segment(io, &self.path, &indexes)?;
        Ok(SegmentChecksums { log, ..checksums })
    }

    pub(super) fn store_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let io = &**self.directory.io();
        self.directory
            .with_reserve(|| manifest.store(io, &self.path))
    }

    pub(super) fn sealing(&self) -> MutexGuard<'_, Vec<Sealing>> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
