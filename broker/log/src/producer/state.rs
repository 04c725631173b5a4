//! [`ProducerState`]: accepts, recognises or refuses what an idempotent producer sends.
//!
//! Pure: offsets and the clock are arguments. `check` before the append, `apply` after it; both
//! under the partition's mutex. Replay of a log (`apply` alone) gives the same state.

use std::collections::HashMap;

use millstream_proto::{
    Offset, ProducerEpoch, ProducerId,
    record::{
        BatchHeader,
        control::{EndTransactionMarker, TransactionResult},
        sequence_after,
    },
};

use super::{BatchMetadata, OpenTransactions, ProducerEntry};
use crate::index::AbortedTransaction;

/// What [`ProducerState::check`] says of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerCheck {
    /// It may be appended: it follows, or its producer is not idempotent.
    Accept,
    /// It was appended before: answer with the original's offsets, once they are as durable as
    /// asked for.
    Duplicate(BatchMetadata),
}

/// Why a batch must not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerError {
    /// Its sequence does not follow.
    #[error(
        "producer {producer_id} sent sequence {found}, expected {expected} in epoch {producer_epoch}"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: ProducerEpoch,
        /// Sequence that would follow.
        expected: i32,
        /// The batch's base sequence.
        found: i32,
    },
    /// A newer life of the producer id was seen.
    #[error("producer {producer_id} has epoch {current}, {found} is fenced")]
    Fenced {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch.
        current: ProducerEpoch,
        /// The batch's epoch.
        found: ProducerEpoch,
    },
    /// A plain batch in the middle of the producer's own transaction.
    #[error(
        "producer {producer_id} sent a plain batch, its transaction from offset {first_offset} is open"
    )]
    TransactionOpen {
        /// The producer.
        producer_id: ProducerId,
        /// Where its transaction started.
        first_offset: Offset,
    },
    /// The marker comes from a coordinator that was replaced.
    #[error("marker of producer {producer_id} has coordinator epoch {found}, {current} was seen")]
    FencedCoordinator {
        /// The producer.
        producer_id: ProducerId,
        /// The newest coordinator epoch.
        current: i32,
        /// The marker's.
        found: i32,
    },
}

/// What a partition knows of all producers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: HashMap<ProducerId, ProducerEntry>,
    transactions: OpenTransactions,
}

impl ProducerState {
    /// Knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides about a client's data batch. A producer that is not known may start with any
    /// sequence (its state may have expired with its records), a new epoch only with 0: as Kafka
    /// does since UNKNOWN_PRODUCER_ID is gone.
    ///
    /// # Errors
    /// The rule that the batch breaks.
    pub fn check(&self, batch: &BatchHeader) -> Result<ProducerCheck, ProducerError> {
        let producer_id = batch.producer_id();
        let Some(entry) = self.producers.get(&producer_id) else {
            return Ok(ProducerCheck::Accept);
        };
        let (producer_epoch, found) = (batch.producer_epoch(), batch.base_sequence());
        if producer_epoch < entry.epoch {
            return Err(ProducerError::Fenced {
                producer_id,
                current: entry.epoch,
                found: producer_epoch,
            });
        }
        let expected = if producer_epoch > entry.epoch {
            0
        } else if let Some(original) = entry.find(found, batch.last_sequence()) {
            return Ok(ProducerCheck::Duplicate(*original));
        } else {
            // After a marker that raised the epoch the producer starts anew with 0.
            entry
                .last_batch()
                .map_or(0, |last| sequence_after(last.last_sequence, 1))
        };
        if expected != found {
            return Err(ProducerError::OutOfOrderSequence {
                producer_id,
                producer_epoch,
                expected,
                found,
            });
        }
        match entry.transaction_first_offset {
            Some(first_offset) if !batch.is_transactional() => {
                Err(ProducerError::TransactionOpen {
                    producer_id,
                    first_offset,
                })
            }
            _ => Ok(ProducerCheck::Accept),
        }
    }

