//! [`check`]: whether bytes are a request, found out by walking them along its layout.
//!
//! Nothing is allocated, and no length or count is believed before it was compared with the bytes that are
//! left: a count of elements with the least that so many can take. What is accepted, a decoder may allocate for.

use super::{
    apis,
    cursor::Cursor,
    error::{DecodeError, Problem},
    layout::{Field, Format, Kind},
};

/// How much memory a request may make a decoder allocate; the length of its frame is bounded elsewhere.
///
/// How deep a request is nested needs no limit: its layout says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Elements of all arrays of a request together. A decoded one takes up to 300 bytes, where two bytes
    /// may be enough on the wire.
    pub elements_max: usize,
    /// Tagged fields that no layout knows, in all structs of a request together. Each may take 450 bytes:
    /// the decoder keeps them in a map.
    pub unknown_tagged_fields_max: usize,
}

impl Limits {
    /// For a client that has not authenticated: it lists no topics, and says who it is.
    pub const BEFORE_AUTHENTICATION: Self = Self {
        elements_max: 64,
        unknown_tagged_fields_max: 64,
    };
}

impl Default for Limits {
    /// For all others: 200,000 partitions in one request, and as new a client as there may be.
    fn default() -> Self {
        Self {
            elements_max: 262_144,
            unknown_tagged_fields_max: 16_384,
        }
    }
}

/// Checks that `body` is a request of this API and version, from its first to its last byte.
///
/// Whether strings are UTF-8 is left to the decoder.
///
/// # Errors
/// An API or version that is not served; the first place where the bytes are not what the layout says,
/// or go beyond `limits`.
pub fn check(api_key: i16, version: i16, body: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    let api = apis::of_version(api_key, version)?;
    let mut walk = Walk::new(body, api.layout.format(version), limits);
    walk.request(api.layout.fields)
        .map_err(|problem| DecodeError::Malformed {
            what: api.layout.name,
            version,
            field: walk.field,
            at: walk.cursor.at(),
            problem,
        })
}

/// A walk along a layout: where it is, and what is still allowed.
struct Walk<'a> {
    cursor: Cursor<'a>,
    format: Format,
    /// The field that the cursor is in.
    field: &'static str,
    elements_left: usize,
    unknown_tagged_fields_left: usize,
}

impl<'a> Walk<'a> {
    fn new(body: &'a [u8], format: Format, limits: &Limits) -> Self {
        Self {
            cursor: Cursor::new(body),
            format,
            field: "",
            elements_left: limits.elements_max,
            unknown_tagged_fields_left: limits.unknown_tagged_fields_max,
        }
    }

    fn request(&mut self, fields: &[Field]) -> Result<(), Problem> {
        self.fields(fields)?;
        self.field = "(end)";
        match self.cursor.left() {
            0 => Ok(()),
            left => Err(Problem::TrailingBytes { left }),
        }
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), Problem> {
        for field in fields {
            if field.is_in_sequence(self.format.version) {
                self.value_of(field)?;
            }
        }
        if self.format.flexible {
            self.tagged_fields(fields)?;
        }
        Ok(())
    }

    fn value_of(&mut self, field: &Field) -> Result<(), Problem> {
        self.field = field.name;
        self.value(&field.kind, field.nullable.contains(self.format.version))
    }

    fn value(&mut self, kind: &Kind, nullable: bool) -> Result<(), Problem> {
        match kind {
            Kind::Bool | Kind::Fixed(_) => self.skip(self.format.size_min(kind)),
            Kind::String | Kind::Bytes => {
                let length = self.length(kind, nullable)?;
                self.skip(length)
            }
            Kind::Array(element) => {
                let count = self.length(kind, nullable)?;
                self.elements(element, count)
            }
            Kind::Struct(_) if nullable && self.cursor.i8()? < 0 => Ok(()),
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    fn skip(&mut self, count: usize) -> Result<(), Problem> {
        self.cursor.take(count).map(|_| ())
    }

    /// A length in bytes or elements; that of null is 0.
    fn length(&mut self, kind: &Kind, nullable: bool) -> Result<usize, Problem> {
        let length = match kind {
            _ if self.format.flexible => self.cursor.length_varint()?,
            Kind::String => self.cursor.length_i16()?,
            _ => self.cursor.length_i32()?,
        };
        match length {
            Some(length) => Ok(length),
            None if nullable => Ok(0),
            None => Err(Problem::Null),
        }
    }

    fn elements(&mut self, element: &Kind, count: usize) -> Result<(), Problem> {
        let size_min = self.format.size_min(element);
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
        (0..count).try_for_each(|_| self.value(element, false))
    }

    fn tagged_fields(&mut self, fields: &[Field]) -> Result<(), Problem> {
        self.field = "(tagged fields)";
        let mut tag_min = 0;
        for _ in 0..self.cursor.varint()? {
            let tag = self.cursor.varint()?;
            if u64::from(tag) < tag_min {
                return Err(Problem::TagOrder { tag });
            }
            tag_min = u64::from(tag) + 1;
            self.tagged_field(fields, tag)?;
            self.field = "(tagged fields)";
        }
        Ok(())
    }

    fn tagged_field(&mut self, fields: &[Field], tag: u32) -> Result<(), Problem> {
        let size = self.cursor.varint()? as usize;
        match fields.iter().find(|field| field.tag == Some(tag)) {
            Some(field) if field.versions.contains(self.format.version) => {
                let start = self.cursor.at();
                self.value_of(field)?;
                let taken = self.cursor.at() - start;
                (taken == size)
                    .then_some(())
                    .ok_or(Problem::TaggedSize { size, taken })
            }
            Some(_) => Err(Problem::TagNotInVersion { tag }),
            None => {
                let left = self.unknown_tagged_fields_left.checked_sub(1);
                self.unknown_tagged_fields_left = left.ok_or(Problem::TooManyTaggedFields)?;
                self.skip(size)
            }
        }
    }
}
