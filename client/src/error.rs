//! [`Error`]: everything that a call of this crate can fail with.
//!
//! Callers ask three questions: may the same call succeed later ([`Error::is_retriable`]), may its
//! records be in the log although it failed ([`Error::may_have_been_written`]), and what can a
//! human do about it ([`Error::hint`]).

use std::{borrow::Cow, sync::Arc, time::Duration};

use millstream_proto::{ErrorCode, grpc::v1};

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. Cheap enough to clone: every record of a failed batch gets one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No bootstrap address, or not the broker that leads a partition, accepts connections.
    #[error("cannot reach {addresses}: {reason}")]
    Unreachable {
        /// The addresses tried, separated by commas.
        addresses: String,
        /// What the last of them answered.
        reason: String,
    },
    /// A bootstrap address accepts connections, and what answers there is not the native API of a
    /// broker: another port of one, another program, or a broker that is just going away.
    #[error("{address} did not answer as the native API does: {reason}")]
    NotNative {
        /// The address.
        address: String,
        /// What came instead of an answer.
        reason: String,
    },
    /// A bootstrap address is not `host:port`.
    #[error("bootstrap address is {found:?}, expected host:port")]
    Address {
        /// The address found.
        found: String,
    },
    /// An option of a builder, or an argument, has a value that cannot work.
    #[error("{name} is {found}, expected {expected}")]
    Config {
        /// Name of the option or argument.
        name: &'static str,
        /// Its value.
        found: String,
        /// The values that work.
        expected: String,
    },
    /// The broker refused the request, or this item of it.
    #[error("{0}")]
    Broker(Box<BrokerError>),
    /// The deadline of a call or of a record's delivery has passed.
    #[error("{operation} did not finish within {after:?}{}", cause_suffix(cause.as_deref()))]
    TimedOut {
        /// What was being done.
        operation: &'static str,
        /// The time it was given.
        after: Duration,
        /// Whether records were on their way when time ran out.
        may_have_been_written: bool,
        /// The last failure before the deadline, where there was one.
        cause: Option<Arc<Error>>,
    },
    /// The connection broke while a request was under way.
    #[error("connection to {broker} broke: {reason}")]
    Disconnected {
        /// Address of the broker.
        broker: String,
        /// What the transport reported.
        reason: String,
        /// Whether records were on their way.
        may_have_been_written: bool,
    },
    /// Unacknowledged records filled `buffer_memory` for as long as `max_block` allows.
    #[error("producer queue of {buffer_memory_bytes} bytes stayed full for {max_block:?}")]
    QueueFull {
        /// Size of the queue.
        buffer_memory_bytes: usize,
        /// How long the call waited.
        max_block: Duration,
    },
    /// A record is larger than `record_bytes_max`.
    #[error("record has {found_bytes} bytes, at most {max_bytes} are allowed")]
    RecordTooLarge {
        /// Encoded size of the record.
        found_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The producer or consumer was closed, or its runtime is gone.
    #[error("{what} is closed")]
    Closed {
        /// What was closed.
        what: &'static str,
        /// Whether records were on their way.
        may_have_been_written: bool,
    },
    /// Bytes read from the log are not what was written. Reading of that partition stops until a seek.
    #[error("{topic}-{partition} is corrupt at offset {offset}: {reason}")]
    Corrupt {
        /// Name of the topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// First offset that cannot be read.
        offset: i64,
        /// What is wrong there.
        reason: String,
    },
    /// The wanted offset is not in the log, and the reset policy is to fail.
    #[error(
        "offset {offset} of {topic}-{partition} is out of range, expected {log_start_offset} to {high_watermark}"
    )]
    OffsetOutOfRange {
        /// Name of the topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
        /// First offset there is; -1 while unknown.
        log_start_offset: i64,
        /// The offset after the last one; -1 while unknown.
        high_watermark: i64,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}, expected 0 to {}", partitions.saturating_sub(1))]
    UnknownPartition {
        /// Name of the topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// Partitions of the topic.
        partitions: i32,
    },
    /// The consumer has no such partition assigned.
    #[error("{topic}-{partition} is not assigned to this consumer")]
    NotAssigned {
        /// Name of the topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The group has committed no offset of the partition, and there is no other place to start at.
    #[error("group {group} has no committed offset of {topic}-{partition}")]
    NoCommittedOffset {
        /// The group.
        group: String,
        /// Name of the topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The broker broke the protocol.
    #[error("broker {broker} sent an invalid answer: {reason}")]
    Protocol {
        /// Address of the broker.
        broker: String,
        /// What was invalid.
        reason: String,
    },
}

/// A refusal by the broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct BrokerError {
    /// The code, where this crate knows it; else [`ErrorCode::UnknownServerError`].
    pub code: ErrorCode,
    /// Kafka's name of the code as the broker sent it.
    pub name: String,
    /// What was wrong: what, found, expected.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// The same request may succeed later without a change.
    pub retriable: bool,
    /// The records of the request may be in the log although it failed.
    pub may_have_been_written: bool,
}

