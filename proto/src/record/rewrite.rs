//! Batches made anew from others, record by record: in another codec, or as compaction leaves them, with
//! fewer records or none. Records are copied as they are decompressed; none of them is held.
//!
//! ```text
//!   kept as it was      offsets, leader epoch, producer and sequence, base timestamp; codec, unless
//!                       another is asked for
//!   made anew           records, count, largest timestamp, CRC
//!   delete horizon      attribute bit 6 and, in the place of the base timestamp, the time from which
//!                       the batch's tombstones or marker may go (KIP-534); the records' timestamps
//!                       are relative to it then
//! ```
//! An emptied batch keeps what tells of its producer; a placeholder keeps its offsets and its time alone.

use bytes::{BufMut as _, Bytes};

use super::{
    Batch, BatchHeader, BuildError, Compression, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC,
    NO_SEQUENCE, NO_TIMESTAMP, RecordScan, RecordShape, RecordStart, RewriteError, TimestampType,
    builder::put_length, compression::encoder::Encoder, header, patch, varint,
};
use crate::{Offset, ProducerEpoch, ProducerId};

/// How far a batch may be from what is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewriteLimits {
    /// Bytes of its records once decompressed.
    pub plain_bytes_max: usize,
    /// Bytes of the batch that is made.
    pub size_bytes_max: usize,
}

/// The batch `original` with its records compressed by `codec`. Each record is shown to `see` once it
/// was copied.
///
/// # Errors
/// [`RewriteError`], and those of `see`. A batch that would be too large is
/// [`super::CompressionError::NoRoom`].
pub fn recompressed<E: From<RewriteError>>(
    original: &Batch,
    codec: Compression,
    limits: &RewriteLimits,
    mut see: impl FnMut(&RecordStart, RecordShape) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut records = scan(original, limits)?;
    let mut copying = Copying::new(original, codec, original.base_timestamp(), limits);
    while let Some(start) = records.start().map_err(RewriteError::from)? {
        let shape = copying.copy(&mut records, &start)?;
        see(&start, shape)?;
    }
    let attributes = (original.attributes() & !header::ATTRIBUTE_CODEC) | codec.number();
    Ok(copying.finish(original, attributes)?)
}

/// The batch `original` with only those of its records that stay, told by their index. With a delete
/// horizon, in milliseconds since the epoch, the batch says from when its tombstones may go.
///
/// # Errors
/// [`RewriteError`]: [`BuildError::Empty`] where no record stays, [`BuildError::Timestamp`] and
/// [`super::CompressionError::NoRoom`] where what stays cannot be expressed.
pub fn retained(
    original: &Batch,
    stays_at: impl Fn(u32) -> bool,
    delete_horizon_ms: Option<i64>,
    limits: &RewriteLimits,
) -> Result<Bytes, RewriteError> {
    let mut records = scan(original, limits)?;
    let base_timestamp = delete_horizon_ms.unwrap_or(original.base_timestamp());
    let mut copying = Copying::new(original, original.compression(), base_timestamp, limits);
    while let Some(start) = records.start()? {
        if stays_at(start.index) {
            copying.copy(&mut records, &start)?;
        }
    }
    let mut attributes = original.attributes() & !header::ATTRIBUTE_DELETE_HORIZON;
    if delete_horizon_ms.is_some() {
        attributes |= header::ATTRIBUTE_DELETE_HORIZON;
    }
    copying.finish(original, attributes)
}

fn scan(original: &Batch, limits: &RewriteLimits) -> Result<RecordScan, RewriteError> {
    Ok(original.scan(limits.plain_bytes_max)?)
}

/// Records on their way into another batch.
struct Copying {
    encoder: Encoder,
    base_offset: Offset,
    base_timestamp: i64,
    max_timestamp: i64,
    count: u32,
    /// What is written before a record's key.
    start: Vec<u8>,
}

impl Copying {
    fn new(
        original: &BatchHeader,
        codec: Compression,
        base_timestamp: i64,
        limits: &RewriteLimits,
    ) -> Self {
        Self {
            encoder: Encoder::new(codec, None, HEADER_BYTES, limits.size_bytes_max),
            base_offset: original.base_offset(),
            base_timestamp,
            max_timestamp: i64::MIN,
            count: 0,
            start: Vec::new(),
        }
    }

    /// Copies the record that `records` stands in.
    fn copy(
        &mut self,
        records: &mut RecordScan,
        start: &RecordStart,
    ) -> Result<RecordShape, RewriteError> {
        self.write_start(start)?;
        let encoder = &mut self.encoder;
        let shape = records.rest(|piece| {
            encoder.write(piece.bytes)?;
            Ok::<_, RewriteError>(())
        })?;
        self.max_timestamp = self.max_timestamp.max(start.timestamp);
        self.count += 1;
        Ok(shape)
    }

