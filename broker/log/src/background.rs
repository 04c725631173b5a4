//! [`Background`]: the thread that bounds how long anything stays undone.
//!
//! It sleeps without a timeout while nothing is dirty, so an idle directory costs nothing.

use std::{
    collections::VecDeque,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    config::LogLimits, context::DataDirectory, error::StorageError, io::LogIo,
    partition::PartitionLog,
};

/// Pause between two looks at a full disk.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Dirty partitions, directories to remove, and the thread that sees to them.
#[derive(Debug)]
pub(crate) struct Background {
    tick: Duration,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// Partitions with something unflushed or above their recovery point.
    dirty: Vec<Weak<PartitionLog>>,
    removals: VecDeque<PathBuf>,
    /// When the next tick is due; `None` while there is nothing to do.
    due: Option<Instant>,
    stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn new(limits: &LogLimits) -> Self {
        // Two ticks fit into each bound: what happens right after one is seen by the next.
        let tick_ms = limits
            .flush_interval_ms
            .min(limits.recovery_point_interval_ms)
            / 2;
        Self {
            tick: Duration::from_millis(tick_ms.max(1)),
            work: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn start(self: &Arc<Self>, directory: &Arc<DataDirectory>) -> io::Result<()> {
        let background = Arc::clone(self);
        let directory = Arc::downgrade(directory);
        let thread = thread::Builder::new()
            .name("log-background".to_owned())
            .spawn(move || background.run(&directory))?;
        self.lock().thread = Some(thread);
        Ok(())
    }

    /// Lists a partition that became dirty; seen to within `within`, at the latest a tick from now.
    pub(crate) fn add_dirty(&self, log: Weak<PartitionLog>, within: Option<Duration>) {
        self.lock().dirty.push(log);
        self.wake_within(within.map_or(self.tick, |within| within.min(self.tick)));
    }

    /// Has the next tick happen now.
    pub(crate) fn wake(&self) {
        self.wake_within(Duration::ZERO);
    }

    /// Has the next tick happen within so long.
    pub(crate) fn wake_within(&self, within: Duration) {
        let due = Instant::now() + within;
        let mut work = self.lock();
        if work.due.is_none_or(|present| due < present) {
            work.due = Some(due);
            drop(work);
            self.changed.notify_all();
        }
    }

    /// Removes a file, or a directory and its files, some time later.
    pub(crate) fn remove_later(&self, path: PathBuf) {
        self.lock().removals.push_back(path);
        self.wake();
    }

    pub(crate) fn dirty_logs(&self) -> Vec<Arc<PartitionLog>> {
        let work = self.lock();
        work.dirty.iter().filter_map(Weak::upgrade).collect()
    }

    fn run(&self, directory: &Weak<DataDirectory>) {
        while self.wait() {
            let Some(directory) = directory.upgrade() else {
                return;
            };
            if let Err(error) = self.tick(&directory) {
                tracing::warn!(%error, "recovery points lag behind");
            }
        }
    }

    /// Waits until a tick is due; false once stopped.
    fn wait(&self) -> bool {
        let mut work = self.lock();
        loop {
            if work.stopped {
                return false;
            }
            let now = Instant::now();
            match work.due {
                Some(due) if due <= now => {
                    work.due = None;
                    return true;
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(work, due - now);
                    work = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    let waited = self.changed.wait(work);
                    work = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// One round over everything that waits.
    pub(crate) fn tick(&self, directory: &DataDirectory) -> Result<(), StorageError> {
        let (dirty, removals) = {
            let mut work = self.lock();
            (mem::take(&mut work.dirty), mem::take(&mut work.removals))
        };
        let dirty: Vec<_> = dirty.iter().filter_map(Weak::upgrade).collect();
        let settled = dirty
            .iter()
            .map(|log| log.checkpoint())
            .collect::<Vec<bool>>();
        let written = directory.write_recovery_points();
        for (log, settled) in dirty.iter().zip(settled) {
            if written.is_ok() {
                log.publish_recovery_point();
            }
            if !(settled && written.is_ok()) {
                self.keep_dirty(log);
            }
        }
        for path in removals {
            remove(&**directory.io(), &path);
        }
        if directory.wants_probe() && !directory.probe_space() {
            self.wake_within(PROBE_INTERVAL);
        }
        written
    }

    fn keep_dirty(&self, log: &PartitionLog) {
        if log.is_serving() {
            if log.mark_listed() {
                self.lock().dirty.push(log.weak());
            }
            self.wake_within(self.tick);
        }
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut work = self.lock();
            work.stopped = true;
            work.thread.take()
        };
        self.changed.notify_all();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic there was reported when it happened; the log is right without the thread.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a file, or a directory without subdirectories. What fails is left to the next start.
fn remove(io: &dyn LogIo, path: &Path) {
    let removed = io.metadata(path).and_then(|metadata| {
        if !metadata.is_dir {
            return io.remove_file(path);
        }
        for entry in io.list_dir(path)? {
            io.remove_file(&path.join(&entry.name))?;
        }
        io.remove_dir(path)
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove what was deleted");
        }
        _ => {}
    }
}
