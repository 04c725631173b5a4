//! Zstandard. The encoder of a thread is kept: making one costs more than compressing a batch.

use std::{cell::RefCell, io::Cursor};

use bytes::Bytes;
use zstd::{
    bulk::Compressor,
    stream::read::Decoder,
    zstd_safe::{compress_bound, max_c_level, min_c_level},
};

use super::{Compression, CompressionError, Decompressor};

/// The largest window a frame may ask for, 2^27 bytes: what every level up to 22 stays within.
const WINDOW_LOG_MAX: u32 = 27;

thread_local! {
    static ENCODER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    if level < min_c_level() || level > max_c_level() {
        return Err(CompressionError::Level {
            codec: Compression::Zstd,
            found: level,
        });
    }
    ENCODER
        .with_borrow_mut(|kept| encode(kept, level, input, out))
        .map_err(|error| CompressionError::Encoder {
            codec: Compression::Zstd,
            reason: error.to_string(),
        })
}

fn encode(
    kept: &mut Option<Compressor<'static>>,
    level: i32,
    input: &[u8],
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let encoder = match kept {
        Some(encoder) => {
            encoder.set_compression_level(level)?;
            encoder
        }
        None => kept.insert(Compressor::new(level)?),
    };
    let start = out.len();
    out.resize(start + compress_bound(input.len()), 0);
    let written = match out.get_mut(start..) {
        Some(target) => encoder.compress_to_buffer(input, target)?,
        None => 0,
    };
    out.truncate(start + written);
    Ok(())
}

pub(super) fn decompressor(input: Bytes) -> Result<Decompressor, CompressionError> {
    let open = || {
        let mut decoder = Decoder::with_buffer(Cursor::new(input))?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        std::io::Result::Ok(decoder)
    };
    let decoder = open().map_err(|error| Compression::Zstd.read_error(&error))?;
    Ok(Box::new(decoder))
}
