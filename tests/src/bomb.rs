//! [`Bomb`]: a batch of a few bytes whose one record decompresses to very many.
//!
//! ```text
//!   header | compressed: start of the record, key | zeros, a unit of them again and again
//! ```
//! A record's value ends with no headers, which is a zero as well.

use std::io::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::write::GzEncoder;
use millstream_proto::record::{BatchBuilder, BatchOptions, Compression, HEADER_BYTES, patch};

/// The timestamp of a bomb's record, ms since 1970.
const TIMESTAMP_MS: i64 = 1;
/// `max.message.bytes` by default.
const BATCH_BYTES_MAX: usize = 1_048_588;
/// Room for what stands before the zeros.
const START_BYTES_MAX: usize = 512;

const KEY: &[u8] = b"key";
const SNAPPY_PREAMBLE: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Blocks of 4 MiB that refer to those before them.
const LZ4_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x40, 0x70, 0xdf];
const LZ4_NOT_COMPRESSED: u32 = 1 << 31;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How a bomb is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, members back to back.
    Gzip,
    /// Snappy in snappy-java's framing, as one block.
    Snappy,
    /// Snappy, one block without framing.
    SnappyRaw,
    /// An LZ4 frame with the largest blocks there are.
    Lz4,
    /// A zstd frame of blocks that repeat one byte.
    Zstd,
    /// Such a frame with the largest window that level 22 asks for.
    ZstdWindow,
}

/// A batch and what is in it.
#[derive(Debug, Clone)]
pub struct Bomb {
    /// The batch.
    pub batch: Bytes,
    /// Bytes of its record.
    pub plain_bytes: usize,
}

impl Bomb {
    /// The same batch, which claims that its largest timestamp is another: a search for that reads all of
    /// the record.
    #[must_use]
    pub fn claiming(self, timestamp_ms: i64) -> Self {
        let mut batch = self.batch.to_vec();
        batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
        patch::recompute_crc(&mut batch);
        Self {
            batch: batch.into(),
            ..self
        }
    }
}

impl Packing {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Gzip,
        Self::Snappy,
        Self::SnappyRaw,
        Self::Lz4,
        Self::Zstd,
        Self::ZstdWindow,
    ];

    /// The codec.
    #[must_use]
    pub const fn codec(self) -> Compression {
        match self {
            Self::Gzip => Compression::Gzip,
            Self::Snappy | Self::SnappyRaw => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd | Self::ZstdWindow => Compression::Zstd,
        }
    }

    /// The largest one whose batch is within the default `max.message.bytes`, and whose record's length
    /// fits its field.
    ///
    /// # Panics
    /// Never: what is packed fits.
    #[must_use]
    pub fn largest(self) -> Bomb {
        let unit = self.unit();
        let by_batch = (BATCH_BYTES_MAX - HEADER_BYTES - START_BYTES_MAX) / unit.packed.len();
        let by_field = (i32::MAX as usize - START_BYTES_MAX) / unit.zeros;
        self.of_units(&unit, by_batch.min(by_field))
    }

    /// One of about so many bytes, or the largest.
    ///
    /// # Panics
    /// Never: what is packed fits.
    #[must_use]
    pub fn of_bytes(self, plain_bytes: usize) -> Bomb {
        let largest = self.largest();
        if largest.plain_bytes <= plain_bytes {
            return largest;
        }
        let unit = self.unit();
        let units = (plain_bytes / unit.zeros).max(1);
        self.of_units(&unit, units)
    }

    fn of_units(self, unit: &Unit, units: usize) -> Bomb {
        let copies_before = matches!(self, Self::Snappy | Self::SnappyRaw);
        let zeros = unit.zeros * units + usize::from(copies_before);
        let mut start = start_of_record(zeros);
        let plain_bytes = start.len() + zeros;
        if copies_before {
            start.push(0);
        }
        let mut payload = self.head(&start, plain_bytes);
        for _ in 0..units {
            payload.put_slice(&unit.packed);
        }
        if matches!(self, Self::Lz4) {
            payload.put_u32_le(0);
        }
        if matches!(self, Self::Zstd | Self::ZstdWindow) {
            payload.put_slice(&zstd_block_header(true, ZstdBlock::Raw, 0));
        }
        if matches!(self, Self::Snappy) {
            let length = payload.len() - SNAPPY_PREAMBLE.len() - size_of::<u32>();
            let length = u32::try_from(length).expect("it fits");
            payload[SNAPPY_PREAMBLE.len()..][..size_of::<u32>()]
                .copy_from_slice(&length.to_be_bytes());
        }
        Bomb {
            batch: batch(self.codec(), &payload),
            plain_bytes,
        }
    }

    /// What is repeated.
    fn unit(self) -> Unit {
        match self {
            Self::Gzip => Unit {
                zeros: 16 << 20,
                packed: gzip(&vec![0; 16 << 20]),
            },
            // A copy of 64 bytes, from one byte before.
            Self::Snappy | Self::SnappyRaw => Unit {
                zeros: 64,
                packed: vec![63 << 2 | 2, 1, 0],
            },
            Self::Lz4 => lz4_unit(),
            Self::Zstd | Self::ZstdWindow => {
                let mut packed = zstd_block_header(false, ZstdBlock::Repeated, 128 << 10).to_vec();
                packed.push(0);
                Unit {
                    zeros: 128 << 10,
                    packed,
                }
            }
        }
    }

    /// What stands before the zeros, packed.
    fn head(self, start: &[u8], plain_bytes: usize) -> BytesMut {
        let mut head = BytesMut::new();
        match self {
            Self::Gzip => head.put_slice(&gzip(start)),
            Self::Snappy | Self::SnappyRaw => {
                if self == Self::Snappy {
                    head.put_slice(SNAPPY_PREAMBLE);
                    // The block's length, known at the end.
                    head.put_u32(0);
                }
                put_unsigned(&mut head, plain_bytes);
                // A literal of up to 60 bytes has its length in its tag.
                head.put_u8(u8::try_from(start.len() - 1).expect("a short start") << 2);
                head.put_slice(start);
            }
            Self::Lz4 => {
                head.put_slice(&LZ4_HEADER);
                let length = u32::try_from(start.len()).expect("a short start");
                head.put_u32_le(length | LZ4_NOT_COMPRESSED);
                head.put_slice(start);
            }
            Self::Zstd | Self::ZstdWindow => {
                let window_log = if self == Self::Zstd { 17 } else { 27 };
                head.put_slice(&ZSTD_MAGIC);
                // Neither content size nor checksum; the window's exponent counts from 10.
                head.put_slice(&[0, (window_log - 10) << 3]);
                head.put_slice(&zstd_block_header(false, ZstdBlock::Raw, start.len()));
                head.put_slice(start);
            }
        }
        head
    }
}

