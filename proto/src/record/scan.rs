//! [`RecordScan`]: walks the records of one batch and holds none of them.
//!
//! Where [`super::RecordIter`] returns a record's bytes, and so holds all of them, this checks its fields
//! and hands its bytes out piece by piece, from [`STRETCH_BYTES`] of the payload at a time: a record may
//! be as large as its format allows. Both take the same records and refuse the same.
//!
//! ```text
//!   length | attributes | timestamp delta | offset delta | key | value | headers
//!   ╰────────────── start() ──────────────────────────╯ ╰────── rest() ──────╯
//! ```

use std::io::{ErrorKind, Read as _};

use bytes::{Buf as _, Bytes};

use super::{
    Batch, BatchHeader, Compression, CompressionError, HEADER_BYTES, RecordError,
    compression::Decompressor,
    reader::{RECORD_HEADER_BYTES_MIN, place},
    varint::{self, VARINT_BYTES_MAX, VARLONG_BYTES_MAX, VarintError},
};
use crate::Offset;

/// Decompressed bytes that are held.
const STRETCH_BYTES: usize = 32 * 1024;

/// Walks the records of one batch, see the module.
pub struct RecordScan {
    header: BatchHeader,
    payload: Payload,
    /// Position of the next record in the batch.
    index: u32,
    /// Offset delta that the next record has at least.
    delta_min: i64,
    /// Bytes of the current record that are still to be walked.
    rest: usize,
    is_in_record: bool,
}

/// What stands before a record's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordStart {
    /// Position of the record in the batch, from 0.
    pub index: u32,
    /// Position in the partition.
    pub offset: Offset,
    /// Milliseconds since the epoch; -1 for none.
    pub timestamp: i64,
    /// Bytes from the key to the record's end.
    pub rest_bytes: usize,
}

/// Bytes of a record behind its start, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What they are of.
    pub part: Part,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key, without its length.
    Key,
    /// Anything else.
    Other,
}

/// What a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    /// Its key is not null.
    pub has_key: bool,
    /// Its value is not null.
    pub has_value: bool,
}

impl RecordScan {
    pub(super) fn new(batch: &Batch, output_bytes_max: usize) -> Result<Self, RecordError> {
        let mut bytes = batch.bytes().clone();
        bytes.advance(HEADER_BYTES.min(bytes.len()));
        Ok(Self {
            header: *batch.header(),
            payload: Payload::new(batch.compression(), bytes, output_bytes_max)?,
            index: 0,
            delta_min: 0,
            rest: 0,
            is_in_record: false,
        })
    }

    /// Walks to the next record, over what is left of the current one; `None` behind the last.
    ///
    /// # Errors
    /// The first field that is wrong; nothing can be read behind it.
    pub fn start(&mut self) -> Result<Option<RecordStart>, RecordError> {
        if self.is_in_record {
            self.rest::<RecordError>(|_| Ok(()))?;
        }
        if self.index == self.header.record_count() {
            return if self.payload.ahead(1)?.is_empty() {
                Ok(None)
            } else {
                Err(RecordError::TrailingBytes { count: self.index })
            };
        }
        // Nothing bounds the length itself.
        self.rest = usize::MAX;
        let length = self.number("length", &mut no_piece)?;
        self.rest = usize::try_from(length).map_err(|_| self.invalid("length"))?;
        self.pass(1, "attributes", Part::Other, &mut no_piece)?;
        let timestamp_delta = self.varint(
            VARLONG_BYTES_MAX,
            varint::read_i64,
            "timestamp delta",
            &mut no_piece,
        )?;
        let offset_delta = i64::from(self.number("offset delta", &mut no_piece)?);
        let (offset, timestamp) = place(
            &self.header,
            self.delta_min,
            (timestamp_delta, offset_delta),
            self.index,
        )?;
        self.delta_min = offset_delta + 1;
        self.is_in_record = true;
        Ok(Some(RecordStart {
            index: self.index,
            offset,
            timestamp,
            rest_bytes: self.rest,
        }))
    }

