//! Snappy in the framing of snappy-java ("xerial"), which Kafka's Java client writes; librdkafka
//! and others also write one raw block without framing, so both are read.
//!
//! ```text
//! 82 'SNAPPY' 00 | version i32 = 1 | compatible version i32 = 1 | (block bytes i32 | raw block)*
//! ```

use std::{
    io::{self, Read, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf as _, Bytes};

use super::{
    Compression, CompressionError,
    encoder::{Bounded, Stream},
};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const PREAMBLE_BYTES: usize = 16;
/// Input of one block, the default of snappy-java.
const BLOCK_BYTES: usize = 32 * 1024;
/// What a byte of a block decodes to at most: a copy of 64 bytes takes three. A block that claims more is
/// refused before there is memory for it.
pub(super) const EXPANSION_MAX: usize = 22;
/// Blocks from here on are large, and one of up to so many bytes is kept.
const LARGE_BYTES: usize = 1 << 20;
const SPARE_BYTES_MAX: usize = 32 << 20;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    out.extend_from_slice(&preamble());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        compress_block(&mut encoder, block, out).map_err(|reason| CompressionError::Encoder {
            codec: Compression::Snappy,
            reason,
        })?;
    }
    Ok(())
}

fn preamble() -> [u8; PREAMBLE_BYTES] {
    let mut preamble = [0; PREAMBLE_BYTES];
    let (magic, versions) = preamble.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    for version in versions.chunks_exact_mut(size_of::<i32>()) {
        version.copy_from_slice(&1i32.to_be_bytes());
    }
    preamble
}

fn compress_block(
    encoder: &mut snap::raw::Encoder,
    block: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let length_at = out.len();
    let start = length_at + size_of::<i32>();
    out.resize(start + snap::raw::max_compress_len(block.len()), 0);
    let target = out.get_mut(start..).unwrap_or_default();
    let written = encoder
        .compress(block, target)
        .map_err(|error| error.to_string())?;
    out.truncate(start + written);
    let length = i32::try_from(written).map_err(|error| error.to_string())?;
    if let Some(field) = out.get_mut(length_at..start) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

pub(super) fn stream(out: Bounded) -> Box<dyn Stream> {
    Box::new(Writer {
        encoder: snap::raw::Encoder::new(),
        block: Vec::with_capacity(BLOCK_BYTES),
        compressed: preamble().to_vec(),
        out,
    })
}

/// Encodes block by block.
struct Writer {
    encoder: snap::raw::Encoder,
    /// Input of the next block.
    block: Vec<u8>,
    /// What goes out with the next block: the preamble at first.
    compressed: Vec<u8>,
    out: Bounded,
}

impl Writer {
    fn end_block(&mut self) -> io::Result<()> {
        compress_block(&mut self.encoder, &self.block, &mut self.compressed)
            .map_err(io::Error::other)?;
        self.block.clear();
        self.out.write_all(&self.compressed)?;
        self.compressed.clear();
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK_BYTES {
            self.end_block()?;
        }
        let taken = piece.len().min(BLOCK_BYTES - self.block.len());
        self.block
            .extend_from_slice(piece.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Writer {
    fn finish(mut self: Box<Self>) -> io::Result<Bounded> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        Ok(self.out)
    }
}

/// Decodes block by block.
pub(super) struct Reader {
    input: Bytes,
    is_framed: bool,
    block: io::Cursor<Vec<u8>>,
    block_bytes_max: usize,
}

impl Reader {
    pub(super) fn new(mut input: Bytes, output_bytes_max: usize) -> Self {
        let is_framed = skip_preamble(&mut input);
        Self {
            input,
            is_framed,
            block: io::Cursor::new(Vec::new()),
            block_bytes_max: output_bytes_max,
        }
    }

    /// Decodes the next block; `false` at the end.
    fn next_block(&mut self) -> Result<bool, CompressionError> {
        // A preamble may come again where streams were joined.
        while self.is_framed && skip_preamble(&mut self.input) {}
        if self.input.is_empty() {
            return Ok(false);
        }
        let compressed = if self.is_framed {
            self.framed_block()?
        } else {
            self.input.split_off(0)
        };
        let output_bytes = snap::raw::decompress_len(&compressed).map_err(|e| corrupt(&e))?;
        if output_bytes > self.block_bytes_max {
            return Err(CompressionError::OutputTooLarge {
                codec: Compression::Snappy,
                max: self.block_bytes_max,
            });
        }
        if output_bytes > compressed.len().saturating_mul(EXPANSION_MAX) {
            return Err(corrupt(&format_args!(
                "block of {} bytes claims to have {output_bytes}",
                compressed.len()
            )));
        }
        let mut block = std::mem::take(self.block.get_mut());
        if output_bytes > LARGE_BYTES && block.capacity() < output_bytes {
            block = spare().take().unwrap_or(block);
        }
        block.resize(output_bytes, 0);
        snap::raw::Decoder::new()
            .decompress(&compressed, &mut block)
            .map_err(|error| corrupt(&error))?;
        self.block = io::Cursor::new(block);
        Ok(true)
    }

    fn framed_block(&mut self) -> Result<Bytes, CompressionError> {
        let length = self
            .input
            .try_get_i32()
            .map_err(|_| corrupt(&"block length is cut off"))?;
        match usize::try_from(length) {
            Ok(length) if length <= self.input.len() => Ok(self.input.split_to(length)),
            _ => Err(corrupt(&format_args!(
                "block has {length} bytes, found {}",
                self.input.len()
            ))),
        }
    }
}

/// A large block for the next reader that needs one. An allocator keeps what each thread gave back to it,
/// which for blocks of many MiB would be much.
fn spare() -> MutexGuard<'static, Option<Vec<u8>>> {
    static SPARE: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Reader {
    fn drop(&mut self) {
        let block = std::mem::take(self.block.get_mut());
        if (LARGE_BYTES..SPARE_BYTES_MAX).contains(&block.capacity()) {
            *spare() = Some(block);
        }
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            if !self.next_block().map_err(io::Error::other)? {
                return Ok(0);
            }
        }
    }
}

fn skip_preamble(input: &mut Bytes) -> bool {
    let is_there = input.len() >= PREAMBLE_BYTES && input.starts_with(&MAGIC);
    if is_there {
        input.advance(PREAMBLE_BYTES);
    }
    is_there
}

fn corrupt(reason: &dyn std::fmt::Display) -> CompressionError {
    CompressionError::Corrupt {
        codec: Compression::Snappy,
        reason: reason.to_string(),
    }
}
