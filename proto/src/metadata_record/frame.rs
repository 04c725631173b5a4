//! Frames of the metadata log and its snapshots.
//!
//! ```text
//!  0        4        8         16       24     26        28
//!  | length | CRC-32 | index   | term   | type | version | payload | end mark |
//!    u32      u32      u64       u64      u16    u16       length    1-8 bytes
//! ```
//!
//! Numbers are big-endian. `length` counts the payload. The CRC covers everything else in the
//! frame. The end mark fills the frame up to a multiple of 8 bytes, each of its bytes being their
//! number (1-8).
//!
//! So no aligned 8 bytes at the start or end of a frame are ever all zero, and a sector of 512 bytes
//! that a power cut kept from the disk (it reads as zeros: the file never held anything there) can
//! be told from damage: see [`diagnose`].

use bytes::{Buf, BufMut};

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 28;

/// Frames start at multiples of this.
const ALIGNMENT_BYTES: usize = 8;

/// Largest payload; a longer length is damage.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Smallest unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// A frame in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Index in the metadata log.
    pub index: u64,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Type of what it holds.
    pub kind: u16,
    /// Version of that type.
    pub version: u16,
    /// What it holds.
    pub payload: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Fewer bytes than the frame needs.
    #[error("frame needs {expected} bytes, found {found}")]
    Short {
        /// Bytes that it needs.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A length that no frame has.
    #[error("frame length is {found}, at most {PAYLOAD_BYTES_MAX} is possible")]
    Length {
        /// The length found.
        found: usize,
    },
    /// The checksum does not fit.
    #[error("frame has CRC-32 {found:#010x}, its bytes have {expected:#010x}")]
    Checksum {
        /// CRC of the bytes.
        expected: u32,
        /// CRC in the header.
        found: u32,
    },
    /// The length field contradicts the rest, which is whole.
    #[error("frame length is {found}, the rest of the frame is whole with {expected}")]
    LengthDamaged {
        /// The length with which the frame is whole.
        expected: usize,
        /// The length found.
        found: usize,
    },
}

const fn end_mark_bytes(payload_bytes: usize) -> usize {
    ALIGNMENT_BYTES - (HEADER_BYTES + payload_bytes) % ALIGNMENT_BYTES
}

/// Bytes of a frame with such a payload.
const fn frame_bytes(payload_bytes: usize) -> usize {
    HEADER_BYTES + payload_bytes + end_mark_bytes(payload_bytes)
}

impl Frame<'_> {
    /// Appends the frame's bytes.
    ///
    /// # Panics
    /// With a payload longer than [`PAYLOAD_BYTES_MAX`], which callers check.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.payload.len() <= PAYLOAD_BYTES_MAX, "callers check it");
        let length = u32::try_from(self.payload.len()).expect("at most 64 MiB");
        let mut after_crc = Vec::with_capacity(frame_bytes(self.payload.len()) - 8);
        after_crc.put_u64(self.index);
        after_crc.put_u64(self.term);
        after_crc.put_u16(self.kind);
        after_crc.put_u16(self.version);
        after_crc.put_slice(self.payload);
        let mark = end_mark_bytes(self.payload.len());
        after_crc.put_bytes(u8::try_from(mark).expect("at most 8"), mark);
        out.put_u32(length);
        out.put_u32(checksum(length, &after_crc));
        out.put_slice(&after_crc);
    }
}

fn checksum(length: u32, after_crc: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_be_bytes());
    hasher.update(after_crc);
    hasher.finalize()
}

/// Reads the frame at the start of `bytes`, and returns it with the number of bytes it takes.
///
/// # Errors
/// The first thing that does not fit.
pub fn decode(bytes: &[u8]) -> Result<(Frame<'_>, usize), FrameError> {
    let found = bytes.len();
    let short = |expected| FrameError::Short { expected, found };
    let (mut header, _) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or_else(|| short(HEADER_BYTES + 1))?;
    let length = header.get_u32();
    let stored = header.get_u32();
    let payload_bytes = length as usize;
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(FrameError::Length {
            found: payload_bytes,
        });
    }
    let size = frame_bytes(payload_bytes);
    let after_crc = bytes.get(8..size).ok_or_else(|| short(size))?;
    let expected = checksum(length, after_crc);
    if expected != stored {
        return Err(FrameError::Checksum {
            expected,
            found: stored,
        });
    }
    let end = HEADER_BYTES + payload_bytes;
    let frame = Frame {
        index: header.get_u64(),
        term: header.get_u64(),
        kind: header.get_u16(),
        version: header.get_u16(),
        payload: bytes.get(HEADER_BYTES..end).ok_or_else(|| short(size))?,
    };
    Ok((frame, size))
}

/// What a bad frame at the end of a log means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnosis {
    /// The last write was cut off before it was whole: nobody was told that it succeeded.
    Torn,
    /// Something changed bytes that were whole once.
    Damaged(FrameError),
}

