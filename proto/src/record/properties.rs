//! Property tests: what the builder writes the reader returns, and no bytes make a decoder panic.

#![cfg(all(
    feature = "gzip",
    feature = "snappy",
    feature = "lz4",
    feature = "zstd"
))]

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::{
    Batch, BatchBuilder, BatchError, BatchIter, BatchOptions, BatchView, BuildError, Compression,
    CompressionError, HEADER_BYTES, Header, OwnedBatchIter, Part, ProducerIdentity, Record,
    RecordError, RecordIter, TimestampType, control, patch,
};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A record before it has an offset.
type Draft = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn bytes_up_to(length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=length)
}

fn draft() -> impl Strategy<Value = Draft> {
    let header = (bytes_up_to(5), option::of(bytes_up_to(20)));
    // Timestamps may lie before the first one's and far from it.
    let timestamp = prop_oneof![0..2_000_000_000_000i64, Just(-1), Just(i64::MAX / 2)];
    (
        timestamp,
        option::of(bytes_up_to(40)),
        option::of(bytes_up_to(400)),
        vec(header, 0..4),
    )
}

fn options() -> impl Strategy<Value = BatchOptions> {
    let producer =
        (0i64.., 0i16.., 0i32..).prop_map(|(id, epoch, base_sequence)| ProducerIdentity {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
            base_sequence,
        });
    let codec = prop::sample::select(Compression::ALL.to_vec())
        .prop_filter("compiled in", |codec| codec.is_compiled_in());
    (
        codec,
        option::of(producer),
        any::<[bool; 2]>(),
        0..i64::MAX / 2,
        -1i32..,
    )
        .prop_map(
            |(compression, producer, [is_transactional, is_control], base_offset, leader_epoch)| {
                BatchOptions {
                    compression,
                    producer,
                    is_transactional,
                    is_control,
                    base_offset: Offset::new(base_offset).unwrap(),
                    leader_epoch: LeaderEpoch(leader_epoch),
                    ..BatchOptions::default()
                }
            },
        )
}

fn headers(draft: &Draft) -> Vec<Header> {
    let header = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| Header {
        key: key.clone().into(),
        value: value.clone().map(Bytes::from),
    };
    draft.3.iter().map(header).collect()
}

fn built(options: BatchOptions, drafts: &[Draft]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for draft in drafts {
        let (timestamp, key, value) = (draft.0, draft.1.as_deref(), draft.2.as_deref());
        let size = builder
            .size_with(timestamp, key, value, &headers(draft))
            .unwrap();
        builder
            .append(timestamp, key, value, &headers(draft))
            .unwrap();
        assert_eq!(builder.size_bytes(), size);
    }
    let size = builder.size_bytes();
    let batch = builder.finish().unwrap();
    assert!(options.compression != Compression::None || batch.len() == size);
    batch
}

fn record(base: Offset, index: usize, draft: &Draft) -> Record {
    Record {
        offset: base.checked_add(u32::try_from(index).unwrap()).unwrap(),
        timestamp: draft.0,
        key: draft.1.clone().map(Bytes::from),
        value: draft.2.clone().map(Bytes::from),
        headers: headers(draft),
    }
}

fn read(batch: &Bytes) -> Result<Vec<Record>, RecordError> {
    RecordIter::new(batch.clone(), 1 << 20)?.collect()
}

/// What a scan tells of a record, put together again: all but its headers.
fn scanned(batch: &Bytes, output_bytes_max: usize) -> Result<Vec<Scanned>, RecordError> {
    let mut records = Batch::parse(batch.clone())?.scan(output_bytes_max)?;
    let mut found = Vec::new();
    while let Some(start) = records.start()? {
        let (mut key, mut rest_bytes) = (Vec::new(), 0);
        let shape = records.rest::<RecordError>(|piece| {
            rest_bytes += piece.bytes.len();
            if piece.part == Part::Key {
                key.extend_from_slice(piece.bytes);
            }
            Ok(())
        })?;
        assert_eq!(rest_bytes, start.rest_bytes);
        let key = shape.has_key.then_some(key);
        found.push((start.offset, start.timestamp, key, shape.has_value));
    }
    Ok(found)
}

