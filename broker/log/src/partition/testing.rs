//! What the tests of partition logs share.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use millstream_proto::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName,
    TopicPartition,
    record::{BatchBuilder, BatchOptions, OwnedBatchIter, ProducerIdentity},
};

use crate::{
    AppendContext, Appended, DataDirectory, LogConfig, LogLimits, Origin, PartitionLog,
    ReadRequest,
    io::{LogIo, MemoryIo},
    recovery_point::BootId,
};

pub(super) const DIR: &str = "/data";
pub(super) const BOOT: BootId = BootId([7; 16]);

pub(super) fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// Limits without threads: the test flushes and checkpoints itself.
pub(super) fn limits() -> LogLimits {
    LogLimits {
        flush_threads_max: 0,
        disk_reserve_bytes: 0,
        ..LogLimits::default()
    }
}

pub(super) fn memory() -> MemoryIo {
    let io = MemoryIo::new();
    io.create_dir_all(Path::new(DIR)).unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    io
}

pub(super) fn directory(io: &MemoryIo) -> Arc<DataDirectory> {
    directory_with(Arc::new(io.clone()), limits())
}

pub(super) fn directory_with(io: Arc<dyn LogIo>, limits: LogLimits) -> Arc<DataDirectory> {
    DataDirectory::open(io, Path::new(DIR), limits, BOOT).unwrap()
}

pub(super) fn partition(index: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("flights").unwrap(),
        partition: PartitionIndex(index),
    }
}

pub(super) fn topic_id() -> TopicId {
    TopicId::from_bytes([3; 16])
}

pub(super) fn create(directory: &Arc<DataDirectory>, config: LogConfig) -> Arc<PartitionLog> {
    PartitionLog::create(directory, partition(0), topic_id(), Arc::new(config)).unwrap()
}

pub(super) fn reopen(directory: &Arc<DataDirectory>, config: LogConfig) -> Arc<PartitionLog> {
    PartitionLog::open(directory, partition(0), topic_id(), Arc::new(config), 0)
        .unwrap()
        .0
}

pub(super) fn context() -> AppendContext {
    AppendContext {
        leader_epoch: LeaderEpoch(0),
        now_ms: 1_000_000,
        origin: Origin::Client,
    }
}

/// A batch of records whose values are the given texts, with the given timestamp.
pub(super) fn batch_at(timestamp_ms: i64, values: &[&str]) -> Bytes {
    build(BatchOptions::default(), timestamp_ms, values)
}

pub(super) fn batch(values: &[&str]) -> Bytes {
    batch_at(1_000_000, values)
}

pub(super) fn build(options: BatchOptions, timestamp_ms: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(timestamp_ms, Some(b"key"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.finish().unwrap()
}

pub(super) fn from_producer(base_sequence: i32, values: &[&str]) -> Bytes {
    let options = BatchOptions {
        producer: Some(ProducerIdentity {
            id: ProducerId(9),
            epoch: ProducerEpoch(0),
            base_sequence,
        }),
        ..BatchOptions::default()
    };
    build(options, 1_000_000, values)
}

pub(super) fn append(log: &PartitionLog, values: &[&str]) -> Appended {
    log.append(batch(values), &context()).unwrap()
}

/// All records from an offset to the end: offset and value.
pub(super) fn records(log: &PartitionLog, from: i64) -> Vec<(i64, String)> {
    let mut next = offset(from);
    let mut found = Vec::new();
    loop {
        let request = ReadRequest {
            offset: next,
            max_bytes: 100,
            end_exclusive: Offset::MAX,
        };
        let read = log.read(&request).unwrap();
        if read.next_offset == next {
            return found;
        }
        next = read.next_offset;
        for bytes in read.load().unwrap().slices {
            found.extend(values_in(bytes));
        }
    }
}

pub(super) fn values_in(bytes: Bytes) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in OwnedBatchIter::new(bytes) {
        for record in batch.unwrap().records(1 << 20).unwrap() {
            let record = record.unwrap();
            let value = record.value.unwrap_or_default();
            found.push((
                record.offset.get(),
                String::from_utf8_lossy(&value).into_owned(),
            ));
        }
    }
    found
}

/// Empties the tail cache, so that reads go to the files.
pub(super) fn forget_tail(log: &PartitionLog) {
    log.directory.tail_cache.clear(&log.tail);
}
