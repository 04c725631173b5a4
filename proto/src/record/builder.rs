//! [`BatchBuilder`]: appends records to a buffer that becomes the batch.
//!
//! Records are encoded once, behind room for the header; an uncompressed batch is finished in
//! place, a compressed one by one pass of the codec.

use bytes::{BufMut as _, Bytes};

use super::{
    Compression, CompressionError, HEADER_BYTES, Header, LENGTH_PREFIX_BYTES, MAGIC, NO_SEQUENCE,
    NO_TIMESTAMP, TimestampType, header, patch, varint,
};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of the largest batch: its length field is an i32.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// Who writes a batch, with idempotence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The producer.
    pub id: ProducerId,
    /// Its life.
    pub epoch: ProducerEpoch,
    /// Sequence of the batch's first record.
    pub base_sequence: i32,
}

/// What a batch says about itself beside its records. The default is what a plain client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Codec of the records.
    pub compression: Compression,
    /// The codec's own scale; its default without.
    pub compression_level: Option<i32>,
    /// What the timestamps mean.
    pub timestamp_type: TimestampType,
    /// The producer with idempotence.
    pub producer: Option<ProducerIdentity>,
    /// The records belong to a transaction.
    pub is_transactional: bool,
    /// The batch holds control records.
    pub is_control: bool,
    /// Offset of the first record; a client sends 0.
    pub base_offset: Offset,
    /// Leadership of the append; a client sends -1.
    pub leader_epoch: LeaderEpoch,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            compression_level: None,
            timestamp_type: TimestampType::CreateTime,
            producer: None,
            is_transactional: false,
            is_control: false,
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(-1),
        }
    }
}

/// Why a record does not fit a batch, or a batch cannot be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A batch without records.
    #[error("batch has no records")]
    Empty,
    /// The batch would pass what its length field can say.
    #[error("batch would have {found} bytes, at most {max} are allowed", max = BATCH_BYTES_MAX)]
    TooLarge {
        /// Bytes it would have.
        found: usize,
    },
    /// The record's timestamp is further from the first one than an i64 says.
    #[error("record timestamp {found} is too far from the batch's first, {first}")]
    Timestamp {
        /// The record's.
        found: i64,
        /// The batch's base timestamp.
        first: i64,
    },
    /// The records cannot be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Builds one batch. Cheap to start; its buffer grows with the records.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records, not compressed.
    buffer: Vec<u8>,
    record_count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// Size of one record as it would be appended next.
#[derive(Debug, Clone, Copy)]
struct RecordSize {
    timestamp_delta: i64,
    total_bytes: usize,
}

