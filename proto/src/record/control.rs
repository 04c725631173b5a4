//! [`ControlRecord`]: the records of control batches, which end transactions.
//!
//! ```text
//! key:   version i16 | type i16: 0 abort, 1 commit, others belong to Kafka's own metadata log
//! value: version i16 | coordinator epoch i32
//! ```
//!
//! Fields that later versions add behind these are skipped.

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{BatchBuilder, BatchOptions, BuildError, NO_SEQUENCE, ProducerIdentity, Record};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// The version written, of key and value.
const VERSION: i16 = 0;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// Its records are never shown to read_committed.
    Abort,
    /// Its records are shown.
    Commit,
}

/// Ends a producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// How it ended.
    pub result: TransactionResult,
    /// Version of the value.
    pub version: i16,
    /// Epoch of the transaction coordinator that wrote it; fences an older one.
    pub coordinator_epoch: i32,
}

/// One record of a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlRecord {
    /// Type 0 or 1.
    EndTransaction(EndTransactionMarker),
    /// A type that a reader of data skips.
    Other {
        /// Its number.
        type_number: i16,
    },
}

/// Why a record of a control batch is no control record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The key is null or shorter than 4 bytes.
    #[error("control record key has {found} bytes, expected at least 4")]
    Key {
        /// Bytes found.
        found: usize,
    },
    /// The value of an end-of-transaction marker is null or shorter than 6 bytes.
    #[error("control record value has {found} bytes, expected at least 6")]
    Value {
        /// Bytes found.
        found: usize,
    },
    /// A version below 0.
    #[error("control record version is {found}, expected at least 0")]
    Version {
        /// The version.
        found: i16,
    },
}

impl ControlRecord {
    /// Decodes a record of a control batch.
    ///
    /// # Errors
    /// [`ControlError`] where key or value are too short.
    pub fn decode(record: &Record) -> Result<Self, ControlError> {
        let mut key = record.key.as_deref().unwrap_or_default();
        if key.len() < 4 {
            return Err(ControlError::Key { found: key.len() });
        }
        checked_version(key.get_i16())?;
        let result = match key.get_i16() {
            0 => TransactionResult::Abort,
            1 => TransactionResult::Commit,
            type_number => return Ok(Self::Other { type_number }),
        };
        let mut value = record.value.as_deref().unwrap_or_default();
        if value.len() < 6 {
            return Err(ControlError::Value { found: value.len() });
        }
        Ok(Self::EndTransaction(EndTransactionMarker {
            result,
            version: checked_version(value.get_i16())?,
            coordinator_epoch: value.get_i32(),
        }))
    }
}

fn checked_version(found: i16) -> Result<i16, ControlError> {
    if found < 0 {
        Err(ControlError::Version { found })
    } else {
        Ok(found)
    }
}

impl EndTransactionMarker {
    /// A marker in the current version.
    #[must_use]
    pub const fn new(result: TransactionResult, coordinator_epoch: i32) -> Self {
        Self {
            result,
            version: VERSION,
            coordinator_epoch,
        }
    }

    /// The control batch with this marker for one producer.
    ///
    /// # Errors
    /// None in practice: [`BuildError`] is what building any batch may answer.
    pub fn to_batch(
        self,
        timestamp_ms: i64,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        leader_epoch: LeaderEpoch,
    ) -> Result<Bytes, BuildError> {
        let mut key = Vec::with_capacity(4);
        key.put_i16(VERSION);
        key.put_i16(match self.result {
            TransactionResult::Abort => 0,
            TransactionResult::Commit => 1,
        });
        let mut value = Vec::with_capacity(6);
        value.put_i16(self.version);
        value.put_i32(self.coordinator_epoch);
        let mut builder = BatchBuilder::with_capacity(
            BatchOptions {
                producer: Some(ProducerIdentity {
                    id: producer_id,
                    epoch: producer_epoch,
                    base_sequence: NO_SEQUENCE,
                }),
                is_transactional: true,
                is_control: true,
                base_offset: Offset::ZERO,
                leader_epoch,
                ..BatchOptions::default()
            },
            MARKER_BYTES,
        );
        builder.append(timestamp_ms, Some(&key), Some(&value), &[])?;
        builder.finish()
    }
}

/// Bytes of a marker's batch, as Kafka writes it.
const MARKER_BYTES: usize = 78;
