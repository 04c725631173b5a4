//! [`DiskReserve`]: the state "disk full", and the file that is given up in it.
//!
//! Appends are refused while the disk is full; metadata, checkpoints and deletions still need a few
//! blocks. A file that only reserves blocks is removed for them, and made anew before appends are
//! let in again. The state ends by itself: a probe looks at the free space.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::io::{LogIo, OpenMode};

/// Name of the reserve in the data directory.
pub const RESERVE_FILE: &str = "disk-reserve";
/// Free space, beside the reserve, at which appends are let in again.
const LEAVE_BYTES: u64 = 1 << 20;

/// The reserve and the state of one data directory's disk.
#[derive(Debug)]
pub(crate) struct DiskReserve {
    io: Arc<dyn LogIo>,
    directory: PathBuf,
    bytes: u64,
    reserve: Mutex<Reserve>,
    full: AtomicBool,
    pub(crate) full_count: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserve {
    /// Its blocks are reserved.
    Held,
    /// It was given up and is owed.
    GivenUp,
    /// The disk never had room for it, or the file system cannot reserve.
    Absent,
}

/// Whether an error means that the disk has no room.
pub(crate) fn is_full_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

impl DiskReserve {
    /// Makes the reserve where there is room for it.
    pub(crate) fn open(io: Arc<dyn LogIo>, directory: &Path, bytes: u64) -> Self {
        let reserve = Self {
            io,
            directory: directory.to_path_buf(),
            bytes,
            reserve: Mutex::new(Reserve::Absent),
            full: AtomicBool::new(false),
            full_count: AtomicU64::new(0),
        };
        if bytes > 0 {
            match reserve.make() {
                Ok(()) => *reserve.lock() = Reserve::Held,
                // It is owed, and made once there is room.
                Err(error) if is_full_error(&error) => *reserve.lock() = Reserve::GivenUp,
                Err(error) => tracing::warn!(
                    directory = %directory.display(), bytes, %error,
                    "no disk reserve: a full disk may also refuse metadata",
                ),
            }
        }
        reserve
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Enters the state; true when it was not full before.
    pub(crate) fn enter(&self) -> bool {
        let entered = !self.full.swap(true, Ordering::AcqRel);
        if entered {
            self.full_count.fetch_add(1, Ordering::Relaxed);
            tracing::error!(directory = %self.directory.display(), "disk is full, appends are refused");
        }
        entered
    }

    /// Gives the reserve up; false when there never was one. Where another write had it given up
    /// first there may be room now, too.
    pub(crate) fn give_up(&self) -> bool {
        let mut reserve = self.lock();
        if *reserve == Reserve::Held {
            // Nothing can be done about a failure here: the caller's retry tells whether there is room.
            let _ = self.io.remove_file(&self.path());
            *reserve = Reserve::GivenUp;
        }
        *reserve == Reserve::GivenUp
    }

    /// Enters the state and gives the reserve up. True when a write that found no room may try again.
    pub(crate) fn make_room(&self) -> bool {
        self.enter();
        self.give_up()
    }

    /// Looks whether there is room again: makes the reserve anew, then leaves the state. True when
    /// the disk is not full afterwards.
    pub(crate) fn probe(&self) -> bool {
        let mut reserve = self.lock();
        if !self.is_full() && *reserve != Reserve::GivenUp {
            return true;
        }
        let Ok(space) = self.io.space(&self.directory) else {
            return false;
        };
        let owed = if *reserve == Reserve::GivenUp {
            self.bytes
        } else {
            0
        };
        if space.available < owed.saturating_add(LEAVE_BYTES) {
            return false;
        }
        if owed > 0 {
            if self.make().is_err() {
                return false;
            }
            *reserve = Reserve::Held;
        }
        if self.full.swap(false, Ordering::AcqRel) {
            tracing::info!(
                directory = %self.directory.display(), available_bytes = space.available,
                "disk has room again, appends are accepted",
            );
        }
        true
    }

    /// Whether a probe may change anything.
    pub(crate) fn wants_probe(&self) -> bool {
        self.is_full() || *self.lock() == Reserve::GivenUp
    }

    fn make(&self) -> io::Result<()> {
        let made = self
            .io
            .open(&self.path(), OpenMode::Create)
            .and_then(|file| file.allocate(self.bytes));
        if made.is_err() {
            let _ = self.io.remove_file(&self.path());
        }
        made
    }

    fn path(&self) -> PathBuf {
        self.directory.join(RESERVE_FILE)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
