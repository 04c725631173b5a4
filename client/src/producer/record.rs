//! [`Record`]: what a producer is given to send.

use bytes::Bytes;
use millstream_proto::record::Header;

/// A record on its way to a topic.
///
/// ```
/// use millstream::Record;
///
/// let record = Record::to("flights").key("N14228").value("EWR-IAH").header("source", "csv");
/// assert_eq!(record.topic(), "flights");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Record {
    pub(crate) topic: Topic,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

/// A topic's name without an allocation per record where it is a constant or shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    Static(&'static str),
    Shared(std::sync::Arc<str>),
}

impl Topic {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl Record {
    /// A record for a topic whose name is a constant; key and value are null until set.
    pub const fn to(topic: &'static str) -> Self {
        Self::new(Topic::Static(topic))
    }

    /// A record for a topic whose name is known only at run time. Clone one `Arc<str>` for all
    /// records of a topic.
    pub fn to_topic(topic: impl Into<std::sync::Arc<str>>) -> Self {
        Self::new(Topic::Shared(topic.into()))
    }

    const fn new(topic: Topic) -> Self {
        Self {
            topic,
            partition: None,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// Sets the key, which decides the partition.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the value to the JSON form of `value`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when `value` has no JSON form.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> crate::Result<Self> {
        let json = serde_json::to_vec(value)
            .map_err(|error| crate::Error::config("value", error.to_string(), "a JSON value"))?;
        Ok(self.value(json))
    }

    /// Adds a header; keys may repeat.
    pub fn header(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(key, value));
        self
    }

    /// Adds headers as they are, null values among them.
    pub fn headers(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Names the partition, whatever the key says.
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the time of the record, in milliseconds since the epoch. Without it, the time of `send`.
    pub const fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic.as_str()
    }
}
