//! [`Value`]: a value of the offsets topic, which starts with its version.

use bytes::Bytes;

use super::{GroupRecordError, decoder::Decoder, encoder::Encoder};

/// A kind of value: a version as `i16`, then the fields of that version.
pub(super) trait Value: Sized {
    /// The kind of record, for errors.
    const RECORD: &'static str;
    /// Versions 0 to this one are read.
    const VERSION_MAX: i16;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: i16;

    /// The version that this value is written with: the one that Kafka 4.3.1 writes.
    fn version(&self) -> i16;

    /// Reads the fields behind the version.
    fn decode(decoder: &mut Decoder<'_>, version: i16) -> Result<Self, GroupRecordError>;

    /// Writes the fields behind the version.
    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), GroupRecordError>;
}

/// Reads a value; bytes behind its fields are ignored, as Kafka does.
pub(super) fn decode_value<V: Value>(bytes: &[u8]) -> Result<V, GroupRecordError> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.i16("version")?;
    if !(0..=V::VERSION_MAX).contains(&version) {
        return Err(GroupRecordError::UnsupportedVersion {
            record: V::RECORD,
            found: version,
            max: V::VERSION_MAX,
        });
    }
    decoder.set_flexible(version >= V::FLEXIBLE_FROM);
    V::decode(&mut decoder, version)
}

pub(super) fn encode_value<V: Value>(value: &V) -> Result<Bytes, GroupRecordError> {
    let mut encoder = Encoder::new();
    let version = value.version();
    encoder.i16(version);
    encoder.set_flexible(version >= V::FLEXIBLE_FROM);
    value.encode(&mut encoder, version)?;
    Ok(encoder.into_bytes())
}
