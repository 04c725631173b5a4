//! Indexes against plain lists: what is found, refused, truncated.

use std::path::Path;

use millstream_proto::{Offset, ProducerId};
use proptest::prelude::*;

use super::*;
use crate::{
    io::{LogIo as _, MemoryIo, OpenMode},
    layout::FileKind,
    segment_meta::SegmentMeta,
};

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// Batches of one segment: (records, bytes, largest timestamp).
fn any_batches() -> impl Strategy<Value = Vec<(i64, u64, i64)>> {
    prop::collection::vec((1..50_i64, 61..3_000_u64, -1..500_i64), 0..200)
}

proptest! {
    #[test]
    fn a_look_up_starts_at_the_nearest_entry_at_or_before(batches in any_batches(), base in 0..1000_i64, interval in 0..9_000_u64) {
        let mut indexes = SegmentIndexes::new(offset(base), interval);
        let (mut next, mut position) = (base, 0);
        let mut starts = Vec::new();
        for (records, bytes, timestamp_ms) in &batches {
            let last = offset(next + records - 1);
            indexes.add_batch(last, position, *bytes, *timestamp_ms).unwrap();
            starts.push((last, position, *bytes, *timestamp_ms));
            next += records;
            position += bytes;
        }
        indexes.seal().unwrap();
        // Every entry is a batch; a gap between two is at most the interval and a batch.
        let mut indexed_to = 0;
        for entry in indexes.offset.iter() {
            let at = u64::from(entry.position);
            prop_assert!(starts.iter().any(|(last, position, ..)| (*last, *position) == (entry.last_offset, at)));
            prop_assert!(at - indexed_to <= interval + 2 * 3_000);
            indexed_to = at;
        }
        for target in base..next {
            let found = indexes.offset.lookup(offset(target)).map_or(0, |entry| u64::from(entry.position));
            let (_, holds, ..) = starts.iter().find(|(last, ..)| *last >= offset(target)).unwrap();
            prop_assert!(found <= *holds, "{target}: {found} is past the batch at {holds}");
            let nearest = indexes.offset.iter().filter(|entry| entry.last_offset <= offset(target)).map(|entry| u64::from(entry.position)).max();
            prop_assert_eq!(found, nearest.unwrap_or(0));
        }
        for target_ms in -1..501 {
            let first = starts.iter().find(|(.., timestamp_ms)| *timestamp_ms >= target_ms);
            let from = indexes.time.lookup(target_ms).map(|entry| entry.last_offset);
            if let (Some(from), Some((holds, ..))) = (from, first) {
                prop_assert!(from <= *holds, "{target_ms}: {from} is past {holds}");
            }
        }
        let largest = starts.iter().map(|(.., timestamp_ms)| *timestamp_ms).max().filter(|ms| *ms >= 0);
        prop_assert_eq!(indexes.time.last().map(|entry| entry.timestamp_ms), largest);
    }

    #[test]
    fn any_bytes_decode_to_an_index_that_encodes_to_them_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let base = offset(7);
        if let Ok(index) = OffsetIndex::decode(base, &bytes) {
            prop_assert_eq!(index.encode_from(0), bytes.clone());
        }
        if let Ok(index) = TimeIndex::decode(base, &bytes) {
            prop_assert_eq!(index.encode_from(0), bytes.clone());
        }
        if let Ok(index) = TransactionIndex::decode(&bytes) {
            prop_assert_eq!(index.encode_from(0), bytes);
        }
    }
}

#[test]
fn entries_are_big_endian_pairs_relative_to_the_base() {
    let mut index = OffsetIndex::new(offset(100));
    index.push(offset(104), 0).unwrap();
    index.push(offset(300), 0x0102_0304).unwrap();
    assert_eq!(
        index.encode_from(0),
        [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 200, 1, 2, 3, 4]
    );
    assert_eq!(index.encode_from(1).len(), 8);
    let mut times = TimeIndex::new(offset(100));
    times.push(-2, offset(101)).unwrap();
    assert_eq!(
        times.encode_from(0),
        [255, 255, 255, 255, 255, 255, 255, 254, 0, 0, 0, 1]
    );
}

