//! Removing old segments: delete_records, retention by time and size.
//!
//! The new log_start is durable before a file goes, and files go oldest first, so that a crash leaves
//! nothing but old segments below log_start.

use std::sync::{Arc, atomic::Ordering};

use millstream_proto::Offset;

use crate::{
    config::LogConfig,
    error::{ReadError, StorageError},
    hooks, log_start,
    manifest::Manifest,
    segment_meta::{NO_TIMESTAMP, SegmentMeta},
};

use super::{PartitionLog, writer::WriterGuard};

impl PartitionLog {
    /// Moves log_start up to `offset` (durable on return), and removes segments wholly below it.
    /// Returns the new log_start. The caller bounds `offset` by the high watermark. Waits for the disk.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] beyond the log's end; what the disk says.
    pub fn delete_records(&self, offset: Offset) -> Result<Offset, ReadError> {
        let turn = self.wait_segments_turn();
        let mut writer = self.writer()?;
        let positions = self.positions();
        if offset > positions.log_end {
            return Err(ReadError::OutOfRange {
                requested: offset,
                log_start: positions.log_start,
                log_end: positions.log_end,
            });
        }
        if offset <= positions.log_start {
            return Ok(positions.log_start);
        }
        self.raise_log_start(offset)?;
        self.remove_below(&mut writer, offset)?;
        drop((writer, turn));
        self.notify();
        Ok(offset)
    }

    /// Removes old segments by time and size, none that reaches past `high_watermark`. Returns how
    /// many. Forgets producers that were idle for long. A partition that was not used since the start is
    /// opened only when something of it goes. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn apply_retention(
        &self,
        now_ms: i64,
        high_watermark: Offset,
    ) -> Result<usize, StorageError> {
        let config = self.config();
        if !self.view().is_opened() && !self.has_expired_unopened(&config, now_ms, high_watermark) {
            return Ok(0);
        }
        let turn = self.wait_segments_turn();
        let mut writer = self.writer()?;
        let expiration_ms = self.directory.limits().producer_id_expiration_ms;
        writer.producers.expire(now_ms, expiration_ms);
        if !config.cleanup_delete {
            return Ok(0);
        }
        let segments: Vec<_> = self.view().segments.iter().map(|s| s.meta()).collect();
        let expired = count_expired(&segments, &config, now_ms, high_watermark);
        if expired == 0 {
            return Ok(0);
        }
        if expired == segments.len() {
            // The active one goes, too: appends go on in a new one.
            self.roll(&mut writer)?;
        }
        let Some(first_kept) = self.view().segments.get(expired).map(|s| s.base_offset()) else {
            return Ok(0);
        };
        self.raise_log_start(first_kept)?;
        let removed = self.remove_below(&mut writer, first_kept)?;
        drop((writer, turn));
        self.notify();
        Ok(removed)
    }

    /// Asks the manifest of a partition that is not open; one that cannot be read is a matter for whoever
    /// opens it.
    fn has_expired_unopened(
        &self,
        config: &LogConfig,
        now_ms: i64,
        high_watermark: Offset,
    ) -> bool {
        let has_limit = config.retention_ms.is_some() || config.retention_bytes.is_some();
        if !(config.cleanup_delete && has_limit) {
            return false;
        }
        match Manifest::load(&**self.directory.io(), &self.path) {
            Ok(None) => false,
            Ok(Some(manifest)) => {
                let metas: Vec<_> = manifest.entries().iter().map(|entry| entry.meta).collect();
                count_expired(&metas, config, now_ms, high_watermark) > 0
            }
            Err(_) => true,
        }
    }

    fn raise_log_start(&self, offset: Offset) -> Result<(), StorageError> {
        let log_start = self.positions().log_start.max(offset);
        let io = &**self.directory.io();
        self.directory
            .with_reserve(|| log_start::store(io, &self.path, log_start))
            .map_err(|error| self.write_failed("write log start in", &self.path, error))?;
        self.publish(|view| {
            view.positions.log_start = log_start;
            view.positions.local_log_start = view.positions.local_log_start.max(log_start);
        });
        Ok(())
    }

    /// Removes segments that end at or below log_start; the active one stays.
    fn remove_below(
        &self,
        _writer: &mut WriterGuard<'_>,
        log_start: Offset,
    ) -> Result<usize, StorageError> {
        let removed = self.publish(|view| {
            let sealed = view.segments.len() - 1;
            let count = view
                .segments
                .iter()
                .take(sealed)
                .take_while(|segment| segment.end_offset() <= log_start)
                .count();
            let mut segments = view.segments.as_ref().clone();
            let removed: Vec<_> = segments.drain(..count).collect();
            view.segments = Arc::new(segments);
            removed
        });
        for segment in &removed {
            // Where it cannot be opened its blocks go with its name, at once.
            let _ = segment.open_file();
            segment.abandon();
            if let Some(error) = segment.remove_files() {
                // The file is below log_start: the next start removes what is left of it.
                tracing::warn!(partition = %self.name, %error, "cannot remove a segment's file");
            }
            hooks::reached(hooks::Phase::Retention);
        }
        if removed.is_empty() {
            return Ok(0);
        }
        self.forget_below(log_start)?;
        for segment in &removed {
            segment.note_removed();
        }
        let counters = &self.directory.counters;
        let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
        counters
            .segments_removed
            .fetch_add(count, Ordering::Relaxed);
        if self.directory.is_full() {
            self.directory.probe_space();
        }
        Ok(removed.len())
    }

    /// Manifest and epoch history forget what is below log_start.
    fn forget_below(&self, log_start: Offset) -> Result<(), StorageError> {
        let failed = |error| self.write_failed("write the manifest in", &self.path, error);
        {
            let mut manifest = self.manifest();
            manifest.retain(|entry| entry.meta.end_offset() > log_start);
            self.store_manifest(&manifest).map_err(failed)?;
        }
        let mut epochs = self.view().epochs.as_ref().clone();
        if epochs.truncate_from_start(log_start) {
            let io = &**self.directory.io();
            self.directory
                .with_reserve(|| epochs.store(io, &self.path))
                .map_err(failed)?;
            self.publish(|view| view.epochs = Arc::new(epochs));
        }
        self.flush.directory_changed();
        Ok(())
    }
}

/// How many of the oldest segments are past retention.
fn count_expired(
    segments: &[SegmentMeta],
    config: &LogConfig,
    now_ms: i64,
    high_watermark: Offset,
) -> usize {
    let mut size_bytes: u64 = segments.iter().map(|meta| meta.size_bytes).sum();
    let is_expired = |meta: &&SegmentMeta| -> bool {
        if meta.size_bytes == 0 || meta.end_offset() > high_watermark {
            return false;
        }
        let by_time = config.retention_ms.is_some_and(|retention_ms| {
            meta.max_timestamp_ms != NO_TIMESTAMP
                && u64::try_from(now_ms.saturating_sub(meta.max_timestamp_ms))
                    .is_ok_and(|age_ms| age_ms > retention_ms)
        });
        let left = size_bytes - meta.size_bytes;
        let by_size = config.retention_bytes.is_some_and(|bytes| left >= bytes);
        if by_time || by_size {
            size_bytes = left;
        }
        by_time || by_size
    };
    segments.iter().take_while(is_expired).count()
}
