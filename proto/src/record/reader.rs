//! [`RecordIter`]: the records of one batch, read one at a time.
//!
//! Uncompressed records share the batch's bytes. Compressed ones are decompressed in stretches of
//! [`STRETCH_BYTES`], as far as the reader has come, so a consumer that keeps one record keeps one
//! stretch; the sum of what is decompressed is bounded.

use std::{fmt, io::ErrorKind};

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Batch, BatchHeader, Compression, CompressionError, HEADER_BYTES, Header, Record, RecordError,
    TimestampType,
    compression::Decompressor,
    varint::{self, VARINT_BYTES_MAX, VarintError},
};
use crate::Offset;

/// Decompressed bytes asked for at a time.
const STRETCH_BYTES: usize = 32 * 1024;
/// Bytes of the smallest header: two lengths.
pub(super) const RECORD_HEADER_BYTES_MIN: usize = 2;

/// The records of one batch. Ends after the first error.
pub struct RecordIter {
    header: BatchHeader,
    payload: Payload,
    /// Position of the next record in the batch.
    index: u32,
    /// Offset delta that the next record has at least.
    delta_min: i64,
    is_finished: bool,
}

enum Payload {
    Plain(Bytes),
    Compressed(Stretch),
}

/// Decompressed bytes that no record has taken yet, and where more come from.
struct Stretch {
    codec: Compression,
    source: Decompressor,
    buffer: BytesMut,
    /// Bytes that may still be decompressed.
    allowance: usize,
    output_bytes_max: usize,
}

impl RecordIter {
    /// Reads the records of `batch`, exactly one batch, decompressing at most `output_bytes_max`
    /// bytes in all. The CRC is not checked here.
    ///
    /// # Errors
    /// [`RecordError::Batch`], and [`RecordError::Compression`] where the codec is compiled out.
    pub fn new(batch: Bytes, output_bytes_max: usize) -> Result<Self, RecordError> {
        Batch::parse(batch)?.records(output_bytes_max)
    }

    pub(super) fn of(
        header: BatchHeader,
        batch: Bytes,
        output_bytes_max: usize,
    ) -> Result<Self, RecordError> {
        let mut payload = batch;
        payload.advance(HEADER_BYTES.min(payload.len()));
        let codec = header.compression();
        let payload = if codec == Compression::None {
            Payload::Plain(payload)
        } else {
            Payload::Compressed(Stretch {
                codec,
                source: codec.decompressor(payload, output_bytes_max)?,
                buffer: BytesMut::new(),
                allowance: output_bytes_max,
                output_bytes_max,
            })
        };
        Ok(Self {
            header,
            payload,
            index: 0,
            delta_min: 0,
            is_finished: false,
        })
    }

    fn read_next(&mut self) -> Result<Record, RecordError> {
        let body = self.payload.take_record(self.index)?;
        let record = self.decode(&body)?;
        self.index += 1;
        Ok(record)
    }

