//! Finds the next readable batch behind bytes that are none.

use std::{io, ops::Range};

use millstream_proto::{
    Offset,
    record::{BatchHeader, HEADER_BYTES, MAGIC},
};

use super::scan::BatchScanner;

/// Candidates whose CRC is computed before a search gives up: bounds what bytes made to look like
/// batches can cost.
const CANDIDATES_MAX: usize = 10_000;
/// Bytes searched at once.
const SEARCH_BYTES: usize = 32 << 10;
/// Where a batch holds its magic byte.
const MAGIC_AT: usize = 16;

/// The first whole batch at or after a position, with a fitting CRC and offsets in `offsets`.
///
/// # Errors
/// Whatever the system says.
pub fn next_readable(
    scanner: &mut BatchScanner<'_>,
    from: u64,
    offsets: &Range<Offset>,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let mut candidates = 0;
    let mut position = from;
    while position < scanner.limit() {
        let found = {
            let bytes = scanner.bytes(position, SEARCH_BYTES + HEADER_BYTES)?;
            candidate(bytes, offsets)
        };
        let Some((skip, header)) = found else {
            position += u64::try_from(SEARCH_BYTES).map_err(io::Error::other)?;
            continue;
        };
        position += u64::try_from(skip).map_err(io::Error::other)?;
        let size_bytes = u64::try_from(header.size_bytes()).map_err(io::Error::other)?;
        if scanner.crc_fits(position, size_bytes, header.crc())? {
            return Ok(Some((position, header)));
        }
        candidates += 1;
        if candidates == CANDIDATES_MAX {
            return Ok(None);
        }
        position += 1;
    }
    Ok(None)
}

/// The first place among the first [`SEARCH_BYTES`] that looks like a header with such offsets.
fn candidate(bytes: &[u8], offsets: &Range<Offset>) -> Option<(usize, BatchHeader)> {
    let magic = MAGIC.to_be_bytes();
    bytes
        .windows(HEADER_BYTES)
        .take(SEARCH_BYTES)
        .enumerate()
        .filter(|(_, window)| window.get(MAGIC_AT..=MAGIC_AT) == Some(&magic))
        .find_map(|(skip, window)| {
            let header = BatchHeader::decode(window).ok()?;
            let fits =
                offsets.contains(&header.base_offset()) && header.last_offset() < offsets.end;
            fits.then_some((skip, header))
        })
}
