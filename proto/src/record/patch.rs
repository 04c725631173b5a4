//! Changes to the header of a batch in place.
//!
//! The base offset and the leader epoch lie outside the CRC; the other changes recompute it. The
//! buffer must be exactly one batch, checked before, that nobody else reads.

use super::{BatchError, HEADER_BYTES, TimestampType, header, view};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

const BASE_OFFSET_AT: usize = 0;
const LEADER_EPOCH_AT: usize = 12;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

/// Sets the offset of the first record. The CRC does not cover it.
///
/// # Errors
/// [`BatchError::Truncated`] below [`HEADER_BYTES`]; nothing is changed.
pub fn base_offset(batch: &mut [u8], offset: Offset) -> Result<(), BatchError> {
    check(batch)?;
    put(batch, BASE_OFFSET_AT, offset.get().to_be_bytes());
    Ok(())
}

/// Sets the leadership under which the batch is appended. The CRC does not cover it.
///
/// # Errors
/// [`BatchError::Truncated`] below [`HEADER_BYTES`]; nothing is changed.
pub fn leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) -> Result<(), BatchError> {
    check(batch)?;
    put(batch, LEADER_EPOCH_AT, epoch.0.to_be_bytes());
    Ok(())
}

/// Gives all records the time of append, in milliseconds since the epoch: sets the timestamp type
/// and the max timestamp, and recomputes the CRC. The records' own deltas stay as they are.
///
/// # Errors
/// [`BatchError::Truncated`] below [`HEADER_BYTES`]; nothing is changed.
pub fn log_append_time(batch: &mut [u8], timestamp_ms: i64) -> Result<(), BatchError> {
    timestamp(batch, TimestampType::LogAppendTime, timestamp_ms)
}

fn timestamp(batch: &mut [u8], kind: TimestampType, timestamp_ms: i64) -> Result<(), BatchError> {
    let attributes = header::BatchHeader::decode(batch)?.attributes();
    let attributes = match kind {
        TimestampType::CreateTime => attributes & !header::ATTRIBUTE_LOG_APPEND_TIME,
        TimestampType::LogAppendTime => attributes | header::ATTRIBUTE_LOG_APPEND_TIME,
    };
    put(batch, ATTRIBUTES_AT, attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP_AT, timestamp_ms.to_be_bytes());
    recompute_crc(batch);
    Ok(())
}

/// Gives the batch another producer identity and recomputes the CRC: for a producer that must
/// start over with a new id or epoch.
///
/// # Errors
/// [`BatchError::Truncated`] below [`HEADER_BYTES`]; nothing is changed.
pub fn producer(
    batch: &mut [u8],
    id: ProducerId,
    epoch: ProducerEpoch,
    base_sequence: i32,
) -> Result<(), BatchError> {
    check(batch)?;
    put(batch, PRODUCER_ID_AT, id.0.to_be_bytes());
    put(batch, PRODUCER_EPOCH_AT, epoch.0.to_be_bytes());
    put(batch, BASE_SEQUENCE_AT, base_sequence.to_be_bytes());
    recompute_crc(batch);
    Ok(())
}

/// Writes the CRC-32C that the covered bytes give.
pub fn recompute_crc(batch: &mut [u8]) {
    let crc = view::covered_crc(batch);
    put(batch, CRC_AT, crc.to_be_bytes());
}

fn check(batch: &[u8]) -> Result<(), BatchError> {
    if batch.len() < HEADER_BYTES {
        return Err(BatchError::Truncated {
            expected: HEADER_BYTES,
            found: batch.len(),
        });
    }
    Ok(())
}

fn put<const N: usize>(batch: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = batch.get_mut(at..at + N) {
        field.copy_from_slice(&value);
    }
}
