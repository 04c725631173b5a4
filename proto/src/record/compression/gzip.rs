//! gzip through zlib-rs. Several members back to back read as one, as Java's reader does.

use std::io::{self, Cursor, Write as _};

use bytes::Bytes;
use flate2::{bufread::MultiGzDecoder, write::GzEncoder};

use super::{
    Compression, CompressionError, Decompressor,
    encoder::{Bounded, Stream},
};

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut encoder = GzEncoder::new(out, known_level(level)?);
    let written = encoder.write_all(input).and_then(|()| encoder.finish());
    written
        .map(|_| ())
        .map_err(|error| CompressionError::Encoder {
            codec: Compression::Gzip,
            reason: error.to_string(),
        })
}

fn known_level(level: Option<i32>) -> Result<flate2::Compression, CompressionError> {
    match level {
        None => Ok(flate2::Compression::default()),
        Some(found) => match u32::try_from(found) {
            Ok(level @ 0..=9) => Ok(flate2::Compression::new(level)),
            _ => Err(CompressionError::Level {
                codec: Compression::Gzip,
                found,
            }),
        },
    }
}

pub(super) fn stream(
    level: Option<i32>,
    out: Bounded,
) -> Result<Box<dyn Stream>, CompressionError> {
    Ok(Box::new(GzEncoder::new(out, known_level(level)?)))
}

impl Stream for GzEncoder<Bounded> {
    fn finish(self: Box<Self>) -> io::Result<Bounded> {
        GzEncoder::finish(*self)
    }
}

pub(super) fn decompressor(input: Bytes) -> Decompressor {
    Box::new(MultiGzDecoder::new(Cursor::new(input)))
}
