//! [`LogIo`]: the whole file-system seam of the broker.
//!
//! Everything that touches a disk goes through it: segments, indexes, checkpoints, metadata, the
//! lock. Implementations pass one conformance suite:
//!
//! - `disk`: the real file system.
//! - `memory`: two images, live and durable; a crash keeps the durable one and any subset of the rest.
//! - `fault`: wraps another one and injects ENOSPC, EIO, short and torn writes, delay.
//! - `recording`: wraps `disk` and records every operation, to rebuild crash images of a daemon.

#[cfg(test)]
mod conformance;
#[cfg(any(test, feature = "test-hooks"))]
mod dice;
mod disk;
#[cfg(any(test, feature = "test-hooks"))]
mod fault;
#[cfg(feature = "test-hooks")]
mod from_env;
#[cfg(any(test, feature = "test-hooks"))]
mod image;
#[cfg(any(test, feature = "test-hooks"))]
mod memory;
mod mmap;
#[cfg(any(test, feature = "test-hooks"))]
mod recording;
#[cfg(any(test, feature = "test-hooks"))]
mod trace;

pub use disk::DiskIo;
#[cfg(any(test, feature = "test-hooks"))]
pub use fault::{Action, FaultIo, Injection, Operation, Rule, When};
#[cfg(feature = "test-hooks")]
pub use from_env::from_env;
#[cfg(any(test, feature = "test-hooks"))]
pub use memory::MemoryIo;
pub use mmap::{Descriptor, Map, MapFault};
#[cfg(any(test, feature = "test-hooks"))]
pub use recording::RecordingIo;
#[cfg(any(test, feature = "test-hooks"))]
pub use trace::{Replay, Trace};

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file system as the log needs it. All paths are used as given; no implementation keeps a
/// current directory of its own.
pub trait LogIo: Send + Sync + fmt::Debug + 'static {
    /// Opens a file. New files get mode 0600. Durable only once its directory is synced.
    ///
    /// # Errors
    /// `NotFound` without `create`, `AlreadyExists` with [`OpenMode::CreateNew`], whatever the
    /// system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>>;

    /// Renames within one file system, replacing the target. Durable once both directories are
    /// synced.
    ///
    /// # Errors
    /// `NotFound` when the source is missing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name; open handles and maps stay valid.
    ///
    /// # Errors
    /// `NotFound` when it is missing.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory (mode 0700) and its missing parents.
    ///
    /// # Errors
    /// Whatever the system says; an existing directory is no error.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `DirectoryNotEmpty`.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory in order of name.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the directory's entries durable: creations, renames and removals in it.
    ///
    /// # Errors
    /// After an error nothing is known about what is durable: never retry as if it could succeed.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Kind and length of what is at the path.
    ///
    /// # Errors
    /// `NotFound`.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Total and available bytes of the file system that holds the path.
    ///
    /// # Errors
    /// Whatever the system says.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Takes an exclusive lock on the file, creating it, without waiting; `None` when another
    /// process holds it. Dropping the guard releases it.
    ///
    /// # Errors
    /// Whatever the system says of opening the file.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// The file system that the process is to use: the real one. (With the feature `test-hooks` the
/// environment may ask for more.)
///
/// # Errors
/// None without that feature.
#[cfg(not(feature = "test-hooks"))]
pub fn from_env() -> io::Result<Arc<dyn LogIo>> {
    Ok(Arc::new(DiskIo))
}

/// An open file. Positions are bytes from the start; there is no cursor.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// Writes all buffers one after another at `position` (`pwritev` until done).
    ///
    /// # Errors
    /// After an error any prefix may have been written.
    fn write_all_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `position`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Reads exactly `buffer.len()` bytes at `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        if self.read_at(buffer, position)? == buffer.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reserves blocks for bytes up to `length` without changing the file's length
    /// (`fallocate(KEEP_SIZE)`).
    ///
    /// # Errors
    /// `StorageFull` when the disk has no room; part may then stay reserved until
    /// [`LogFile::set_len`]. `Unsupported` where the file system cannot.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Sets the file's length, and releases blocks reserved beyond it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    ///
    /// # Errors
    /// Whatever the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the file's bytes and length durable (`fdatasync`); its name needs [`LogIo::sync_dir`].
    ///
    /// # Errors
    /// After an error the pages may be marked clean although they are not on disk: never retry as
    /// if it could succeed.
    fn sync_data(&self) -> io::Result<()>;

    /// Advice: the bytes written there may go to the disk now, which nobody waits for, so that a later
    /// [`LogFile::sync_data`] finds little to do. Makes nothing durable.
    fn begin_write_back(&self, _position: u64, _length: u64) {}

    /// Maps the bytes from 0 to `length` for reading. `length` must not pass the file's length.
    ///
    /// # Errors
    /// `InvalidInput` past the end of the file; whatever the system says.
    fn map(&self, length: u64) -> io::Result<Map>;

    /// The system's file, from which a socket can take bytes itself; `None` where there is none.
    fn descriptor(&self) -> Option<Descriptor> {
        None
    }

    /// Path under which the file was opened, for messages.
    fn path(&self) -> &Path;
}

/// How [`LogIo::open`] opens. Every mode may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, also for writing.
    Write,
    /// Also for writing, created empty when missing.
    Create,
    /// Also for writing, created; it must not exist.
    CreateNew,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name within the directory.
    pub name: PathBuf,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// What [`LogIo::metadata`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// What [`LogIo::space`] tells, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// Bytes that this process may still write.
    pub available: u64,
}

impl<T: LogIo + ?Sized> LogIo for Arc<T> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        (**self).open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        (**self).remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        (**self).create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        (**self).remove_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        (**self).list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        (**self).sync_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        (**self).metadata(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        (**self).space(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        (**self).try_lock(path)
    }
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Send + Sync + fmt::Debug {
    /// Writes who holds the lock into the file (text shown to whoever finds it taken).
    ///
    /// # Errors
    /// Whatever the system says.
    fn describe_holder(&mut self, text: &str) -> io::Result<()>;
}
