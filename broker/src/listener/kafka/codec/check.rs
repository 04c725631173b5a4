//! [`check`]: whether bytes are a request, found out by a [`Walk`] along its layout.

use super::{
    apis,
    error::{DecodeError, Problem},
    layout::{Field, Kind},
    walk::{Length, Walk},
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

/// Checks that `body` begins with a request of this API and version, and says how many bytes that takes.
///
/// What is behind it is ignored, as Kafka does: librdkafka sends three bytes more where it asks for the
/// metadata of all topics (versions 9 and later; its issue 5049). Whether strings are UTF-8 is left to the decoder.
///
/// # Errors
/// An API or version that is not served; the first place where the bytes are not what the layout says,
/// or go beyond `limits`.
pub fn check(
    api_key: i16,
    version: i16,
    body: &[u8],
    limits: &Limits,
) -> Result<usize, DecodeError> {
    let layout = apis::of_version(api_key, version)?.layout;
    let mut walk = Walk::new(body, layout.format(version), limits);
    match fields(&mut walk, layout.fields) {
        Ok(()) => Ok(body.len() - walk.cursor.left()),
        Err(problem) => Err(walk.malformed(layout, problem)),
    }
}

fn fields(walk: &mut Walk<'_>, fields: &[Field]) -> Result<(), Problem> {
    let version = walk.format.version;
    for field in fields {
        if field.is_in_sequence(version) {
            value_of(walk, field)?;
        }
    }
    walk.tagged_fields(
        |walk, tag| match fields.iter().find(|field| field.tag == Some(tag)) {
            Some(field) if field.versions.contains(version) => value_of(walk, field).map(|()| true),
            Some(_) => Err(Problem::TagNotInVersion { tag }),
            None => Ok(false),
        },
    )
}

fn value_of(walk: &mut Walk<'_>, field: &Field) -> Result<(), Problem> {
    let is_nullable = field.nullable.contains(walk.format.version);
    value(walk.field(field.name), &field.kind, is_nullable)
}

fn value(walk: &mut Walk<'_>, kind: &Kind, is_nullable: bool) -> Result<(), Problem> {
    let is_null = match kind {
        Kind::Bool | Kind::Fixed(_) => {
            let size = walk.format.size_min(kind);
            return walk.cursor.take(size).map(drop);
        }
        Kind::String => walk.bytes(Length::Short)?.is_none(),
        Kind::Bytes => walk.bytes(Length::Long)?.is_none(),
        Kind::Array(element) => {
            let count = walk.count(walk.format.size_min(element))?;
            (0..count.unwrap_or(0)).try_for_each(|_| value(walk, element, false))?;
            count.is_none()
        }
        Kind::Struct(_) if is_nullable && is_null_struct(walk)? => true,
        Kind::Struct(of_struct) => return fields(walk, of_struct),
    };
    match is_null && !is_nullable {
        true => Err(Problem::Null),
        false => Ok(()),
    }
}

/// Kafka takes any negative byte for null and any other for a struct, `kafka-protocol` all but 1 for null:
/// what both write is the only thing that they read alike.
fn is_null_struct(walk: &mut Walk<'_>) -> Result<bool, Problem> {
    match walk.cursor.i8()? {
        -1 => Ok(true),
        1 => Ok(false),
        found => Err(Problem::StructMarker { found }),
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
    fn all_topics_are_asked_for_as_librdkafka_does() {
        // No topics, two flags that are false, no tagged field; then these once more, and as they were meant.
        let body = [0, 0, 0, 0, 1, 0, 0];
        assert_eq!(check(3, 13, &body, &Limits::default()), Ok(4));
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
        assert_eq!(check(21, 0, &body(2), &limits), Ok(body(2).len()));
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
        assert!(check(75, 0, &request(&[0xff]), &limits).is_ok());
        let cursor = [1, 2, b't', 0, 0, 0, 7, 0];
        assert!(check(75, 0, &request(&cursor), &limits).is_ok());
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
        let right = fetch(&[2, 0, 2, 2, b'c', 9, 0]);
        assert_eq!(check(1, 12, &right, &limits), Ok(right.len()));
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
