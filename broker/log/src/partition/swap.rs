//! Putting a compacted segment in the place of its originals while the log is read and appended to.
//!
//! ```text
//!   originals pinned: file, indexes and aborted transactions are open and stay so
//!   mutex ─ still the same segments? ─ commit in the manifest ─ publish ─ rename, remove ─ end the swap
//! ```
//! Readers that hold the originals go on with what is open of them; those that come after the
//! publication hold the copy, open since it was written. So it does not matter when the names change.

use std::sync::Arc;

use millstream_proto::Offset;

use super::PartitionLog;
use crate::{
    compaction::{CompactionError, cleaned::FinishedSegment, swap},
    error::StorageError,
    hooks,
    layout::FileKind,
    manifest::{Manifest, PendingSwap},
    segment::Segment,
};

impl PartitionLog {
    /// Replaces the segments of a group by their copy. An error leaves them as they were, or takes the
    /// partition offline where nobody can tell whether it does.
    pub(super) fn swap(
        &self,
        group: &[Arc<Segment>],
        finished: FinishedSegment,
        truncations: u64,
    ) -> Result<(), CompactionError> {
        let swapped = self.pin_all(group).and_then(|()| {
            let _turn = self.wait_segments_turn();
            self.check_serving()?;
            self.swap_in_turn(group, finished, truncations)
        });
        if swapped.is_err() {
            for segment in group {
                segment.unpin();
            }
        }
        swapped
    }

    fn pin_all(&self, group: &[Arc<Segment>]) -> Result<(), CompactionError> {
        for segment in group {
            segment
                .pin()
                .map_err(|error| self.read_failed(&segment.log_path(), error))?;
        }
        Ok(())
    }

    fn swap_in_turn(
        &self,
        group: &[Arc<Segment>],
        finished: FinishedSegment,
        truncations: u64,
    ) -> Result<(), CompactionError> {
        if !self.are_current(group, truncations) {
            return Err(CompactionError::LogChanged);
        }
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(());
        };
        let swap = PendingSwap {
            base_offset: first.base_offset(),
            has_transactions: !finished.aborted.is_empty(),
            merged: group.iter().skip(1).map(|one| one.base_offset()).collect(),
        };
        let entry = finished.entry;
        let end = last.end_offset();
        // Held until the names are right: what is open of the copy must not be given up before.
        let file = Arc::clone(&finished.file);
        let copy = Segment::adopt(&self.segment_deps(), finished)
            .map_err(|error| self.read_failed(&first.log_path(), error))?;
        let mut manifest = self.manifest();
        let mut next = manifest.clone();
        next.begin_swap(entry, swap.clone(), end);
        self.commit(&mut manifest, next)?;
        hooks::reached(hooks::Phase::Compaction);
        self.publish_copy(group, copy, manifest.compacted_below());
        let io = &**self.directory.io();
        swap::put_in_place(io, &self.path, &swap)
            .and_then(|()| {
                hooks::reached(hooks::Phase::Compaction);
                manifest.end_swap();
                self.store_manifest(&manifest)
            })
            .map_err(|error| self.swapped_halfway("replace segments in", error))?;
        drop((file, manifest));
        for segment in group {
            segment.note_removed();
        }
        self.forget_merged_producers(&swap, end);
        Ok(())
    }

    /// Whether the group is still what the log consists of there.
    fn are_current(&self, group: &[Arc<Segment>], truncations: u64) -> bool {
        let view = self.view();
        let first = group.first().and_then(|first| {
            let mut segments = view.segments.iter();
            segments.position(|segment| Arc::ptr_eq(segment, first))
        });
        let sealed = view.segments.len().saturating_sub(1);
        let Some(first) = first.filter(|first| first + group.len() <= sealed) else {
            return false;
        };
        let mut here = view.segments.iter().skip(first);
        view.positions.truncations == truncations
            && group.iter().all(|segment| {
                here.next()
                    .is_some_and(|current| Arc::ptr_eq(current, segment))
            })
    }

    /// Stores the manifest that begins the swap. After a failure the old one counts if it is still
    /// there; else nobody knows which one a power cut would leave.
    fn commit(&self, manifest: &mut Manifest, next: Manifest) -> Result<(), StorageError> {
        let Err(error) = self.store_manifest(&next) else {
            *manifest = next;
            return Ok(());
        };
        let io = &**self.directory.io();
        match Manifest::load(io, &self.path) {
            Ok(found) if found.as_ref().unwrap_or(&Manifest::new()) == manifest => {
                Err(StorageError::io("write the manifest in", &self.path, error))
            }
            _ => Err(self.swapped_halfway("write the manifest in", error)),
        }
    }

    /// What is published may not be what the names say. The next start completes the swap or undoes it.
    fn swapped_halfway(&self, operation: &'static str, error: std::io::Error) -> StorageError {
        let failed = StorageError::io(operation, &self.path, error);
        self.go_offline(&format!("a compaction ended half way: {failed}"));
        failed
    }

    fn publish_copy(&self, group: &[Arc<Segment>], copy: Arc<Segment>, compacted_below: Offset) {
        for segment in group {
            segment.retire();
        }
        // What was superseded would live on in memory, and aborted records without their entry.
        let end = copy.end_offset();
        self.directory.tail_cache.drop_before(&self.tail, end);
        self.publish(|view| {
            let mut segments: Vec<_> = view.segments.as_ref().clone();
            let first = segments
                .iter()
                .position(|segment| segment.base_offset() == copy.base_offset());
            if let Some(first) = first {
                segments.splice(first..first + group.len(), [copy]);
            }
            view.segments = Arc::new(segments);
            view.compacted_below = compacted_below;
        });
    }

    /// Removes the producer states at the base offsets of merged segments, once there is a newer one
    /// below the next segment. Leftovers do no harm.
    fn forget_merged_producers(&self, swap: &PendingSwap, end: Offset) {
        let io = &**self.directory.io();
        if io
            .metadata(&FileKind::Producers.path(&self.path, end))
            .is_err()
        {
            return;
        }
        for base_offset in &swap.merged {
            for kind in [FileKind::Snapshot, FileKind::Producers] {
                let _ = io.remove_file(&kind.path(&self.path, *base_offset));
            }
        }
    }

    /// Notes how far compaction went, durably.
    pub(super) fn note_cleaned(
        &self,
        offset: Offset,
        truncations: u64,
    ) -> Result<(), CompactionError> {
        let _turn = self.wait_segments_turn();
        self.check_serving()?;
        if self.positions().truncations != truncations {
            return Err(CompactionError::LogChanged);
        }
        let mut manifest = self.manifest();
        if manifest.cleaned_to() == offset {
            return Ok(());
        }
        let mut next = manifest.clone();
        next.set_cleaned_to(offset);
        self.commit(&mut manifest, next)?;
        Ok(())
    }
}
