//! gzip through zlib-rs. Several members back to back read as one, as Java's reader does.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use flate2::{bufread::MultiGzDecoder, write::GzEncoder};

use super::{Compression, CompressionError, Decompressor};

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let level = match level {
        None => flate2::Compression::default(),
        Some(found) => match u32::try_from(found) {
            Ok(level @ 0..=9) => flate2::Compression::new(level),
            _ => {
                return Err(CompressionError::Level {
                    codec: Compression::Gzip,
                    found,
                });
            }
        },
    };
    let mut encoder = GzEncoder::new(out, level);
    let written = encoder.write_all(input).and_then(|()| encoder.finish());
    written
        .map(|_| ())
        .map_err(|error| CompressionError::Encoder {
            codec: Compression::Gzip,
            reason: error.to_string(),
        })
}

pub(super) fn decompressor(input: Bytes) -> Decompressor {
    Box::new(MultiGzDecoder::new(Cursor::new(input)))
}