    /// Walks over what follows the start of the current record, and hands it out.
    ///
    /// # Errors
    /// As [`RecordScan::start`], and those of `take`.
    pub fn rest<E: From<RecordError>>(
        &mut self,
        mut take: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<RecordShape, E> {
        let has_key = self.nullable("key", Part::Key, &mut take)?;
        let has_value = self.nullable("value", Part::Other, &mut take)?;
        self.headers(&mut take)?;
        if self.rest > 0 {
            return Err(self.invalid("length").into());
        }
        self.is_in_record = false;
        self.index += 1;
        Ok(RecordShape { has_key, has_value })
    }

    fn headers<E: From<RecordError>>(
        &mut self,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = usize::try_from(self.number("header", take)?)
            .ok()
            .filter(|count| *count <= self.rest / RECORD_HEADER_BYTES_MIN)
            .ok_or_else(|| self.invalid("header"))?;
        for _ in 0..count {
            if !self.nullable("header", Part::Other, take)? {
                return Err(self.invalid("header").into());
            }
            self.nullable("header", Part::Other, take)?;
        }
        Ok(())
    }

    /// Walks over bytes behind their length; false where they are null.
    fn nullable<E: From<RecordError>>(
        &mut self,
        field: &'static str,
        part: Part,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        match self.number(field, take)? {
            -1 => Ok(false),
            length => {
                let length = usize::try_from(length).map_err(|_| self.invalid(field))?;
                self.pass(length, field, part, take)?;
                Ok(true)
            }
        }
    }

    fn number<E: From<RecordError>>(
        &mut self,
        field: &'static str,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<i32, E> {
        self.varint(VARINT_BYTES_MAX, varint::read_i32, field, take)
    }

    /// Reads a number of at most `bytes_max` bytes.
    fn varint<T, E: From<RecordError>>(
        &mut self,
        bytes_max: usize,
        read: impl FnOnce(&mut &[u8]) -> Result<T, VarintError>,
        field: &'static str,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<T, E> {
        let index = self.index;
        let ahead = self.payload.ahead(bytes_max)?;
        let of_record = ahead.get(..self.rest).unwrap_or(ahead);
        let mut after = of_record;
        let number = read(&mut after).map_err(|error| match error {
            VarintError::Truncated if of_record.len() < self.rest => {
                RecordError::Truncated { index }
            }
            _ => RecordError::Field { index, field },
        })?;
        let length = of_record.len() - after.len();
        take(Piece {
            part: Part::Other,
            bytes: of_record.get(..length).unwrap_or_default(),
        })?;
        self.payload.advance(length);
        self.rest -= length;
        Ok(number)
    }

    /// Walks over bytes of the record.
    fn pass<E: From<RecordError>>(
        &mut self,
        bytes: usize,
        field: &'static str,
        part: Part,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if bytes > self.rest {
            return Err(self.invalid(field).into());
        }
        let mut left = bytes;
        while left > 0 {
            let ahead = self.payload.ahead(1)?;
            let bytes = ahead.get(..left).unwrap_or(ahead);
            if bytes.is_empty() {
                return Err(RecordError::Truncated { index: self.index }.into());
            }
            take(Piece { part, bytes })?;
            let length = bytes.len();
            self.payload.advance(length);
            left -= length;
        }
        self.rest -= bytes;
        Ok(())
    }

    const fn invalid(&self, field: &'static str) -> RecordError {
        let index = self.index;
        RecordError::Field { index, field }
    }
}

impl std::fmt::Debug for RecordScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordScan")
            .field("header", &self.header)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

fn no_piece(_: Piece<'_>) -> Result<(), RecordError> {
    Ok(())
}

/// The payload, decompressed as far as it was walked.
enum Payload {
    Plain(Bytes),
    Compressed(Stretch),
}

/// Decompressed bytes that were not walked yet, and where more come from.
struct Stretch {
    codec: Compression,
    source: Decompressor,
    buffer: Vec<u8>,
    /// Where in the buffer they are.
    start: usize,
    end: usize,
    /// Bytes that may still be decompressed.
    allowance: usize,
    output_bytes_max: usize,
}

impl Payload {
    fn new(
        codec: Compression,
        payload: Bytes,
        output_bytes_max: usize,
    ) -> Result<Self, RecordError> {
        if codec == Compression::None {
            return Ok(Self::Plain(payload));
        }
        Ok(Self::Compressed(Stretch {
            codec,
            source: codec.decompressor(payload, output_bytes_max)?,
            buffer: vec![0; STRETCH_BYTES],
            start: 0,
            end: 0,
            allowance: output_bytes_max,
            output_bytes_max,
        }))
    }

    /// What comes next: `wanted` bytes, a few, or more; less only at the end of the payload.
    fn ahead(&mut self, wanted: usize) -> Result<&[u8], RecordError> {
        match self {
            Self::Plain(rest) => Ok(rest),
            Self::Compressed(stretch) => {
                while stretch.end - stretch.start < wanted && stretch.fill()? {}
                let held = stretch.buffer.get(stretch.start..stretch.end);
                Ok(held.unwrap_or_default())
            }
        }
    }

    /// Walks over bytes that are ahead.
    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Plain(rest) => rest.advance(bytes),
            Self::Compressed(stretch) => stretch.start += bytes,
        }
    }
}

impl Stretch {
    /// Decompresses some bytes more; false at the end.
    fn fill(&mut self) -> Result<bool, RecordError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // One byte beyond the allowance shows whether there is more.
        let room = (self.buffer.len() - self.end).min(self.allowance.saturating_add(1));
        let read = loop {
            let target = self.buffer.get_mut(self.end..self.end + room);
            match self.source.read(target.unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| self.codec.read_error(&error))?;
        self.end += read;
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
