//! [`LogScan`]: the batches of a `.log` file in order, good and bad.

use std::{io, ops::Deref, path::Path, sync::Arc};

use bytes::Bytes;
use millstream_proto::record::{Batch, BatchError, BatchHeader, HEADER_BYTES};

use super::InspectError;
use crate::io::{LogFile, LogIo, OpenMode};

/// One batch and where it is. Dereferences to its [`Batch`].
#[derive(Debug, Clone)]
pub struct ScannedBatch {
    /// Where it starts, in bytes.
    pub position: u64,
    /// The batch.
    pub batch: Batch,
    /// What the check of its CRC says.
    pub crc: Result<(), BatchError>,
}

impl Deref for ScannedBatch {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

/// Reads a `.log` from its start. A batch with a wrong CRC is an item like any other; where the
/// bytes are no batch at all the scan ends with the reason and [`LogScan::position`].
#[derive(Debug)]
pub struct LogScan {
    file: Arc<dyn LogFile>,
    end: u64,
    position: u64,
    is_finished: bool,
}

impl LogScan {
    /// Opens a `.log` file.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(io: &dyn LogIo, path: &Path) -> Result<Self, InspectError> {
        let file = io
            .open(path, OpenMode::Read)
            .map_err(InspectError::at(path))?;
        let end = file.len().map_err(InspectError::at(path))?;
        Ok(Self {
            file,
            end,
            position: 0,
            is_finished: false,
        })
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Where the next batch starts, in bytes; after an error, where the bad bytes do.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn read_batch(&mut self) -> Result<ScannedBatch, ScanError> {
        let left = self.end - self.position;
        let mut header = [0; HEADER_BYTES];
        let found = self.file.read_at(&mut header, self.position)?;
        let header_bytes = header.get(..found).unwrap_or_default();
        let size = BatchHeader::decode(header_bytes)?.size_bytes();
        if size as u64 > left {
            let found = usize::try_from(left).unwrap_or(usize::MAX);
            return Err(BatchError::Truncated {
                expected: size,
                found,
            }
            .into());
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.position)?;
        let batch = Batch::parse(Bytes::from(bytes))?;
        let crc = batch.verify_crc();
        let position = self.position;
        self.position += size as u64;
        Ok(ScannedBatch {
            position,
            batch,
            crc,
        })
    }
}

/// Why a scan ends before the file does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The bytes are no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Iterator for LogScan {
    type Item = Result<ScannedBatch, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_finished || self.position >= self.end {
            return None;
        }
        let read = self.read_batch();
        self.is_finished = read.is_err();
        Some(read)
    }
}
