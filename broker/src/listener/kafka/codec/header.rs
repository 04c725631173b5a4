//! [`RequestHeader`]: what stands before the body of every request.
//!
//! ```text
//! api key i16 │ version i16 │ correlation id i32 │ client id: length i16, bytes │ tagged fields, in header version 2
//! ```
//!
//! Header version 2 belongs to flexible requests, 1 to all others. There is a version 0, without a client
//! id, of ControlledShutdown 0 alone: that is not served, and refused by its key.

use super::{
    apis,
    cursor::Cursor,
    error::{DecodeError, Problem},
};

/// Tagged fields that a header may have. None is defined, so they are those of clients to come.
const TAGGED_FIELDS_MAX: u32 = 64;

/// Who asks for what, and under which number the answer is expected. Borrowed: while a header is there nobody
/// can take the message apart, and a batch in it stays the only handle on its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Kafka's number of the API: one that is served.
    pub api_key: i16,
    /// Version of the body, which need not be served: an ApiVersions request of any version is answered.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// Where the body begins.
    pub size_bytes: usize,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header at the beginning of `frame`. Its tagged fields are skipped: none is defined.
    ///
    /// # Errors
    /// An API that is not served, or bytes that are no header.
    pub fn parse(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader {
            cursor: Cursor::new(frame),
            header_version: 1,
        };
        let api_key = reader.read("RequestApiKey", Cursor::i16)?;
        let api_version = reader.read("RequestApiVersion", Cursor::i16)?;
        let format = apis::of_key(api_key)?.layout.format(api_version);
        reader.header_version += i16::from(format.flexible);
        let correlation_id = reader.read("CorrelationId", Cursor::i32)?;
        let client_id = reader.read("ClientId", client_id)?;
        if format.flexible {
            reader.read("(tagged fields)", skip_tagged_fields)?;
        }
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
            size_bytes: reader.cursor.at(),
        })
    }
}

/// Reads field after field and says of which one an error is.
struct Reader<'a> {
    cursor: Cursor<'a>,
    header_version: i16,
}

impl<'a> Reader<'a> {
    fn read<T>(
        &mut self,
        field: &'static str,
        step: impl FnOnce(&mut Cursor<'a>) -> Result<T, Problem>,
    ) -> Result<T, DecodeError> {
        step(&mut self.cursor).map_err(|problem| DecodeError::Malformed {
            what: "RequestHeader",
            version: self.header_version,
            field,
            at: self.cursor.at(),
            problem,
        })
    }
}

/// The client id, with a length of two bytes in all versions.
fn client_id<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a str>, Problem> {
    let Some(length) = cursor.length_i16()? else {
        return Ok(None);
    };
    let bytes = cursor.take(length)?;
    std::str::from_utf8(bytes)
        .map(Some)
        .map_err(|_| Problem::NotUtf8)
}

fn skip_tagged_fields(cursor: &mut Cursor<'_>) -> Result<(), Problem> {
    let count = cursor.varint()?;
    if count > TAGGED_FIELDS_MAX {
        return Err(Problem::TooManyTaggedFields);
    }
    for _ in 0..count {
        let _tag = cursor.varint()?;
        let size = cursor.varint()?;
        cursor.take(size as usize)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::{
        messages,
        protocol::{Encodable as _, StrBytes},
    };

    use super::*;
    use crate::listener::kafka::codec::apis::APIS;

    /// A header as `kafka-protocol` writes it, and a body.
    fn frame(
        api_key: i16,
        api_version: i16,
        header_version: i16,
        client_id: Option<&str>,
    ) -> Bytes {
        let header = messages::RequestHeader::default()
            .with_request_api_key(api_key)
            .with_request_api_version(api_version)
            .with_correlation_id(77)
            .with_client_id(client_id.map(|id| StrBytes::from_string(id.into())));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, header_version).unwrap();
        frame.extend_from_slice(b"body");
        frame.freeze()
    }

    #[test]
    fn header_of_every_version_ends_where_its_body_begins() {
        for api in APIS {
            for api_version in api.first..=api.last {
                for client_id in [None, Some(""), Some("rdkafka"), Some("klient-ä")] {
                    let flexible = api.layout.format(api_version).flexible;
                    let header_version = 1 + i16::from(flexible);
                    let frame = frame(api.layout.api_key, api_version, header_version, client_id);
                    let header = RequestHeader::parse(&frame).unwrap();
                    assert_eq!(header.api_key, api.layout.api_key);
                    assert_eq!(header.api_version, api_version);
                    assert_eq!(header.correlation_id, 77);
                    assert_eq!(header.client_id, client_id);
                    assert_eq!(&frame[header.size_bytes..], b"body");
                }
            }
        }
    }

    #[test]
    fn header_cut_at_any_byte_is_refused() {
        for (api_version, header_version) in [(8, 1), (12, 2)] {
            let whole = frame(3, api_version, header_version, Some("me"));
            for end in 0..whole.len() - b"body".len() {
                assert!(RequestHeader::parse(&whole[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn header_of_an_api_versions_request_from_the_future_is_read() {
        let frame = frame(18, 99, 2, Some("new"));
        let header = RequestHeader::parse(&frame).unwrap();
        assert_eq!((header.api_version, header.correlation_id), (99, 77));
    }

    #[test]
    fn tagged_fields_of_a_header_are_skipped() {
        let frame = [0, 3, 0, 12, 0, 0, 0, 5, 0xff, 0xff, 2, 0, 1, 9, 7, 0, 42];
        let header = RequestHeader::parse(&frame).unwrap();
        assert_eq!((header.correlation_id, header.client_id), (5, None));
        assert_eq!(frame[header.size_bytes..], [42]);
    }

    #[test]
    fn header_of_very_many_tagged_fields_is_refused() {
        let header =
            |count| [&[0, 3, 0, 12, 0, 0, 0, 5, 0xff, 0xff, count][..], &[0; 256]].concat();
        assert!(RequestHeader::parse(&header(64)).is_ok());
        let too_many = header(65);
        let refused = RequestHeader::parse(&too_many).unwrap_err();
        assert!(
            refused
                .to_string()
                .ends_with("has more unknown tagged fields than are allowed"),
            "{refused}"
        );
    }

    #[test]
    fn header_of_an_api_that_is_not_served_is_refused() {
        for api_key in [-1, 7, 71] {
            let frame = frame(api_key, 0, 1, None);
            let refused = RequestHeader::parse(&frame);
            assert_eq!(refused, Err(DecodeError::UnknownApi { api_key }));
        }
    }

    #[test]
    fn refusal_names_field_and_place() {
        let refused =
            RequestHeader::parse(&[0, 3, 0, 1, 0, 0, 0, 5, 0, 2, 0xc3, 0x28]).unwrap_err();
        let expected =
            "RequestHeader version 1 is malformed: field ClientId, byte 12: is not UTF-8";
        assert_eq!(refused.to_string(), expected);
        let refused = RequestHeader::parse(&[0, 3, 0, 1, 0]).unwrap_err();
        let expected = "RequestHeader version 1 is malformed: field CorrelationId, byte 4: needs 4 \
                        bytes, has 1";
        assert_eq!(refused.to_string(), expected);
    }
}