/// Offset, timestamp, key, and whether there is a value.
type Scanned = (Offset, i64, Option<Vec<u8>>, bool);

fn as_scanned(records: Vec<Record>) -> Vec<Scanned> {
    let scanned = |record: Record| {
        let key = record.key.map(|key| key.to_vec());
        (record.offset, record.timestamp, key, record.value.is_some())
    };
    records.into_iter().map(scanned).collect()
}

/// A batch of `count` records of 100 zero bytes each.
fn zeros(compression: Compression, count: usize) -> Bytes {
    let options = BatchOptions {
        compression,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for _ in 0..count {
        builder.append(7, None, Some(&[0; 100]), &[]).unwrap();
    }
    builder.finish().unwrap()
}

proptest! {
    #[test]
    fn records_and_header_come_back_as_written(
        options in options(),
        drafts in vec(draft(), 1..30),
    ) {
        let bytes = built(options, &drafts);
        let batch = Batch::parse(bytes.clone()).unwrap();
        batch.verify_crc().unwrap();
        let expected: Vec<_> = drafts
            .iter()
            .enumerate()
            .map(|(index, draft)| record(options.base_offset, index, draft))
            .collect();
        prop_assert_eq!(scanned(&bytes, 1 << 20).unwrap(), as_scanned(expected.clone()));
        prop_assert_eq!(read(&bytes).unwrap(), expected);
        prop_assert_eq!(batch.base_offset(), options.base_offset);
        prop_assert_eq!(batch.last_offset_delta() as usize, drafts.len() - 1);
        prop_assert_eq!(batch.record_count() as usize, drafts.len());
        prop_assert_eq!(batch.leader_epoch(), options.leader_epoch);
        prop_assert_eq!(batch.compression(), options.compression);
        prop_assert_eq!(batch.is_control(), options.is_control);
        prop_assert_eq!(batch.is_transactional(), options.is_transactional);
        prop_assert_eq!(batch.base_timestamp(), drafts[0].0);
        prop_assert_eq!(Some(batch.max_timestamp()), drafts.iter().map(|draft| draft.0).max());
        prop_assert_eq!(batch.delete_horizon_ms(), None);
        let identity = options.producer.map(|producer| (producer.id, producer.epoch, producer.base_sequence));
        let found = batch.has_producer_id()
            .then(|| (batch.producer_id(), batch.producer_epoch(), batch.base_sequence()));
        prop_assert_eq!(found, identity);
    }

    #[test]
    fn decoders_never_panic_on_arbitrary_bytes(bytes in bytes_up_to(300)) {
        let bytes = Bytes::from(bytes);
        for view in BatchIter::new(&bytes).flatten() {
            let _ = view.verify_crc();
        }
        for batch in OwnedBatchIter::new(bytes.clone()).flatten() {
            if let Ok(records) = batch.records(1 << 16) {
                records.for_each(drop);
            }
        }
    }

    /// The CRC is made right again, so that the mutation reaches the record decoder.
    #[test]
    fn decoders_never_panic_on_mutated_batches(
        options in options(),
        drafts in vec(draft(), 1..5),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = built(options, &drafts).to_vec();
        for (at, value) in mutations {
            let position = at.index(bytes.len());
            bytes[position] = value;
        }
        patch::recompute_crc(&mut bytes);
        let bytes = Bytes::from(bytes);
        let scanned = scanned(&bytes, 1 << 20);
        prop_assert_eq!(scanned.clone().ok(), read(&bytes).ok().map(as_scanned), "{:?}", scanned);
        if let Ok(records) = read(&bytes) {
            let view = BatchView::parse_only(&bytes).unwrap();
            prop_assert_eq!(records.len(), view.record_count() as usize);
            prop_assert!(records.iter().all(|record|
                view.base_offset() <= record.offset && record.offset <= view.last_offset()));
            for record in &records {
                let _ = control::ControlRecord::decode(record);
            }
        }
    }

    #[test]
    fn every_covered_byte_is_protected_by_the_crc(
        options in options(),
        drafts in vec(draft(), 1..4),
        flip in 1u8..,
    ) {
        let bytes = built(options, &drafts);
        for position in super::CRC_COVERS_FROM - 4..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[position] ^= flip;
            let verified = BatchView::parse(&damaged).and_then(|view| view.verify_crc());
            prop_assert!(verified.is_err(), "byte {position}");
        }
    }

    #[test]
    fn batches_cut_anywhere_are_truncated(drafts in vec(draft(), 1..4), cut: prop::sample::Index) {
        let bytes = built(BatchOptions::default(), &drafts);
        let length = cut.index(bytes.len());
        let two = [&bytes[..], &bytes[..length]].concat();
        let mut iter = BatchIter::new(&two);
        prop_assert!(iter.next().unwrap().is_ok());
        prop_assert_eq!(iter.position(), bytes.len());
        match iter.next() {
            None => prop_assert_eq!(length, 0),
            Some(Err(BatchError::Truncated { found, .. })) => prop_assert_eq!(found, length),
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert!(iter.next().is_none());
    }
}

#[test]
fn patches_outside_the_crc_leave_it_valid() {
    let mut bytes = zeros(Compression::None, 3).to_vec();
    patch::base_offset(&mut bytes, Offset::new(1_000).unwrap()).unwrap();
    patch::leader_epoch(&mut bytes, LeaderEpoch(7)).unwrap();
    let view = BatchView::parse_only(&bytes).unwrap();
    view.verify_crc().unwrap();
    assert_eq!(
        (view.base_offset().get(), view.last_offset().get()),
        (1_000, 1_002)
    );
    assert_eq!(view.leader_epoch(), LeaderEpoch(7));
}

#[test]
fn log_append_time_gives_every_record_the_same_timestamp() {
    for codec in [Compression::None, Compression::Zstd] {
        let mut bytes = zeros(codec, 3).to_vec();
        patch::log_append_time(&mut bytes, 99).unwrap();
        let bytes = Bytes::from(bytes);
        let view = BatchView::parse_only(&bytes).unwrap();
        view.verify_crc().unwrap();
        assert_eq!(view.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(view.compression(), codec);
        let timestamps: Vec<_> = read(&bytes)
            .unwrap()
            .into_iter()
            .map(|record| record.timestamp)
            .collect();
        assert_eq!(timestamps, [99; 3]);
    }
}

#[test]
fn producer_identity_can_be_replaced() {
    let mut bytes = zeros(Compression::None, 3).to_vec();
    patch::producer(&mut bytes, ProducerId(5), ProducerEpoch(2), i32::MAX - 1).unwrap();
    let view = BatchView::parse_only(&bytes).unwrap();
    view.verify_crc().unwrap();
    assert_eq!(view.producer_id(), ProducerId(5));
    assert_eq!(view.producer_epoch(), ProducerEpoch(2));
    assert_eq!(
        (view.base_sequence(), view.last_sequence()),
        (i32::MAX - 1, 0)
    );
}

#[test]
fn patches_of_something_shorter_than_a_header_change_nothing() {
    let mut bytes = vec![9; HEADER_BYTES - 1];
    let truncated = Err(BatchError::Truncated {
        expected: HEADER_BYTES,
        found: HEADER_BYTES - 1,
    });
    assert_eq!(patch::base_offset(&mut bytes, Offset::ZERO), truncated);
    assert_eq!(patch::leader_epoch(&mut bytes, LeaderEpoch(1)), truncated);
    assert!(patch::log_append_time(&mut bytes, 1).is_err());
    assert_eq!(bytes, vec![9; HEADER_BYTES - 1]);
}

#[test]
fn decompression_bombs_are_refused_by_record_iterators() {
    for codec in Compression::ALL
        .into_iter()
        .filter(|codec| codec.is_compiled_in())
    {
        let batch = zeros(codec, 10_000);
        let mut records = RecordIter::new(batch, 100_000).unwrap();
        let read = records.by_ref().take_while(Result::is_ok).count();
        if codec == Compression::None {
            assert_eq!(read, 10_000, "the payload is there already");
        } else {
            assert!(
                (800..1_000).contains(&read),
                "{codec}: {read} records of about 107 bytes"
            );
        }
        assert!(records.next().is_none());
    }
    let last = RecordIter::new(zeros(Compression::Zstd, 10_000), 100_000)
        .unwrap()
        .last()
        .unwrap();
    let refused = CompressionError::OutputTooLarge {
        codec: Compression::Zstd,
        max: 100_000,
    };
    assert_eq!(last, Err(refused.into()));
}

#[test]
fn bytes_behind_the_last_record_are_an_error() {
    for codec in [Compression::None, Compression::Gzip] {
        let mut bytes = zeros(codec, 3).to_vec();
        // Two records fewer than there are.
        bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
        assert_eq!(
            read(&bytes.into()),
            Err(RecordError::TrailingBytes { count: 1 }),
            "{codec}"
        );
    }
}

#[test]
fn counts_beyond_the_payload_are_truncated() {
    for codec in [Compression::None, Compression::Lz4] {
        let mut bytes = zeros(codec, 3).to_vec();
        bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(
            read(&bytes.into()),
            Err(RecordError::Truncated { index: 3 }),
            "{codec}"
        );
    }
}

#[test]
fn emptied_batches_have_no_records() {
    let mut bytes = zeros(Compression::None, 1)[..HEADER_BYTES].to_vec();
    bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&0i32.to_be_bytes());
    assert_eq!(read(&bytes.into()), Ok(Vec::new()));
}

#[test]
fn delete_horizons_replace_the_base_timestamp() {
    let mut bytes = zeros(Compression::None, 1).to_vec();
    bytes[22] |= 0b0100_0000;
    let view = BatchView::parse_only(&bytes).unwrap();
    assert_eq!(view.delete_horizon_ms(), Some(7));
    assert_eq!(view.base_timestamp(), 7);
}

#[test]
fn header_fields_that_no_batch_has_are_refused() {
    let good = zeros(Compression::None, 2);
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        BatchView::parse(&bytes).map(drop)
    };
    assert_eq!(
        with(8, &48i32.to_be_bytes()),
        Err(BatchError::Length {
            found: 48,
            expected: 49
        })
    );
    assert_eq!(
        with(8, &i32::MIN.to_be_bytes()),
        Err(BatchError::Length {
            found: i32::MIN,
            expected: 49
        })
    );
    assert_eq!(with(16, &[1]), Err(BatchError::Magic { found: 1 }));
    assert_eq!(
        with(22, &[5]),
        Err(BatchError::UnknownCompression { found: 5 })
    );
    for (at, field, value) in [
        (0, "base_offset", (-1i64).to_be_bytes().as_slice()),
        (23, "last_offset_delta", &(-1i32).to_be_bytes()),
        (57, "record_count", &(-1i32).to_be_bytes()),
    ] {
        assert_eq!(with(at, value), Err(BatchError::Field { field, found: -1 }));
    }
    assert_eq!(
        with(0, &i64::MAX.to_be_bytes()),
        Err(BatchError::Field {
            field: "last_offset_delta",
            found: 1
        })
    );
}

#[test]
fn builder_refuses_what_a_batch_cannot_hold() {
    assert_eq!(
        BatchBuilder::new(BatchOptions::default()).finish(),
        Err(BuildError::Empty)
    );
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(i64::MIN, None, None, &[]).unwrap();
    let size = builder.size_bytes();
    let refused = builder.append(i64::MAX, None, None, &[]);
    assert_eq!(
        refused,
        Err(BuildError::Timestamp {
            found: i64::MAX,
            first: i64::MIN
        })
    );
    assert_eq!((builder.size_bytes(), builder.record_count()), (size, 1));
}

#[test]
fn markers_are_the_bytes_that_kafka_writes() {
    let marker = control::EndTransactionMarker::new(control::TransactionResult::Commit, 3);
    let batch = marker
        .to_batch(17, ProducerId(9), ProducerEpoch(1), LeaderEpoch(0))
        .unwrap();
    assert_eq!(batch.len(), 78);
    let view = BatchView::parse_only(&batch).unwrap();
    assert!(view.is_control() && view.is_transactional());
    let decoded = control::ControlRecord::decode(&read(&batch).unwrap()[0]).unwrap();
    assert_eq!(decoded, control::ControlRecord::EndTransaction(marker));
}