impl Error {
    /// Whether the same call may succeed later without a change.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broker(error) => error.retriable,
            Self::Unreachable { .. }
            | Self::NotNative { .. }
            | Self::TimedOut { .. }
            | Self::Disconnected { .. }
            | Self::QueueFull { .. } => true,
            _ => false,
        }
    }

    /// Whether the records of the call may be in the log although it failed.
    #[must_use]
    pub fn may_have_been_written(&self) -> bool {
        match self {
            Self::Broker(error) => error.may_have_been_written,
            Self::TimedOut {
                may_have_been_written,
                ..
            }
            | Self::Disconnected {
                may_have_been_written,
                ..
            }
            | Self::Closed {
                may_have_been_written,
                ..
            } => *may_have_been_written,
            _ => false,
        }
    }

    /// Kafka's error code, where the error has one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker(error) => Some(error.code),
            Self::TimedOut { .. } => Some(ErrorCode::RequestTimedOut),
            Self::Unreachable { .. } | Self::NotNative { .. } | Self::Disconnected { .. } => {
                Some(ErrorCode::NetworkException)
            }
            Self::RecordTooLarge { .. } => Some(ErrorCode::MessageTooLarge),
            Self::Corrupt { .. } => Some(ErrorCode::CorruptMessage),
            Self::OffsetOutOfRange { .. } => Some(ErrorCode::OffsetOutOfRange),
            Self::UnknownPartition { .. } => Some(ErrorCode::UnknownTopicOrPartition),
            _ => None,
        }
    }

    /// What a human can do about it: a command, an option, a value in range.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Broker(error) => {
                return Some(error.hint.as_str())
                    .filter(|hint| !hint.is_empty())
                    .map(Cow::Borrowed);
            }
            Self::TimedOut {
                cause: Some(cause), ..
            } => return cause.hint(),
            Self::Unreachable { .. } => {
                "start a broker with millstreamd, or pass other bootstrap addresses"
            }
            Self::NotNative { .. } => {
                "the native API is on port 9192 unless listeners.native_address says otherwise; \
                 9092 is for Kafka clients and 9292 for HTTP"
            }
            Self::Address { .. } => "write addresses as host:port, separated by commas",
            Self::QueueFull { .. } => "raise buffer_memory_bytes or max_block, or send more slowly",
            Self::RecordTooLarge { .. } => {
                "raise record_bytes_max, and the topic's max.message.bytes with it"
            }
            Self::Corrupt { .. } => "seek past the damaged batch, and run millstream log verify",
            Self::OffsetOutOfRange { .. } => {
                "seek to an offset in range, or set an offset reset policy"
            }
            Self::NotAssigned { .. } => "assign the partition first",
            Self::NoCommittedOffset { .. } => {
                "commit an offset, or set an offset reset policy or an initial offset"
            }
            _ => return None,
        };
        Some(Cow::Borrowed(hint))
    }

    /// This error, of records that an earlier attempt may have written.
    pub(crate) fn or_maybe_written(mut self, maybe_written: bool) -> Self {
        match &mut self {
            Self::Broker(error) => error.may_have_been_written |= maybe_written,
            Self::TimedOut {
                may_have_been_written,
                ..
            }
            | Self::Disconnected {
                may_have_been_written,
                ..
            }
            | Self::Closed {
                may_have_been_written,
                ..
            } => *may_have_been_written |= maybe_written,
            _ => {}
        }
        self
    }

    pub(crate) fn config(
        name: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config {
            name,
            found: found.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn from_wire(error: v1::Error) -> Self {
        let code = i16::try_from(error.code)
            .ok()
            .and_then(ErrorCode::from_number);
        Self::Broker(Box::new(BrokerError {
            code: code.unwrap_or(ErrorCode::UnknownServerError),
            name: error.name,
            message: error.message,
            hint: error.hint,
            retriable: error.retriable,
            may_have_been_written: error.may_have_been_written,
        }))
    }
}

fn cause_suffix(cause: Option<&Error>) -> String {
    cause.map_or_else(String::new, |cause| format!(": {cause}"))
}