    fn write_start(&mut self, record: &RecordStart) -> Result<(), RewriteError> {
        let (found, first) = (record.timestamp, self.base_timestamp);
        let timestamp_delta = found
            .checked_sub(first)
            .ok_or(BuildError::Timestamp { found, first })?;
        let offset_delta = record.offset.get() - self.base_offset.get();
        let length = size_of::<i8>()
            + varint::bytes_of(timestamp_delta)
            + varint::bytes_of(offset_delta)
            + record.rest_bytes;
        if i32::try_from(length).is_err() {
            return Err(BuildError::TooLarge { found: length }.into());
        }
        self.start.clear();
        put_length(&mut self.start, length);
        self.start.put_i8(0);
        varint::write_i64(&mut self.start, timestamp_delta);
        varint::write_i64(&mut self.start, offset_delta);
        Ok(self.encoder.write(&self.start)?)
    }

    fn finish(self, original: &BatchHeader, attributes: i16) -> Result<Bytes, RewriteError> {
        if self.count == 0 {
            return Err(BuildError::Empty.into());
        }
        let fields = Fields {
            attributes,
            base_timestamp: self.base_timestamp,
            max_timestamp: match original.timestamp_type() {
                TimestampType::LogAppendTime => original.max_timestamp(),
                TimestampType::CreateTime => self.max_timestamp,
            },
            producer_id: original.producer_id(),
            producer_epoch: original.producer_epoch(),
            base_sequence: original.base_sequence(),
            record_count: self.count,
        };
        Ok(finish(self.encoder.finish()?, original, &fields)?)
    }
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
        LeaderEpoch,
        record::{
            BatchBuilder, BatchOptions, CompressionError, Header, ProducerIdentity, Record,
            RecordError,
        },
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

    const LIMITS: RewriteLimits = RewriteLimits {
        plain_bytes_max: 4 << 20,
        size_bytes_max: 1 << 20,
    };

    fn rebuilt(
        original: &Batch,
        kept: &[u32],
        horizon: Option<i64>,
    ) -> Result<Batch, RewriteError> {
        let bytes = retained(original, |index| kept.contains(&index), horizon, &LIMITS)?;
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
                let found = rebuilt(&original, &[1, 3, 4], horizon).unwrap();
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
        let found = rebuilt(&original, &[0, 1, 2, 3, 4], None).unwrap();
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
        let refused = rebuilt(&original, &[], None).unwrap_err();
        assert_eq!(refused, BuildError::Empty.into());
    }

    #[test]
    fn every_codec_becomes_every_other_with_the_same_records() {
        for codec in Compression::ALL {
            let original = original(codec);
            for wanted in Compression::ALL {
                let mut seen = Vec::new();
                let see = |start: &RecordStart, shape: RecordShape| {
                    seen.push((start.offset, shape.has_key, shape.has_value));
                    Ok::<_, RewriteError>(())
                };
                let found = recompressed(&original, wanted, &LIMITS, see).unwrap();
                let found = Batch::parse(found).unwrap();
                check_kept(&found, &original);
                assert_eq!(records(&found), records(&original));
                let all = records(&original).into_iter();
                let shapes = all.map(|r| (r.offset, r.key.is_some(), r.value.is_some()));
                assert!(seen.into_iter().eq(shapes));
                assert_eq!(found.compression(), wanted);
                assert_eq!((found.base_timestamp(), found.max_timestamp()), (500, 504));
                assert_eq!(found.base_sequence(), 40);
                assert!(found.is_transactional());
            }
        }
    }

    /// A record of 2 MiB of zeros, which every codec makes small.
    fn large(compression: Compression) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            ..BatchOptions::default()
        });
        builder
            .append(1, None, Some(&vec![0; 2 << 20]), &[])
            .unwrap();
        Batch::parse(builder.finish().unwrap()).unwrap()
    }

    fn to_codec(
        original: &Batch,
        codec: Compression,
        limits: RewriteLimits,
    ) -> Result<Bytes, RewriteError> {
        recompressed(original, codec, &limits, |_, _| Ok(()))
    }

    #[test]
    fn what_would_be_too_large_is_refused_and_what_is_not_is_made_of_larger_records() {
        let zstd = large(Compression::Zstd);
        for codec in Compression::ALL {
            let found = to_codec(&zstd, codec, LIMITS);
            if codec == Compression::None {
                let max = LIMITS.size_bytes_max;
                let no_room = CompressionError::NoRoom { codec, max };
                assert_eq!(found, Err(no_room.into()));
            } else {
                let found = Batch::parse(found.unwrap()).unwrap();
                let value = found
                    .records(4 << 20)
                    .unwrap()
                    .next()
                    .unwrap()
                    .unwrap()
                    .value;
                assert!(value.unwrap() == vec![0; 2 << 20], "{codec}");
            }
        }
    }

    #[test]
    fn records_that_decompress_to_more_than_is_allowed_are_refused() {
        let max = 1 << 20;
        let limits = RewriteLimits {
            plain_bytes_max: max,
            ..LIMITS
        };
        for codec in Compression::ALL.into_iter().skip(1) {
            let refused = to_codec(&large(codec), Compression::Zstd, limits).unwrap_err();
            let too_large = CompressionError::OutputTooLarge { codec, max };
            assert_eq!(refused, RecordError::from(too_large).into());
        }
    }
}
