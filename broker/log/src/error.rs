//! What the log refuses and why: one enum per public operation over [`StorageError`].

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, record::Compression,
};

/// Why a partition serves nothing more on this broker, the first reason kept. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition is offline: {reason}")]
pub struct Offline {
    /// What happened first.
    pub reason: Arc<str>,
}

/// What the disk did, shared by all operations.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A system call failed.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: `write`, `open`, ...
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes on disk are not what was written.
    #[error("corrupt data in {file} at byte {position}: {reason}", file = file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Byte position of the damage.
        position: u64,
        /// What is wrong, with expected and found values.
        reason: String,
    },
    /// The partition serves nothing more until the broker restarts.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The disk has no room; the state ends by itself once there is some.
    #[error("disk of data directory {directory} is full", directory = directory.display())]
    DiskFull {
        /// The data directory.
        directory: PathBuf,
    },
    /// Every open segment has unflushed bytes, so none could be closed for this one.
    #[error("open segments reached the limit of {max}")]
    OpenSegmentsExhausted {
        /// The limit.
        max: usize,
    },
    /// The log was closed or deleted.
    #[error("log is closed")]
    Closed,
}

impl StorageError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_path_buf(),
            source: Arc::new(source),
        }
    }

    /// Kafka's number for it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
            Self::Closed => ErrorCode::NotLeaderOrFollower,
            _ => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why a batch was not appended. Nothing of it is in the log, unless
/// [`AppendError::may_have_happened`] says so.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The bytes are no record batch.
    #[error("record batch is malformed: {reason}")]
    Malformed {
        /// What is wrong, with expected and found values.
        reason: String,
    },
    /// The batch is of another format version.
    #[error("record batch has magic {found}, only 2 is supported")]
    UnsupportedMagic {
        /// The version found.
        found: i8,
    },
    /// The batch's checksum does not fit its bytes.
    #[error("record batch has checksum {found:#010x}, its bytes have {expected:#010x}")]
    Checksum {
        /// CRC-32C of the bytes.
        expected: u32,
        /// CRC-32C in the header.
        found: u32,
    },
    /// The batch is larger than `max.message.bytes`.
    #[error("record batch has {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// `max.message.bytes`.
        max: u32,
    },
    /// The batch's records are decoded, and have too many bytes once decompressed.
    #[error("records of the batch decompress to more than {max} bytes")]
    DecodedTooLarge {
        /// Bytes allowed.
        max: usize,
    },
    /// The batch is larger than `max.message.bytes` in the topic's own codec.
    #[error("record batch has more than {max} bytes in the topic's compression {codec}")]
    RecompressedTooLarge {
        /// The topic's codec.
        codec: Compression,
        /// `max.message.bytes`.
        max: usize,
    },
    /// To decode the batch would keep a serving thread for long. It is given back as it came; another
    /// thread may append it.
    #[error("record batch takes long to decode")]
    Lengthy {
        /// The batch.
        batch: Bytes,
    },
    /// The batch breaks a rule of the protocol.
    #[error("record batch is invalid: {reason}")]
    InvalidRecord {
        /// Which rule, with expected and found values.
        reason: String,
    },
    /// A record of a compacted topic has no key.
    #[error("record {index} of the batch has no key, a compacted topic needs one")]
    NoKey {
        /// Its place in the batch, from 0.
        index: u32,
    },
    /// The batch is compressed with a codec that this broker does not know.
    #[error("record batch is compressed with {codec}, which is not supported")]
    UnsupportedCompression {
        /// The codec.
        codec: String,
    },
    /// A client's batch claims to carry the broker's time.
    #[error("record batch has timestamp type LogAppendTime, only a broker may set it")]
    InvalidTimestampType,
    /// A timestamp lies outside `message.timestamp.{before,after}.max.ms`.
    #[error("timestamp {found} is not between {earliest} and {latest}")]
    Timestamp {
        /// The record that has it, from 0; unknown where the batch's header tells of it.
        index: Option<u32>,
        /// The offending timestamp, ms since 1970.
        found: i64,
        /// Earliest accepted.
        earliest: i64,
        /// Latest accepted.
        latest: i64,
    },
    /// An idempotent producer's batch does not follow its last one.
    #[error(
        "producer {producer_id} sent sequence {found}, expected {expected} in epoch {producer_epoch}"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// Its epoch.
        producer_epoch: ProducerEpoch,
        /// Sequence that would follow.
        expected: i32,
        /// Sequence found.
        found: i32,
    },
    /// A newer life of the producer id was seen.
    #[error("producer {producer_id} has epoch {current}, {found} is fenced")]
    FencedProducer {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch.
        current: ProducerEpoch,
        /// Epoch found.
        found: ProducerEpoch,
    },
    /// The batch does not fit the producer's transaction.
    #[error("transaction is in another state: {reason}")]
    TransactionState {
        /// What was expected.
        reason: String,
    },
    /// Clients may write no transactions: nobody would end them.
    #[error(
        "record batch belongs to a transaction, and this broker has no transaction coordinator"
    )]
    NoTransactions,
    /// The log has seen a later leadership.
    #[error("leader epoch {found} is older than {current}")]
    FencedLeaderEpoch {
        /// Newest epoch of the log.
        current: LeaderEpoch,
        /// Epoch of the append.
        found: LeaderEpoch,
    },
    /// Too many bytes wait for a flush; retry once some were flushed.
    #[error("unflushed bytes reached the limit of {max}")]
    UnflushedBytes {
        /// `log.unflushed_bytes_max`.
        max: u64,
    },
    /// The partition has no offsets left.
    #[error("log has no offsets left after {log_end}")]
    OffsetsExhausted {
        /// Its end.
        log_end: Offset,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// Kafka's number for it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed { .. } | Self::Checksum { .. } => ErrorCode::CorruptMessage,
            Self::UnsupportedMagic { .. } => ErrorCode::UnsupportedForMessageFormat,
            Self::TooLarge { .. }
            | Self::DecodedTooLarge { .. }
            | Self::RecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::InvalidRecord { .. } | Self::NoKey { .. } => ErrorCode::InvalidRecord,
            Self::UnsupportedCompression { .. } => ErrorCode::UnsupportedCompressionType,
            Self::Timestamp { .. } | Self::InvalidTimestampType => ErrorCode::InvalidTimestamp,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::FencedProducer { .. } => ErrorCode::InvalidProducerEpoch,
            Self::TransactionState { .. } | Self::NoTransactions => ErrorCode::InvalidTxnState,
            Self::FencedLeaderEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            Self::UnflushedBytes { .. } => ErrorCode::ThrottlingQuotaExceeded,
            Self::OffsetsExhausted { .. } | Self::Lengthy { .. } => ErrorCode::UnknownServerError,
            Self::Storage(error) => error.code(),
        }
    }

    /// Whether the batch may still turn up in the log: its bytes may be on disk, beyond what was
    /// published, and the next start may find them whole.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self,
            Self::Storage(StorageError::Io {
                operation: "write" | "index",
                ..
            })
        )
    }
}

/// Why nothing was read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {requested} is not between {log_start} and {log_end}")]
    OutOfRange {
        /// Offset asked for.
        requested: Offset,
        /// First readable offset.
        log_start: Offset,
        /// Offset that the next record gets.
        log_end: Offset,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// Kafka's number for it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(error) => error.code(),
        }
    }
}
