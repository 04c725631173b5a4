//! [`Record`] and [`Header`]: one record as a reader gets it.

use std::borrow::Cow;

use bytes::Bytes;

use crate::Offset;

/// One record. Its bytes share the allocation of the batch it came from (or, compressed, of a
/// stretch of its decompressed payload).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition.
    pub offset: Offset,
    /// Milliseconds since the epoch; -1 for none.
    pub timestamp: i64,
    /// Null and empty differ.
    pub key: Option<Bytes>,
    /// Null (a tombstone in compacted topics) and empty differ.
    pub value: Option<Bytes>,
    /// In the order written; a key may occur more than once.
    pub headers: Vec<Header>,
}

/// One header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// UTF-8 by the protocol, but taken as it stands: a broken key of one producer must not stop
    /// its consumers.
    pub key: Bytes,
    /// Null and empty differ.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// The key as text; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}
