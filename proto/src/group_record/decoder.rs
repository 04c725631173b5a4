//! [`Decoder`]: reads the fields of Kafka's schemas from bytes that may be hostile.
//!
//! Lengths before a flexible version are `i16` for text and `i32` for bytes and lists, -1 is null; from
//! it on they are unsigned varints of the length plus one, 0 is null, and every structure ends with
//! tagged fields. Nothing is reserved for a list beyond what the bytes left could hold.

use bytes::Bytes;

use super::GroupRecordError;
use crate::TopicId;

type Result<T> = std::result::Result<T, GroupRecordError>;

/// What is left to read of a key or value.
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            flexible: false,
        }
    }

    /// Whether lengths are those of a flexible version from here on.
    pub(super) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(super) fn i8(&mut self, field: &'static str) -> Result<i8> {
        self.array(field).map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16> {
        self.array(field).map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64> {
        self.array(field).map(i64::from_be_bytes)
    }

    pub(super) fn topic_id(&mut self, field: &'static str) -> Result<TopicId> {
        self.array(field).map(TopicId::from_bytes)
    }

    pub(super) fn string(&mut self, field: &'static str) -> Result<String> {
        self.nullable_string(field)?
            .ok_or(GroupRecordError::Null { field })
    }

    pub(super) fn nullable_string(&mut self, field: &'static str) -> Result<Option<String>> {
        let length = if self.flexible {
            self.compact_length(field)?
        } else {
            i64::from(self.i16(field)?)
        };
        let Some(length) = self.checked_length(field, length)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(field, length)?)
            .map_err(|_| GroupRecordError::NotUtf8 { field })?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Bytes> {
        let length = self
            .length(field)?
            .ok_or(GroupRecordError::Null { field })?;
        Ok(Bytes::copy_from_slice(self.take(field, length)?))
    }

    /// A list whose elements take at least one byte each.
    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_list(field, element)?
            .ok_or(GroupRecordError::Null { field })
    }

    /// As [`Self::list`], or null.
    pub(super) fn nullable_list<T>(
        &mut self,
        field: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.length(field)? else {
            return Ok(None);
        };
        (0..count)
            .map(|_| element(self))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// Reads the tagged fields that end a structure: `known` reads the field of a tag and says that it
    /// knows it; the others are skipped. Reads nothing before a flexible version.
    pub(super) fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<()>,
    ) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.unsigned_varint("tagged fields")?;
        for _ in 0..count {
            let tag = self.unsigned_varint("tag")?;
            let length = i64::from(self.unsigned_varint("tagged field")?);
            let length = self.checked_length("tagged field", length)?.unwrap_or(0);
            let mut field = Self {
                rest: self.take("tagged field", length)?,
                flexible: true,
            };
            known(tag, &mut field)?;
        }
        Ok(())
    }

    fn length(&mut self, field: &'static str) -> Result<Option<usize>> {
        let length = if self.flexible {
            self.compact_length(field)?
        } else {
            i64::from(self.i32(field)?)
        };
        self.checked_length(field, length)
    }

    fn compact_length(&mut self, field: &'static str) -> Result<i64> {
        Ok(i64::from(self.unsigned_varint(field)?) - 1)
    }

    /// `None` for -1, which is null.
    fn checked_length(&self, field: &'static str, length: i64) -> Result<Option<usize>> {
        if length == -1 {
            return Ok(None);
        }
        let max = self.rest.len();
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= max)
            .map(Some)
            .ok_or(GroupRecordError::Length {
                field,
                found: length,
                max,
            })
    }

    pub(super) fn unsigned_varint(&mut self, field: &'static str) -> Result<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| GroupRecordError::Varint { field });
            }
        }
        Err(GroupRecordError::Varint { field })
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let (array, rest) =
            self.rest
                .split_first_chunk::<N>()
                .ok_or(GroupRecordError::Truncated {
                    field,
                    expected: N,
                    found: self.rest.len(),
                })?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest
                .split_at_checked(count)
                .ok_or(GroupRecordError::Truncated {
                    field,
                    expected: count,
                    found: self.rest.len(),
                })?;
        self.rest = rest;
        Ok(taken)
    }
}
