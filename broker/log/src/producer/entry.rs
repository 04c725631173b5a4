//! [`ProducerEntry`]: one producer's epoch, last batches and open transaction.

use millstream_proto::{
    Offset, ProducerEpoch,
    record::{NO_SEQUENCE, sequence_after},
};

/// Batches remembered a producer: as many as a client may have in flight, as in Kafka.
pub const BATCHES_KEPT: usize = 5;

/// A batch that an idempotent producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first offset.
    pub offset_delta: u32,
    /// Its largest record timestamp, in milliseconds.
    pub timestamp_ms: i64,
}

impl BatchMetadata {
    /// Sequence of its first record.
    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        // Sequences have 2^31 values: going back by n is going on by 2^31 - n.
        match self.offset_delta {
            0 => self.last_sequence,
            delta => sequence_after(self.last_sequence, (1 << 31) - delta),
        }
    }

    /// Offset of its first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset::new(self.last_offset.get() - i64::from(self.offset_delta)).unwrap_or(Offset::ZERO)
    }
}

/// What a partition knows of one producer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Newest life of the producer id.
    pub epoch: ProducerEpoch,
    /// Up to [`BATCHES_KEPT`] batches of that life, oldest first.
    batches: Vec<BatchMetadata>,
    /// Epoch of the coordinator that wrote the last marker, -1 before any.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub transaction_first_offset: Option<Offset>,
    /// Largest record timestamp of the last batch or marker, in milliseconds.
    pub last_timestamp_ms: i64,
    /// Broker's clock when the entry last changed, in milliseconds: what expiry goes by, as record
    /// timestamps may lie years back.
    pub updated_ms: i64,
}

impl ProducerEntry {
    /// A producer that wrote nothing yet.
    #[must_use]
    pub const fn new(epoch: ProducerEpoch, now_ms: i64) -> Self {
        Self {
            epoch,
            batches: Vec::new(),
            coordinator_epoch: -1,
            transaction_first_offset: None,
            last_timestamp_ms: -1,
            updated_ms: now_ms,
        }
    }

    /// Its last batches, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches
    }

    /// Its last batch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches.last()
    }

    /// Sequence of its last record, -1 before any.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.last_batch()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Takes one more batch, forgetting the oldest of more than [`BATCHES_KEPT`].
    pub fn add_batch(&mut self, batch: BatchMetadata) {
        if self.batches.len() == BATCHES_KEPT {
            self.batches.remove(0);
        }
        if self.batches.capacity() == 0 {
            self.batches.reserve_exact(BATCHES_KEPT);
        }
        self.batches.push(batch);
        self.last_timestamp_ms = batch.timestamp_ms;
    }

    /// Starts a new life: the batches of the one before no longer matter.
    pub(super) fn raise_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    /// The remembered batch with exactly these sequences.
    #[must_use]
    pub fn find(&self, base_sequence: i32, last_sequence: i32) -> Option<&BatchMetadata> {
        self.batches.iter().find(|batch| {
            batch.last_sequence == last_sequence && batch.base_sequence() == base_sequence
        })
    }
}
