//! [`DataDirectory`]: what all partition logs of one data directory share.
//!
//! ```text
//!   append ──> dirty list ──> background thread, every tick while something is dirty:
//!     │                         ask for flushes, finish sealed segments, write recovery points,
//!     │                         look whether a full disk has room again, remove deleted directories
//!     └─> flusher (fsync topics): threads that flush in parallel
//!   removed segments, once nobody reads them ──> reclaimer: frees their blocks little by little
//! ```
//! With `flush_threads_max` 0 there are no threads at all: the owner calls `flush` and
//! [`DataDirectory::checkpoint`] itself, which makes tests deterministic.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use millstream_proto::{Offset, TopicPartition};

use crate::{
    background::Background,
    clean_shutdown::{CleanPartition, CleanShutdown},
    config::LogLimits,
    error::StorageError,
    flusher::Flusher,
    frame::LoadError,
    io::{LogIo, OpenMode},
    metrics::{Counters, LogFigures},
    partition::{ClosedLog, PartitionLog},
    reclaim::Reclaimer,
    recovery::Boot,
    recovery_point::{BootId, RecoveryPoint, RecoveryPoints},
    reserve::{self, DiskReserve},
    resources::OpenSegments,
    tail_cache::TailCache,
};

/// One data directory: its file system, limits, tail cache, open files, flusher, disk state.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    io: Arc<dyn LogIo>,
    limits: LogLimits,
    boot_id: BootId,
    /// The boot in which the recovery points were written before.
    last_boot: Option<BootId>,
    pub(crate) open_segments: Arc<OpenSegments>,
    pub(crate) tail_cache: TailCache,
    pub(crate) counters: Counters,
    pub(crate) unflushed_bytes: AtomicU64,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) background: Arc<Background>,
    pub(crate) reclaimer: Arc<Reclaimer>,
    /// One compaction at a time: each has a map of keys, and the disk to itself.
    compaction_turn: Mutex<()>,
    reserve: DiskReserve,
    points: Mutex<Points>,
    clean: CleanShutdown,
}

#[derive(Debug)]
struct Points {
    table: RecoveryPoints,
    /// The table is newer than its file.
    changed: bool,
    /// The file holds entries of partitions that were deleted.
    has_forgotten: bool,
}

