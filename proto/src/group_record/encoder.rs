//! [`Encoder`]: writes the fields of Kafka's schemas, the counterpart of the decoder.

use bytes::{BufMut as _, Bytes};

use super::GroupRecordError;
use crate::TopicId;

type Result<T> = std::result::Result<T, GroupRecordError>;

/// Kafka writes no text longer than this, in no version.
const STRING_BYTES_MAX: usize = 0x7fff;
/// Lists and bytes, which have one length more where it is stored plus one.
const LENGTH_MAX: usize = 0x7fff_fffe;

/// What was written of a key or value.
pub(super) struct Encoder {
    out: Vec<u8>,
    flexible: bool,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            out: Vec::with_capacity(64),
            flexible: false,
        }
    }

    /// Whether lengths are those of a flexible version from here on.
    pub(super) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.out.into()
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(super) fn topic_id(&mut self, value: TopicId) {
        self.out.put_slice(value.as_bytes());
    }

    pub(super) fn string(&mut self, field: &'static str, value: &str) -> Result<()> {
        self.nullable_string(field, Some(value))
    }

    pub(super) fn nullable_string(
        &mut self,
        field: &'static str,
        value: Option<&str>,
    ) -> Result<()> {
        let length = value.map(|text| checked(field, text.len(), STRING_BYTES_MAX));
        match (length.transpose()?, self.flexible) {
            (length, true) => self.unsigned_varint(length.map_or(0, |length| length + 1)),
            (Some(length), false) => self.i16(i16::try_from(length).unwrap_or(i16::MAX)),
            (None, false) => self.i16(-1),
        }
        self.out.put_slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    pub(super) fn bytes(&mut self, field: &'static str, value: &[u8]) -> Result<()> {
        self.length(field, value.len())?;
        self.out.put_slice(value);
        Ok(())
    }

    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        values: &[T],
        mut element: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.length(field, values.len())?;
        values.iter().try_for_each(|value| element(self, value))
    }

    /// Ends a structure with its tagged fields, in the order of their tags; nothing before a flexible
    /// version. `fields` holds those that differ from their defaults.
    pub(super) fn tagged_fields(&mut self, fields: &[(u32, Bytes)]) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        self.unsigned_varint(checked("tagged fields", fields.len(), LENGTH_MAX)?);
        for (tag, value) in fields {
            self.unsigned_varint(*tag);
            self.unsigned_varint(checked("tagged field", value.len(), LENGTH_MAX)?);
            self.out.put_slice(value);
        }
        Ok(())
    }

    fn length(&mut self, field: &'static str, length: usize) -> Result<()> {
        let length = checked(field, length, LENGTH_MAX)?;
        if self.flexible {
            self.unsigned_varint(length + 1);
        } else {
            self.out.put_u32(length);
        }
        Ok(())
    }

    pub(super) fn unsigned_varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.out.put_u8(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.out.put_u8(low_bits(value));
    }
}

/// The bytes of one tagged field.
pub(super) fn tagged(write: impl FnOnce(&mut Encoder) -> Result<()>) -> Result<Bytes> {
    let mut field = Encoder::new();
    field.set_flexible(true);
    write(&mut field)?;
    Ok(field.into_bytes())
}

fn low_bits(value: u32) -> u8 {
    (value & 0x7f) as u8
}

fn checked(field: &'static str, found: usize, max: usize) -> Result<u32> {
    u32::try_from(found)
        .ok()
        .filter(|_| found <= max)
        .ok_or(GroupRecordError::TooLong { field, found, max })
}
