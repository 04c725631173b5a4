//! [`DataDirectory`]: what all partition logs of one data directory share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{config::LogLimits, error::StorageError, io::LogIo};

/// One data directory: its file system, limits, tail cache, open files, flusher, disk state.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
}

impl DataDirectory {
    /// Starts serving a directory that the caller holds the lock of; starts its background threads.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(
        io: Arc<dyn LogIo>,
        path: &Path,
        limits: LogLimits,
    ) -> Result<Arc<Self>, StorageError> {
        let _ = (io, path, limits);
        todo!()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its file system.
    #[must_use]
    pub fn io(&self) -> &Arc<dyn LogIo> {
        todo!()
    }

    /// Whether appends are refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        todo!()
    }

    /// Runs a write that must succeed on a full disk (metadata, checkpoints, deletion): gives the
    /// reserve up and runs it again when the disk is full. Waits for the disk.
    ///
    /// # Errors
    /// What the second run says.
    pub fn with_reserve<T>(&self, write: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
        let _ = write;
        todo!()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> crate::metrics::LogFigures {
        todo!()
    }

    /// Writes the recovery points of all partitions now. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write_recovery_points(&self) -> Result<(), StorageError> {
        todo!()
    }

    /// Stops the background threads; partitions must be closed before.
    pub fn shutdown(&self) {
        todo!()
    }
}
