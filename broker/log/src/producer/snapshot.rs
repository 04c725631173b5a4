//! `.snapshot`: producer state in Kafka's schema, one batch a producer.
//!
//! ```text
//! | version i16 = 1 | CRC-32C u32 of the rest | count i32 | entries of 46 bytes |
//! entry: | producer id i64 | producer epoch i16 | last sequence i32 | last offset i64 |
//!        | offset delta i32 | timestamp i64 | coordinator epoch i32 | transaction first offset i64 |
//! ```
//! Big-endian; -1 stands for "none". A producer that only ever had a marker has sequence, offset
//! -1 and delta 0. Entries are in order of producer id.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut};
use millstream_proto::{Offset, ProducerEpoch, ProducerId};

use super::{BatchMetadata, ProducerEntry, ProducerState};
use crate::{frame, io::LogIo};

const VERSION: i16 = 1;
const CRC_END: usize = 6;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// Why a file is no producer snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Shorter or longer than its count says.
    #[error("producer snapshot has {found} bytes, expected {expected}")]
    Length {
        /// Bytes by its count.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// Another version.
    #[error("producer snapshot has version {found}, expected 1")]
    Version {
        /// The version found.
        found: i16,
    },
    /// A bit is wrong somewhere.
    #[error("producer snapshot has CRC-32C {found:#010x}, its header says {expected:#010x}")]
    Checksum {
        /// CRC in the header.
        expected: u32,
        /// CRC of the bytes.
        found: u32,
    },
    /// An entry has a value that no writer puts there.
    #[error("producer snapshot has an invalid entry {index}")]
    Entry {
        /// Which entry, from 0.
        index: usize,
    },
}

/// The content of a `.snapshot` file.
#[must_use]
pub fn encode(state: &ProducerState) -> Vec<u8> {
    let entries = state.sorted();
    let mut body = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    body.put_i32(i32::try_from(entries.len()).unwrap_or(i32::MAX));
    for (producer_id, entry) in entries {
        let last = entry.last_batch();
        body.put_i64(producer_id.0);
        body.put_i16(entry.epoch.0);
        body.put_i32(entry.last_sequence());
        body.put_i64(last.map_or(-1, |batch| batch.last_offset.get()));
        body.put_u32(last.map_or(0, |batch| batch.offset_delta));
        body.put_i64(entry.last_timestamp_ms);
        body.put_i32(entry.coordinator_epoch);
        body.put_i64(entry.transaction_first_offset.map_or(-1, Offset::get));
    }
    let mut bytes = Vec::with_capacity(CRC_END + body.len());
    bytes.put_i16(VERSION);
    bytes.put_u32(crc32c::crc32c(&body));
    bytes.put_slice(&body);
    bytes
}

/// Reads the content of a `.snapshot` file; `now_ms` is when the producers count as last seen.
///
/// # Errors
/// Whatever does not fit, see [`SnapshotError`].
pub fn decode(bytes: &[u8], now_ms: i64) -> Result<ProducerState, SnapshotError> {
    let length_error = |expected| SnapshotError::Length {
        expected,
        found: bytes.len(),
    };
    let (mut header, mut rest) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or_else(|| length_error(HEADER_BYTES))?;
    let (version, expected) = (header.get_i16(), header.get_u32());
    if version != VERSION {
        return Err(SnapshotError::Version { found: version });
    }
    let found = crc32c::crc32c(bytes.get(CRC_END..).unwrap_or_default());
    if found != expected {
        return Err(SnapshotError::Checksum { expected, found });
    }
    let count = usize::try_from(header.get_i32())
        .ok()
        .filter(|count| Some(rest.len()) == count.checked_mul(ENTRY_BYTES))
        .ok_or_else(|| length_error(HEADER_BYTES + rest.len() / ENTRY_BYTES * ENTRY_BYTES))?;
    let mut state = ProducerState::new();
    for index in 0..count {
        let (producer_id, entry) =
            decode_entry(&mut rest, now_ms).ok_or(SnapshotError::Entry { index })?;
        state.insert(producer_id, entry);
    }
    Ok(state)
}

fn decode_entry(bytes: &mut &[u8], now_ms: i64) -> Option<(ProducerId, ProducerEntry)> {
    let producer_id = ProducerId(bytes.get_i64());
    let mut entry = ProducerEntry::new(ProducerEpoch(bytes.get_i16()), now_ms);
    let last_sequence = bytes.get_i32();
    let last_offset = Offset::new(bytes.get_i64());
    let offset_delta = u32::try_from(bytes.get_i32()).ok()?;
    let timestamp_ms = bytes.get_i64();
    if let Some(last_offset) = last_offset {
        let valid = last_sequence >= 0 && i64::from(offset_delta) <= last_offset.get();
        entry.add_batch(valid.then_some(BatchMetadata {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp_ms,
        })?);
    }
    entry.last_timestamp_ms = timestamp_ms;
    entry.coordinator_epoch = bytes.get_i32();
    entry.transaction_first_offset = Offset::new(bytes.get_i64());
    (producer_id.0 >= 0).then_some((producer_id, entry))
}

/// Why a snapshot cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotLoadError {
    /// The file is there and is not what it should be.
    #[error("corrupt file {path}: {source}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// The system failed.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Reads a `.snapshot` file; `None` when there is none.
///
/// # Errors
/// A corrupt file, whatever the system says.
pub fn load(
    io: &dyn LogIo,
    path: &Path,
    now_ms: i64,
) -> Result<Option<ProducerState>, SnapshotLoadError> {
    let bytes = frame::read_file(io, path).map_err(|source| SnapshotLoadError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    bytes
        .map(|bytes| decode(&bytes, now_ms))
        .transpose()
        .map_err(|source| SnapshotLoadError::Corrupt {
            path: path.to_path_buf(),
            source,
        })
}

/// Replaces a `.snapshot` file durably.
///
/// # Errors
/// Whatever the system says.
pub fn store(io: &dyn LogIo, path: &Path, state: &ProducerState) -> io::Result<()> {
    frame::replace_file(io, path, &encode(state))
}
