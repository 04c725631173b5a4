//! The log of the fake broker: batches in memory, and what a broker checks before it appends one.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use millstream_proto::{
    ErrorCode, Offset,
    grpc::v1,
    record::{self, Batch, NO_SEQUENCE, sequence_after},
};

/// Batches that a broker remembers per producer.
const REMEMBERED: usize = 5;

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<Batch>,
    pub(crate) log_start_offset: i64,
    pub(crate) log_end_offset: i64,
    /// End of what consumers are shown, where a test holds it back.
    pub(crate) high_watermark_held: Option<i64>,
    /// Aborted transactions, each with the offset of its marker.
    pub(crate) aborted: Vec<(v1::AbortedTransaction, i64)>,
    producers: HashMap<i64, Producer>,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// (base sequence, base offset) of the last batches.
    recent: VecDeque<(i32, i64)>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    pub(crate) duplicate: bool,
}

impl Log {
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark_held.unwrap_or(self.log_end_offset)
    }

    /// Appends as a broker does: idempotent producers in sequence, others as they come.
    pub(crate) fn append(&mut self, bytes: &Bytes) -> Result<Appended, ErrorCode> {
        let batch = Batch::parse(bytes.clone()).map_err(|_| ErrorCode::CorruptMessage)?;
        batch.verify_crc().map_err(|_| ErrorCode::CorruptMessage)?;
        let count = batch.record_count();
        if batch.base_sequence() != NO_SEQUENCE && batch.producer_id().0 >= 0 {
            let log_end_offset = self.log_end_offset;
            let producer = self
                .producers
                .entry(batch.producer_id().0)
                .or_insert_with(|| Producer {
                    epoch: batch.producer_epoch().0,
                    next_sequence: -1,
                    recent: VecDeque::new(),
                });
            let (epoch, sequence) = (batch.producer_epoch().0, batch.base_sequence());
            if epoch < producer.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if epoch == producer.epoch {
                let known = producer.recent.iter().find(|(known, _)| *known == sequence);
                if let Some((_, base_offset)) = known {
                    return Ok(Appended {
                        base_offset: *base_offset,
                        duplicate: true,
                    });
                }
            }
            let expected = if epoch > producer.epoch {
                0
            } else {
                producer.next_sequence
            };
            if expected >= 0 && sequence != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            if epoch > producer.epoch {
                producer.recent.clear();
            }
            producer.epoch = epoch;
            producer.next_sequence = sequence_after(sequence, count);
            producer.recent.push_back((sequence, log_end_offset));
            if producer.recent.len() > REMEMBERED {
                producer.recent.pop_front();
            }
        }
        Ok(Appended {
            base_offset: self.append_unchecked(bytes),
            duplicate: false,
        })
    }

    /// Appends whatever a test wants to be there, and returns its base offset.
    pub(crate) fn append_unchecked(&mut self, bytes: &Bytes) -> i64 {
        let mut bytes = bytes.to_vec();
        let base_offset = self.log_end_offset;
        record::patch::base_offset(&mut bytes, Offset::new(base_offset).unwrap()).unwrap();
        let batch = Batch::parse(bytes.into()).unwrap();
        self.log_end_offset = batch.last_offset().get() + 1;
        self.batches.push(batch);
        base_offset
    }

    /// Values of all records, as text, in order.
    pub(crate) fn values(&self) -> Vec<String> {
        let records = self
            .batches
            .iter()
            .flat_map(|batch| batch.records(1 << 30).unwrap());
        let values = records.map(|record| record.unwrap().value.unwrap_or_default());
        values
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
            .collect()
    }
}
