//! Compares batches and records with the text that DumpLogSegments printed.

use std::{collections::HashMap, fs};

use bytes::Bytes;
use millstream_proto::record::{
    Batch, BatchIter, Record, TimestampType,
    control::{ControlRecord, TransactionResult},
    sequence_after,
};

use super::{data, records, segments};

/// `key: value` pairs of a line, up to the first that is payload.
fn fields(line: &str) -> HashMap<&str, &str> {
    let line = line
        .split_once(" headerKeys: ")
        .map_or(line, |(fields, _)| fields);
    let words: Vec<_> = line.trim_start_matches("| ").split(' ').collect();
    words
        .chunks_exact(2)
        .map(|pair| (pair[0].trim_end_matches(':'), pair[1]))
        .collect()
}

/// The lines about batches and records: per segment, one `Vec` a batch, its own line first.
fn parse(text: &str) -> Vec<Vec<Vec<&str>>> {
    let mut segments: Vec<Vec<Vec<&str>>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Dumping ") {
            segments.push(Vec::new());
        } else if line.starts_with("baseOffset: ") {
            segments.last_mut().unwrap().push(vec![line]);
        } else if line.starts_with("| offset: ") {
            segments.last_mut().unwrap().last_mut().unwrap().push(line);
        }
    }
    segments
}

pub(super) fn assert_equal(partition: &str) {
    let printed = fs::read(data().join(format!("dump/{partition}.txt"))).unwrap();
    let printed = String::from_utf8_lossy(&printed);
    let printed = parse(&printed);
    let files = segments(partition);
    assert_eq!(files.len(), printed.len(), "segments of {partition}");
    for (file, printed) in files.iter().zip(printed) {
        let bytes = Bytes::from(fs::read(file).unwrap());
        let mut iter = BatchIter::new(&bytes);
        for lines in &printed {
            let position = iter.position();
            let view = iter.next().expect("a batch that was dumped").unwrap();
            view.verify_crc().unwrap();
            let batch = Batch::parse(bytes.slice_ref(view.bytes())).unwrap();
            assert_batch(&batch, position, lines[0]);
            let found = records(&batch);
            assert_eq!(found.len(), lines.len() - 1, "{}", lines[0]);
            for (record, line) in found.iter().zip(&lines[1..]) {
                assert_record(&batch, record, line);
            }
        }
        assert!(
            iter.next().is_none(),
            "{} holds more than was dumped",
            file.display()
        );
    }
}

fn assert_batch(batch: &Batch, position: usize, line: &str) {
    assert_eq!(batch.timestamp_type(), TimestampType::CreateTime);
    let horizon = batch
        .delete_horizon_ms()
        .map_or("OptionalLong.empty".into(), |ms| {
            format!("OptionalLong[{ms}]")
        });
    let found = format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {horizon} position: {position} CreateTime: {} size: {} magic: {} \
         compresscodec: {} crc: {} isvalid: true",
        batch.base_offset(),
        batch.last_offset(),
        batch.record_count(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        batch.max_timestamp(),
        batch.size_bytes(),
        batch.magic(),
        batch.compression(),
        batch.crc(),
    );
    assert_eq!(found, line);
}

fn assert_record(batch: &Batch, record: &Record, line: &str) {
    let length = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => bytes.len().to_string(),
        None => "-1".into(),
    };
    let fields = fields(line);
    assert_eq!(fields["offset"], record.offset.to_string(), "{line}");
    assert_eq!(fields["CreateTime"], record.timestamp.to_string(), "{line}");
    assert_eq!(fields["keySize"], length(&record.key), "{line}");
    assert_eq!(fields["valueSize"], length(&record.value), "{line}");
    let sequence = if batch.base_sequence() < 0 {
        -1
    } else {
        let delta = record.offset.distance_from(batch.base_offset()).unwrap();
        sequence_after(batch.base_sequence(), delta)
    };
    assert_eq!(fields["sequence"], sequence.to_string(), "{line}");
    let keys: Vec<_> = record
        .headers
        .iter()
        .map(|header| header.key_text())
        .collect();
    let tail = line.split_once("headerKeys: ").unwrap().1;
    assert!(
        tail.starts_with(&format!("[{}]", keys.join(","))),
        "{line}: {keys:?}"
    );
    if batch.is_control() {
        assert_marker(record, tail);
    }
}

fn assert_marker(record: &Record, tail: &str) {
    let ControlRecord::EndTransaction(marker) = ControlRecord::decode(record).unwrap() else {
        panic!("{record:?} is no marker");
    };
    let result = match marker.result {
        TransactionResult::Commit => "COMMIT",
        TransactionResult::Abort => "ABORT",
    };
    let found = format!(
        "[] endTxnMarker: {result} coordinatorEpoch: {}",
        marker.coordinator_epoch
    );
    assert_eq!(found, tail);
}
