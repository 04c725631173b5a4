//! [`RequestHeader`]: what stands before the body of every request.
//!
//! ```text
//! api key i16 │ version i16 │ correlation id i32 │ client id: length i16, bytes │ tagged fields, in header version 2
//! ```
//!
//! Header version 2 belongs to flexible requests, 1 to all others. There is a version 0, without a client
//! id, of ControlledShutdown 0 alone: that is not served, and refused by its key.

use bytes::{Buf as _, Bytes};
use kafka_protocol::protocol::StrBytes;

use super::{
    apis,
    cursor::Cursor,
    error::{DecodeError, Problem},
};

/// Who asks for what, and under which number the answer is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Kafka's number of the API: one that is served.
    pub api_key: i16,
    /// Version of the body, which need not be served: an ApiVersions request of any version is answered.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
}

impl RequestHeader {
    /// Takes the header off the beginning of `frame`, which is unchanged after an error. Its tagged
    /// fields are skipped: none is defined.
    ///
    /// # Errors
    /// An API that is not served, or bytes that are no header.
    pub fn parse(frame: &mut Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader {
            cursor: Cursor::new(frame),
            header_version: 1,
        };
        let api_key = reader.read("RequestApiKey", Cursor::i16)?;
        let api_version = reader.read("RequestApiVersion", Cursor::i16)?;
        let format = apis::of_key(api_key)?.layout.format(api_version);
        reader.header_version += i16::from(format.flexible);
        let correlation_id = reader.read("CorrelationId", Cursor::i32)?;
        let client_id = reader.read("ClientId", |cursor| client_id(cursor, frame))?;
        if format.flexible {
            reader.read("(tagged fields)", skip_tagged_fields)?;
        }
        let size = reader.cursor.at();
        frame.advance(size);
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
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

/// The client id, with a length of two bytes in all versions; a slice of `frame`.
fn client_id(cursor: &mut Cursor<'_>, frame: &Bytes) -> Result<Option<StrBytes>, Problem> {
    let Some(length) = cursor.length_i16()? else {
        return Ok(None);
    };
    let bytes = cursor.take(length)?;
    StrBytes::from_utf8(frame.slice_ref(bytes))
        .map(Some)
        .map_err(|_| Problem::NotUtf8)
}

fn skip_tagged_fields(cursor: &mut Cursor<'_>) -> Result<(), Problem> {
    for _ in 0..cursor.varint()? {
        let _tag = cursor.varint()?;
        let size = cursor.varint()?;
        cursor.take(size as usize)?;
    }
    Ok(())
}