#[test]
fn what_goes_backwards_or_too_far_is_refused() {
    let mut index = OffsetIndex::new(offset(100));
    index.push(offset(110), 50).unwrap();
    for (bad, position) in [(110, 60), (109, 60), (111, 50), (99, 60)] {
        assert!(
            index.push(offset(bad), position).is_err(),
            "{bad} {position}"
        );
    }
    assert!(index.push(offset(100 + (1 << 31)), 60).is_err());
    assert!(index.push(offset(111), 1 << 31).is_err());
    let highest = 100 + i64::from(i32::MAX);
    index.push(offset(highest), 60).unwrap();
    assert_eq!(index.last().unwrap().last_offset, offset(highest));

    let mut times = TimeIndex::new(offset(100));
    assert!(times.push(5, offset(110)).unwrap());
    assert!(
        !times.push(5, offset(111)).unwrap(),
        "no later time, no entry"
    );
    assert!(times.push(6, offset(110)).is_err());
}

#[test]
fn zeros_that_kafka_reserved_are_no_entries() {
    let mut bytes = vec![0, 0, 0, 4, 0, 0, 1, 0];
    bytes.extend([0; 32]);
    assert_eq!(
        OffsetIndex::decode(offset(0), &bytes),
        Err(IndexError::Order { index: 1 })
    );
}

#[test]
fn truncation_keeps_what_is_below() {
    let mut index = OffsetIndex::new(offset(0));
    let mut times = TimeIndex::new(offset(0));
    for step in 1..10_i64 {
        index
            .push(offset(step * 10), u64::try_from(step).unwrap() * 100)
            .unwrap();
        times.push(step, offset(step * 10)).unwrap();
    }
    index.truncate(500);
    times.truncate(offset(50));
    assert_eq!(index.last().unwrap().last_offset, offset(40));
    assert_eq!(times.last().unwrap().last_offset, offset(40));
    assert_eq!(
        index.lookup_after(offset(15)).unwrap().last_offset,
        offset(20)
    );
    assert_eq!(index.lookup_after(offset(40)), None);
}

#[test]
fn an_index_goes_on_where_its_files_end() {
    let (io, dir) = (MemoryIo::new(), Path::new("/p"));
    io.create_dir_all(dir).unwrap();
    let open = |kind: FileKind| {
        io.open(&kind.path(dir, offset(0)), OpenMode::Create)
            .unwrap()
    };
    let (offsets, times) = (open(FileKind::OffsetIndex), open(FileKind::TimeIndex));
    let mut whole = SegmentIndexes::new(offset(0), 1_000);
    let mut meta = SegmentMeta::empty(offset(0));
    for step in 0..100_i64 {
        // Reopened after every batch: entries must come at the same places all the same.
        let mut reopened = SegmentIndexes::load(&io, dir, &meta, 1_000).unwrap();
        let position = meta.size_bytes;
        reopened
            .add_batch(offset(step), position, 300, step)
            .unwrap();
        whole.add_batch(offset(step), position, 300, step).unwrap();
        meta.add_batch(offset(step), 300, step);
        reopened.write_pending(&*offsets, &*times).unwrap();
        assert_eq!(reopened.pending(), 0);
    }
    let end = SegmentIndexes::load(&io, dir, &meta, 1_000).unwrap();
    assert_eq!(end.offset, whole.offset);
    assert_eq!(end.time, whole.time);
    assert!(whole.offset.len() >= 20);

    // What is past the segment's end is left out, and overwritten by what follows.
    let half = SegmentMeta {
        size_bytes: 15_000,
        last_offset: Some(offset(49)),
        ..meta
    };
    let mut cut = SegmentIndexes::load(&io, dir, &half, 1_000).unwrap();
    assert!(cut.offset.last().unwrap().position < 15_000);
    assert!(cut.time.last().unwrap().last_offset < offset(50));
    cut.rewrite(&*offsets, &*times).unwrap();
    let path = FileKind::OffsetIndex.path(dir, offset(0));
    assert_eq!(io.contents(&path).unwrap(), cut.offset.encode_from(0));
}

#[test]
fn a_transaction_that_does_not_follow_is_refused() {
    let aborted = |first, last| AbortedTransaction {
        producer_id: ProducerId(1),
        first_offset: offset(first),
        last_offset: offset(last),
        last_stable_offset: offset(last),
    };
    let mut index = TransactionIndex::new();
    index.push(aborted(5, 9)).unwrap();
    assert!(index.push(aborted(6, 9)).is_err());
    assert!(index.push(aborted(12, 11)).is_err());
    index.push(aborted(2, 20)).unwrap();
    let mut bytes = index.encode_from(0);
    assert_eq!(bytes.len(), 2 * TransactionIndex::ENTRY_BYTES);
    index.truncate(offset(20));
    assert_eq!(index.len(), 1);
    bytes[35] = 1;
    assert_eq!(
        TransactionIndex::decode(&bytes),
        Err(IndexError::Version { index: 1, found: 1 })
    );
}
