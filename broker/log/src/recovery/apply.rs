//! Makes a partition's directory what was decided, in an order that a crash may interrupt anywhere.
//!
//! 1. the log start is noted where the first segments are missing, the manifest loses what it can no
//!    longer vouch for;
//! 2. copies are written beside, fsynced, renamed over; the directory is fsynced;
//! 3. segments above a cut are removed, highest first; tails are cut; what is kept is fdatasynced;
//! 4. indexes, epochs, producer files follow; the marker of a failed flush goes last.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
    path::Path,
};

use millstream_proto::Offset;

use super::{
    Recovered, RecoveryError, RecoveryInput, inventory::Inventory, plan::PlannedSegment,
    recovered::io_error, segments::Decided,
};
use crate::{
    flush_failure::FlushFailure,
    frame, identity,
    index::TransactionIndex,
    io::{LogFile, LogIo, OpenMode},
    layout::{FileKind, MANIFEST},
    log_start,
    manifest::ManifestEntry,
    segment_meta::SegmentMeta,
};

/// Bytes copied at once.
const COPY_BUFFER_BYTES: usize = 256 << 10;

pub(super) fn apply(
    io: &dyn LogIo,
    dir: &Path,
    mut inventory: Inventory,
    mut decided: Decided,
    input: &RecoveryInput,
) -> Result<Recovered, RecoveryError> {
    let disk = Disk { io, dir };
    disk.store_identity(&mut inventory, input)?;
    disk.keep_log_start(&inventory, &decided)?;
    disk.forget_changed(&mut inventory, &decided.plan)?;
    decided.found.report.rewritten_bytes = disk.rewrite(&decided.plan)?;
    disk.drop_others(&inventory, &decided.plan)?;
    disk.cut_and_flush(&decided.plan)?;
    disk.forget_cuts(&mut inventory)?;
    decided.found.report.rebuilt_indexes = disk.store_indexes(&mut decided.plan)?;
    let log_end = decided.found.next_offset;
    disk.drop_producer_files(&inventory, log_end)?;
    decided.found.epochs_changed |= decided.found.epochs.truncate_from_end(log_end);
    if decided.found.epochs_changed {
        decided
            .found
            .epochs
            .store(io, dir)
            .map_err(io_error("store epochs in", dir))?;
    }
    if inventory.flush_failure.is_some() {
        FlushFailure::remove(io, dir).map_err(io_error("remove marker in", dir))?;
    }
    Ok(Recovered {
        topic_id: inventory.topic_id,
        segments: decided.plan.iter().map(|segment| segment.meta).collect(),
        log_start: decided.log_start,
        log_end,
        epochs: decided.found.epochs,
        producers: decided.found.producers,
        manifest: inventory.manifest,
        corrupt: decided.found.corrupt,
        report: decided.found.report,
    })
}

/// The partition's directory.
struct Disk<'a> {
    io: &'a dyn LogIo,
    dir: &'a Path,
}

