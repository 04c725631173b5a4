//! [`BatchError`] and [`RecordError`]: why bytes are no batch, and why a batch has no readable records;
//! [`RewriteError`]: why there is no other batch of them.

use super::{BuildError, CompressionError};

/// Why bytes are not one valid batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the batch does. At the end of a file: a torn write.
    #[error("batch needs {expected} bytes, found {found}")]
    Truncated {
        /// Bytes needed: of the whole batch where its length is known, else of the header.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// Bytes follow the batch where exactly one was expected.
    #[error("batch has {expected} bytes, found {found}")]
    TrailingBytes {
        /// Bytes of the batch.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The length field is smaller than a header.
    #[error("batch length is {found}, expected at least {expected}")]
    Length {
        /// The length field.
        found: i32,
        /// The smallest valid one.
        expected: i32,
    },
    /// Another format than v2.
    #[error("batch magic is {found}, expected 2")]
    Magic {
        /// The magic byte.
        found: i8,
    },
    /// The checksum does not match the bytes.
    #[error("batch crc is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// A header field has a value that no valid batch has.
    #[error("batch field {field} is {found}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: i64,
    },
    /// The codec number is not one of Kafka's.
    #[error("batch compression is {found}, expected 0 to 4")]
    UnknownCompression {
        /// Attribute bits 0-2.
        found: u8,
    },
}

/// Why the records of a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The batch itself is not valid.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The payload cannot be decompressed, or not within the limit.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The payload ends inside a record.
    #[error("record {index} ends after the batch's payload")]
    Truncated {
        /// Position of the record in the batch, from 0.
        index: u32,
    },
    /// A record is larger than the reader allows.
    #[error("record {index} has {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Position of the record in the batch, from 0.
        index: u32,
        /// Its length field.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A field of a record has a value that no valid record has.
    #[error("record {index} has an invalid {field}")]
    Field {
        /// Position of the record in the batch, from 0.
        index: u32,
        /// Name of the field.
        field: &'static str,
    },
    /// Bytes follow the last record.
    #[error("bytes follow the last of {count} records")]
    TrailingBytes {
        /// Records the batch says it has.
        count: u32,
    },
}

/// Why a batch cannot be made anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// Its records cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What it would become cannot be written.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl From<CompressionError> for RewriteError {
    fn from(error: CompressionError) -> Self {
        BuildError::from(error).into()
    }
}
