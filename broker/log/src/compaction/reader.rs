//! [`SegmentReader`]: the batches of a sealed segment in order, read in pieces and checked.
//!
//! It reads the file instead of mapping it: a map of a gigabyte would count as memory of the process
//! and push what consumers read out of theirs.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use millstream_proto::record::{Batch, BatchHeader, HEADER_BYTES};

use crate::{
    epoch::EpochHistory,
    error::StorageError,
    io::LogFile,
    manifest::ManifestEntry,
    segment_meta::{NO_TIMESTAMP, SegmentMeta},
    walk::Continuity,
};

/// Bytes read at once.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// What is known of the segment that is read.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) path: PathBuf,
    pub(crate) meta: SegmentMeta,
    /// How it was sealed, where the manifest has it.
    pub(crate) sealed: Option<ManifestEntry>,
    /// Where offsets may be missing.
    pub(crate) continuity: Continuity,
    pub(crate) epochs: &'a EpochHistory,
}

/// Reads a segment's batches.
#[derive(Debug)]
pub(crate) struct SegmentReader<'a> {
    file: Arc<dyn LogFile>,
    known: Known<'a>,
    /// Where the next batch starts.
    position: u64,
    /// What was read and not handed out.
    piece: Bytes,
    /// CRC-32 of what was handed out.
    checksum: crc32fast::Hasher,
    /// Bytes read since they were last asked for.
    bytes_read: u64,
}

impl<'a> SegmentReader<'a> {
    /// Reads a segment from its start.
    pub(crate) fn new(file: Arc<dyn LogFile>, known: Known<'a>) -> Self {
        Self {
            file,
            known,
            position: 0,
            piece: Bytes::new(),
            checksum: crc32fast::Hasher::new(),
            bytes_read: 0,
        }
    }

    /// The next batch, its place, its CRC and its header checked; `None` at the end of what is the
    /// file that was sealed.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] for what is not the next batch, and at the end of a file that is
    /// another one; what the disk says.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>, StorageError> {
        if self.is_at_end() {
            return self.check_identity().map(|()| None);
        }
        let size_bytes = self.batch_size()?;
        let batch = Batch::parse(self.piece.split_to(size_bytes))
            .and_then(|batch| batch.verify_crc().map(|()| batch))
            .map_err(|error| self.corrupt(error.to_string()))?;
        let epoch = self.known.epochs.epoch_at(batch.base_offset());
        self.known
            .continuity
            .check(&batch, epoch)
            .map_err(|reason| self.corrupt(reason))?;
        self.checksum.update(batch.bytes());
        self.position += u64::try_from(size_bytes).unwrap_or(u64::MAX);
        Ok(Some(batch))
    }

    /// All batches are valid: those of another partition would be, too.
    fn check_identity(&self) -> Result<(), StorageError> {
        let found = self.checksum.clone().finalize();
        match self.known.sealed.and_then(|entry| entry.mismatch(found)) {
            None => Ok(()),
            Some(reason) => Err(StorageError::Corrupt {
                file: self.known.path.clone(),
                position: 0,
                reason,
            }),
        }
    }

    /// Whether the batch that was handed out is the segment's last.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.position >= self.known.meta.size_bytes
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
        if size_bytes > PIECE_BYTES {
            self.check_follower(&header)?;
        }
        if self.piece.len() < size_bytes {
            self.read_piece(PIECE_BYTES.max(size_bytes))?;
        }
        if self.piece.len() < size_bytes {
            return Err(self.corrupt(self.too_long(size_bytes)));
        }
        Ok(size_bytes)
    }

    /// No CRC covers a batch's length: before a large one is read, another one must begin behind it, or
    /// the segment end.
    fn check_follower(&self, header: &BatchHeader) -> Result<(), StorageError> {
        let size_bytes = header.size_bytes();
        let next = self
            .position
            .saturating_add(u64::try_from(size_bytes).unwrap_or(u64::MAX));
        if next == self.known.meta.size_bytes {
            return Ok(());
        }
        let mut bytes = [0; HEADER_BYTES];
        if next > self.known.meta.size_bytes || self.file.read_exact_at(&mut bytes, next).is_err() {
            return Err(self.corrupt(self.too_long(size_bytes)));
        }
        match BatchHeader::decode(&bytes) {
            Ok(follower) if follower.base_offset() > header.last_offset() => Ok(()),
            _ => Err(self.corrupt(format!("no batch follows one of {size_bytes} bytes"))),
        }
    }

    fn too_long(&self, size_bytes: usize) -> String {
        format!(
            "batch of {size_bytes} bytes ends after the segment's {}",
            self.known.meta.size_bytes
        )
    }

    fn read_piece(&mut self, wanted: usize) -> Result<(), StorageError> {
        let end = self.known.meta.size_bytes;
        let left = usize::try_from(end - self.position).unwrap_or(usize::MAX);
        let mut piece = vec![0; wanted.min(left)];
        self.file
            .read_exact_at(&mut piece, self.position)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    self.corrupt(format!("the file ends before byte {end}"))
                }
                _ => StorageError::io("read", &self.known.path, error),
            })?;
        self.bytes_read += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.piece = piece.into();
        Ok(())
    }

    pub(crate) fn corrupt(&self, reason: String) -> StorageError {
        StorageError::Corrupt {
            file: self.known.path.clone(),
            position: self.position,
            reason,
        }
    }
}

/// Timestamp of the first batch at the start of a segment's file, in milliseconds, where it has one.
pub(crate) fn first_timestamp(file: &dyn LogFile) -> Option<i64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let header = BatchHeader::decode(&header).ok()?;
    Some(header.max_timestamp()).filter(|timestamp| *timestamp != NO_TIMESTAMP)
}
