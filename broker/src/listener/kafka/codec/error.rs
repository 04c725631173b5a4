//! [`DecodeError`]: why bytes are no request. Nothing of the bytes is quoted but numbers.

/// Why a request's header or body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No such API, or one that is not served.
    #[error("api key {api_key} is not served")]
    UnknownApi {
        /// Of the request.
        api_key: i16,
    },
    /// The API is served, in other versions.
    #[error("{api} version {version} is not served, {first} to {last} are")]
    UnsupportedVersion {
        /// Kafka's name of the API.
        api: &'static str,
        /// Of the request.
        version: i16,
        /// First version that is served.
        first: i16,
        /// Last version that is served.
        last: i16,
    },
    /// The bytes are not what the layout says.
    #[error("{what} version {version} is malformed: field {field}, byte {at}: {problem}")]
    Malformed {
        /// Kafka's name of the API, or `RequestHeader`.
        what: &'static str,
        /// Of the request, or of the header.
        version: i16,
        /// Field that was being read.
        field: &'static str,
        /// Where reading stopped, from the start of the body or header.
        at: usize,
        /// What is wrong there.
        problem: Problem,
    },
    /// The lengths are right, but not the content: a string that is not UTF-8.
    #[error("{api} version {version} does not decode: {reason}")]
    Undecodable {
        /// Kafka's name of the API.
        api: &'static str,
        /// Of the request.
        version: i16,
        /// What the decoder says.
        reason: String,
    },
}

/// What is wrong at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes end too early.
    #[error("needs {needed} bytes, has {left}")]
    Truncated {
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// More elements than bytes for them.
    #[error("has {count} elements of at least {size_min} bytes each, and {left} bytes for them")]
    CountBeyondBytes {
        /// Elements announced.
        count: usize,
        /// Fewest bytes of one.
        size_min: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// More elements than [`Limits::elements_max`](super::Limits::elements_max) allows.
    #[error("has {count} elements, {allowed} more are allowed in this request")]
    TooManyElements {
        /// Elements announced.
        count: usize,
        /// How many were still allowed.
        allowed: usize,
    },
    /// More tagged fields that no layout knows than
    /// [`Limits::unknown_tagged_fields_max`](super::Limits::unknown_tagged_fields_max) allows in a
    /// request, or more than a header may have.
    #[error("has more unknown tagged fields than are allowed")]
    TooManyTaggedFields,
    /// A length below -1.
    #[error("length {length} is negative")]
    NegativeLength {
        /// As read.
        length: i32,
    },
    /// Null where a value must be.
    #[error("is null, which it may not be in this version")]
    Null,
    /// Before a struct that may be null: neither 1, it is there, nor -1, it is null.
    #[error("struct is neither there (1) nor null (-1), but {found}")]
    StructMarker {
        /// As read.
        found: i8,
    },
    /// More than 32 bits.
    #[error("varint does not end within 32 bits")]
    VarintTooLong,
    /// Tags that do not ascend, or one twice.
    #[error("tag {tag} does not ascend")]
    TagOrder {
        /// As read.
        tag: u32,
    },
    /// A tag that other versions of the request have.
    #[error("tag {tag} does not exist in this version")]
    TagNotInVersion {
        /// As read.
        tag: u32,
    },
    /// A tagged field that is not as long as it says.
    #[error("tagged field says {size} bytes, takes {taken}")]
    TaggedSize {
        /// As announced.
        size: usize,
        /// As read.
        taken: usize,
    },
    /// A string that is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
}
