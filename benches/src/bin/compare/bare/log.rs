//! [`Log`]: a file that connections append to, and that one of them gets to the disk for all.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use rustix::fs::FallocateFlags;

/// Bytes of a file that are reserved at once, as our log does.
const RESERVED_BYTES: u64 = 16 << 20;

/// A file with blocks of the disk for what comes next, which is gone with this.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    written: Mutex<Written>,
    /// Bytes that are on disk.
    flushed: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Written {
    end: u64,
    reserved: u64,
}

impl Log {
    /// Creates an empty one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(path: PathBuf) -> Result<Self> {
        Ok(Self {
            file: File::create(&path)?,
            path,
            written: Mutex::default(),
            flushed: Mutex::default(),
        })
    }

    /// Appends bytes; returns where they end.
    ///
    /// # Errors
    /// What the disk says.
    pub fn append(&self, bytes: &[u8]) -> Result<u64> {
        let mut written = lock(&self.written);
        let end = written.end + bytes.len() as u64;
        if end > written.reserved {
            let flags = FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.file, flags, written.reserved, RESERVED_BYTES)?;
            written.reserved += RESERVED_BYTES;
        }
        self.file.write_all_at(bytes, written.end)?;
        written.end = end;
        Ok(end)
    }

    /// Sees to it that all up to there is on disk, by one flush for all that was appended until then.
    ///
    /// # Errors
    /// What the disk says.
    pub fn flush(&self, end: u64) -> Result<()> {
        let mut flushed = lock(&self.flushed);
        if *flushed < end {
            let covered = lock(&self.written).end;
            rustix::fs::fdatasync(&self.file)?;
            *flushed = covered;
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The directory goes too, later.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
