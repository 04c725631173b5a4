//! [`ServiceError`]: a refusal as the client will see it, in any protocol.

use millstream_log::{AppendError, Offline, ReadError, StorageError};
use millstream_proto::{
    ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName, TopicNameError, TopicPartition,
};

use crate::{
    config::nearest,
    partition::{AckLost, PartitionError},
    quorum::{ImageError, MetadataImage, ProposeError, TopicImage},
};

/// Why a request, or one item of it, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// Kafka's number for it.
    pub code: ErrorCode,
    /// What, found, expected; lower case, one line.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// Whether records of the request may be in the log all the same.
    pub may_have_been_written: bool,
    /// Only a human ends this state, whatever Kafka says of the code: asking again is in vain.
    pub is_permanent: bool,
    /// The epoch of this broker's leadership, where the error is about it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The record of a refused batch, from 0, where the error is about it alone.
    pub record: Option<u32>,
}

/// Characters of a client's own text that a message has.
const EXCERPT_CHARS_MAX: usize = 64;

/// A text of a client's own choice as a message has it, which is one line and not a long one.
pub fn excerpt(text: &str) -> String {
    let chars = text.chars().take(EXCERPT_CHARS_MAX);
    chars.flat_map(char::escape_debug).collect()
}

impl ServiceError {
    /// A refusal of a request that changed nothing.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
            may_have_been_written: false,
            is_permanent: false,
            leader_epoch: None,
            record: None,
        }
    }

    /// A request that makes no sense as it is.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message, hint)
    }

    pub(super) fn may_have_been_written(mut self) -> Self {
        self.may_have_been_written = true;
        self
    }

    pub(super) fn unknown_topic_id(topic_id: TopicId) -> Self {
        Self::new(
            ErrorCode::UnknownTopicId,
            format!("no topic has id {topic_id}"),
            "look the topic up by name again (DescribeTopics): it was deleted, and a topic of the \
             same name has another id",
        )
    }

    pub(super) fn unknown_topic(name: &TopicName, image: &MetadataImage) -> Self {
        let names = image.topics().map(|topic| topic.name.as_str());
        let hint = match nearest(name.as_str(), names) {
            Some(near) => format!(
                "the nearest name is {near}; or create it: millstream topics create {name} \
                 --partitions 1"
            ),
            None => format!("create it: millstream topics create {name} --partitions 1"),
        };
        let message = format!("topic {name} does not exist");
        Self::new(ErrorCode::UnknownTopicOrPartition, message, hint)
    }

    pub(super) fn unknown_partition(topic: &TopicImage, partition: PartitionIndex) -> Self {
        let count = topic.partitions.len();
        let last = count.saturating_sub(1);
        Self::new(
            ErrorCode::UnknownTopicOrPartition,
            format!(
                "topic {} has no partition {partition}, it has {count}",
                topic.name
            ),
            format!(
                "use a partition from 0 to {last}, or add some: millstream topics alter {} \
                 --partitions N",
                topic.name
            ),
        )
    }

    pub(super) fn topic_name(error: &TopicNameError) -> Self {
        Self::new(
            ErrorCode::InvalidTopicException,
            error.to_string(),
            "use 1 to 249 characters out of a-z A-Z 0-9 . _ -, and not '.' or '..'",
        )
    }

    pub(super) fn of_partition(partition: &TopicPartition, error: &PartitionError) -> Self {
        match error {
            PartitionError::Offline(reason) => Self::offline(partition, reason),
            PartitionError::Closed => Self::new(
                ErrorCode::NotLeaderOrFollower,
                format!("{partition} is closed on this broker"),
                "the topic was deleted or the broker shuts down: look the topic up again",
            ),
            PartitionError::FencedLeaderEpoch { current, .. } => Self {
                leader_epoch: Some(*current),
                ..Self::new(
                    ErrorCode::FencedLeaderEpoch,
                    format!("{partition}: {error}"),
                    "look the topic's leader up again (DescribeTopics)",
                )
            },
            PartitionError::UnknownLeaderEpoch { current, .. } => Self {
                leader_epoch: Some(*current),
                ..Self::new(
                    ErrorCode::UnknownLeaderEpoch,
                    format!("{partition}: {error}"),
                    "retry: this broker has not heard of that leadership yet",
                )
            },
            PartitionError::NotEnoughReplicas { .. } => Self::new(
                ErrorCode::NotEnoughReplicas,
                format!("{partition}: {error}"),
                format!(
                    "bring replicas back, or lower it: millstream topics alter {} --config \
                     min.insync.replicas=1",
                    partition.topic
                ),
            ),
            PartitionError::Append(error) => Self::of_append(partition, error),
            PartitionError::Read(error) => Self::of_read(partition, error),
            PartitionError::Storage(error) => Self::of_storage(partition, error),
        }
    }

    fn of_append(partition: &TopicPartition, error: &AppendError) -> Self {
        if let AppendError::Storage(error) = error {
            return Self::of_storage(partition, error);
        }
        let record = match error {
            AppendError::NoKey { index } => Some(*index),
            AppendError::Timestamp { index, .. } => *index,
            _ => None,
        };
        Self {
            record,
            may_have_been_written: error.may_have_happened(),
            ..Self::new(
                error.code(),
                format!("{partition}: {error}"),
                append_hint(&partition.topic, error),
            )
        }
    }

    fn of_read(partition: &TopicPartition, error: &ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::of_storage(partition, error),
            ReadError::OutOfRange { .. } => Self::new(
                error.code(),
                format!("{partition}: {error}"),
                "start from earliest or latest (ListOffsets)",
            ),
            _ => Self::new(error.code(), format!("{partition}: {error}"), ""),
        }
    }

    fn of_storage(partition: &TopicPartition, error: &StorageError) -> Self {
        let hint = match error {
            StorageError::DiskFull { .. } => {
                "free space there, or shorten the retention of topics (millstream topics alter \
                 TOPIC --config retention.ms=N); produce resumes by itself"
            }
            StorageError::Offline(reason) => return Self::offline(partition, reason),
            StorageError::Corrupt { .. } => "look at the damage: millstream log verify",
            StorageError::OpenSegmentsExhausted { .. } => "raise limits.open_segments_max",
            StorageError::Closed => "look the topic up again (DescribeTopics)",
            _ => "the broker's log says more",
        };
        Self::new(error.code(), format!("{partition}: {error}"), hint)
    }

    /// No other broker has a replica that could take over.
    fn offline(partition: &TopicPartition, reason: &Offline) -> Self {
        Self {
            is_permanent: true,
            ..Self::new(
                ErrorCode::KafkaStorageError,
                format!("{partition} is offline on this broker: {}", reason.reason),
                "repair what the reason names, then restart the broker; other partitions keep \
                 serving",
            )
        }
    }

    pub(super) fn ack_lost(partition: &TopicPartition, lost: &AckLost) -> Self {
        let error = match lost {
            AckLost::Offline(reason) => Self::offline(partition, reason),
            _ => Self::new(
                ErrorCode::NotLeaderOrFollower,
                format!("{partition}: {lost}"),
                "send it again with the same producer id and sequence: a duplicate is recognised",
            ),
        };
        error.may_have_been_written()
    }

    pub(super) fn propose(error: &ProposeError) -> Self {
        let (code, hint) = match error {
            ProposeError::Refused(refused) => return Self::metadata(refused),
            ProposeError::DiskFull { .. } => (
                ErrorCode::KafkaStorageError,
                "free space there; it goes on by itself",
            ),
            ProposeError::TooLarge { .. } => (
                ErrorCode::InvalidRequest,
                "split the request into smaller ones",
            ),
            ProposeError::Closed => (
                ErrorCode::BrokerNotAvailable,
                "the broker shuts down: retry once it is back",
            ),
            _ => (
                ErrorCode::KafkaStorageError,
                "restart the broker once the disk is well",
            ),
        };
        Self {
            may_have_been_written: error.may_have_been_committed(),
            ..Self::new(code, error.to_string(), hint)
        }
    }

    fn metadata(error: &ImageError) -> Self {
        let (code, hint) = match error {
            ImageError::TopicExists { .. } => (
                ErrorCode::TopicAlreadyExists,
                "use it, or choose another name",
            ),
            ImageError::TopicCollides { .. } => {
                (ErrorCode::InvalidTopicException, "choose another name")
            }
            ImageError::UnknownTopicId { .. } => (
                ErrorCode::UnknownTopicId,
                "the topic was deleted meanwhile: list the topics",
            ),
            ImageError::PartitionIndex { .. } => (
                ErrorCode::InvalidPartitions,
                "the topic grew meanwhile: describe it and decide again",
            ),
            _ => (ErrorCode::InvalidRequest, "retry with fresh metadata"),
        };
        Self::new(code, error.to_string(), hint)
    }

    /// Work of the broker ended in a panic, which its log tells of.
    pub(crate) fn panicked() -> Self {
        Self::new(
            ErrorCode::UnknownServerError,
            "the broker failed while it worked on the request",
            "the broker's log says more",
        )
        .may_have_been_written()
    }
}

