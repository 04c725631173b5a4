//! [`Reclaimer`]: gives the blocks of removed files back little by little.
//!
//! A file system that frees many blocks at once keeps its journal, and every flush that waits for it, busy
//! for long. Where the blocks of replaced segments went at once, the p99 of a producer beside a compaction was
//! 2.56 times what it was without one; cut by [`STEP_BYTES`] every [`PAUSE`] it is 1.60 times (ext4 mounted with
//! `discard`; `cargo xtask soak compaction`, docs/testing.md). RocksDB's delete scheduler does the same
//! (`bytes_max_delete_chunk`).

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{context::DataDirectory, io::LogFile};

/// Bytes freed at once.
const STEP_BYTES: u64 = 4 << 20;
/// Time for others between two steps: at most 400 MiB are freed a second.
const PAUSE: Duration = Duration::from_millis(10);
/// With more files than this waiting there is no pause.
const WAITING_MAX: usize = 64;

/// Files without a name that nobody reads any more, and the thread that cuts them down.
#[derive(Debug, Default)]
pub(crate) struct Reclaimer {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    files: VecDeque<Arc<dyn LogFile>>,
    is_stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Work {
    /// Whether there is time for others.
    fn may_pause(&self) -> bool {
        !self.is_stopped && self.files.len() <= WAITING_MAX
    }
}

impl Reclaimer {
    pub(crate) fn start(self: &Arc<Self>, directory: &Arc<DataDirectory>) -> io::Result<()> {
        let reclaimer = Arc::clone(self);
        let directory = Arc::downgrade(directory);
        let thread = thread::Builder::new()
            .name("log-reclaim".to_owned())
            .spawn(move || reclaimer.run(&directory))?;
        self.lock().thread = Some(thread);
        Ok(())
    }

    /// Takes the last handle of a file whose name is gone, durably. Without a thread the blocks go with
    /// the handle, at once.
    pub(crate) fn take(&self, file: Arc<dyn LogFile>) {
        let mut work = self.lock();
        if work.is_stopped || work.thread.is_none() {
            drop(work);
            drop(file);
            return;
        }
        work.files.push_back(file);
        drop(work);
        self.changed.notify_all();
    }

    fn run(&self, directory: &Weak<DataDirectory>) {
        let is_full = || directory.upgrade().is_none_or(|open| open.is_full());
        while let Some(file) = self.next() {
            self.cut_down(&*file, is_full);
        }
    }

    /// Frees a file step by step. What is left when it is stopped, or where a step fails, goes with the
    /// handle.
    fn cut_down(&self, file: &dyn LogFile, is_full: impl Fn() -> bool) {
        let mut left = file.len().unwrap_or(0);
        while left > 0 {
            left = left.saturating_sub(STEP_BYTES);
            if file.set_len(left).is_err() || !(is_full() || self.pause()) {
                return;
            }
        }
    }

    /// Waits for the next file; `None` once stopped.
    fn next(&self) -> Option<Arc<dyn LogFile>> {
        let mut work = self.lock();
        loop {
            if work.is_stopped {
                return None;
            }
            if let Some(file) = work.files.pop_front() {
                return Some(file);
            }
            let waited = self.changed.wait(work);
            work = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Leaves the disk to others, unless too much waits; false once stopped.
    fn pause(&self) -> bool {
        let until = Instant::now() + PAUSE;
        let mut work = self.lock();
        while work.may_pause() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(work, left);
            work = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !work.is_stopped
    }

    /// Ends the thread and waits for it. What it had yet to do goes at once.
    pub(crate) fn stop(&self) {
        let (thread, files) = {
            let mut work = self.lock();
            work.is_stopped = true;
            (work.thread.take(), std::mem::take(&mut work.files))
        };
        self.changed.notify_all();
        drop(files);
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic there was reported when it happened; the blocks go with the handles.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::{LogIo, MemoryIo, OpenMode};

    const STEPS: u64 = 3;

    fn removed_file() -> Arc<dyn LogFile> {
        let (io, path) = (MemoryIo::new(), Path::new("/gone"));
        let file = io.open(path, OpenMode::CreateNew).unwrap();
        file.set_len(STEPS * STEP_BYTES - 1).unwrap();
        io.remove_file(path).unwrap();
        file
    }

    #[test]
    fn a_file_is_cut_to_nothing_with_pauses_and_at_once_when_the_disk_is_full() {
        let reclaimer = Reclaimer::default();
        let file = removed_file();
        let started = Instant::now();
        reclaimer.cut_down(&*file, || false);
        assert_eq!(file.len().unwrap(), 0);
        let pauses = u32::try_from(STEPS).unwrap();
        assert!(
            started.elapsed() >= PAUSE * pauses,
            "{:?}",
            started.elapsed()
        );

        let file = removed_file();
        // A pause would end it.
        reclaimer.stop();
        reclaimer.cut_down(&*file, || true);
        assert_eq!(file.len().unwrap(), 0);
    }

    #[test]
    fn with_many_files_waiting_there_is_no_pause() {
        let mut work = Work::default();
        let files = std::iter::repeat_n(removed_file(), WAITING_MAX);
        work.files.extend(files);
        assert!(work.may_pause());
        work.files.push_back(removed_file());
        assert!(!work.may_pause());
    }

    #[test]
    fn after_a_stop_no_further_step_is_made_and_nothing_waits() {
        let reclaimer = Reclaimer::default();
        reclaimer.stop();
        let file = removed_file();
        reclaimer.cut_down(&*file, || false);
        assert_eq!(file.len().unwrap(), (STEPS - 1) * STEP_BYTES - 1);
        reclaimer.take(Arc::clone(&file));
        assert_eq!(Arc::strong_count(&file), 1);
    }
}
