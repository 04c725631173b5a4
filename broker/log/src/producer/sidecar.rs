//! `.producers`: producer state with five batches a producer, beside each `.snapshot`. Framed.
//!
//! ```text
//! payload: | offset i64 | count u32 | entries |
//! entry:   | producer id i64 | epoch i16 | coordinator epoch i32 | transaction first offset i64 |
//!          | last timestamp i64 | updated i64 | batch count u8 | batches of 24 bytes |
//! batch:   | last sequence i32 | last offset i64 | offset delta u32 | timestamp i64 |
//! ```
//! Big-endian; -1 stands for "none". The offset is the one in the file's name: a file moved to
//! another name is refused.

use std::{io, path::Path};

use bytes::{Buf, BufMut};
use millstream_proto::{Offset, ProducerEpoch, ProducerId};

use super::{BATCHES_KEPT, BatchMetadata, ProducerEntry, ProducerState};
use crate::{
    frame::{FrameError, FrameKind, LoadError},
    io::LogIo,
    layout::FileKind,
};

/// The frame of these files.
pub const KIND: FrameKind = FrameKind {
    id: 1,
    version: 1,
    name: "producer sidecar",
};

/// The payload for a state at an offset.
#[must_use]
pub fn encode(state: &ProducerState, offset: Offset) -> Vec<u8> {
    let entries = state.sorted();
    let mut bytes = Vec::new();
    bytes.put_i64(offset.get());
    bytes.put_u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    for (producer_id, entry) in entries {
        bytes.put_i64(producer_id.0);
        bytes.put_i16(entry.epoch.0);
        bytes.put_i32(entry.coordinator_epoch);
        bytes.put_i64(entry.transaction_first_offset.map_or(-1, Offset::get));
        bytes.put_i64(entry.last_timestamp_ms);
        bytes.put_i64(entry.updated_ms);
        bytes.put_u8(u8::try_from(entry.batches().len()).unwrap_or(u8::MAX));
        for batch in entry.batches() {
            bytes.put_i32(batch.last_sequence);
            bytes.put_i64(batch.last_offset.get());
            bytes.put_u32(batch.offset_delta);
            bytes.put_i64(batch.timestamp_ms);
        }
    }
    bytes
}

/// Reads a payload; the state must be of `offset`.
///
/// # Errors
/// [`FrameError::Payload`].
pub fn decode(payload: &[u8], offset: Offset) -> Result<ProducerState, FrameError> {
    let mut bytes = payload;
    if bytes.try_get_i64() != Ok(offset.get()) {
        return Err(KIND.payload_error("it is of another offset than its name says"));
    }
    let state = decode_entries(&mut bytes)
        .ok_or_else(|| KIND.payload_error("an entry is cut off or has an invalid value"))?;
    if bytes.has_remaining() {
        return Err(KIND.payload_error("bytes follow the last entry"));
    }
    Ok(state)
}

fn decode_entries(bytes: &mut &[u8]) -> Option<ProducerState> {
    let mut state = ProducerState::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        let producer_id = ProducerId(bytes.try_get_i64().ok()?);
        let epoch = ProducerEpoch(bytes.try_get_i16().ok()?);
        let mut entry = ProducerEntry::new(epoch, 0);
        entry.coordinator_epoch = bytes.try_get_i32().ok()?;
        entry.transaction_first_offset = Offset::new(bytes.try_get_i64().ok()?);
        let last_timestamp_ms = bytes.try_get_i64().ok()?;
        entry.updated_ms = bytes.try_get_i64().ok()?;
        let batches = usize::from(bytes.try_get_u8().ok()?);
        for _ in 0..Some(batches).filter(|count| *count <= BATCHES_KEPT)? {
            entry.add_batch(BatchMetadata {
                last_sequence: bytes.try_get_i32().ok()?,
                last_offset: Offset::new(bytes.try_get_i64().ok()?)?,
                offset_delta: bytes.try_get_u32().ok()?,
                timestamp_ms: bytes.try_get_i64().ok()?,
            });
        }
        entry.last_timestamp_ms = last_timestamp_ms;
        state.insert(producer_id, entry);
    }
    Some(state)
}

/// Reads the sidecar of an offset; `None` when there is none.
///
/// # Errors
/// A corrupt file, whatever the system says.
pub fn load(
    io: &dyn LogIo,
    dir: &Path,
    offset: Offset,
) -> Result<Option<ProducerState>, LoadError> {
    let path = FileKind::Producers.path(dir, offset);
    let Some(frame) = KIND.load(io, &path)? else {
        return Ok(None);
    };
    decode(&frame.payload, offset)
        .map(Some)
        .map_err(|source| LoadError::Corrupt { path, source })
}

/// Replaces the sidecar of an offset durably.
///
/// # Errors
/// Whatever the system says.
pub fn store(io: &dyn LogIo, dir: &Path, offset: Offset, state: &ProducerState) -> io::Result<()> {
    KIND.store(
        io,
        &FileKind::Producers.path(dir, offset),
        &encode(state, offset),
    )
}
