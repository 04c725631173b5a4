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
            Kind::Struct(_) if nullable && self.is_null_struct()? => Ok(()),
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    /// Kafka takes any negative byte for null and any other for a struct, `kafka-protocol` all but 1 for null:
    /// what both write is the only thing that they read alike.
    fn is_null_struct(&mut self) -> Result<bool, Problem> {
        match self.cursor.i8()? {
            -1 => Ok(true),
            1 => Ok(false),
            found => Err(Problem::StructMarker { found }),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The refusal of a body, without the words that all refusals begin with.
    fn refusal(api_key: i16, version: i16, body: &[u8]) -> String {
        let limits = Limits {
            elements_max: 3,
            unknown_tagged_fields_max: 1,
        };
        let refused = check(api_key, version, body, &limits).unwrap_err();
        let text = refused.to_string();
        match text.split_once(" is malformed: ") {
            Some((_, text)) => text.to_owned(),
            None => text,
        }
    }

    #[test]
    fn refusals_say_what_and_where() {
        // Heartbeat: group id, generation, member id; from version 3 an instance id that may be null.
        let heartbeat = |tail: &[u8]| [b"\0\x01g\0\0\0\x07\0\x01m", tail].concat();
        assert_eq!(
            refusal(12, 3, &heartbeat(&[0])),
            "field GroupInstanceId, byte 10: needs 2 bytes, has 1"
        );
        assert_eq!(
            refusal(12, 3, &heartbeat(&[0xff, 0xfe])),
            "field GroupInstanceId, byte 12: length -2 is negative"
        );
        assert_eq!(
            refusal(12, 3, &heartbeat(&[0xff, 0xff, 1, 2])),
            "field (end), byte 12: 2 bytes are left over"
        );
        assert_eq!(
            refusal(12, 3, &[0xff, 0xff]),
            "field GroupId, byte 2: is null, which it may not be in this version"
        );
        assert_eq!(
            refusal(12, 4, &[0xff, 0xff, 0xff, 0xff, 0xff]),
            "field GroupId, byte 0: varint does not end within 32 bits"
        );
        assert_eq!(
            refusal(12, 5, &[]),
            "Heartbeat version 5 is not served, 0 to 4 are"
        );
        assert_eq!(refusal(7, 0, &[]), "api key 7 is not served");
    }

    #[test]
    fn elements_are_counted_in_all_arrays_together() {
        // DeleteRecords 0: topics (name, partitions (index, offset)), timeout.
        let partition = [0; 12];
        let topic = |partitions: u8| {
            let mut topic = vec![0, 0, 0, 0, 0, partitions];
            topic.extend(partition.repeat(partitions.into()));
            topic
        };
        let body = |partitions: u8| [&[0, 0, 0, 1], &topic(partitions)[..], &[0; 4]].concat();
        let limits = Limits {
            elements_max: 3,
            ..Limits::BEFORE_AUTHENTICATION
        };
        assert_eq!(check(21, 0, &body(2), &limits), Ok(()));
        assert_eq!(
            refusal(21, 0, &body(3)),
            "field Partitions, byte 10: has 3 elements, 2 more are allowed in this request"
        );
        assert_eq!(
            refusal(21, 0, &[0, 0, 0, 2, 0, 0, 0, 0, 0]),
            "field Topics, byte 4: has 2 elements of at least 6 bytes each, and 5 bytes for them"
        );
    }

    #[test]
    fn struct_is_there_or_null() {
        // DescribeTopicPartitions 0: no topics, limit, a cursor (topic, partition) or none.
        let request = |cursor: &[u8]| [&[1, 0, 0, 0, 9], cursor, &[0]].concat();
        let limits = Limits::default();
        assert_eq!(check(75, 0, &request(&[0xff]), &limits), Ok(()));
        let cursor = [1, 2, b't', 0, 0, 0, 7, 0];
        assert_eq!(check(75, 0, &request(&cursor), &limits), Ok(()));
        for marker in [0, 2, 0x7f, 0x80, 0xfe] {
            let odd = [&[marker], &cursor[1..]].concat();
            let refused = refusal(75, 0, &request(&odd));
            assert!(
                refused.starts_with("field Cursor, byte 6: struct is neither"),
                "{refused}"
            );
        }
    }

    #[test]
    fn tagged_fields_ascend_and_are_as_long_as_they_say() {
        // Fetch 12 of nothing; its tag 0 is the cluster id, its tag 1 exists from version 15.
        let fetch = |tagged: &[u8]| {
            let fixed = [0; 4 * 4 + 1 + 4 * 2];
            [&fixed[..], &[1, 1, 1], tagged].concat()
        };
        let limits = Limits::BEFORE_AUTHENTICATION;
        assert_eq!(
            check(1, 12, &fetch(&[2, 0, 2, 2, b'c', 9, 0]), &limits),
            Ok(())
        );
        assert_eq!(
            refusal(1, 12, &fetch(&[1, 0, 3, 2, b'c', b'd'])),
            "field ClusterId, byte 33: tagged field says 3 bytes, takes 2"
        );
        assert_eq!(
            refusal(1, 12, &fetch(&[2, 9, 0, 9, 0])),
            "field (tagged fields), byte 32: tag 9 does not ascend"
        );
        assert_eq!(
            refusal(1, 12, &fetch(&[1, 1, 0])),
            "field (tagged fields), byte 31: tag 1 does not exist in this version"
        );
        assert_eq!(
            refusal(1, 12, &fetch(&[2, 8, 0, 9, 0])),
            "field (tagged fields), byte 33: has more unknown tagged fields than are allowed"
        );
        assert_eq!(
            refusal(1, 12, &fetch(&[1, 9, 5, 0])),
            "field (tagged fields), byte 31: needs 5 bytes, has 1"
        );
    }
}
