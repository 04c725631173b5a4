//! Every segment that Apache Kafka 4.3.1 wrote decodes to what its own tools say it holds.
//!
//! `dump/` is the output of Kafka's DumpLogSegments, `expected/` what a Kafka consumer returned.
//! See `tests/data/kafka-4.3.1-log/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod dump;
mod expected;
mod group_records;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use millstream_proto::record::{Batch, OwnedBatchIter, Record};

/// More than any batch of the data set holds.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

const PARTITIONS: [&str; 16] = [
    "__consumer_offsets-0",
    "__transaction_state-0",
    "compacted-0",
    "compacted-transactions-0",
    "edge-cases-0",
    "flights-gzip-0",
    "flights-gzip-1",
    "flights-lz4-0",
    "flights-lz4-1",
    "flights-none-0",
    "flights-none-1",
    "flights-snappy-0",
    "flights-snappy-1",
    "flights-zstd-0",
    "flights-zstd-1",
    "transactions-0",
];
const MANY_SEGMENTS: &str = "many-segments-0";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/kafka-4.3.1-log")
}

/// The segments of a partition, oldest first.
fn segments(partition: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(data().join(partition))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{partition} has no segment");
    found
}

fn batches(partition: &str) -> Vec<Batch> {
    segments(partition)
        .into_iter()
        .flat_map(|path| OwnedBatchIter::new(Bytes::from(fs::read(path).unwrap())))
        .map(|batch| batch.unwrap())
        .collect()
}

fn records(batch: &Batch) -> Vec<Record> {
    batch
        .records(OUTPUT_BYTES_MAX)
        .unwrap()
        .map(|record| record.unwrap())
        .collect()
}

#[test]
fn every_partition_of_the_data_directory_is_tested() {
    let mut found: Vec<_> = fs::read_dir(data())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("partition.metadata").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut known: Vec<_> = PARTITIONS.into_iter().chain([MANY_SEGMENTS]).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn every_batch_and_record_is_what_dump_log_segments_prints() {
    for partition in PARTITIONS.into_iter().chain([MANY_SEGMENTS]) {
        dump::assert_equal(partition);
    }
}

#[test]
fn records_are_what_a_kafka_consumer_returned() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for index in 0..2 {
            let partition = format!("flights-{codec}-{index}");
            let all = expected::read_uncommitted(&partition);
            assert_eq!(all.len(), 200, "{partition}");
            expected::assert_equal(&partition, &all, &format!("flights-none-{index}"));
        }
    }
    for partition in [
        "compacted-0",
        "edge-cases-0",
        MANY_SEGMENTS,
        "transactions-0",
    ] {
        let all = expected::read_uncommitted(partition);
        expected::assert_equal(partition, &all, partition);
    }
}

#[test]
fn committed_records_are_what_a_read_committed_consumer_returned() {
    for partition in ["compacted-transactions-0", "transactions-0"] {
        let committed = expected::read_committed(partition);
        expected::assert_equal(
            partition,
            &committed,
            &format!("{partition}.read_committed"),
        );
    }
    assert!(
        expected::read_committed("transactions-0").len()
            < expected::read_uncommitted("transactions-0").len(),
        "some transactions are aborted or open",
    );
}

#[test]
fn every_flipped_bit_that_the_crc_covers_is_found() {
    for partition in ["flights-zstd-0", "edge-cases-0", "transactions-0"] {
        let batch = batches(partition).swap_remove(0);
        for bit in 21 * 8..(batch.size_bytes().min(600)) * 8 {
            let mut bytes = batch.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let verified = Batch::parse(bytes.into()).and_then(|flipped| flipped.verify_crc());
            assert!(verified.is_err(), "{partition}: bit {bit}");
        }
    }
}