/// Judges the rest of a log file from a bad frame on. `position` is where `rest` starts in the file,
/// a multiple of 8.
///
/// One write is one frame and is synced before the next starts. So a valid frame further on proves
/// that this one was whole. Without one, the write is torn if bytes are missing: the file ends too
/// early, or a sector of it is zero. Where all bytes are there, something changed them.
pub fn diagnose(rest: &[u8], position: usize, error: FrameError) -> Diagnosis {
    let later = (ALIGNMENT_BYTES..rest.len()).step_by(ALIGNMENT_BYTES);
    let is_followed = later
        .filter_map(|start| rest.get(start..))
        .any(|bytes| decode(bytes).is_ok());
    if is_followed {
        return Diagnosis::Damaged(error);
    }
    if let Some(error) = length_damage(rest) {
        return Diagnosis::Damaged(error);
    }
    if matches!(error, FrameError::Short { .. }) || has_missing_sector(rest, position) {
        return Diagnosis::Torn;
    }
    // A length beyond all bounds, or a checksum that fails over bytes that are all there.
    Diagnosis::Damaged(error)
}

/// Whether `rest` is one whole frame but for its length field.
fn length_damage(rest: &[u8]) -> Option<FrameError> {
    let mark = usize::from(*rest.last()?);
    let payload_bytes = rest.len().checked_sub(HEADER_BYTES + mark)?;
    let (mut header, _) = rest.split_at_checked(HEADER_BYTES)?;
    let found = header.get_u32();
    let stored = header.get_u32();
    let length = u32::try_from(payload_bytes).ok()?;
    let is_whole = length != found && checksum(length, rest.get(8..)?) == stored;
    is_whole.then_some(FrameError::LengthDamaged {
        expected: payload_bytes,
        found: found as usize,
    })
}

/// Whether a sector, or the part of one that `rest` begins or ends in, is all zero.
fn has_missing_sector(rest: &[u8], position: usize) -> bool {
    let first = (SECTOR_BYTES - position % SECTOR_BYTES).min(rest.len());
    let (head, tail) = rest.split_at(first);
    let is_zero = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
    is_zero(head) || tail.chunks(SECTOR_BYTES).any(is_zero)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(index: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = Frame {
            index,
            term: 1,
            kind: 16,
            version: 1,
            payload,
        };
        frame.encode(&mut bytes);
        bytes
    }

    /// The diagnosis of the first bad frame, `None` when all are good.
    fn first_bad(bytes: &[u8]) -> Option<(usize, Diagnosis)> {
        let mut position = 0;
        while position < bytes.len() {
            match decode(&bytes[position..]) {
                Ok((_, size)) => position += size,
                Err(error) => {
                    let diagnosis = diagnose(&bytes[position..], position, error);
                    return Some((position, diagnosis));
                }
            }
        }
        None
    }

    proptest! {
        #[test]
        fn frames_decode_to_what_was_encoded(
            payload in prop::collection::vec(any::<u8>(), 0..2000), index: u64, rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = encoded(index, &payload);
            let size = bytes.len();
            prop_assert_eq!(size % ALIGNMENT_BYTES, 0);
            bytes.extend(rest);
            let (frame, found) = decode(&bytes).expect("valid");
            prop_assert_eq!((frame.index, frame.payload, found), (index, payload.as_slice(), size));
        }

        #[test]
        fn a_flipped_bit_anywhere_is_damage(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..4), at: prop::sample::Index, bit in 0..8u8,
        ) {
            let mut bytes: Vec<u8> = payloads.iter().enumerate().flat_map(|(i, p)| encoded(i as u64, p)).collect();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (_, diagnosis) = first_bad(&bytes).expect("the flip is seen");
            prop_assert!(matches!(diagnosis, Diagnosis::Damaged(_)), "byte {} of {}", at, bytes.len());
        }

        #[test]
        fn a_write_that_lost_sectors_or_its_end_is_torn(
            first in prop::collection::vec(any::<u8>(), 0..900), last in prop::collection::vec(any::<u8>(), 0..2000),
            lost in prop::collection::vec(any::<bool>(), 6), cut: prop::sample::Index,
        ) {
            let mut bytes = encoded(1, &first);
            let start = bytes.len();
            bytes.extend(encoded(2, &last));
            let whole = bytes.clone();
            let sectors = bytes.len().div_ceil(SECTOR_BYTES);
            for sector in start / SECTOR_BYTES..sectors {
                if lost[sector % lost.len()] {
                    let from = (sector * SECTOR_BYTES).max(start);
                    let to = ((sector + 1) * SECTOR_BYTES).min(bytes.len());
                    bytes[from..to].fill(0);
                }
            }
            if bytes == whole {
                bytes.truncate(start + cut.index(whole.len() - start));
            }
            let found = first_bad(&bytes);
            if bytes.len() == start {
                prop_assert_eq!(found, None);
            } else {
                prop_assert_eq!(found, Some((start, Diagnosis::Torn)));
            }
        }
    }
}
