//! [`RecordingIo`]: does everything on the file system underneath and writes down what it did.
//!
//! An operation is recorded once it is done and before its caller knows: what a caller could rely
//! on is in the trace (`trace.rs`), which lies outside of the data directory. Operations on names
//! are done and recorded under one lock, so that the trace has them in the order they took effect.

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    path::{Path, absolute},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{DirEntry, LockGuard, LogFile, LogIo, Map, Metadata, OpenMode, Space, trace::Entry};

/// A file system that records every operation which changes or flushes something.
#[derive(Debug)]
pub struct RecordingIo<I> {
    inner: I,
    recorder: Arc<Recorder>,
}

#[derive(Debug)]
struct Recorder {
    trace: Mutex<TraceWriter>,
    /// Held while names change.
    names: Mutex<()>,
    files: AtomicU64,
}

#[derive(Debug)]
struct TraceWriter {
    file: File,
    entries: u64,
}

impl<I: LogIo> RecordingIo<I> {
    /// Records into a new file: one trace for one life of a process, outside of its data directory.
    ///
    /// # Errors
    /// `AlreadyExists` when there is such a file; whatever the system says.
    pub fn create(inner: I, trace: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(trace)?;
        let trace = Mutex::new(TraceWriter { file, entries: 0 });
        let recorder = Recorder {
            trace,
            names: Mutex::new(()),
            files: AtomicU64::new(0),
        };
        Ok(Self {
            inner,
            recorder: Arc::new(recorder),
        })
    }

    fn change_names(
        &self,
        entry: impl FnOnce() -> io::Result<Entry>,
        go: impl FnOnce(&I) -> io::Result<()>,
    ) -> io::Result<()> {
        let _names = lock(&self.recorder.names);
        go(&self.inner)?;
        self.recorder.record(&entry()?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Entries so far: what a sync that begins now covers.
    fn entries(&self) -> u64 {
        lock(&self.trace).entries
    }

    fn record(&self, entry: &Entry) -> io::Result<()> {
        let bytes = entry.encode();
        let mut trace = lock(&self.trace);
        trace.file.write_all(&bytes)?;
        trace.entries += 1;
        Ok(())
    }
}

impl<I: LogIo> LogIo for RecordingIo<I> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        if mode == OpenMode::Read {
            return self.inner.open(path, mode);
        }
        let _names = lock(&self.recorder.names);
        let existed = self.inner.metadata(path).is_ok();
        let inner = self.inner.open(path, mode)?;
        let id = self.recorder.files.fetch_add(1, Ordering::AcqRel);
        self.recorder.record(&Entry::Open {
            file: id,
            path: absolute(path)?,
            existed,
        })?;
        Ok(Arc::new(RecordingFile {
            inner,
            id,
            recorder: Arc::clone(&self.recorder),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = || {
            Ok(Entry::Rename {
                from: absolute(from)?,
                to: absolute(to)?,
            })
        };
        self.change_names(entry, |inner| inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let entry = || {
            Ok(Entry::RemoveFile {
                path: absolute(path)?,
            })
        };
        self.change_names(entry, |inner| inner.remove_file(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let _names = lock(&self.recorder.names);
        let whole = absolute(path)?;
        let exists = |path: &&Path| self.inner.metadata(path).is_ok();
        let existing = whole
            .ancestors()
            .find(exists)
            .unwrap_or(Path::new("/"))
            .to_path_buf();
        self.inner.create_dir_all(path)?;
        self.recorder.record(&Entry::CreateDir {
            path: whole,
            existing,
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let entry = || {
            Ok(Entry::RemoveDir {
                path: absolute(path)?,
            })
        };
        self.change_names(entry, |inner| inner.remove_dir(path))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let covers = self.recorder.entries();
        self.inner.sync_dir(path)?;
        self.recorder.record(&Entry::SyncDir {
            path: absolute(path)?,
            covers,
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.inner.metadata(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        // The lock file is created with it; who holds it is of no use after a crash.
        drop(self.open(path, OpenMode::Create)?);
        self.inner.try_lock(path)
    }
}

#[derive(Debug)]
struct RecordingFile {
    inner: Arc<dyn LogFile>,
    id: u64,
    recorder: Arc<Recorder>,
}

impl LogFile for RecordingFile {
    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let written = self.inner.write_all_at(buffers, position);
        let bytes = buffers
            .iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect();
        // Also when it failed: any part may have been written, which a crash image may show.
        self.recorder.record(&Entry::Write {
            file: self.id,
            position,
            bytes,
        })?;
        written
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.inner.allocate(length)?;
        self.recorder.record(&Entry::Allocate {
            file: self.id,
            length,
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)?;
        self.recorder.record(&Entry::SetLen {
            file: self.id,
            length,
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let covers = self.recorder.entries();
        self.inner.sync_data()?;
        self.recorder.record(&Entry::SyncData {
            file: self.id,
            covers,
        })
    }

    fn begin_write_back(&self, position: u64, length: u64) {
        self.inner.begin_write_back(position, length);
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.inner.map(length)
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }
}

#[cfg(test)]
mod tests;
