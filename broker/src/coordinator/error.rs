//! [`CoordinatorError`]: why a coordinator does not answer, where it is not the engine that refuses.

use millstream_log::{AppendError, StorageError};
use millstream_proto::{ErrorCode, TopicPartition};

use crate::{partition::PartitionError, quorum::ProposeError};

/// Why a coordinator did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// Its records are being read.
    #[error("coordinator of {partition} is still loading")]
    Loading {
        /// Its partition.
        partition: TopicPartition,
    },
    /// Its state was dropped; it is loaded anew.
    #[error("coordinator of {partition} failed: {reason}")]
    Failed {
        /// Its partition.
        partition: TopicPartition,
        /// What failed.
        reason: String,
        /// Whether that may pass without anybody's doing.
        is_passing: bool,
    },
    /// The partition serves nothing on this broker.
    #[error("coordinator of {partition} cannot work: {reason}")]
    NoReplica {
        /// Its partition.
        partition: TopicPartition,
        /// Why not.
        reason: String,
    },
    /// Not every partition of the offsets topic is on this broker.
    #[error("coordinator is not on this broker")]
    Elsewhere,
    /// The topic that it keeps its state in cannot be created.
    #[error("topic {topic} cannot be created: {error}")]
    Topic {
        /// Its name.
        topic: &'static str,
        /// Why not.
        error: ProposeError,
    },
    /// The broker shuts down.
    #[error("broker shuts down")]
    Stopping,
    /// A subscription's regular expression is none.
    #[error("regular expression is not understood: {reason}")]
    Regex {
        /// What is wrong with it, on one line.
        reason: String,
    },
}

impl CoordinatorError {
    /// Kafka's number. All but that of a regular expression mean that another attempt may succeed.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Loading { .. } => ErrorCode::CoordinatorLoadInProgress,
            Self::Failed {
                is_passing: true, ..
            }
            | Self::Topic { .. } => ErrorCode::CoordinatorNotAvailable,
            Self::Failed {
                is_passing: false, ..
            }
            | Self::NoReplica { .. }
            | Self::Elsewhere
            | Self::Stopping => ErrorCode::NotCoordinator,
            Self::Regex { .. } => ErrorCode::InvalidRegularExpression,
        }
    }

    /// What an error of its partition means for a coordinator, with Kafka's distinction: what passes
    /// by itself leaves the coordinator where it is, what does not may make another broker take over.
    pub(super) fn of_partition(partition: &TopicPartition, error: &PartitionError) -> Self {
        let reason = error.to_string();
        let partition = partition.clone();
        match error {
            PartitionError::Offline(_) | PartitionError::Closed => {
                Self::NoReplica { partition, reason }
            }
            _ => Self::Failed {
                is_passing: is_passing(error),
                partition,
                reason,
            },
        }
    }
}

const fn is_passing(error: &PartitionError) -> bool {
    matches!(
        error,
        PartitionError::NotEnoughReplicas { .. }
            | PartitionError::Storage(StorageError::DiskFull { .. })
            | PartitionError::Append(
                AppendError::UnflushedBytes { .. }
                    | AppendError::Storage(StorageError::DiskFull { .. })
            )
    )
}
