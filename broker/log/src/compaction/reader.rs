//! [`SegmentReader`]: the batches of a sealed segment in order, read in pieces and checked.
//!
//! It reads the file instead of mapping it: a map of a gigabyte would count as memory of the process
//! and push what consumers read out of theirs.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use millstream_proto::record::{Batch, BatchHeader, HEADER_BYTES};

use crate::{
    epoch::EpochHistory, error::StorageError, io::LogFile, segment_meta::SegmentMeta,
    walk::Continuity,
};

/// Bytes read at once.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// Reads a segment's batches.
#[derive(Debug)]
pub(crate) struct SegmentReader<'a> {
    file: Arc<dyn LogFile>,
    path: PathBuf,
    /// Where the next batch starts.
    position: u64,
    end: u64,
    /// What was read and not handed out.
    piece: Bytes,
    continuity: Continuity,
    epochs: &'a EpochHistory,
    /// Bytes read since they were last asked for.
    bytes_read: u64,
}

impl<'a> SegmentReader<'a> {
    /// Reads the segment `meta` from its start. `continuity` says where offsets may be missing.
    pub(crate) fn new(
        file: Arc<dyn LogFile>,
        path: PathBuf,
        meta: &SegmentMeta,
        continuity: Continuity,
        epochs: &'a EpochHistory,
    ) -> Self {
        Self {
            file,
            path,
            position: 0,
            end: meta.size_bytes,
            piece: Bytes::new(),
            continuity,
            epochs,
            bytes_read: 0,
        }
    }

    /// The next batch, its place, its CRC and its header checked; `None` at the end.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] for what is not the next batch; what the disk says.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>, StorageError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let size_bytes = self.batch_size()?;
        let batch = Batch::parse(self.piece.split_to(size_bytes))
            .and_then(|batch| batch.verify_crc().map(|()| batch))
            .map_err(|error| self.corrupt(error.to_string()))?;
        let epoch = self.epochs.epoch_at(batch.base_offset());
        self.continuity
            .check(&batch, epoch)
            .map_err(|reason| self.corrupt(reason))?;
        self.position += u64::try_from(size_bytes).unwrap_or(u64::MAX);
        Ok(Some(batch))
    }

    /// Whether the batch that was handed out is the segment's last.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Bytes read from the file since the last call.
    pub(crate) const fn take_bytes_read(&mut self) -> u64 {
        std::mem::replace(&mut self.bytes_read, 0)
    }

    /// Size of the next batch, all of it in the piece.
    fn batch_size(&mut self) -> Result<usize, StorageError> {
        if self.piece.len() < HEADER_BYTES {
            self.read_piece(PIECE_BYTES)?;
        }
        let header =
            BatchHeader::decode(&self.piece).map_err(|error| self.corrupt(error.to_string()))?;
        let size_bytes = header.size_bytes();
        if self.piece.len() < size_bytes {
            self.read_piece(PIECE_BYTES.max(size_bytes))?;
        }
        if self.piece.len() < size_bytes {
            let reason = format!(
                "batch of {size_bytes} bytes ends after the segment's {}",
                self.end
            );
            return Err(self.corrupt(reason));
        }
        Ok(size_bytes)
    }

    fn read_piece(&mut self, wanted: usize) -> Result<(), StorageError> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let mut piece = vec![0; wanted.min(left)];
        self.file
            .read_exact_at(&mut piece, self.position)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    self.corrupt(format!("the file ends before byte {}", self.end))
                }
                _ => StorageError::io("read", &self.path, error),
            })?;
        self.bytes_read += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.piece = piece.into();
        Ok(())
    }

    pub(crate) fn corrupt(&self, reason: String) -> StorageError {
        StorageError::Corrupt {
            file: self.path.clone(),
            position: self.position,
            reason,
        }
    }
}

/// Timestamp of the first batch at the start of a segment's file, in milliseconds.
pub(crate) fn first_timestamp(file: &dyn LogFile) -> Option<i64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let header = BatchHeader::decode(&header).ok()?;
    Some(header.max_timestamp())
}
