//! Conversion between wire messages and domain types: the only place where it happens.

use crate::{ErrorCode, TopicId, grpc::v1};

/// Builds the wire form of a refusal; retriability follows the code.
#[must_use]
pub fn error_to_wire(code: ErrorCode, message: String, hint: String) -> v1::Error {
    v1::Error {
        code: i32::from(code.number()),
        name: code.name().to_owned(),
        message,
        hint,
        retriable: code.is_retriable(),
        may_have_been_written: false,
        current_leader: None,
    }
}

/// Reads a topic id from its 16 wire bytes.
///
/// # Errors
/// The number of bytes found, when it is not 16.
pub fn topic_id_from_wire(bytes: &[u8]) -> Result<TopicId, usize> {
    <[u8; 16]>::try_from(bytes)
        .map(TopicId::from_bytes)
        .map_err(|_| bytes.len())
}