fn append_hint(topic: &TopicName, error: &AppendError) -> String {
    match error {
        AppendError::TooLarge { .. }
        | AppendError::DecodedTooLarge { .. }
        | AppendError::RecompressedTooLarge { .. } => {
            return format!(
                "send smaller batches, or raise it: millstream topics alter {topic} --config \
                 max.message.bytes=N"
            );
        }
        AppendError::Timestamp { .. } => {
            return format!(
                "correct the clock, or widen it: millstream topics alter {topic} --config \
                 message.timestamp.before.max.ms=N (or after)"
            );
        }
        AppendError::Malformed { .. } | AppendError::Checksum { .. } => {
            "encode one record batch of format v2, base offset 0, and send its bytes unchanged"
        }
        AppendError::NoKey { .. } => {
            "give every record a key, or take compact out of the topic's cleanup.policy"
        }
        AppendError::UnsupportedMagic { .. } => "encode record batches of format v2",
        AppendError::NoTransactions => {
            "send it without the transactional bit; idempotent producers work"
        }
        AppendError::OutOfOrderSequence { .. } => {
            "batches of one producer must be sent in order; start anew with InitProducerId"
        }
        AppendError::FencedProducer { .. } => {
            "another producer took over this id; start anew with InitProducerId"
        }
        AppendError::UnflushedBytes { .. } => {
            "retry: the disk is behind; or raise limits.unflushed_bytes_max"
        }
        _ => "docs/design/native-api.md says what a batch may hold",
    }
    .to_owned()
}
