//! Giving resources back, closing, deleting.

use std::sync::atomic::Ordering;

use millstream_proto::Offset;

use crate::{
    context::DELETED_SUFFIX, error::StorageError, layout::FileKind, manifest::ManifestEntry,
    recovery::Boot,
};

use super::{PartitionLog, writer::Writer, writer::WriterGuard};

/// Longest name of a directory entry.
const NAME_BYTES_MAX: usize = 255;

/// What a clean-shutdown marker says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedLog {
    /// First readable offset.
    pub log_start: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// Newest leader epoch in the log, -1 when there is none.
    pub leader_epoch: i32,
}

impl PartitionLog {
    /// Closes files and maps and gives reserved blocks back if nothing was appended or read since the
    /// last call. Waits for the disk.
    pub fn release_idle_resources(&self) {
        if self.used.swap(false, Ordering::Relaxed) || !self.view().is_opened() {
            return;
        }
        if let Ok(mut writer) = self.writer()
            && writer.allocated_bytes > writer.active.size_bytes()
            && writer.active.release_reserved().is_ok()
        {
            writer.allocated_bytes = writer.active.size_bytes();
            writer.allocation_step = 0;
        }
        let segments = std::sync::Arc::clone(&self.view().segments);
        for segment in segments.iter() {
            segment.try_close();
        }
    }

    /// Flushes, writes snapshots, gives reserved blocks back; nothing is accepted afterwards.
    /// Returns what the clean-shutdown marker says of this partition. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; then the partition must not be listed in the marker.
    pub fn close(&self) -> Result<ClosedLog, StorageError> {
        if let Some(closed) = self.close_unopened()? {
            return Ok(closed);
        }
        let _turn = self.wait_segments_turn();
        let mut writer = self.writer()?;
        self.flush()?;
        self.store_final_state(&mut writer)?;
        let view = self.view().clone();
        self.closed.store(true, Ordering::Release);
        writer.close();
        drop(writer);
        self.directory.tail_cache.clear(&self.tail);
        for segment in view.segments.iter() {
            segment.try_close();
        }
        Ok(ClosedLog {
            log_start: view.positions.log_start,
            log_end: view.positions.log_end,
            leader_epoch: view
                .epochs
                .latest()
                .map_or(-1, |latest| latest.leader_epoch.0),
        })
    }

    /// A partition that was not used since the start stays as it was closed then.
    fn close_unopened(&self) -> Result<Option<ClosedLog>, StorageError> {
        self.check_serving()?;
        let Ok(mut writer) = self.writer.lock() else {
            return Err(self
                .go_offline("an earlier operation on it panicked")
                .into());
        };
        let clean = match &*writer {
            Writer::Unopened(input) => match input.boot {
                Boot::Clean(clean) => clean,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        *writer = Writer::Closed;
        self.closed.store(true, Ordering::Release);
        Ok(Some(ClosedLog {
            log_start: clean.log_start,
            log_end: clean.log_end,
            leader_epoch: clean.leader_epoch,
        }))
    }

    /// What makes the next start open nothing: indexes complete, producer state at the log's end,
    /// every segment in the manifest.
    fn store_final_state(&self, writer: &mut WriterGuard<'_>) -> Result<(), StorageError> {
        let active = std::sync::Arc::clone(&writer.active);
        let failed = |error| self.write_failed("close", &active.log_path(), error);
        active.seal_indexes().map_err(failed)?;
        active.release_reserved().map_err(failed)?;
        self.finish_sealed().map_err(failed)?;
        let log_end = self.positions().log_end;
        self.store_producers(log_end, &writer.producers)
            .map_err(failed)?;
        self.remove_stray_snapshots(log_end);
        let meta = active.meta();
        let checksum = writer.checksum.clone().map(crc32fast::Hasher::finalize);
        let checksums = self.sync_and_sum(&meta, checksum).map_err(failed)?;
        let mut manifest = self.manifest();
        manifest.insert(ManifestEntry {
            meta,
            checksums,
            sealed: false,
        });
        self.store_manifest(&manifest).map_err(failed)
    }

    /// Removes producer states that are neither at a segment's base offset nor at the log's end: those
    /// of earlier clean stops. Leftovers do no harm.
    fn remove_stray_snapshots(&self, log_end: Offset) {
        let io = &**self.directory.io();
        let Ok(entries) = io.list_dir(&self.path) else {
            return;
        };
        let segments = std::sync::Arc::clone(&self.view().segments);
        for entry in entries {
            if let Some((FileKind::Snapshot | FileKind::Producers, offset)) =
                FileKind::parse(&entry.name)
                && offset != log_end
                && !segments
                    .iter()
                    .any(|segment| segment.base_offset() == offset)
            {
                let _ = io.remove_file(&self.path.join(&entry.name));
            }
        }
    }

    /// Renames the directory to a deletion name, durable on return, and removes its files in the
    /// background. Works on a partition that is offline, too. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn delete(&self) -> Result<(), StorageError> {
        self.closed.store(true, Ordering::Release);
        let segments_turn = self.wait_segments_turn();
        // A poisoned lock does not keep a partition from being deleted.
        let mut writer = self
            .writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *writer = Writer::Closed;
        // What works on its files by name ends first: a namesake may come at once.
        let turn = self.flush.wait_turn();
        let manifest = self.manifest();
        let recovery_turn = self.wait_recovery_turn();
        for segment in self.view().segments.iter() {
            segment.abandon();
        }
        let deleted = self.directory.path().join(self.deleted_name());
        let io = &**self.directory.io();
        self.directory
            .with_reserve(|| {
                io.rename(&self.path, &deleted)?;
                io.sync_dir(self.directory.path())
            })
            .map_err(|error| StorageError::io("rename", &self.path, error))?;
        self.directory.forget_recovery_point(&self.name);
        drop((recovery_turn, turn, manifest, writer, segments_turn));
        self.directory.tail_cache.clear(&self.tail);
        self.flush.give_up(&self.directory.unflushed_bytes);
        self.directory.background.remove_later(deleted);
        if self.directory.is_full() {
            self.directory.background.wake();
        }
        Ok(())
    }

    /// `<topic>-<partition>.<topic id>-delete`, shortened at the front part where it is too long.
    fn deleted_name(&self) -> String {
        let suffix = format!(".{}{DELETED_SUFFIX}", self.topic_id);
        let kept: String = self
            .name
            .chars()
            .take(NAME_BYTES_MAX - suffix.len())
            .collect();
        kept + &suffix
    }
}
