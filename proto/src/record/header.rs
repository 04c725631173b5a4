//! [`BatchHeader`]: the 61 bytes before the records, decoded and checked.
//!
//! Decoding checks every field that can be checked without the payload; it does not look at the CRC
//! (see [`super::BatchView::verify_crc`]), so a header alone can be read to find the next batch.

use bytes::Buf as _;

use super::{
    BatchError, Compression, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, NO_SEQUENCE, sequence_after,
};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

pub(super) const ATTRIBUTE_CODEC: i16 = 0b0000_0111;
pub(super) const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0b0000_1000;
pub(super) const ATTRIBUTE_TRANSACTIONAL: i16 = 0b0001_0000;
pub(super) const ATTRIBUTE_CONTROL: i16 = 0b0010_0000;
pub(super) const ATTRIBUTE_DELETE_HORIZON: i16 = 0b0100_0000;

/// What the timestamps of a batch's records mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// Set by the producer, each record its own.
    #[default]
    CreateTime,
    /// Set by the broker at append; all records have the batch's max timestamp.
    LogAppendTime,
}

/// Fields of one batch's header. Every value in it belongs to a batch that could be valid: lengths
/// hold a header, offsets and counts are not negative, the last offset does not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    base_offset: Offset,
    last_offset: Offset,
    size_bytes: usize,
    leader_epoch: LeaderEpoch,
    crc: u32,
    attributes: i16,
    compression: Compression,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    record_count: u32,
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`; the records need not be there.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] below [`HEADER_BYTES`]; otherwise the first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let size_bytes = Self::decode_size(bytes)?;
        let Some(mut fields) = bytes.first_chunk::<HEADER_BYTES>().map(<[u8; _]>::as_slice) else {
            return Err(BatchError::Truncated {
                expected: HEADER_BYTES,
                found: bytes.len(),
            });
        };
        let base_offset = fields.get_i64();
        fields.advance(size_of::<i32>());
        let leader_epoch = fields.get_i32();
        let magic = fields.get_i8();
        if magic != MAGIC {
            return Err(BatchError::Magic { found: magic });
        }
        let crc = fields.get_u32();
        let attributes = fields.get_i16();
        let last_offset_delta = fields.get_i32();
        let base_offset = offset("base_offset", base_offset)?;
        Ok(Self {
            base_offset,
            last_offset: base_offset
                .checked_add(count("last_offset_delta", last_offset_delta)?)
                .ok_or_else(|| invalid("last_offset_delta", i64::from(last_offset_delta)))?,
            size_bytes,
            leader_epoch: LeaderEpoch(leader_epoch),
            crc,
            attributes,
            compression: Compression::from_attributes(attributes)?,
            base_timestamp: fields.get_i64(),
            max_timestamp: fields.get_i64(),
            producer_id: ProducerId(fields.get_i64()),
            producer_epoch: ProducerEpoch(fields.get_i16()),
            base_sequence: fields.get_i32(),
            record_count: count("record_count", fields.get_i32())?,
        })
    }

    /// Decodes only how many bytes the batch at the start of `bytes` has, header included.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] below [`LENGTH_PREFIX_BYTES`], [`BatchError::Length`].
    pub fn decode_size(bytes: &[u8]) -> Result<usize, BatchError> {
        let Some(mut prefix) = bytes
            .first_chunk::<LENGTH_PREFIX_BYTES>()
            .map(<[u8; _]>::as_slice)
        else {
            return Err(BatchError::Truncated {
                expected: HEADER_BYTES,
                found: bytes.len(),
            });
        };
        prefix.advance(size_of::<i64>());
        let found = prefix.get_i32();
        const SMALLEST: usize = HEADER_BYTES - LENGTH_PREFIX_BYTES;
        match usize::try_from(found) {
            Ok(length) if length >= SMALLEST => Ok(length + LENGTH_PREFIX_BYTES),
            _ => Err(BatchError::Length {
                found,
                expected: 49,
            }),
        }
    }

    /// Offset of the first record the batch was written with (compaction may have removed it).
    #[must_use]
    pub const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset of the last record the batch was written with.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.last_offset
    }

    /// Last offset minus base offset.
    #[must_use]
    pub const fn last_offset_delta(&self) -> u32 {
        // Decoded from an i32 that is not negative.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below 2^31"
        )]
        {
            (self.last_offset.get() - self.base_offset.get()) as u32
        }
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Leadership under which the batch was appended; -1 before.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Always 2.
    #[must_use]
    pub const fn magic(&self) -> i8 {
        MAGIC
    }

    /// CRC-32C as the header has it.
    #[must_use]
    pub const fn crc(&self) -> u32 {
        self.crc
    }

    /// All attribute bits as they stand.
    #[must_use]
    pub const fn attributes(&self) -> i16 {
        self.attributes
    }

    /// Codec of the records.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// What the timestamps mean.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & ATTRIBUTE_LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records instead of data.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// When compaction may remove the batch's tombstones or markers, in milliseconds since the
    /// epoch (KIP-534): the base timestamp, once bit 6 is set.
    #[must_use]
    pub const fn delete_horizon_ms(&self) -> Option<i64> {
        if self.attributes & ATTRIBUTE_DELETE_HORIZON == 0 {
            None
        } else {
            Some(self.base_timestamp)
        }
    }

    /// What the records' timestamp deltas are relative to, in milliseconds since the epoch: the first
    /// record's timestamp as the batch was produced, the delete horizon once compaction set one.
    #[must_use]
    pub const fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// Largest timestamp of the records, in milliseconds since the epoch; -1 for none.
    #[must_use]
    pub const fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Producer with idempotence, -1 for none.
    #[must_use]
    pub const fn producer_id(&self) -> ProducerId {
        self.producer_id
    }

    /// Whether a producer with idempotence wrote the batch.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// Life of the producer id, -1 for none.
    #[must_use]
    pub const fn producer_epoch(&self) -> ProducerEpoch {
        self.producer_epoch
    }

    /// Sequence of the first record, -1 for none.
    #[must_use]
    pub const fn base_sequence(&self) -> i32 {
        self.base_sequence
    }

    /// Sequence of the last record (they wrap after `i32::MAX`), -1 for none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            NO_SEQUENCE
        } else {
            sequence_after(self.base_sequence, self.last_offset_delta())
        }
    }

    /// Records in the batch now; compaction may have emptied it.
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }
}

fn invalid(field: &'static str, found: i64) -> BatchError {
    BatchError::Field { field, found }
}

fn offset(field: &'static str, found: i64) -> Result<Offset, BatchError> {
    Offset::new(found).ok_or_else(|| invalid(field, found))
}

fn count(field: &'static str, found: i32) -> Result<u32, BatchError> {
    u32::try_from(found).map_err(|_| invalid(field, i64::from(found)))
}
