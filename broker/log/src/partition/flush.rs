//! Flushing: what `flushed` covers, and what a failure means.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use millstream_proto::Offset;

use crate::{
    config::LogConfig, error::StorageError, flush_failure::FlushFailure, hooks, segment::Segment,
};

use super::{PartitionLog, view::View};

/// How far flushes are behind appends.
#[derive(Debug, Default)]
pub(super) struct FlushProgress {
    /// One flush of a partition at a time; others wait and find their bytes flushed.
    turn: Mutex<()>,
    /// Bytes ever appended in this run.
    appended_bytes: AtomicU64,
    /// Those of them that a flush covered.
    flushed_bytes: AtomicU64,
    /// Those of them below the recovery point.
    checkpointed_bytes: AtomicU64,
    /// Files were created or renamed since the directory was synced.
    directory_changed: AtomicBool,
    /// In the background's list of dirty partitions.
    listed: AtomicBool,
}

impl FlushProgress {
    /// Waits for a flush that is under way; none starts while the guard is held.
    pub(super) fn wait_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory_changed(&self) {
        self.directory_changed.store(true, Ordering::Release);
    }

    /// Nothing will flush what is unflushed: takes it out of the directory's count.
    pub(super) fn give_up(&self, unflushed_bytes: &AtomicU64) {
        let appended = self.appended_bytes.load(Ordering::Acquire);
        // A flush that is under way may have counted more already.
        let flushed = self.flushed_bytes.fetch_max(appended, Ordering::AcqRel);
        unflushed_bytes.fetch_sub(appended.saturating_sub(flushed), Ordering::Relaxed);
    }

    /// True when the partition was not listed before.
    pub(super) fn list(&self) -> bool {
        !self.listed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unlist(&self) {
        self.listed.store(false, Ordering::Release);
    }

    pub(super) fn checkpointed(&self) {
        let flushed = self.flushed_bytes.load(Ordering::Acquire);
        self.checkpointed_bytes.store(flushed, Ordering::Release);
    }
}

/// What a flush did not make durable.
struct FlushError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl PartitionLog {
    /// Flushes everything appended so far on this thread and returns the flushed offset.
    /// Waits for the disk.
    ///
    /// # Errors
    /// A failed flush takes the partition offline: it is never retried.
    pub fn flush(&self) -> Result<Offset, StorageError> {
        let asked = self.flush.appended_bytes.load(Ordering::Acquire);
        let Ok(turn) = self.flush.turn.lock() else {
            return Err(self.go_offline("an earlier flush of it panicked").into());
        };
        self.check_serving()?;
        let view = self.view().clone();
        let nothing_new = asked <= self.flush.flushed_bytes.load(Ordering::Acquire)
            && view.positions.flushed == view.positions.log_end;
        if nothing_new && !self.flush.directory_changed.load(Ordering::Acquire) {
            return Ok(view.positions.flushed);
        }
        let flushed = self.flush_in_turn(view);
        drop(turn);
        self.notify();
        flushed
    }

    fn flush_in_turn(&self, mut view: View) -> Result<Offset, StorageError> {
        let started = Instant::now();
        loop {
            // Counted before the view was taken or not: what is counted was written before.
            let appended = self.flush.appended_bytes.load(Ordering::Acquire);
            if let Err(error) = self.sync(&view) {
                return Err(self.flush_failed(error));
            }
            hooks::reached(hooks::Phase::Flush);
            let covered = view.positions;
            let flushed = self.publish(|view| {
                if view.positions.truncations != covered.truncations {
                    return None;
                }
                let flushed = view.positions.flushed.max(covered.log_end);
                view.positions.flushed = flushed;
                Some(flushed)
            });
            if let Some(flushed) = flushed {
                self.count_flushed(appended, started.elapsed());
                return Ok(flushed);
            }
            // Truncated meanwhile: what was covered is another log.
            view = self.view().clone();
        }
    }

    /// Makes the segments of a view and their names durable, the oldest first.
    fn sync(&self, view: &View) -> Result<(), FlushError> {
        for segment in view.segments.iter() {
            if segment.is_dirty() {
                sync_segment(segment)?;
            }
        }
        if self.flush.directory_changed.swap(false, Ordering::AcqRel) {
            self.directory
                .io()
                .sync_dir(&self.path)
                .map_err(|source| FlushError {
                    operation: "sync directory",
                    path: self.path.to_path_buf(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Counts what was appended before the flush began. Bytes counted as appended and not yet
    /// published are counted too early by one flush at most: they only bound memory.
    fn count_flushed(&self, appended: u64, took: Duration) {
        let progress = &self.flush;
        let before = progress.flushed_bytes.fetch_max(appended, Ordering::AcqRel);
        self.directory
            .unflushed_bytes
            .fetch_sub(appended.saturating_sub(before), Ordering::Relaxed);
        self.directory.counters.flushed(took);
        let behind = appended.saturating_sub(progress.checkpointed_bytes.load(Ordering::Acquire));
        if behind >= self.directory.limits().recovery_point_bytes {
            self.directory.background.wake();
        }
    }

    /// After a failed flush the pages may count as clean although they are not on disk: the partition
    /// serves nothing more, and the next start is told not to believe what is above.
    fn flush_failed(&self, error: FlushError) -> StorageError {
        self.directory
            .counters
            .flush_failures
            .fetch_add(1, Ordering::Relaxed);
        let failed = StorageError::io(error.operation, &error.path, error.source);
        let offline = self.go_offline(&failed.to_string());
        let marker = FlushFailure {
            flushed_offset: self.positions().flushed,
            reason: offline.reason.to_string(),
        };
        let io = &**self.directory.io();
        if let Err(error) = self.directory.with_reserve(|| marker.store(io, &self.path)) {
            tracing::error!(
                partition = %self.name, %error,
                "cannot leave a flush-failure marker; the next start checks everything above the recovery point",
            );
        }
        failed
    }

    /// Asks the directory's flusher to flush; the observer hears of it. Never blocks.
    /// Appends to an fsync topic do this themselves.
    pub fn request_flush(&self) {
        self.directory.flusher.request(self);
    }

    /// Counts appended bytes, and has the background see to them in time.
    pub(super) fn note_unflushed(&self, size_bytes: u64, config: &LogConfig) {
        let directory = &self.directory;
        // The directory's count first: a flush takes off it what the partition's has.
        let unflushed = directory
            .unflushed_bytes
            .fetch_add(size_bytes, Ordering::Relaxed);
        self.flush
            .appended_bytes
            .fetch_add(size_bytes, Ordering::AcqRel);
        let within = config.flush_ms.map(Duration::from_millis);
        if self.flush.list() {
            directory.background.add_dirty(self.weak(), within);
        } else if let Some(within) = within {
            // It is listed for its recovery point still, which may wait for longer.
            directory.background.wake_within(within);
        }
        if unflushed > directory.limits().unflushed_bytes_max / 2 {
            self.request_flush();
        }
        self.used.store(true, Ordering::Relaxed);
    }
}

fn sync_segment(segment: &Arc<Segment>) -> Result<(), FlushError> {
    let failed = |operation, source| FlushError {
        operation,
        path: segment.log_path(),
        source,
    };
    // The handle first: a descriptor with unflushed bytes is never closed.
    let file = segment.open_file().map_err(|error| failed("open", error))?;
    segment.take_dirty();
    file.sync_data().map_err(|error| {
        segment.mark_dirty();
        failed("flush", error)
    })
}
