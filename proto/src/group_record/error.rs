//! [`GroupRecordError`]: why bytes are no record of the offsets topic, and why one cannot be written.

/// Why a key or a value cannot be read or written. Fields are named as in Kafka's schemas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupRecordError {
    /// A record without a key says nothing.
    #[error("group record has no key")]
    NoKey,
    /// The bytes end inside a field.
    #[error("{field} needs {expected} more bytes, found {found}")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Bytes needed.
        expected: usize,
        /// Bytes left.
        found: usize,
    },
    /// A length or count that is negative, or more than the bytes that are left could hold.
    #[error("{field} has length {found}, expected 0 to {max}")]
    Length {
        /// The field.
        field: &'static str,
        /// The length found.
        found: i64,
        /// The largest that the bytes left allow.
        max: usize,
    },
    /// A variable-length number of more than 32 bits.
    #[error("{field} is no number of 32 bits")]
    Varint {
        /// The field.
        field: &'static str,
    },
    /// Null where the schema has no null.
    #[error("{field} is null")]
    Null {
        /// The field.
        field: &'static str,
    },
    /// Text that is not UTF-8. It is not repeated, as it may be hostile.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// The field.
        field: &'static str,
    },
    /// A value that a newer broker wrote.
    #[error("{record} has version {found}, expected 0 to {max}")]
    UnsupportedVersion {
        /// The kind of record.
        record: &'static str,
        /// Its version.
        found: i16,
        /// The newest that is read.
        max: i16,
    },
    /// Text, bytes or a list longer than the format can say.
    #[error("{field} has length {found}, at most {max} can be written")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The longest.
        max: usize,
    },
}