impl DataDirectory {
    /// Starts serving a directory that the caller holds the lock of. Reads the clean-shutdown marker
    /// and the recovery points, and removes the marker, durably: from now on the directory counts as
    /// not cleanly shut down. `boot_id` is [`BootId`] of this kernel (a constant in tests).
    ///
    /// # Errors
    /// What the disk says. Unreadable recovery points are no error: everything is checked then.
    pub fn open(
        io: Arc<dyn LogIo>,
        path: &Path,
        limits: LogLimits,
        boot_id: BootId,
    ) -> Result<Arc<Self>, StorageError> {
        let clean = tolerate(CleanShutdown::load(&*io, path))?.unwrap_or_default();
        let mut table = tolerate(RecoveryPoints::load(&*io, path))?.unwrap_or_default();
        let last_boot = table.boot_id();
        let reserve = DiskReserve::open(Arc::clone(&io), path, limits.disk_reserve_bytes);
        if enter_boot(&*io, path, &mut table, boot_id)
            .map_err(|error| StorageError::io("list", path, error))?
        {
            let stored = match table.store(&*io, path) {
                Err(error) if reserve::is_full_error(&error) && reserve.make_room() => {
                    table.store(&*io, path)
                }
                stored => stored,
            };
            stored.map_err(|error| StorageError::io("write recovery points in", path, error))?;
        }
        CleanShutdown::remove(&*io, path).map_err(|error| {
            StorageError::io("remove the clean-shutdown marker of", path, error)
        })?;
        let directory = Arc::new(Self {
            open_segments: OpenSegments::new(limits.open_segments_max, limits.mapped_bytes_max),
            tail_cache: TailCache::new(limits.tail_cache_bytes_max),
            counters: Counters::default(),
            unflushed_bytes: AtomicU64::new(0),
            flusher: Flusher::new(limits.flush_threads_max),
            background: Arc::new(Background::new(&limits)),
            reclaimer: Arc::default(),
            compaction_turn: Mutex::default(),
            reserve,
            points: Mutex::new(Points {
                table,
                changed: false,
                has_forgotten: false,
            }),
            path: path.to_path_buf(),
            io,
            limits,
            boot_id,
            last_boot,
            clean,
        });
        directory.open_segments.serve(&directory);
        if directory.limits.flush_threads_max > 0 {
            let background = directory.background.start(&directory);
            background
                .and_then(|()| directory.reclaimer.start(&directory))
                .map_err(|error| StorageError::io("start a thread of", path, error))?;
            directory.remove_deleted_later()?;
            if directory.wants_probe() {
                directory.background.wake();
            }
        }
        Ok(directory)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its file system.
    #[must_use]
    pub fn io(&self) -> &Arc<dyn LogIo> {
        &self.io
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &LogLimits {
        &self.limits
    }

    /// The broker epoch of the last clean shutdown; 0 when the last stop was not clean.
    #[must_use]
    pub fn clean_broker_epoch(&self) -> i64 {
        self.clean.broker_epoch
    }

    /// Directory of a partition.
    #[must_use]
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// Whether appends are refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.reserve.is_full()
    }

    /// Runs a write that must succeed on a full disk (metadata, checkpoints, deletion): gives the
    /// reserve up and runs it again when the disk is full. Waits for the disk.
    ///
    /// # Errors
    /// What the last run says.
    pub fn with_reserve<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(error) if reserve::is_full_error(&error) && self.make_room() => write(),
            other => other,
        }
    }

    /// After a write that found no room: enters the state and gives the reserve up. True when trying
    /// again makes sense.
    pub(crate) fn make_room(&self) -> bool {
        let may_try_again = self.reserve.make_room();
        self.background.wake();
        may_try_again
    }

    /// Looks at once whether a full disk has room again, for instance after a deletion. True when
    /// appends are accepted.
    pub fn probe_space(&self) -> bool {
        self.reserve.probe()
    }

    pub(crate) fn wants_probe(&self) -> bool {
        self.reserve.wants_probe()
    }

    pub(crate) fn enter_full(&self) {
        self.reserve.enter();
        self.background.wake();
    }

    pub(crate) fn full_error(&self) -> StorageError {
        StorageError::DiskFull {
            directory: self.path.clone(),
        }
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> LogFigures {
        LogFigures {
            tail_cache_hits: self.tail_cache.hits.load(Ordering::Relaxed),
            tail_cache_misses: self.tail_cache.misses.load(Ordering::Relaxed),
            tail_cache_bytes: u64::try_from(self.tail_cache.bytes()).unwrap_or(u64::MAX),
            unflushed_bytes: self.unflushed_bytes.load(Ordering::Relaxed),
            open_segments: u64::try_from(self.open_segments.open_count()).unwrap_or(u64::MAX),
            mapped_bytes: self.open_segments.mapped_bytes(),
            disk_full_count: self.reserve.full_count.load(Ordering::Relaxed),
            ..self.counters.figures()
        }
    }

    /// How a partition's last run ended: what [`PartitionLog::open`] goes by.
    pub(crate) fn last_run(&self, name: &str) -> (Boot, Offset) {
        if let Some(clean) = self.clean.partitions.get(name) {
            return (Boot::Clean(*clean), clean.log_end);
        }
        match self.lock_points().table.get(name) {
            Some(point) if point.boot_id == self.boot_id => (Boot::Same, point.offset),
            Some(point) => (Boot::Other, point.offset),
            None if self.last_boot == Some(self.boot_id) => (Boot::Same, Offset::ZERO),
            None => (Boot::Unknown, Offset::ZERO),
        }
    }

    /// Exclusive end of what was durable of a partition when the last run ended: what is lost where its
    /// directory is missing. `None` where nothing is known of any, as the recovery points are gone.
    #[must_use]
    pub fn durable_end(&self, partition: &TopicPartition) -> Option<Offset> {
        match self.last_run(&partition.to_string()) {
            (Boot::Unknown, _) if self.last_boot.is_none() => None,
            (_, end) => Some(end),
        }
    }

    /// Whether the broker ran on this directory before in this boot.
    pub(crate) fn ran_in_this_boot(&self) -> bool {
        self.last_boot
            .is_none_or(|last_boot| last_boot == self.boot_id)
    }

    /// Notes a partition's recovery point for the next write of the table.
    pub(crate) fn set_recovery_point(&self, name: &str, offset: Offset) {
        let point = RecoveryPoint {
            offset,
            boot_id: self.boot_id,
        };
        let mut points = self.lock_points();
        points.changed |= points.table.set(name, point);
    }

    /// Notes that a new partition starts at offset 0; durably where the file may hold the point of a
    /// namesake that was deleted: a start would look for all that lay below it.
    pub(crate) fn begin_recovery_point(&self, name: &str) -> Result<(), StorageError> {
        let is_stale = {
            let points = self.lock_points();
            let known = points.table.get(name);
            points.has_forgotten || known.is_some_and(|point| point.offset > Offset::ZERO)
        };
        self.set_recovery_point(name, Offset::ZERO);
        if is_stale {
            self.write_recovery_points()?;
        }
        Ok(())
    }

    pub(crate) fn recovery_point(&self, name: &str) -> Option<Offset> {
        self.lock_points().table.get(name).map(|point| point.offset)
    }

    /// Lowers a recovery point durably before bytes below it change. Waits for the disk.
    pub(crate) fn lower_recovery_point(
        &self,
        name: &str,
        offset: Offset,
    ) -> Result<(), StorageError> {
        let lower = self
            .lock_points()
            .table
            .get(name)
            .is_some_and(|point| point.offset > offset);
        if lower {
            self.set_recovery_point(name, offset);
            self.write_recovery_points()?;
        }
        Ok(())
    }

    pub(crate) fn forget_recovery_point(&self, name: &str) {
        let mut points = self.lock_points();
        points.table.remove(name);
        points.changed = true;
        points.has_forgotten = true;
    }

    /// Forgets the recovery points of partitions that are about to be deleted, durably: a namesake
    /// whose directory is not there yet is new then, and not lost. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; the partitions can be deleted all the same.
    pub fn forget_recovery_points<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), StorageError> {
        for partition in partitions {
            self.forget_recovery_point(&partition.to_string());
        }
        self.write_recovery_points()
    }

    /// Writes the recovery points of all partitions if they changed. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; the old ones stay, which are lower.
    pub fn write_recovery_points(&self) -> Result<(), StorageError> {
        let mut points = self.lock_points();
        if !points.changed {
            return Ok(());
        }
        self.with_reserve(|| points.table.store(&*self.io, &self.path))
            .map_err(|error| StorageError::io("write recovery points in", &self.path, error))?;
        points.changed = false;
        points.has_forgotten = false;
        Ok(())
    }

    /// Asks for a flush of every dirty partition, finishes sealed segments and writes the recovery
    /// points, as the background thread does on each tick. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says of the recovery points.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        self.background.tick(self)
    }

    /// Flushes every dirty partition on this thread. Waits for the disk.
    pub(crate) fn flush_dirty(&self) {
        for log in self.background.dirty_logs() {
            // A failure takes that partition offline, which its observer is told.
            let _ = log.flush();
        }
    }

    /// Ends the background threads without a clean shutdown: the next start recovers.
    pub fn stop(&self) {
        self.flusher.stop();
        self.background.stop();
        self.reclaimer.stop();
    }

    /// Ends the background threads and writes the clean-shutdown marker for the partitions that
    /// were closed, by name of their directory, as [`PartitionLog::close`] returned them.
    /// Waits for the disk.
    ///
    /// # Errors
    /// What the disk says: the next start recovers then.
    pub fn shut_down(
        &self,
        broker_epoch: i64,
        closed: &[(TopicPartition, ClosedLog)],
    ) -> Result<(), StorageError> {
        self.stop();
        for (partition, log) in closed {
            self.set_recovery_point(&partition.to_string(), log.log_end);
        }
        self.write_recovery_points()?;
        let partitions = closed.iter().map(|(partition, log)| {
            let entry = CleanPartition {
                log_start: log.log_start,
                log_end: log.log_end,
                leader_epoch: log.leader_epoch,
            };
            (partition.to_string(), entry)
        });
        let marker = CleanShutdown {
            broker_epoch,
            partitions: partitions.collect(),
        };
        self.with_reserve(|| marker.store(&*self.io, &self.path))
            .map_err(|error| StorageError::io("write the marker in", &self.path, error))
    }

    /// Removes what a crash left of deleted partitions.
    fn remove_deleted_later(&self) -> Result<(), StorageError> {
        let entries = self
            .io
            .list_dir(&self.path)
            .map_err(|error| StorageError::io("list", &self.path, error))?;
        for entry in entries {
            let name = entry.name.to_string_lossy().into_owned();
            if entry.is_dir && name.ends_with(DELETED_SUFFIX) {
                self.background.remove_later(self.path.join(name));
            }
        }
        Ok(())
    }

    /// Reads this kernel's boot id.
    ///
    /// # Errors
    /// What the system says; `InvalidData` for a text that is no UUID.
    pub fn read_boot_id(io: &dyn LogIo) -> io::Result<BootId> {
        let file = io.open(Path::new("/proc/sys/kernel/random/boot_id"), OpenMode::Read)?;
        let mut text = [0; 64];
        let length = file.read_at(&mut text, 0)?;
        let text = text.get(..length).unwrap_or_default();
        BootId::from_text(&String::from_utf8_lossy(text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "boot id is no UUID"))
    }

    pub(crate) fn wait_compaction_turn(&self) -> MutexGuard<'_, ()> {
        self.compaction_turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_points(&self) -> MutexGuard<'_, Points> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        self.stop();
    }
}

