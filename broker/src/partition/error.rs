//! [`PartitionError`]: why a partition replica did not do what it was asked.

use millstream_log::{AppendError, Offline, ReadError, StorageError};
use millstream_proto::LeaderEpoch;

/// Why nothing was appended or read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The partition serves nothing on this broker until it restarts.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The partition was deleted, or the broker shuts down.
    #[error("partition is closed on this broker")]
    Closed,
    /// The request names an earlier leadership.
    #[error("leader epoch {found} is fenced, the current one is {current}")]
    FencedLeaderEpoch {
        /// Epoch of the request.
        found: LeaderEpoch,
        /// Epoch of this leadership.
        current: LeaderEpoch,
    },
    /// The request names a later leadership than this broker knows of.
    #[error("leader epoch {found} is not known yet, the current one is {current}")]
    UnknownLeaderEpoch {
        /// Epoch of the request.
        found: LeaderEpoch,
        /// Epoch of this leadership.
        current: LeaderEpoch,
    },
    /// `acks=all` cannot be given: too few replicas are in sync.
    #[error("partition has {found} replicas in sync, min.insync.replicas asks for {min}")]
    NotEnoughReplicas {
        /// Replicas in sync.
        found: usize,
        /// `min.insync.replicas`.
        min: u32,
    },
    /// The log refused the batch.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log refused the read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<StorageError> for PartitionError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Offline(offline) => Self::Offline(offline),
            StorageError::Closed => Self::Closed,
            error => Self::Storage(error),
        }
    }
}

/// Why an append that is in the log will not be acknowledged. Its records may survive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckLost {
    /// The partition went offline before the records were safe.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The partition was deleted, its leadership ended, or the broker shuts down.
    #[error("partition was closed before the records were safe")]
    Closed,
}
