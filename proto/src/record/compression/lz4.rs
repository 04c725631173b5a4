//! LZ4 frames: independent blocks of 64 KiB without checksums, as Kafka's Java client writes them.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Compression, CompressionError, Decompressor};

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    let failed = |reason: String| CompressionError::Encoder {
        codec: Compression::Lz4,
        reason,
    };
    encoder
        .write_all(input)
        .map_err(|error| failed(error.to_string()))?;
    encoder
        .finish()
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

pub(super) fn decompressor(input: Bytes) -> Decompressor {
    Box::new(FrameDecoder::new(Cursor::new(input)))
}