/// Zeros, packed in a way that may be repeated.
struct Unit {
    zeros: usize,
    packed: Vec<u8>,
}

/// A record up to its value's bytes, of which the last of `zeros` says that there are no headers.
fn start_of_record(zeros: usize) -> Vec<u8> {
    let mut body = BytesMut::new();
    // Attributes, timestamp delta and offset delta.
    body.put_slice(&[0, 0, 0]);
    put_length(&mut body, KEY.len());
    body.put_slice(KEY);
    put_length(&mut body, zeros - 1);
    let mut start = BytesMut::new();
    put_length(&mut start, body.len() + zeros);
    start.put_slice(&body);
    start.to_vec()
}

fn batch(codec: Compression, payload: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: codec,
        ..BatchOptions::default()
    });
    builder
        .append(TIMESTAMP_MS, Some(KEY), None, &[])
        .expect("it fits");
    let mut batch = builder.finish().expect("it has a record").to_vec();
    batch.truncate(HEADER_BYTES);
    batch.extend_from_slice(payload);
    let length = i32::try_from(batch.len() - 12).expect("it fits");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    patch::recompute_crc(&mut batch);
    batch.into()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// A compressed block of 4 MiB: a literal, a match that repeats it, and the five literals that end one.
fn lz4_unit() -> Unit {
    const ZEROS: usize = 4 << 20;
    let matched = ZEROS - 1 - 5;
    // 15 in the token, 4 that every match has.
    let mut extra = matched - 15 - 4;
    let mut block = vec![0x1f, 0, 1, 0];
    while extra >= 255 {
        block.push(255);
        extra -= 255;
    }
    block.push(u8::try_from(extra).expect("a rest of 255"));
    block.extend_from_slice(&[0x50, 0, 0, 0, 0, 0]);
    let length = u32::try_from(block.len()).expect("a small block");
    Unit {
        zeros: ZEROS,
        packed: [&length.to_le_bytes()[..], &block].concat(),
    }
}

/// What a block of a zstd frame holds.
#[derive(Clone, Copy)]
enum ZstdBlock {
    Raw = 0,
    /// One byte, so many times.
    Repeated = 1,
}

fn zstd_block_header(is_last: bool, block: ZstdBlock, bytes: usize) -> [u8; 3] {
    let bytes = u32::try_from(bytes).expect("a block");
    let header = bytes << 3 | (block as u32) << 1 | u32::from(is_last);
    let [low, middle, high, _] = header.to_le_bytes();
    [low, middle, high]
}

fn put_length(out: &mut BytesMut, length: usize) {
    // Zigzag: no length is negative.
    put_unsigned(out, length << 1);
}

fn put_unsigned(out: &mut BytesMut, mut value: usize) {
    while value > 0x7f {
        out.put_u8(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use millstream_proto::record::{Batch, Piece, RecordError};

    use super::*;

    #[test]
    fn a_bomb_is_one_record_of_zeros_within_a_batch() {
        for packing in Packing::ALL {
            let bomb = packing.of_bytes(8 << 20);
            let parsed = Batch::parse(bomb.batch).unwrap();
            parsed.verify_crc().unwrap();
            let mut records = parsed.scan(usize::MAX).unwrap();
            let start = records.start().unwrap().unwrap();
            let mut zeros = 0;
            let take = |piece: Piece<'_>| {
                zeros += piece.bytes.iter().filter(|byte| **byte == 0).count();
                Ok::<_, RecordError>(())
            };
            records.rest(take).unwrap();
            assert_eq!(records.start().unwrap(), None, "{packing:?}");
            assert_eq!(start.timestamp, TIMESTAMP_MS);
            assert!(zeros >= (8 << 20) - 64, "{packing:?}: {zeros}");
            let largest = packing.largest().batch.len();
            assert!(largest <= BATCH_BYTES_MAX, "{packing:?}: {largest}");
        }
    }
}
