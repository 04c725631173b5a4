//! Batches as compaction leaves them: fewer records or none, the same offsets.
//!
//! ```text
//!   kept as it was      base offset, last offset delta, leader epoch, producer and sequence, codec,
//!                       base timestamp
//!   made anew           records, count, largest timestamp, CRC
//!   delete horizon      attribute bit 6 and, in the place of the base timestamp, the time from which
//!                       the batch's tombstones or marker may go (KIP-534); the records' timestamps
//!                       are relative to it then
//! ```
//! An emptied batch keeps what tells of its producer; a placeholder keeps its offsets and its time alone.

use bytes::{BufMut as _, Bytes};

use super::{
    BatchHeader, BuildError, Compression, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, NO_SEQUENCE,
    NO_TIMESTAMP, Record, TimestampType, builder, header, patch,
};
use crate::{ProducerEpoch, ProducerId};

/// The batch `original` with only `records`, which must be of it and in its order; they are taken one
/// at a time. With a delete horizon, in milliseconds since the epoch, the batch says from when its
/// tombstones may go.
///
/// # Errors
/// The first one of `records`; [`BuildError::Empty`] without any, [`BuildError::Timestamp`] and
/// [`BuildError::TooLarge`] where the format cannot express them, [`BuildError::Compression`].
pub fn with_records<E: From<BuildError>>(
    original: &BatchHeader,
    records: impl IntoIterator<Item = Result<Record, E>>,
    delete_horizon_ms: Option<i64>,
) -> Result<Bytes, E> {
    let mut batch = vec![0; HEADER_BYTES];
    let base_timestamp = delete_horizon_ms.unwrap_or(original.base_timestamp());
    let put = match original.compression() {
        Compression::None => put_records(&mut batch, original, records, base_timestamp)?,
        codec => {
            let mut plain = Vec::new();
            let put = put_records(&mut plain, original, records, base_timestamp)?;
            codec
                .compress(None, &plain, &mut batch)
                .map_err(BuildError::from)?;
            put
        }
    };
    let mut attributes = original.attributes() & !header::ATTRIBUTE_DELETE_HORIZON;
    if delete_horizon_ms.is_some() {
        attributes |= header::ATTRIBUTE_DELETE_HORIZON;
    }
    let fields = Fields {
        attributes,
        base_timestamp,
        max_timestamp: match original.timestamp_type() {
            TimestampType::LogAppendTime => original.max_timestamp(),
            TimestampType::CreateTime => put.max_timestamp,
        },
        producer_id: original.producer_id(),
        producer_epoch: original.producer_epoch(),
        base_sequence: original.base_sequence(),
        record_count: put.count,
    };
    Ok(finish(batch, original, &fields)?)
}

/// The batch `original` without records: what remains tells of its producer's last sequence.
///
/// # Errors
/// None in practice: a header fits its length field.
pub fn emptied(original: &BatchHeader) -> Result<Bytes, BuildError> {
    let kept = header::ATTRIBUTE_LOG_APPEND_TIME
        | header::ATTRIBUTE_TRANSACTIONAL
        | header::ATTRIBUTE_CONTROL;
    let fields = Fields {
        attributes: original.attributes() & kept,
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: original.max_timestamp(),
        producer_id: original.producer_id(),
        producer_epoch: original.producer_epoch(),
        base_sequence: original.base_sequence(),
        record_count: 0,
    };
    finish(vec![0; HEADER_BYTES], original, &fields)
}

/// A batch of nobody without records that covers the offsets of `original` and is as old: a segment
/// of which nothing else is left still has its age.
///
/// # Errors
/// None in practice: a header fits its length field.
pub fn placeholder(original: &BatchHeader) -> Result<Bytes, BuildError> {
    let fields = Fields {
        attributes: 0,
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: original.max_timestamp(),
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: NO_SEQUENCE,
        record_count: 0,
    };
    finish(vec![0; HEADER_BYTES], original, &fields)
}

/// What a header gets that is not its original's.
struct Fields {
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    record_count: u32,
}

/// What a header says of the records behind it.
struct Put {
    max_timestamp: i64,
    count: u32,
}

fn put_records<E: From<BuildError>>(
    out: &mut Vec<u8>,
    original: &BatchHeader,
    records: impl IntoIterator<Item = Result<Record, E>>,
    base_timestamp: i64,
) -> Result<Put, E> {
    let mut put: Option<Put> = None;
    for record in records {
        let record = record?;
        put_record(out, original, &record, base_timestamp)?;
        let put = put.get_or_insert(Put {
            max_timestamp: record.timestamp,
            count: 0,
        });
        put.max_timestamp = put.max_timestamp.max(record.timestamp);
        put.count += 1;
    }
    Ok(put.ok_or(BuildError::Empty)?)
}

fn put_record(
    out: &mut Vec<u8>,
    original: &BatchHeader,
    record: &Record,
    base_timestamp: i64,
) -> Result<(), BuildError> {
    let timestamp_delta =
        record
            .timestamp
            .checked_sub(base_timestamp)
            .ok_or(BuildError::Timestamp {
                found: record.timestamp,
                first: base_timestamp,
            })?;
    let offset_delta = record.offset.get() - original.base_offset().get();
    builder::put_record(
        out,
        (timestamp_delta, offset_delta),
        record.key.as_deref(),
        record.value.as_deref(),
        &record.headers,
    );
    Ok(())
}

