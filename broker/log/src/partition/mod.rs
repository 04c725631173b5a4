//! [`PartitionLog`]: the live log of one partition.
//!
//! One writer at a time under a short mutex; readers take a snapshot of the published positions and
//! segments and never wait for the writer.
//!
//! ```text
//!   append ─ validate ─┐ mutex: writer state        published view (short lock)
//!                      ├─ write, index, tail cache ──> positions, segments ──> read, lookup
//!   truncate, roll ────┘                                  ^  ^
//!   flush: own mutex, works on a snapshot of the view ────┘  │ flushed
//!   compact: works on a snapshot of the view, own turn ──────┘ segments
//! ```
//! After a clean shutdown a partition is opened on first use: until then it is only its positions.

mod append;
mod checked;
mod checkpoint;
mod close;
mod compact;
mod decode;
mod flush;
mod identity_check;
mod lookup;
mod open;
mod read;
mod retention;
mod roll;
mod swap;
mod truncate;
mod validate;
mod view;
mod writer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use append::{AppendContext, Appended, Origin};
pub use checked::{CheckedBatches, CheckedSlice, FileRange};
pub use close::ClosedLog;
pub use lookup::{EpochEnd, TimestampOffset};
pub use read::{ReadBatches, ReadRequest, Slice, StoredRange};
pub use view::Positions;

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use millstream_proto::{TopicId, TopicPartition};

use crate::{
    config::LogConfig,
    context::DataDirectory,
    error::{Offline, StorageError},
    flusher::FlushTicket,
    manifest::Manifest,
    reserve::is_full_error,
    segment::SegmentDeps,
    tail_cache::PartitionTail,
};
use checkpoint::Sealing;
use compact::DirtyAtStart;
use flush::FlushProgress;
use view::View;
use writer::Writer;

/// The live log of one partition. All methods take `&self`; those that may wait for the disk say so.
#[derive(Debug)]
pub struct PartitionLog {
    me: Weak<Self>,
    directory: Arc<DataDirectory>,
    partition: TopicPartition,
    /// Name of the partition's directory.
    name: Arc<str>,
    path: Arc<Path>,
    topic_id: TopicId,
    config: RwLock<Arc<LogConfig>>,
    observer: RwLock<Option<Arc<dyn LogObserver>>>,
    view: RwLock<View>,
    writer: Mutex<Writer>,
    /// Held by whoever removes or replaces sealed segments: truncation, retention, compaction, close.
    /// Asked for before the writer's lock; appends and rolls only add.
    segments_turn: Mutex<()>,
    /// Sealed segments that are not in the manifest yet, oldest first.
    sealing: Mutex<Vec<Sealing>>,
    /// Locked while it is written; never with the writer's lock asked for inside.
    manifest: Mutex<Manifest>,
    /// Held while the recovery point is derived from the positions, and by whoever lowers it.
    recovery_turn: Mutex<()>,
    flush: FlushProgress,
    ticket: FlushTicket,
    tail: Arc<PartitionTail>,
    offline: OnceLock<Offline>,
    closed: AtomicBool,
    /// Appended to or read since the last look for idle partitions.
    used: AtomicBool,
    /// By the manifest of the start, once asked for; `None` where that says nothing.
    dirty_at_start: OnceLock<Option<DirtyAtStart>>,
}

/// Told when positions move or the partition goes offline. Called on whatever thread did it, without
/// any lock of the log held, possibly late and out of order: read [`PartitionLog::positions`] anew.
/// Must not block.
pub trait LogObserver: Send + Sync + fmt::Debug {
    /// log_end, flushed, log_start or first_unstable moved.
    fn advanced(&self);

    /// The partition serves nothing more.
    fn went_offline(&self, offline: &Offline);
}

/// Whether a partition serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Online,
    /// It does not, and why.
    Offline(Offline),
    /// It was closed or deleted on purpose.
    Closed,
}

impl PartitionLog {
    /// Which partition this is.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Which life of its topic it belongs to.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who is told of progress. Replaces an earlier one.
    pub fn set_observer(&self, observer: Arc<dyn LogObserver>) {
        *self
            .observer
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(observer);
    }

    /// Replaces the settings for all later operations.
    pub fn set_config(&self, config: Arc<LogConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The published positions.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.view().positions
    }

