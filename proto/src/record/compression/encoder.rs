//! [`Encoder`]: compresses what it is given piece by piece, into bounded output.
//!
//! ```text
//!   pieces ── plain, up to ONE_PASS_BYTES_MAX ──▶ one pass of the codec at the end
//!                └─ beyond: the codec's stream, which holds its window and no more
//! ```

use std::io::{self, Write};

use super::{Compression, CompressionError};

/// Input that is compressed in one pass: it takes less time, and a codec that knows the length of its
/// input takes less memory.
const ONE_PASS_BYTES_MAX: usize = 1 << 20;

/// A codec that takes its input piece by piece.
pub(super) trait Stream: Write {
    /// Ends the stream and gives its output back.
    fn finish(self: Box<Self>) -> io::Result<Bounded>;
}

/// Compresses what is written to it behind a head of zeros.
pub(in crate::record) struct Encoder {
    codec: Compression,
    level: Option<i32>,
    out_bytes_max: usize,
    head_bytes: usize,
    /// Input that no codec has seen; behind the head where there is no codec.
    plain: Vec<u8>,
    stream: Option<Box<dyn Stream>>,
}

impl Encoder {
    /// Starts with `head_bytes` of zeros; the output may have `out_bytes_max`, head included.
    pub(in crate::record) fn new(
        codec: Compression,
        level: Option<i32>,
        head_bytes: usize,
        out_bytes_max: usize,
    ) -> Self {
        let plain = match codec {
            Compression::None => vec![0; head_bytes],
            _ => Vec::new(),
        };
        Self {
            codec,
            level,
            out_bytes_max,
            head_bytes,
            plain,
            stream: None,
        }
    }

    /// Takes a piece of input.
    ///
    /// # Errors
    /// [`CompressionError::NoRoom`] once the output is too large, and those of
    /// [`Compression::compress`]; then the encoder is of no more use.
    pub(in crate::record) fn write(&mut self, piece: &[u8]) -> Result<(), CompressionError> {
        let held_max = match self.codec {
            Compression::None => self.out_bytes_max,
            _ => ONE_PASS_BYTES_MAX,
        };
        if self.plain.len() + piece.len() > held_max {
            if self.codec == Compression::None {
                return Err(self.no_room());
            }
            self.pass_on()?;
        }
        self.plain.extend_from_slice(piece);
        Ok(())
    }

    /// The head and the compressed input.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub(in crate::record) fn finish(mut self) -> Result<Vec<u8>, CompressionError> {
        if self.codec == Compression::None {
            return Ok(self.plain);
        }
        if self.stream.is_some() {
            self.pass_on()?;
        }
        match self.stream.take() {
            Some(stream) => match stream.finish() {
                Ok(out) => Ok(out.bytes),
                Err(error) => Err(self.failed(&error)),
            },
            None => self.one_pass(),
        }
    }

    fn one_pass(&self) -> Result<Vec<u8>, CompressionError> {
        let mut out = Vec::with_capacity(self.head_bytes + self.plain.len() / 2);
        out.resize(self.head_bytes, 0);
        self.codec.compress(self.level, &self.plain, &mut out)?;
        if out.len() > self.out_bytes_max {
            return Err(self.no_room());
        }
        Ok(out)
    }

    /// Gives the codec what is held.
    fn pass_on(&mut self) -> Result<(), CompressionError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.codec.stream(
                self.level,
                Bounded {
                    bytes: vec![0; self.head_bytes],
                    bytes_max: self.out_bytes_max,
                },
            )?,
        };
        stream
            .write_all(&self.plain)
            .map_err(|error| self.failed(&error))?;
        self.plain.clear();
        self.stream = Some(stream);
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> CompressionError {
        if error.get_ref().is_some_and(|inner| inner.is::<NoRoom>()) {
            return self.no_room();
        }
        CompressionError::Encoder {
            codec: self.codec,
            reason: error.to_string(),
        }
    }

    const fn no_room(&self) -> CompressionError {
        CompressionError::NoRoom {
            codec: self.codec,
            max: self.out_bytes_max,
        }
    }
}

/// Output that grows up to a bound.
#[derive(Debug)]
pub(super) struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

/// The output would grow beyond its bound.
#[derive(Debug, thiserror::Error)]
#[error("output is full")]
struct NoRoom;

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.bytes_max {
            return Err(io::Error::other(NoRoom));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const HEAD_BYTES: usize = 61;

    /// Bytes that compress to about a third.
    fn text(bytes: usize) -> Vec<u8> {
        let rows = (0_u32..).flat_map(|row| format!("{row},N{},EWR\n", row ^ 0x5555).into_bytes());
        rows.take(bytes).collect()
    }

    fn encoded(codec: Compression, input: &[u8], max: usize) -> Result<Bytes, CompressionError> {
        let mut encoder = Encoder::new(codec, None, HEAD_BYTES, max);
        for piece in input.chunks(30_011) {
            encoder.write(piece)?;
        }
        Ok(encoder.finish()?.into())
    }

    fn codecs() -> impl Iterator<Item = Compression> {
        let all = Compression::ALL.into_iter();
        all.filter(|codec| codec.is_compiled_in())
    }

    #[test]
    fn what_is_written_in_pieces_is_read_as_a_whole_below_and_beyond_one_pass() {
        let input = text(3 * ONE_PASS_BYTES_MAX + 7);
        for codec in codecs() {
            for length in [
                0,
                5,
                ONE_PASS_BYTES_MAX,
                ONE_PASS_BYTES_MAX + 1,
                input.len(),
            ] {
                let found = encoded(codec, &input[..length], usize::MAX).unwrap();
                assert!(found[..HEAD_BYTES].iter().all(|byte| *byte == 0));
                let read = codec.decompress(found.slice(HEAD_BYTES..), input.len());
                assert!(read.unwrap() == input[..length], "{codec} {length}");
            }
        }
    }

    #[test]
    fn output_beyond_its_bound_is_refused_and_up_to_it_is_not() {
        let input = text(3 * ONE_PASS_BYTES_MAX);
        for codec in codecs() {
            for length in [20_000, input.len()] {
                let input = &input[..length];
                let fits = encoded(codec, input, usize::MAX).unwrap().len();
                assert_eq!(encoded(codec, input, fits).unwrap().len(), fits);
                let max = fits - 1;
                let refused = encoded(codec, input, max);
                assert_eq!(refused, Err(CompressionError::NoRoom { codec, max }));
            }
        }
    }
}