fn finish(mut batch: Vec<u8>, original: &BatchHeader, own: &Fields) -> Result<Bytes, BuildError> {
    let found = batch.len();
    let length = found
        .checked_sub(LENGTH_PREFIX_BYTES)
        .and_then(|length| i32::try_from(length).ok())
        .ok_or(BuildError::TooLarge { found })?;
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.put_i64(original.base_offset().get());
    out.put_i32(length);
    out.put_i32(original.leader_epoch().0);
    out.put_i8(MAGIC);
    out.put_u32(0);
    out.put_i16(own.attributes);
    out.put_u32(original.last_offset_delta());
    out.put_i64(own.base_timestamp);
    out.put_i64(own.max_timestamp);
    out.put_i64(own.producer_id.0);
    out.put_i16(own.producer_epoch.0);
    out.put_i32(own.base_sequence);
    out.put_u32(own.record_count);
    if let Some(room) = batch.get_mut(..HEADER_BYTES) {
        room.copy_from_slice(&out);
    }
    patch::recompute_crc(&mut batch);
    Ok(batch.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LeaderEpoch, Offset,
        record::{Batch, BatchBuilder, BatchOptions, Header, ProducerIdentity},
    };

    fn original(compression: Compression) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            producer: Some(ProducerIdentity {
                id: ProducerId(7),
                epoch: ProducerEpoch(2),
                base_sequence: 40,
            }),
            is_transactional: true,
            base_offset: Offset::new(1_000).unwrap(),
            leader_epoch: LeaderEpoch(3),
            ..BatchOptions::default()
        });
        for index in 0..5_i64 {
            let value = (index != 3).then_some(b"value".as_slice());
            let headers = [Header::new("h", "1")];
            builder
                .append(500 + index, Some(&[b'a'; 3]), value, &headers)
                .unwrap();
        }
        Batch::parse(builder.finish().unwrap()).unwrap()
    }

    fn rebuilt(
        original: &Batch,
        kept: &[Record],
        horizon: Option<i64>,
    ) -> Result<Batch, BuildError> {
        let kept = kept.iter().cloned().map(Ok);
        let bytes = with_records::<BuildError>(original.header(), kept, horizon)?;
        Ok(Batch::parse(bytes).unwrap())
    }

    fn records(batch: &Batch) -> Vec<Record> {
        let records = batch.records(1 << 20).unwrap();
        records.collect::<Result<_, _>>().unwrap()
    }

    fn check_kept(found: &Batch, original: &Batch) {
        found.verify_crc().unwrap();
        assert_eq!(found.base_offset(), original.base_offset());
        assert_eq!(found.last_offset(), original.last_offset());
        assert_eq!(found.leader_epoch(), original.leader_epoch());
    }

    #[test]
    fn kept_records_have_their_offsets_times_and_headers_in_every_codec() {
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let original = original(codec);
            let all = records(&original);
            let kept = [all[1].clone(), all[3].clone(), all[4].clone()];
            for horizon in [None, Some(9_000_000)] {
                let found = rebuilt(&original, &kept, horizon).unwrap();
                check_kept(&found, &original);
                assert_eq!(records(&found), kept);
                assert_eq!(found.delete_horizon_ms(), horizon);
                assert_eq!(found.max_timestamp(), 504);
                assert_eq!(found.compression(), codec);
                assert_eq!(
                    (found.base_sequence(), found.last_sequence()),
                    (original.base_sequence(), original.last_sequence())
                );
                assert!(found.is_transactional());
            }
        }
    }

    #[test]
    fn all_records_kept_without_a_horizon_are_the_original_bytes() {
        let original = original(Compression::None);
        let found = rebuilt(&original, &records(&original), None).unwrap();
        assert_eq!(found.bytes(), original.bytes());
    }

    #[test]
    fn an_emptied_batch_tells_of_its_producer_and_a_placeholder_of_nobody() {
        let original = original(Compression::Zstd);
        let empty = Batch::parse(emptied(original.header()).unwrap()).unwrap();
        check_kept(&empty, &original);
        assert_eq!((empty.record_count(), records(&empty).len()), (0, 0));
        assert_eq!(empty.last_sequence(), original.last_sequence());
        assert_eq!(empty.producer_id(), original.producer_id());
        assert!(empty.is_transactional() && empty.compression() == Compression::None);
        let nobody = Batch::parse(placeholder(original.header()).unwrap()).unwrap();
        check_kept(&nobody, &original);
        assert!(!nobody.has_producer_id() && !nobody.is_transactional());
        assert_eq!(
            (nobody.record_count(), nobody.max_timestamp()),
            (0, original.max_timestamp())
        );
        assert_eq!(placeholder(nobody.header()).unwrap(), nobody.bytes());
    }

    #[test]
    fn a_batch_of_no_records_is_refused() {
        let original = original(Compression::None);
        assert_eq!(
            rebuilt(&original, &[], None).unwrap_err(),
            BuildError::Empty
        );
    }

    #[test]
    fn the_error_of_a_record_ends_it() {
        let original = original(Compression::None);
        let found = BuildError::TooLarge { found: 1 };
        let broken = [Ok(records(&original).remove(0)), Err(found.clone())];
        let built = with_records(original.header(), broken, None);
        assert_eq!(built, Err(found));
    }
}