    /// Whether it serves.
    #[must_use]
    pub fn state(&self) -> LogState {
        match self.offline.get() {
            Some(offline) => LogState::Offline(offline.clone()),
            None if self.closed.load(Ordering::Acquire) => LogState::Closed,
            None => LogState::Online,
        }
    }

    /// Whether it was used since the start, or had to be looked into then.
    #[must_use]
    pub fn is_opened(&self) -> bool {
        self.view().is_opened()
    }

    /// Bytes of record batches on disk; 0 when it cannot be opened. Opens the partition when it was not
    /// used yet.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.opened_view().map_or(0, |view| {
            let sizes = view.segments.iter().map(|segment| segment.size_bytes());
            sizes.sum()
        })
    }

    /// Segments on disk, the active one included; 0 when it cannot be opened. Opens the partition when
    /// it was not used yet.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.opened_view().map_or(0, |view| view.segments.len())
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    pub(crate) fn flush_ticket(&self) -> &FlushTicket {
        &self.ticket
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.offline.get().is_none() && !self.closed.load(Ordering::Acquire)
    }

    fn check_serving(&self) -> Result<(), StorageError> {
        match self.state() {
            LogState::Online => Ok(()),
            LogState::Offline(offline) => Err(offline.into()),
            LogState::Closed => Err(StorageError::Closed),
        }
    }

    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what readers see, and asserts the order of the positions.
    fn publish<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut view: RwLockWriteGuard<'_, View> =
            self.view.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut view);
        view.positions.assert_in_order();
        result
    }

    /// A snapshot of the view, opened.
    fn opened_view(&self) -> Result<View, StorageError> {
        self.check_serving()?;
        let view = self.view().clone();
        if view.is_opened() {
            return Ok(view);
        }
        drop(self.writer()?);
        Ok(self.view().clone())
    }

    fn wait_recovery_turn(&self) -> MutexGuard<'_, ()> {
        self.recovery_turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_segments_turn(&self) -> MutexGuard<'_, ()> {
        self.segments_turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn segment_deps(&self) -> SegmentDeps {
        SegmentDeps {
            io: Arc::clone(self.directory.io()),
            dir: Arc::clone(&self.path),
            open_segments: Arc::clone(&self.directory.open_segments),
            interval_bytes: u64::from(self.config().index_interval_bytes),
        }
    }

    /// Tells the observer; no lock may be held.
    fn notify(&self) {
        if let Some(observer) = self.observer() {
            observer.advanced();
        }
    }

    fn observer(&self) -> Option<Arc<dyn LogObserver>> {
        self.observer
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes the partition offline; the first reason is kept.
    fn go_offline(&self, reason: &str) -> Offline {
        let offline = Offline {
            reason: Arc::from(reason),
        };
        let first = self.offline.set(offline.clone()).is_ok();
        if first {
            tracing::error!(partition = %self.name, reason, "partition is offline");
            let counters = &self.directory.counters;
            counters.offline_partitions.fetch_add(1, Ordering::Relaxed);
            self.directory.tail_cache.clear(&self.tail);
            self.flush.give_up(&self.directory.unflushed_bytes);
            if let Some(observer) = self.observer() {
                observer.went_offline(&offline);
            }
        }
        self.offline.get().cloned().unwrap_or(offline)
    }

    /// What a failed write means: a full disk is a state of the directory, anything else takes the
    /// partition offline.
    fn write_failed(&self, operation: &'static str, path: &Path, error: io::Error) -> StorageError {
        if is_full_error(&error) {
            self.directory.enter_full();
            return self.directory.full_error();
        }
        if error.kind() == io::ErrorKind::QuotaExceeded {
            return StorageError::OpenSegmentsExhausted {
                max: self.directory.open_segments.segments_max(),
            };
        }
        let failed = StorageError::io(operation, path, error);
        self.go_offline(&failed.to_string());
        failed
    }

    /// What a failed read means: only this operation fails.
    fn read_failed(&self, path: &Path, error: io::Error) -> StorageError {
        if error.kind() == io::ErrorKind::QuotaExceeded {
            return StorageError::OpenSegmentsExhausted {
                max: self.directory.open_segments.segments_max(),
            };
        }
        StorageError::io("read", path, error)
    }
}

impl Drop for PartitionLog {
    fn drop(&mut self) {
        self.directory.tail_cache.clear(&self.tail);
        self.flush.give_up(&self.directory.unflushed_bytes);
    }
}