    fn decode(&mut self, body: &Bytes) -> Result<Record, RecordError> {
        let invalid = |field| RecordError::Field {
            index: self.index,
            field,
        };
        let mut rest: &[u8] = body;
        // The attributes of a record are unused.
        rest.try_get_i8().map_err(|_| invalid("attributes"))?;
        let timestamp_delta =
            varint::read_i64(&mut rest).map_err(|_| invalid("timestamp delta"))?;
        let offset_delta =
            i64::from(varint::read_i32(&mut rest).map_err(|_| invalid("offset delta"))?);
        let key = take_nullable(body, &mut rest).ok_or_else(|| invalid("key"))?;
        let value = take_nullable(body, &mut rest).ok_or_else(|| invalid("value"))?;
        let headers = take_headers(body, &mut rest).ok_or_else(|| invalid("header"))?;
        if !rest.is_empty() {
            return Err(invalid("length"));
        }
        let (offset, timestamp) = place(
            &self.header,
            self.delta_min,
            (timestamp_delta, offset_delta),
            self.index,
        )?;
        self.delta_min = offset_delta + 1;
        Ok(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    }

    fn finish(&mut self) -> Option<Result<Record, RecordError>> {
        self.is_finished = true;
        match self.payload.is_at_end() {
            Ok(true) => None,
            Ok(false) => Some(Err(RecordError::TrailingBytes { count: self.index })),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_finished {
            return None;
        }
        if self.index == self.header.record_count() {
            return self.finish();
        }
        let read = self.read_next();
        self.is_finished = read.is_err();
        Some(read)
    }

    /// The batch may turn out to be corrupt before its last record.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.header.record_count().saturating_sub(self.index);
        // One more item where bytes follow the last record.
        (
            0,
            usize::try_from(left)
                .ok()
                .and_then(|left| left.checked_add(1)),
        )
    }
}

impl fmt::Debug for RecordIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordIter")
            .field("header", &self.header)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Payload {
    /// Takes the next record without its length.
    fn take_record(&mut self, index: u32) -> Result<Bytes, RecordError> {
        match self {
            Self::Plain(rest) => {
                let mut after = rest.as_ref();
                let length =
                    read_length(&mut after, index)?.ok_or(RecordError::Truncated { index })?;
                if length > after.len() {
                    return Err(RecordError::Truncated { index });
                }
                rest.advance(rest.len() - after.len());
                Ok(rest.split_to(length))
            }
            Self::Compressed(stretch) => stretch.take_record(index),
        }
    }

    fn is_at_end(&mut self) -> Result<bool, RecordError> {
        match self {
            Self::Plain(rest) => Ok(rest.is_empty()),
            Self::Compressed(stretch) => Ok(stretch.buffer.is_empty() && !stretch.fill_more(1)?),
        }
    }
}

impl Stretch {
    fn take_record(&mut self, index: u32) -> Result<Bytes, RecordError> {
        while self.buffer.len() < VARINT_BYTES_MAX && self.fill_more(STRETCH_BYTES)? {}
        let mut after = self.buffer.as_ref();
        let length = read_length(&mut after, index)?.ok_or(RecordError::Truncated { index })?;
        if length > self.output_bytes_max {
            return Err(RecordError::TooLarge {
                index,
                found: length,
                max: self.output_bytes_max,
            });
        }
        self.buffer.advance(self.buffer.len() - after.len());
        while self.buffer.len() < length {
            if !self.fill_more(STRETCH_BYTES)? {
                return Err(RecordError::Truncated { index });
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Decompresses up to `wanted` bytes more; `false` at the end. Memory grows with what is
    /// really there, never with what a length claims.
    fn fill_more(&mut self, wanted: usize) -> Result<bool, RecordError> {
        let start = self.buffer.len();
        // One byte beyond the allowance shows whether there is more.
        self.buffer
            .resize(start + wanted.min(self.allowance + 1), 0);
        let read = loop {
            let target = self.buffer.get_mut(start..).unwrap_or_default();
            match self.source.read(target) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| self.codec.read_error(&error))?;
        self.buffer.truncate(start + read);
        self.allowance =
            self.allowance
                .checked_sub(read)
                .ok_or(CompressionError::OutputTooLarge {
                    codec: self.codec,
                    max: self.output_bytes_max,
                })?;
        Ok(read > 0)
    }
}

/// Offset and timestamp of a record by its deltas, of which the one of the offset is `delta_min` at least.
pub(super) fn place(
    header: &BatchHeader,
    delta_min: i64,
    (timestamp_delta, offset_delta): (i64, i64),
    index: u32,
) -> Result<(Offset, i64), RecordError> {
    let invalid = |field| RecordError::Field { index, field };
    let timestamp = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp(),
        TimestampType::CreateTime => header
            .base_timestamp()
            .checked_add(timestamp_delta)
            .ok_or_else(|| invalid("timestamp delta"))?,
    };
    let is_in_batch = (delta_min..=i64::from(header.last_offset_delta())).contains(&offset_delta);
    let offset = u32::try_from(offset_delta)
        .ok()
        .filter(|_| is_in_batch)
        .and_then(|delta| header.base_offset().checked_add(delta))
        .ok_or_else(|| invalid("offset delta"))?;
    Ok((offset, timestamp))
}

/// Reads a record's length; `None` when the bytes end inside it.
fn read_length(bytes: &mut &[u8], index: u32) -> Result<Option<usize>, RecordError> {
    match varint::read_i32(bytes) {
        Ok(length) => usize::try_from(length)
            .map(Some)
            .map_err(|_| RecordError::Field {
                index,
                field: "length",
            }),
        Err(VarintError::Truncated) => Ok(None),
        Err(VarintError::Overflow) => Err(RecordError::Field {
            index,
            field: "length",
        }),
    }
}

/// Takes bytes behind a length; -1 is null. `None` where that is not what is there.
#[expect(
    clippy::option_option,
    reason = "absent, null and bytes are three answers"
)]
fn take_nullable(body: &Bytes, rest: &mut &[u8]) -> Option<Option<Bytes>> {
    match varint::read_i32(rest).ok()? {
        -1 => Some(None),
        length => {
            let taken = rest.split_off(..usize::try_from(length).ok()?)?;
            Some(Some(body.slice_ref(taken)))
        }
    }
}

fn take_headers(body: &Bytes, rest: &mut &[u8]) -> Option<Vec<Header>> {
    let count = usize::try_from(varint::read_i32(rest).ok()?).ok()?;
    if count > rest.len() / RECORD_HEADER_BYTES_MIN {
        return None;
    }
    (0..count)
        .map(|_| {
            let key = take_nullable(body, rest)??;
            let value = take_nullable(body, rest)?;
            Some(Header { key, value })
        })
        .collect()
}
