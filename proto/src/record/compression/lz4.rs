//! LZ4 frames: independent blocks of 64 KiB without checksums, as Kafka's Java client writes them.

use std::io::{self, Cursor, Write as _};

use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{
    Compression, CompressionError, Decompressor,
    encoder::{Bounded, Stream},
};

/// Frames of the format before this one, with blocks of 8 MiB; Kafka does not read them either.
const LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Most memory that reading a frame takes: two blocks of 4 MiB, one more before it is decoded, a window.
pub(super) const DECODER_BYTES_MAX: usize = 3 * (4 << 20) + (64 << 10);

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let mut encoder = FrameEncoder::with_frame_info(frame_info(), out);
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

fn frame_info() -> FrameInfo {
    FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB)
}

pub(super) fn stream(out: Bounded) -> Box<dyn Stream> {
    Box::new(FrameEncoder::with_frame_info(frame_info(), out))
}

impl Stream for FrameEncoder<Bounded> {
    fn finish(self: Box<Self>) -> io::Result<Bounded> {
        Ok(FrameEncoder::finish(*self)?)
    }
}

pub(super) fn decompressor(input: Bytes) -> Result<Decompressor, CompressionError> {
    if input.starts_with(&LEGACY_MAGIC) {
        return Err(CompressionError::Corrupt {
            codec: Compression::Lz4,
            reason: "frame is of the legacy format".to_owned(),
        });
    }
    Ok(Box::new(FrameDecoder::new(Cursor::new(input))))
}
