//! [`Batch`]: one whole batch that owns its bytes (shared, cheap to clone).

use std::ops::Deref;

use bytes::Bytes;

use super::{BatchError, BatchHeader, BatchView, RecordError, RecordIter, RecordScan};

/// One whole batch that owns its bytes. Dereferences to its [`BatchHeader`].
#[derive(Debug, Clone)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes bytes that are exactly one batch. The CRC is not checked here.
    ///
    /// # Errors
    /// As [`BatchView::parse_only`].
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = *BatchView::parse_only(&bytes)?.header();
        Ok(Self { header, bytes })
    }

    /// The decoded header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Gives the bytes back.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Checks the CRC-32C.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        BatchView::parse(&self.bytes)?.verify_crc()
    }

    /// Reads the records lazily, decompressing at most `output_bytes_max` bytes in all.
    ///
    /// # Errors
    /// [`RecordError::Compression`] where the codec is compiled out.
    pub fn records(&self, output_bytes_max: usize) -> Result<RecordIter, RecordError> {
        RecordIter::of(self.header, self.bytes.clone(), output_bytes_max)
    }

    /// Walks the records without holding any, decompressing at most `output_bytes_max` bytes in all.
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn scan(&self, output_bytes_max: usize) -> Result<RecordScan, RecordError> {
        RecordScan::new(self, output_bytes_max)
    }
}

impl Deref for Batch {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}