/// End of the name of a deleted partition's directory, as in Kafka.
pub const DELETED_SUFFIX: &str = "-delete";

/// A damaged hint about the last run is as good as none: everything is checked then.
fn tolerate<T>(loaded: Result<Option<T>, LoadError>) -> Result<Option<T>, StorageError> {
    match loaded {
        Ok(loaded) => Ok(loaded),
        Err(LoadError::Io { path, source }) => Err(StorageError::io("read", &path, source)),
        Err(error) => {
            tracing::error!(%error, "file is not believed, partitions are recovered without it");
            Ok(None)
        }
    }
}

/// A partition's log by name of its directory, in messages.
impl std::fmt::Display for PartitionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.partition().fmt(f)
    }
}

/// Notes in the table that it is of this boot from now on, so that a partition which is created
/// before its next write is known to be, too. Partitions that are not in it are of the boot before,
/// and entered as such; where that is not known nothing is noted. True when the table changed.
fn enter_boot(
    io: &dyn LogIo,
    path: &Path,
    table: &mut RecoveryPoints,
    boot_id: BootId,
) -> io::Result<bool> {
    if table.boot_id() == Some(boot_id) {
        return Ok(false);
    }
    let entries = io.list_dir(path)?;
    let unlisted = entries
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| entry.name.to_str())
        .filter(|name| TopicPartition::from_directory_name(name).is_some())
        .filter(|name| table.get(name).is_none())
        .map(str::to_owned)
        .collect::<Vec<_>>();
    match table.boot_id() {
        Some(before) => {
            for name in unlisted {
                let point = RecoveryPoint {
                    offset: Offset::ZERO,
                    boot_id: before,
                };
                table.set(&name, point);
            }
        }
        None if unlisted.is_empty() => {}
        None => return Ok(false),
    }
    Ok(table.set_boot_id(boot_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::MemoryIo;

    const DIR: &str = "/data";

    fn open(io: &MemoryIo, boot: u8) -> Arc<DataDirectory> {
        let limits = LogLimits {
            flush_threads_max: 0,
            ..LogLimits::default()
        };
        DataDirectory::open(
            Arc::new(io.clone()),
            Path::new(DIR),
            limits,
            BootId([boot; 16]),
        )
        .unwrap()
    }

    /// Directories that are no partitions, such as the metadata log's, once kept the boot from being
    /// noted: after a power cut in the first second a new partition passed for one of the same boot,
    /// and the zeros that the cut left in it for corruption.
    #[test]
    fn a_partition_created_since_the_last_checkpoint_is_of_the_boot_that_created_it() {
        let io = MemoryIo::new();
        io.create_dir_all(&Path::new(DIR).join("metadata")).unwrap();
        drop(open(&io, 1));
        io.create_dir_all(&Path::new(DIR).join("flights-0"))
            .unwrap();
        assert_eq!(open(&io.fork(), 1).last_run("flights-0").0, Boot::Same);
        assert_eq!(open(&io, 2).last_run("flights-0").0, Boot::Other);
    }
}
