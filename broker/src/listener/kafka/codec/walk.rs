//! [`Walk`]: steps through the body of a request that nobody vouches for, value by value.
//!
//! Nothing is allocated, and no length or count is believed before it was compared with the bytes that are
//! left: a count of elements with the least that so many can take. What a walk has passed, a decoder may
//! allocate for.

use super::{
    check::Limits,
    cursor::Cursor,
    error::{DecodeError, Problem},
    layout::{Format, Layout},
};

/// How a value without a fixed size says how long it is, where the format is not flexible.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    /// In two bytes: strings.
    Short,
    /// In four: bytes and arrays.
    Long,
}

/// A way through a body: where it is, and what is still allowed.
pub(super) struct Walk<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) format: Format,
    /// The field that the cursor is in.
    field: &'static str,
    elements_left: usize,
    unknown_tagged_fields_left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(body: &'a [u8], format: Format, limits: &Limits) -> Self {
        Self {
            cursor: Cursor::new(body),
            format,
            field: "",
            elements_left: limits.elements_max,
            unknown_tagged_fields_left: limits.unknown_tagged_fields_max,
        }
    }

    /// Goes on with a field, which a problem from here on is one of.
    pub(super) fn field(&mut self, name: &'static str) -> &mut Self {
        self.field = name;
        self
    }

    /// What is wrong, and where.
    pub(super) fn malformed(&self, layout: &Layout, problem: Problem) -> DecodeError {
        DecodeError::Malformed {
            what: layout.name,
            version: self.format.version,
            field: self.field,
            at: self.cursor.at(),
            problem,
        }
    }

    /// A length in bytes or elements; `None` for null.
    pub(super) fn length(&mut self, length: Length) -> Result<Option<usize>, Problem> {
        match length {
            _ if self.format.flexible => self.cursor.length_varint(),
            Length::Short => self.cursor.length_i16(),
            Length::Long => self.cursor.length_i32(),
        }
    }

    /// The bytes of a string or of bytes; `None` for null.
    pub(super) fn bytes(&mut self, length: Length) -> Result<Option<&'a [u8]>, Problem> {
        match self.length(length)? {
            Some(length) => self.cursor.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// The number of elements of an array, each of `size_min` bytes at least; `None` for null.
    pub(super) fn count(&mut self, size_min: usize) -> Result<Option<usize>, Problem> {
        let Some(count) = self.length(Length::Long)? else {
            return Ok(None);
        };
        let left = self.cursor.left();
        if count > left / size_min.max(1) {
            return Err(Problem::CountBeyondBytes {
                count,
                size_min,
                left,
            });
        }
        let allowed = self.elements_left;
        self.elements_left = allowed
            .checked_sub(count)
            .ok_or(Problem::TooManyElements { count, allowed })?;
        Ok(Some(count))
    }

    /// Passes the tagged fields of a struct, where the format has any: those that are known by `known`, which
    /// is told their tag and says whether it has passed the value.
    pub(super) fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, Problem>,
    ) -> Result<(), Problem> {
        if !self.format.flexible {
            return Ok(());
        }
        self.field = TAGGED_FIELDS;
        let mut tag_min = 0;
        for _ in 0..self.cursor.varint()? {
            let tag = self.cursor.varint()?;
            if u64::from(tag) < tag_min {
                return Err(Problem::TagOrder { tag });
            }
            tag_min = u64::from(tag) + 1;
            let size = self.cursor.varint()? as usize;
            let start = self.cursor.at();
            match known(self, tag)? {
                true => {
                    let taken = self.cursor.at() - start;
                    if taken != size {
                        return Err(Problem::TaggedSize { size, taken });
                    }
                }
                false => self.unknown_tagged_field(size)?,
            }
            self.field = TAGGED_FIELDS;
        }
        Ok(())
    }

    fn unknown_tagged_field(&mut self, size: usize) -> Result<(), Problem> {
        let left = self.unknown_tagged_fields_left.checked_sub(1);
        self.unknown_tagged_fields_left = left.ok_or(Problem::TooManyTaggedFields)?;
        self.cursor.take(size).map(drop)
    }
}

/// What a problem among tagged fields is said to be in.
const TAGGED_FIELDS: &str = "(tagged fields)";
