//! Zstandard. The encoder of a thread is kept: making one costs more than compressing a batch.

use std::{
    cell::RefCell,
    io::{self, Read},
};

use bytes::{Buf as _, Bytes};
use zstd::{
    bulk::Compressor,
    stream::write::Encoder,
    zstd_safe::{
        DCtx, DParameter, InBuffer, OutBuffer, compress_bound, get_error_name,
        get_frame_content_size, max_c_level, min_c_level,
    },
};

use super::{
    Compression, CompressionError,
    encoder::{Bounded, Stream},
};

/// The largest window a frame may ask for, 2^27 bytes: what every level up to 22 stays within.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes of a frame's window that are held, which is more than levels up to 19 ask for. A frame may ask
/// for more as long as it has no more content: memory is taken by content, not by what is asked for.
const WINDOW_HELD_BYTES_MAX: u64 = 16 << 20;
/// Most memory that reading frames takes: a window, the block before and after it is decoded, tables.
pub(super) const DECODER_BYTES_MAX: usize = (16 << 20) + (512 << 10);

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bit of a frame's descriptor: the window is as large as the content.
const SINGLE_SEGMENT: u8 = 0x20;

thread_local! {
    static ENCODER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let level = known_level(level)?;
    ENCODER
        .with_borrow_mut(|kept| encode(kept, level, input, out))
        .map_err(|error| CompressionError::Encoder {
            codec: Compression::Zstd,
            reason: error.to_string(),
        })
}

fn known_level(level: Option<i32>) -> Result<i32, CompressionError> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    if level < min_c_level() || level > max_c_level() {
        return Err(CompressionError::Level {
            codec: Compression::Zstd,
            found: level,
        });
    }
    Ok(level)
}

fn encode(
    kept: &mut Option<Compressor<'static>>,
    level: i32,
    input: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
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

pub(super) fn stream(
    level: Option<i32>,
    out: Bounded,
) -> Result<Box<dyn Stream>, CompressionError> {
    let encoder = Encoder::new(out, known_level(level)?);
    let encoder = encoder.map_err(|error| CompressionError::Encoder {
        codec: Compression::Zstd,
        reason: error.to_string(),
    })?;
    Ok(Box::new(encoder))
}

impl Stream for Encoder<'static, Bounded> {
    fn finish(self: Box<Self>) -> io::Result<Bounded> {
        Encoder::finish(*self)
    }
}

/// Decodes frames back to back.
pub(super) struct Reader {
    context: DCtx<'static>,
    input: Bytes,
    /// The frame that is being read.
    frame: Option<Frame>,
}

struct Frame {
    window_bytes: u64,
    content_bytes: u64,
}

impl Reader {
    pub(super) fn new(input: Bytes) -> Result<Self, CompressionError> {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|code| corrupt(get_error_name(code)))?;
        Ok(Self {
            context,
            input,
            frame: None,
        })
    }

    /// Decodes up to `out` bytes; 0 at the end of the input.
    fn decode(&mut self, out: &mut [u8]) -> Result<usize, CompressionError> {
        loop {
            if self.input.is_empty() && self.frame.is_none() {
                return Ok(0);
            }
            let frame = self.frame.get_or_insert_with(|| Frame {
                window_bytes: window_bytes(&self.input),
                content_bytes: 0,
            });
            let mut target = OutBuffer::around(&mut *out);
            let mut source = InBuffer::around(&self.input);
            let left = self
                .context
                .decompress_stream(&mut target, &mut source)
                .map_err(|code| corrupt(get_error_name(code)))?;
            let (read, written) = (source.pos(), target.pos());
            self.input.advance(read);
            frame.content_bytes += u64::try_from(written).unwrap_or(u64::MAX);
            frame.check()?;
            if left == 0 {
                self.frame = None;
            }
            if written > 0 {
                return Ok(written);
            }
            if read == 0 && left > 0 {
                return Err(corrupt("frame is cut off"));
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        self.decode(out).map_err(io::Error::other)
    }
}

impl Frame {
    fn check(&self) -> Result<(), CompressionError> {
        if self.content_bytes.min(self.window_bytes) <= WINDOW_HELD_BYTES_MAX {
            return Ok(());
        }
        Err(corrupt(&format!(
            "frame has a window of {} bytes, at most {WINDOW_HELD_BYTES_MAX} are held",
            self.window_bytes
        )))
    }
}

/// Bytes of content that the frame at the start of `input` refers back to (RFC 8878, 3.1.1.1). 0 for what
/// is no frame or is skipped: the decoder tells.
fn window_bytes(input: &[u8]) -> u64 {
    let Some((&descriptor, rest)) = input
        .strip_prefix(&MAGIC)
        .and_then(|header| header.split_first())
    else {
        return 0;
    };
    if descriptor & SINGLE_SEGMENT != 0 {
        let content = get_frame_content_size(input);
        return content.ok().flatten().unwrap_or(u64::MAX);
    }
    rest.first().map_or(0, |window| {
        let base = 1_u64 << (10 + (window >> 3));
        base + base / 8 * u64::from(window & 7)
    })
}

fn corrupt(reason: &str) -> CompressionError {
    CompressionError::Corrupt {
        codec: Compression::Zstd,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A frame of zeros, of a stream whose length was not known before, as Java's client writes it.
    fn frame(window_log: u32, content_bytes: usize) -> Bytes {
        let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        for _ in 0..content_bytes >> 20 {
            encoder.write_all(&[0; 1 << 20]).unwrap();
        }
        encoder.finish().unwrap().into()
    }

    fn read(input: Bytes) -> Result<usize, CompressionError> {
        let read = io::copy(&mut Reader::new(input).unwrap(), &mut io::sink());
        read.map(|bytes| usize::try_from(bytes).unwrap())
            .map_err(|error| Compression::Zstd.read_error(&error))
    }

    #[test]
    fn windows_are_told_from_headers() {
        for window_log in [10, 21, 23, 27] {
            assert_eq!(window_bytes(&frame(window_log, 1 << 20)), 1 << window_log);
        }
        let single = zstd::bulk::compress(&[0; 5_000], 3).unwrap();
        assert_eq!(window_bytes(&single), 5_000);
        assert_eq!(window_bytes(b"no frame"), 0);
        assert_eq!(window_bytes(&MAGIC), 0);
    }

    #[test]
    fn large_windows_are_read_as_long_as_there_is_little_to_hold_in_them() {
        assert_eq!(read(frame(27, 16 << 20)), Ok(16 << 20));
        assert_eq!(read(frame(24, 64 << 20)), Ok(64 << 20));
        let refused = read(frame(27, 17 << 20)).unwrap_err().to_string();
        assert!(refused.contains("window of 134217728 bytes"), "{refused}");
        // A frame in front of it changes nothing.
        let joined = [frame(10, 1 << 20), frame(27, 17 << 20)].concat();
        assert!(read(joined.into()).is_err());
    }

    #[test]
    fn a_frame_that_is_cut_off_is_corrupt() {
        let whole = frame(20, 2 << 20);
        for length in 1..whole.len() {
            assert!(read(whole.slice(..length)).is_err(), "{length}");
        }
    }
}
