//! [`Damage`]: tells a torn last write from bytes that went bad.
//!
//! A write that a kill cut short leaves a prefix of what was to be written, and nothing after it.
//! So these are corruption, and stay: bytes that valid batches follow; a last batch that is there
//! in full length with a CRC that does not fit; a last batch whose bytes fit its CRC although its
//! length, offset, epoch or magic is wrong.

use std::{io, ops::Range};

use millstream_proto::{
    Offset,
    record::{BatchHeader, HEADER_BYTES},
};

use super::{
    resync::next_readable,
    scan::{BatchScanner, CRC_AT},
    walk::after,
};

/// Zeros at the end of a last batch in full length that make it a write cut short.
const ZERO_TAIL_BYTES: usize = 4;
/// Where a batch holds its last offset delta.
const LAST_OFFSET_DELTA_AT: usize = 23;
/// Where a batch holds its number of records.
const RECORD_COUNT_AT: usize = 57;

/// What bytes are that are not the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// A write cut short, with nothing after it.
    Torn,
    /// They went bad; the next readable batch, or the end, has this offset and position.
    Corrupt { next: Offset, position: u64 },
}

/// Looks at the bytes at `position`, where the batch with offset `offsets.start` should be; nothing
/// at or after `offsets.end` belongs to this file.
pub(super) fn examine(
    scanner: &mut BatchScanner<'_>,
    position: u64,
    offsets: Range<Offset>,
    is_last_segment: bool,
) -> io::Result<Damage> {
    let limit = scanner.limit();
    let header = scanner.header(position)?.ok();
    let claimed = header.map(|header| size_of_batch(&header));
    let later = after(offsets.start)..offsets.end;
    if let Some(size_bytes) = claimed
        && let Some(found) = readable_at(scanner, position + size_bytes, &later)?
    {
        return Ok(found);
    }
    if let Some((position, header)) = next_readable(scanner, position + 1, &later)? {
        return Ok(Damage::Corrupt {
            next: header.base_offset(),
            position,
        });
    }
    if !is_last_segment {
        return Ok(Damage::Corrupt {
            next: offsets.end,
            position: limit,
        });
    }
    let is_whole =
        is_full_length(scanner, position, offsets.start)? && !ends_in_zeros(scanner, position)?;
    if is_whole || fits_its_crc(scanner, position)? {
        let count = record_count(scanner, position)?;
        return Ok(Damage::Corrupt {
            next: offsets.start.checked_add(count).unwrap_or(offsets.start),
            position: limit,
        });
    }
    Ok(Damage::Torn)
}

/// How many valid batches lie at or after a position.
pub(super) fn count_readable(scanner: &mut BatchScanner<'_>, position: u64) -> io::Result<u64> {
    let (mut position, mut count) = (position, 0);
    while let Some((at, header)) = next_readable(scanner, position, &(Offset::ZERO..Offset::MAX))? {
        count += 1;
        position = at + size_of_batch(&header);
    }
    Ok(count)
}

fn readable_at(
    scanner: &mut BatchScanner<'_>,
    position: u64,
    offsets: &Range<Offset>,
) -> io::Result<Option<Damage>> {
    if position >= scanner.limit() {
        return Ok(None);
    }
    let Ok(header) = scanner.header(position)? else {
        return Ok(None);
    };
    let is_next = offsets.contains(&header.base_offset())
        && scanner.crc_fits(position, size_of_batch(&header), header.crc())?;
    Ok(is_next.then_some(Damage::Corrupt {
        next: header.base_offset(),
        position,
    }))
}

/// Whether the bytes are as many as their length field says and start as the expected batch does,
/// whatever the fields are that the CRC covers.
fn is_full_length(
    scanner: &mut BatchScanner<'_>,
    position: u64,
    base_offset: Offset,
) -> io::Result<bool> {
    let left = scanner.limit() - position;
    let bytes = scanner.bytes(position, HEADER_BYTES)?;
    let size_bytes = BatchHeader::decode_size(bytes)
        .ok()
        .and_then(|size| u64::try_from(size).ok());
    Ok(size_bytes == Some(left) && bytes.starts_with(&base_offset.get().to_be_bytes()))
}

fn ends_in_zeros(scanner: &mut BatchScanner<'_>, position: u64) -> io::Result<bool> {
    let limit = scanner.limit();
    let tail = u64::try_from(ZERO_TAIL_BYTES).unwrap_or(0);
    let at = limit.saturating_sub(tail).max(position);
    Ok(scanner
        .bytes(at, ZERO_TAIL_BYTES)?
        .iter()
        .all(|byte| *byte == 0))
}

fn fits_its_crc(scanner: &mut BatchScanner<'_>, position: u64) -> io::Result<bool> {
    let rest = scanner.limit() - position;
    if rest < u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX) {
        return Ok(false);
    }
    match scanner.stored_crc(position)? {
        Some(stored) => scanner.crc_fits(position, rest, stored),
        None => Ok(false),
    }
}

/// How many offsets the bad batch at the end of a file takes. Its header says so twice; where the
/// two disagree, the one with which the CRC fits is right.
fn record_count(scanner: &mut BatchScanner<'_>, position: u64) -> io::Result<u32> {
    let Some(header) = scanner
        .bytes(position, HEADER_BYTES)?
        .first_chunk::<HEADER_BYTES>()
        .copied()
    else {
        return Ok(1);
    };
    let field = |at: usize| {
        let bytes = header
            .get(at..at + 4)
            .and_then(|field| field.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    };
    let by_delta = field(LAST_OFFSET_DELTA_AT).saturating_add(1);
    let by_count = field(RECORD_COUNT_AT);
    if by_delta != by_count {
        let mut repaired = header;
        if let Some(delta) = repaired.get_mut(LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4) {
            delta.copy_from_slice(&by_count.saturating_sub(1).to_be_bytes());
        }
        if scanner.crc_fits_with(position, &repaired, field(CRC_AT))? {
            return Ok(by_count);
        }
        let mut repaired = header;
        if let Some(count) = repaired.get_mut(RECORD_COUNT_AT..RECORD_COUNT_AT + 4) {
            count.copy_from_slice(&by_delta.to_be_bytes());
        }
        if scanner.crc_fits_with(position, &repaired, field(CRC_AT))? {
            return Ok(by_delta);
        }
    }
    Ok(by_delta.min(by_count).max(1))
}

fn size_of_batch(header: &BatchHeader) -> u64 {
    u64::try_from(header.size_bytes()).unwrap_or(u64::MAX)
}