    /// Decides about a marker that a coordinator writes.
    ///
    /// # Errors
    /// An older epoch of the producer or of the coordinator.
    pub fn check_marker(
        &self,
        batch: &BatchHeader,
        marker: &EndTransactionMarker,
    ) -> Result<(), ProducerError> {
        let producer_id = batch.producer_id();
        let Some(entry) = self.producers.get(&producer_id) else {
            return Ok(());
        };
        if batch.producer_epoch() < entry.epoch {
            return Err(ProducerError::Fenced {
                producer_id,
                current: entry.epoch,
                found: batch.producer_epoch(),
            });
        }
        if marker.coordinator_epoch < entry.coordinator_epoch {
            return Err(ProducerError::FencedCoordinator {
                producer_id,
                current: entry.coordinator_epoch,
                found: marker.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Takes a data batch into account that was appended with its first record at `base_offset`.
    pub fn apply(&mut self, batch: &BatchHeader, base_offset: Offset, now_ms: i64) {
        if !batch.has_producer_id() || batch.is_control() {
            return;
        }
        let producer_id = batch.producer_id();
        let entry = self.entry(batch, now_ms);
        entry.add_batch(BatchMetadata {
            last_sequence: batch.last_sequence(),
            last_offset: base_offset
                .checked_add(batch.last_offset_delta())
                .unwrap_or(Offset::MAX),
            offset_delta: batch.last_offset_delta(),
            timestamp_ms: batch.max_timestamp(),
        });
        if batch.is_transactional() && entry.transaction_first_offset.is_none() {
            entry.transaction_first_offset = Some(base_offset);
            self.transactions.begin(base_offset, producer_id);
        }
    }

    /// Takes a marker into account that was appended at `offset`. Returns the transaction if it
    /// was aborted: it belongs into the transaction index.
    pub fn apply_marker(
        &mut self,
        batch: &BatchHeader,
        marker: &EndTransactionMarker,
        offset: Offset,
        now_ms: i64,
    ) -> Option<AbortedTransaction> {
        let producer_id = batch.producer_id();
        let entry = self.entry(batch, now_ms);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp_ms = batch.max_timestamp();
        let first_offset = entry.transaction_first_offset.take()?;
        let ended = self.transactions.end(producer_id, first_offset, offset);
        (marker.result == TransactionResult::Abort).then_some(ended)
    }

    fn entry(&mut self, batch: &BatchHeader, now_ms: i64) -> &mut ProducerEntry {
        let epoch = batch.producer_epoch();
        let entry = self
            .producers
            .entry(batch.producer_id())
            .or_insert_with(|| ProducerEntry::new(epoch, now_ms));
        entry.raise_epoch(epoch);
        entry.updated_ms = now_ms;
        entry
    }

    /// Puts a producer in as a snapshot has it.
    pub fn insert(&mut self, producer_id: ProducerId, entry: ProducerEntry) {
        if let Some(first_offset) = entry.transaction_first_offset {
            self.transactions.begin(first_offset, producer_id);
        }
        self.producers.insert(producer_id, entry);
    }

    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// All producers in order of their ids.
    #[must_use]
    pub fn sorted(&self) -> Vec<(ProducerId, &ProducerEntry)> {
        let mut producers: Vec<_> = self
            .producers
            .iter()
            .map(|(id, entry)| (*id, entry))
            .collect();
        producers.sort_unstable_by_key(|(id, _)| *id);
        producers
    }

    /// Number of producers known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Transactions that hold back the last stable offset.
    #[must_use]
    pub const fn transactions(&self) -> &OpenTransactions {
        &self.transactions
    }

    /// Forgets ended transactions whose marker is below the high watermark.
    pub fn advance(&mut self, high_watermark: Offset) {
        self.transactions.advance(high_watermark);
    }

    /// Forgets producers without an open transaction that were idle for `expiration_ms`; returns
    /// how many.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: u64) -> usize {
        let before = self.producers.len();
        let idle_ms = |entry: &ProducerEntry| {
            u64::try_from(now_ms.saturating_sub(entry.updated_ms)).unwrap_or(0)
        };
        self.producers.retain(|_, entry| {
            entry.transaction_first_offset.is_some() || idle_ms(entry) < expiration_ms
        });
        before - self.producers.len()
    }
}
