//! [`ConsumedRecord`]: a record as a consumer hands it out.

use bytes::Bytes;
use millstream_proto::{
    TopicName,
    record::{Header, TimestampType},
};

/// A record of the log.
///
/// Key, value and header values share the memory of the batch that they came in: keeping one small
/// value keeps its batch. Copy what is kept for long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: i32,
    /// Position in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp_ms: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Null and empty differ.
    pub key: Option<Bytes>,
    /// Null and empty differ.
    pub value: Option<Bytes>,
    /// In the order written; keys may repeat.
    pub headers: Vec<Header>,
}

impl ConsumedRecord {
    /// Decodes the value as JSON.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the value is null or not the JSON form of a `T`.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> crate::Result<T> {
        serde_json::from_slice(self.value.as_deref().unwrap_or(b"null"))
            .map_err(|error| crate::Error::config("value", error.to_string(), "JSON of the type"))
    }
}