impl Disk<'_> {
    fn sync_dir(&self) -> Result<(), RecoveryError> {
        self.io
            .sync_dir(self.dir)
            .map_err(io_error("sync", self.dir))
    }

    fn store_identity(
        &self,
        inventory: &mut Inventory,
        input: &RecoveryInput,
    ) -> Result<(), RecoveryError> {
        let Some(topic_id) = input.topic_id else {
            return Ok(());
        };
        let stored = identity::load(self.io, self.dir).ok().flatten();
        inventory.topic_id = Some(topic_id);
        if stored == Some(topic_id) {
            return Ok(());
        }
        identity::store(self.io, self.dir, topic_id)
            .map_err(io_error("store topic id in", self.dir))
    }

    /// Notes the log start where what is there cannot be read: without its segments the next start would
    /// take the first one that is left for the start of the log, and nobody would miss anything.
    fn keep_log_start(
        &self,
        inventory: &Inventory,
        decided: &Decided,
    ) -> Result<(), RecoveryError> {
        let first = decided.found.corrupt.first();
        let is_corrupt = first.is_some_and(|range| range.offsets.contains(&decided.log_start));
        if inventory.log_start.is_some() || !is_corrupt {
            return Ok(());
        }
        log_start::store(self.io, self.dir, decided.log_start)
            .map_err(io_error("store log start in", self.dir))
    }

    /// Takes out of the manifest what is not used as it stands there. What was the active segment of a
    /// clean stop and is used as such is sealed by the one that follows it.
    fn forget_changed(
        &self,
        inventory: &mut Inventory,
        plan: &[PlannedSegment],
    ) -> Result<(), RecoveryError> {
        let before = inventory.manifest.entries().to_vec();
        let last = plan.last().map(|segment| segment.meta.base_offset);
        let unwalked = plan.iter().filter(|segment| segment.walked.is_none());
        let metas: Vec<SegmentMeta> = unwalked.map(|segment| segment.meta).collect();
        inventory
            .manifest
            .retain(|entry| metas.contains(&entry.meta));
        for entry in before.iter().filter(|entry| !entry.sealed) {
            if metas.contains(&entry.meta) && Some(entry.meta.base_offset) < last {
                let sealed = true;
                inventory
                    .manifest
                    .insert(ManifestEntry { sealed, ..*entry });
            }
        }
        if inventory.manifest.entries() == before {
            return Ok(());
        }
        inventory
            .manifest
            .store(self.io, self.dir)
            .map_err(io_error("store", &self.dir.join(MANIFEST)))
    }

    /// Copies what may never have reached the disk into new files; returns how many bytes.
    fn rewrite(&self, plan: &[PlannedSegment]) -> Result<u64, RecoveryError> {
        let rewritten: Vec<&PlannedSegment> =
            plan.iter().filter(|segment| segment.is_rewritten).collect();
        for segment in &rewritten {
            self.copy_beside(segment)?;
        }
        for segment in &rewritten {
            let path = FileKind::Log.path(self.dir, segment.meta.base_offset);
            self.io
                .rename(&frame::beside(&path), &path)
                .map_err(io_error("rename", &path))?;
        }
        self.sync_dir()?;
        Ok(rewritten
            .iter()
            .map(|segment| segment.meta.size_bytes)
            .sum())
    }

    fn copy_beside(&self, segment: &PlannedSegment) -> Result<(), RecoveryError> {
        let path = frame::beside(&FileKind::Log.path(self.dir, segment.meta.base_offset));
        let target = frame::create_anew(self.io, &path).map_err(io_error("create", &path))?;
        if let Some(source) = segment.source {
            let source_path = FileKind::Log.path(self.dir, source);
            let source = self
                .io
                .open(&source_path, OpenMode::Read)
                .map_err(io_error("open", &source_path))?;
            copy(
                &*source,
                segment.source_position,
                &*target,
                segment.meta.size_bytes,
            )
            .map_err(io_error("copy", &source_path))?;
        }
        target.sync_data().map_err(io_error("sync", &path))
    }

    /// Removes segments that are not in the plan, and what a crash left half done.
    fn drop_others(
        &self,
        inventory: &Inventory,
        plan: &[PlannedSegment],
    ) -> Result<(), RecoveryError> {
        let kept: BTreeSet<Offset> = plan
            .iter()
            .map(|segment| segment.meta.base_offset)
            .collect();
        let dropped = inventory
            .logs
            .iter()
            .rev()
            .filter(|base| !kept.contains(base) && !inventory.foreign.contains(base))
            .map(|base| FileKind::Log.path(self.dir, *base));
        let indexes = inventory
            .index_files
            .iter()
            .filter(|(base, _)| !kept.contains(base) && !inventory.foreign.contains(base))
            .map(|(base, kind)| kind.path(self.dir, *base));
        for path in dropped
            .chain(indexes)
            .chain(inventory.leftovers.iter().cloned())
        {
            self.remove(&path)?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), RecoveryError> {
        match self.io.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Cuts tails, and flushes all that was walked: a recovery before this one may have been killed
    /// between the cut and the flush, and the tail would be back after a power cut.
    fn cut_and_flush(&self, plan: &[PlannedSegment]) -> Result<(), RecoveryError> {
        let walked = plan
            .iter()
            .filter(|segment| segment.walked.is_some() && !segment.is_rewritten);
        for segment in walked {
            let path = FileKind::Log.path(self.dir, segment.meta.base_offset);
            let file = self
                .io
                .open(&path, OpenMode::Write)
                .map_err(io_error("open", &path))?;
            let length = file.len().map_err(io_error("stat", &path))?;
            if length > segment.meta.size_bytes {
                file.set_len(segment.meta.size_bytes)
                    .map_err(io_error("cut", &path))?;
            }
            file.sync_data().map_err(io_error("sync", &path))?;
        }
        self.sync_dir()
    }

    /// What a truncation left behind an end is gone from the files now.
    fn forget_cuts(&self, inventory: &mut Inventory) -> Result<(), RecoveryError> {
        if !inventory.manifest.forget_cuts_from(Offset::ZERO) {
            return Ok(());
        }
        inventory
            .manifest
            .store(self.io, self.dir)
            .map_err(io_error("store", &self.dir.join(MANIFEST)))
    }

    /// Writes the indexes of walked segments where the files do not hold them already; returns how
    /// many files that were.
    fn store_indexes(&self, plan: &mut [PlannedSegment]) -> Result<u64, RecoveryError> {
        let last = plan.len().saturating_sub(1);
        let mut rebuilt = 0;
        for (index, segment) in plan.iter_mut().enumerate() {
            rebuilt += self.store_segment_indexes(segment, index == last)?;
        }
        Ok(rebuilt)
    }

    fn store_segment_indexes(
        &self,
        segment: &mut PlannedSegment,
        is_active: bool,
    ) -> Result<u64, RecoveryError> {
        let meta: SegmentMeta = segment.meta;
        let Some(walked) = &mut segment.walked else {
            return Ok(0);
        };
        let path = |kind: FileKind| kind.path(self.dir, meta.base_offset);
        let invalid = |error| io_error("index", self.dir)(io::Error::other(error));
        if !is_active {
            walked.sparse.seal().map_err(invalid)?;
        }
        let mut aborted = TransactionIndex::new();
        for transaction in &walked.aborted {
            aborted.push(*transaction).map_err(invalid)?;
        }
        let mut rebuilt = 0;
        rebuilt += self.replace_hint(
            &path(FileKind::OffsetIndex),
            &walked.sparse.offset.encode_from(0),
        )?;
        rebuilt += self.replace_hint(
            &path(FileKind::TimeIndex),
            &walked.sparse.time.encode_from(0),
        )?;
        rebuilt +=
            self.replace_transactions(&path(FileKind::TransactionIndex), &aborted.encode_from(0))?;
        Ok(rebuilt)
    }

    /// Writes a hint unless the file holds it: no fsync, a wrong hint is never believed.
    fn replace_hint(&self, path: &Path, bytes: &[u8]) -> Result<u64, RecoveryError> {
        let found = frame::read_file(self.io, path).map_err(io_error("read", path))?;
        if found.as_deref() == Some(bytes) {
            return Ok(0);
        }
        let file = self
            .io
            .open(path, OpenMode::Create)
            .map_err(io_error("create", path))?;
        file.set_len(0).map_err(io_error("cut", path))?;
        file.write_all_at(&[IoSlice::new(bytes)], 0)
            .map_err(io_error("write", path))?;
        Ok(1)
    }

    /// Aborted transactions are no hint: no batch confirms them.
    fn replace_transactions(&self, path: &Path, bytes: &[u8]) -> Result<u64, RecoveryError> {
        let found = frame::read_file(self.io, path).map_err(io_error("read", path))?;
        if found.as_deref().unwrap_or_default() == bytes {
            return Ok(0);
        }
        if bytes.is_empty() {
            frame::remove_file(self.io, path).map_err(io_error("remove", path))?;
        } else {
            frame::replace_file(self.io, path, bytes).map_err(io_error("write", path))?;
        }
        Ok(1)
    }

    /// A state above the log's end is of records that are gone.
    fn drop_producer_files(
        &self,
        inventory: &Inventory,
        log_end: Offset,
    ) -> Result<(), RecoveryError> {
        for (offset, kind) in &inventory.producer_files {
            if *offset > log_end {
                self.remove(&kind.path(self.dir, *offset))?;
            }
        }
        self.sync_dir()
    }
}

fn copy(source: &dyn LogFile, from: u64, target: &dyn LogFile, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    let mut copied = 0;
    while copied < length {
        let step = usize::try_from(length - copied)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let piece = buffer.get_mut(..step).expect("step is at most the length");
        source.read_exact_at(piece, from + copied)?;
        target.write_all_at(&[IoSlice::new(piece)], copied)?;
        copied += u64::try_from(step).map_err(io::Error::other)?;
    }
    Ok(())
}
