//! [`Compression`]: the codecs of record batches, each behind a cargo feature.
//!
//! Output is bounded by the caller, always: a few bytes may decompress to gigabytes.

use std::{fmt, io::Read, str::FromStr};

use bytes::Bytes;

use super::{BatchError, header::ATTRIBUTE_CODEC};

pub(super) mod encoder;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of snappy-java ("xerial").
    Snappy,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// Why bytes cannot be compressed or decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The codec's cargo feature is off in this build.
    #[error("compression {codec} is not compiled in")]
    NotCompiledIn {
        /// The codec.
        codec: Compression,
    },
    /// The codec has no such level.
    #[error("compression {codec} has no level {found}")]
    Level {
        /// The codec.
        codec: Compression,
        /// The level asked for.
        found: i32,
    },
    /// The bytes are not what the codec writes.
    #[error("{codec} data is corrupt: {reason}")]
    Corrupt {
        /// The codec.
        codec: Compression,
        /// What the decoder says.
        reason: String,
    },
    /// The output is larger than the caller allows.
    #[error("{codec} data decompresses to more than {max} bytes")]
    OutputTooLarge {
        /// The codec.
        codec: Compression,
        /// The limit in bytes.
        max: usize,
    },
    /// The compressed output is larger than the caller allows.
    #[error("{codec} data has more than {max} bytes")]
    NoRoom {
        /// The codec.
        codec: Compression,
        /// The limit in bytes.
        max: usize,
    },
    /// The encoder failed.
    #[error("{codec} encoder fails: {reason}")]
    Encoder {
        /// The codec.
        codec: Compression,
        /// What the encoder says.
        reason: String,
    },
}

/// Most memory that compressing a batch piece by piece takes, beside its output: zstd's window, twice, and
/// what is gathered before it.
pub const ENCODER_BYTES_MAX: usize = 6 << 20;

/// Memory of a decoder with a window of 32 KiB, or of none.
const SMALL_DECODER_BYTES: usize = 128 << 10;

/// Decompresses as it is read.
pub(super) type Decompressor = Box<dyn Read + Send>;

impl Compression {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in attribute bits 0-2.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec in a batch's attributes.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        let number = attributes & ATTRIBUTE_CODEC;
        let known = Self::ALL.into_iter().find(|codec| codec.number() == number);
        known.ok_or_else(|| BatchError::UnknownCompression {
            found: u8::try_from(number).unwrap_or(u8::MAX),
        })
    }

    /// Kafka's name, as `compression.type` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this build can read and write the codec.
    #[must_use]
    pub const fn is_compiled_in(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// Appends `input`, compressed, to `out`. `level` is the codec's own scale (gzip 0-9, zstd
    /// -131072-22; the others have none), its default without.
    ///
    /// # Errors
    /// [`CompressionError::NotCompiledIn`], [`CompressionError::Level`],
    /// [`CompressionError::Encoder`]; `out` is then unspecified.
    pub fn compress(
        self,
        level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        match self {
            Self::None => {
                self.refuse_level(level)?;
                out.extend_from_slice(input);
                Ok(())
            }
            #[cfg(feature = "gzip")]
            Self::Gzip => gzip::compress(level, input, out),
            #[cfg(feature = "snappy")]
            Self::Snappy => {
                self.refuse_level(level)?;
                snappy::compress(input, out)
            }
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                self.refuse_level(level)?;
                lz4::compress(input, out)
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::compress(level, input, out),
            #[allow(unreachable_patterns, reason = "reachable where a feature is off")]
            codec => Err(CompressionError::NotCompiledIn { codec }),
        }
    }

    /// Decompresses the whole of `input`.
    ///
    /// # Errors
    /// [`CompressionError::NotCompiledIn`], [`CompressionError::Corrupt`], and
    /// [`CompressionError::OutputTooLarge`] past `output_bytes_max`.
    pub fn decompress(
        self,
        input: Bytes,
        output_bytes_max: usize,
    ) -> Result<Bytes, CompressionError> {
        let too_large = CompressionError::OutputTooLarge {
            codec: self,
            max: output_bytes_max,
        };
        if self == Self::None {
            return if input.len() > output_bytes_max {
                Err(too_large)
            } else {
                Ok(input)
            };
        }
        let mut out = Vec::new();
        let limit = u64::try_from(output_bytes_max)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        self.decompressor(input, output_bytes_max)?
            .take(limit)
            .read_to_end(&mut out)
            .map_err(|error| self.read_error(&error))?;
        if out.len() > output_bytes_max {
            return Err(too_large);
        }
        Ok(out.into())
    }

    /// Opens `input` for reading piece by piece. Codecs that decode a block at a time refuse a
    /// block beyond `output_bytes_max`; the caller counts the sum.
    pub(super) fn decompressor(
        self,
        input: Bytes,
        output_bytes_max: usize,
    ) -> Result<Decompressor, CompressionError> {
        let _ = output_bytes_max;
        match self {
            Self::None => Ok(Box::new(std::io::Cursor::new(input))),
            #[cfg(feature = "gzip")]
            Self::Gzip => Ok(gzip::decompressor(input)),
            #[cfg(feature = "snappy")]
            Self::Snappy => Ok(Box::new(snappy::Reader::new(input, output_bytes_max))),
            #[cfg(feature = "lz4")]
            Self::Lz4 => lz4::decompressor(input),
            #[cfg(feature = "zstd")]
            Self::Zstd => Ok(Box::new(zstd::Reader::new(input)?)),
            #[allow(unreachable_patterns, reason = "reachable where a feature is off")]
            codec => Err(CompressionError::NotCompiledIn { codec }),
        }
    }

    /// Opens a stream into `out` that takes its input piece by piece.
    fn stream(
        self,
        level: Option<i32>,
        out: encoder::Bounded,
    ) -> Result<Box<dyn encoder::Stream>, CompressionError> {
        let _ = (level, &out);
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => gzip::stream(level, out),
            #[cfg(feature = "snappy")]
            Self::Snappy => {
                self.refuse_level(level)?;
                Ok(snappy::stream(out))
            }
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                self.refuse_level(level)?;
                Ok(lz4::stream(out))
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::stream(level, out),
            codec => Err(CompressionError::NotCompiledIn { codec }),
        }
    }

    /// Most memory that reading `payload_bytes` in stretches takes, whatever they are.
    #[must_use]
    pub const fn decoder_bytes_max(self, payload_bytes: usize) -> usize {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy => payload_bytes.saturating_mul(snappy::EXPANSION_MAX),
            #[cfg(feature = "lz4")]
            Self::Lz4 => lz4::DECODER_BYTES_MAX,
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::DECODER_BYTES_MAX,
            _ => SMALL_DECODER_BYTES,
        }
    }

    /// What an error of a [`Decompressor`] means.
    pub(super) fn read_error(self, error: &std::io::Error) -> CompressionError {
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<CompressionError>())
            .cloned()
            .unwrap_or_else(|| CompressionError::Corrupt {
                codec: self,
                reason: error.to_string(),
            })
    }

    fn refuse_level(self, level: Option<i32>) -> Result<(), CompressionError> {
        match level {
            None => Ok(()),
            Some(found) => Err(CompressionError::Level { codec: self, found }),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression is not one of none, gzip, snappy, lz4, zstd")]
pub struct CompressionNameError;

impl FromStr for Compression {
    type Err = CompressionNameError;

    fn from_str(text: &str) -> Result<Self, CompressionNameError> {
        let known = Self::ALL.into_iter().find(|codec| codec.name() == text);
        known.ok_or(CompressionNameError)
    }
}