impl BatchBuilder {
    /// Starts a batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        Self::with_capacity(options, HEADER_BYTES)
    }

    /// Starts a batch with room for `bytes`, header included, before the buffer must grow.
    #[must_use]
    pub fn with_capacity(options: BatchOptions, bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        Self {
            options,
            buffer,
            record_count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Appends a record and returns its offset delta, which counts from 0.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`], [`BuildError::Timestamp`]; the batch is then as it was.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<u32, BuildError> {
        let size = self.measure(timestamp_ms, key, value, headers)?;
        let offset_delta = self.record_count;
        if offset_delta == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        self.buffer.reserve(size.total_bytes);
        put_record(
            &mut self.buffer,
            (size.timestamp_delta, i64::from(offset_delta)),
            key,
            value,
            headers,
        );
        self.record_count += 1;
        Ok(offset_delta)
    }

    /// Bytes the batch would have, not compressed, with this record appended.
    ///
    /// # Errors
    /// As [`BatchBuilder::append`].
    pub fn size_with(
        &self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<usize, BuildError> {
        let size = self.measure(timestamp_ms, key, value, headers)?;
        Ok(self.buffer.len() + size.total_bytes)
    }

    /// Bytes of the batch so far, not compressed, header included.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Records so far.
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Whether there are no records yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Timestamp of the first record, -1 before there is one.
    #[must_use]
    pub const fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// Says who writes the batch; a producer knows its sequences only when it sends.
    pub const fn set_producer(&mut self, producer: ProducerIdentity) {
        self.options.producer = Some(producer);
    }

    /// Compresses the records, writes the header with its CRC, and returns the batch.
    ///
    /// # Errors
    /// [`BuildError::Empty`], [`BuildError::Compression`], [`BuildError::TooLarge`].
    pub fn finish(mut self) -> Result<Bytes, BuildError> {
        if self.is_empty() {
            return Err(BuildError::Empty);
        }
        let mut batch = match self.options.compression {
            Compression::None => std::mem::take(&mut self.buffer),
            codec => {
                let records = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
                let mut batch = Vec::with_capacity(HEADER_BYTES + records.len() / 2);
                batch.resize(HEADER_BYTES, 0);
                codec.compress(self.options.compression_level, records, &mut batch)?;
                batch
            }
        };
        let header = self.header(batch.len())?;
        if let Some(room) = batch.get_mut(..HEADER_BYTES) {
            room.copy_from_slice(&header);
        }
        patch::recompute_crc(&mut batch);
        Ok(batch.into())
    }

    /// The header of a batch of `size_bytes` in all, its CRC still zero.
    fn header(&self, size_bytes: usize) -> Result<Vec<u8>, BuildError> {
        let length = size_bytes
            .checked_sub(LENGTH_PREFIX_BYTES)
            .and_then(|length| i32::try_from(length).ok())
            .ok_or(BuildError::TooLarge { found: size_bytes })?;
        let options = &self.options;
        let producer = options.producer.unwrap_or(ProducerIdentity {
            id: ProducerId(-1),
            epoch: ProducerEpoch(-1),
            base_sequence: NO_SEQUENCE,
        });
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.put_i64(options.base_offset.get());
        out.put_i32(length);
        out.put_i32(options.leader_epoch.0);
        out.put_i8(MAGIC);
        out.put_u32(0);
        out.put_i16(options.attributes());
        out.put_u32(self.record_count - 1);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(producer.id.0);
        out.put_i16(producer.epoch.0);
        out.put_i32(producer.base_sequence);
        out.put_u32(self.record_count);
        Ok(out)
    }

    fn measure(
        &self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<RecordSize, BuildError> {
        let first = if self.record_count == 0 {
            timestamp_ms
        } else {
            self.base_timestamp
        };
        let timestamp_delta = timestamp_ms
            .checked_sub(first)
            .ok_or(BuildError::Timestamp {
                found: timestamp_ms,
                first,
            })?;
        let deltas = (timestamp_delta, i64::from(self.record_count));
        let total_bytes = record_bytes(body_bytes(deltas, key, value, headers));
        let found = self.buffer.len().saturating_add(total_bytes);
        if found > BATCH_BYTES_MAX {
            return Err(BuildError::TooLarge { found });
        }
        Ok(RecordSize {
            timestamp_delta,
            total_bytes,
        })
    }
}

impl BatchOptions {
    fn attributes(&self) -> i16 {
        let mut attributes = self.compression.number();
        if self.timestamp_type == TimestampType::LogAppendTime {
            attributes |= header::ATTRIBUTE_LOG_APPEND_TIME;
        }
        if self.is_transactional {
            attributes |= header::ATTRIBUTE_TRANSACTIONAL;
        }
        if self.is_control {
            attributes |= header::ATTRIBUTE_CONTROL;
        }
        attributes
    }
}

/// Writes one record with its deltas: of the timestamp to the batch's base, of the offset to its base
/// offset.
fn put_record(
    out: &mut Vec<u8>,
    deltas: (i64, i64),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) {
    put_length(out, body_bytes(deltas, key, value, headers));
    out.put_i8(0);
    varint::write_i64(out, deltas.0);
    varint::write_i64(out, deltas.1);
    put_nullable(out, key);
    put_nullable(out, value);
    put_length(out, headers.len());
    for header in headers {
        put_nullable(out, Some(&header.key));
        put_nullable(out, header.value.as_deref());
    }
}

/// Bytes of a record behind its length.
fn body_bytes(
    (timestamp_delta, offset_delta): (i64, i64),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let headers_bytes: usize = headers
        .iter()
        .map(|header| nullable_bytes(Some(&header.key)) + nullable_bytes(header.value.as_deref()))
        .sum();
    size_of::<i8>()
        + varint::bytes_of(timestamp_delta)
        + varint::bytes_of(offset_delta)
        + nullable_bytes(key)
        + nullable_bytes(value)
        + length_bytes(headers.len())
        + headers_bytes
}

fn record_bytes(body_bytes: usize) -> usize {
    length_bytes(body_bytes) + body_bytes
}

/// Lengths are checked against [`BATCH_BYTES_MAX`] before they are written.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    varint::write_i64(out, i64::try_from(length).unwrap_or(i64::MAX));
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write_i32(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn length_bytes(length: usize) -> usize {
    varint::bytes_of(i64::try_from(length).unwrap_or(i64::MAX))
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| length_bytes(bytes.len()) + bytes.len())
}
