//! Reads answers with `kafka-protocol`, the oracle of those that are written by hand.

use bytes::{Buf as _, BytesMut};
use kafka_protocol::{
    messages::ResponseHeader,
    protocol::{Decodable, HeaderVersion},
};

use super::{Answer, Chunk};

/// What an answer in memory says. Panics where its length, its header or its end is not as it should be.
pub(in super::super) fn decoded<R: Decodable + HeaderVersion>(
    answer: &Answer,
    correlation_id: i32,
    version: i16,
) -> R {
    let mut message = BytesMut::new();
    for chunk in &answer.chunks {
        match chunk {
            Chunk::Memory(bytes) => message.extend_from_slice(bytes),
            Chunk::File(range) => panic!("version {version}: {range:?}"),
        }
    }
    let mut message = message.freeze();
    let length = usize::try_from(message.get_i32()).expect("a length");
    assert_eq!(length, message.len(), "version {version}");
    let header = ResponseHeader::decode(&mut message, R::header_version(version));
    let header = header.unwrap_or_else(|error| panic!("version {version}: {error:#}"));
    let expected = ResponseHeader::default().with_correlation_id(correlation_id);
    assert_eq!(header, expected, "version {version}");
    let response = R::decode(&mut message, version);
    let response = response.unwrap_or_else(|error| panic!("version {version}: {error:#}"));
    assert!(!message.has_remaining(), "version {version}: {message:?}");
    response
}
