//! Random logs of keys, tombstones and transactions, and what a reader sees of a log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use millstream_proto::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId,
    record::{
        Batch, BatchBuilder, BatchOptions, Compression, OwnedBatchIter, ProducerIdentity, Record,
        control::{ControlRecord, EndTransactionMarker, TransactionResult},
    },
};
use rand::{RngExt as _, rngs::StdRng};

use super::super::super::testing::*;
use crate::{AppendContext, Origin, PartitionLog, ReadRequest, StorageError};

const KEYS: i32 = 9;
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Three transactional producers, one idempotent one and plain batches, interleaved.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) now_ms: i64,
    written: u32,
    sequences: HashMap<i64, i32>,
    open: BTreeSet<i64>,
}

impl History {
    pub(super) fn starting_at(now_ms: i64) -> Self {
        Self {
            now_ms,
            ..Self::default()
        }
    }

    pub(super) fn append_some(&mut self, rng: &mut StdRng, log: &PartitionLog, batches: usize) {
        for _ in 0..batches {
            self.now_ms += rng.random_range(0..50);
            match rng.random_range(0..10) {
                0..4 => self.append(rng, log, None),
                4..6 => self.append(rng, log, Some(1)),
                6..9 => {
                    let producer = rng.random_range(10..13);
                    self.append(rng, log, Some(producer));
                }
                _ => {
                    let producer = rng.random_range(10..13);
                    let commits = rng.random_bool(0.5);
                    self.end(log, producer, commits);
                }
            }
        }
    }

    /// Ends all open transactions.
    pub(super) fn end_all(&mut self, rng: &mut StdRng, log: &PartitionLog) {
        for producer in self.open.clone() {
            let commits = rng.random_bool(0.5);
            self.end(log, producer, commits);
        }
    }

    fn context(&self, origin: Origin) -> AppendContext {
        AppendContext {
            now_ms: self.now_ms,
            origin,
            ..context()
        }
    }

    fn append(&mut self, rng: &mut StdRng, log: &PartitionLog, producer: Option<i64>) {
        let records = rng.random_range(1..5);
        let sequence = producer.map(|id| {
            let next = self.sequences.entry(id).or_default();
            let base_sequence = *next;
            *next += records;
            ProducerIdentity {
                id: ProducerId(id),
                epoch: ProducerEpoch(0),
                base_sequence,
            }
        });
        let is_transactional = producer.is_some_and(|id| id >= 10);
        if let Some(id) = producer.filter(|_| is_transactional) {
            self.open.insert(id);
        }
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: CODECS[rng.random_range(0..CODECS.len())],
            producer: sequence,
            is_transactional,
            ..BatchOptions::default()
        });
        for _ in 0..records {
            self.written += 1;
            let key = format!("key-{}", rng.random_range(0..KEYS));
            let value = format!("{}-{}", self.written, "x".repeat(rng.random_range(0..40)));
            let value = rng.random_bool(0.8).then_some(value.as_bytes());
            builder
                .append(self.now_ms, Some(key.as_bytes()), value, &[])
                .unwrap();
        }
        log.append(builder.finish().unwrap(), &self.context(Origin::Client))
            .unwrap();
    }

    fn end(&mut self, log: &PartitionLog, producer: i64, commits: bool) {
        let result = match commits {
            true => TransactionResult::Commit,
            false => TransactionResult::Abort,
        };
        if !self.open.remove(&producer) {
            return;
        }
        let marker = EndTransactionMarker::new(result, 0)
            .to_batch(
                self.now_ms,
                ProducerId(producer),
                ProducerEpoch(0),
                LeaderEpoch(0),
            )
            .unwrap();
        log.append(marker, &self.context(Origin::Coordinator))
            .unwrap();
    }

    /// The last base sequence that each producer would send again.
    pub(super) fn next_sequences(&self) -> BTreeMap<i64, i32> {
        self.sequences
            .iter()
            .map(|(id, next)| (*id, *next))
            .collect()
    }
}

/// A record as a reader sees it.
pub(super) type Seen = (String, Option<String>, i64);

/// What a reader of committed records sees below the last stable offset, and what else is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Visible {
    /// Committed records by offset.
    pub(super) records: BTreeMap<i64, Seen>,
    /// Offsets of records that were aborted.
    pub(super) aborted: BTreeSet<i64>,
    /// Offsets of markers.
    pub(super) markers: BTreeSet<i64>,
    pub(super) log_end: i64,
    pub(super) last_stable: i64,
}

impl Visible {
    /// Offsets of committed tombstones.
    pub(super) fn tombstones(&self) -> impl Iterator<Item = i64> {
        let records = self.records.iter();
        records
            .filter(|(_, (_, value, _))| value.is_none())
            .map(|(offset, _)| *offset)
    }

    /// The newest committed record of each key, tombstones included.
    pub(super) fn latest(&self) -> BTreeMap<&str, (i64, Option<&str>)> {
        let records = self.records.iter();
        records
            .map(|(offset, (key, value, _))| (&**key, (*offset, value.as_deref())))
            .collect()
    }
}

fn read_batches(log: &PartitionLog, end: Offset) -> Result<Vec<Batch>, StorageError> {
    let mut next = log.positions().log_start;
    let mut batches = Vec::new();
    while next < end {
        let request = ReadRequest {
            offset: next,
            max_bytes: 300,
            end_exclusive: end,
        };
        let read = |error: crate::ReadError| match error {
            crate::ReadError::Storage(error) => error,
            other => panic!("{other}"),
        };
        let loaded = log.read(&request).map_err(read)?.load().map_err(read)?;
        if loaded.next_offset == next {
            break;
        }
        next = loaded.next_offset;
        for bytes in loaded.slices {
            batches.extend(OwnedBatchIter::new(bytes).map(Result::unwrap));
        }
    }
    Ok(batches)
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads as a consumer does at isolation level read_committed: transactions count as aborted from
/// their first offset up to their abort marker.
pub(super) fn visible(log: &PartitionLog) -> Result<Visible, StorageError> {
    forget_tail(log);
    // What is open of transactions is known once the partition was used.
    let _ = log.size_bytes();
    log.advance_high_watermark(log.positions().log_end);
    let positions = log.positions();
    let last_stable = positions.last_stable(positions.log_end);
    let aborted = log
        .aborted_transactions(positions.log_start, last_stable)
        .unwrap();
    let mut coming: Vec<_> = aborted;
    coming.sort_by_key(|one| std::cmp::Reverse(one.first_offset));
    let mut aborting = BTreeSet::new();
    let mut found = Visible {
        log_end: positions.log_end.get(),
        last_stable: last_stable.get(),
        ..Visible::default()
    };
    for batch in read_batches(log, last_stable)? {
        while let Some(one) = coming.pop_if(|one| one.first_offset <= batch.last_offset()) {
            aborting.insert(one.producer_id.0);
        }
        let records: Vec<Record> = batch
            .records(1 << 20)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        if batch.is_control() {
            let offsets = records.iter().map(|record| record.offset.get());
            found.markers.extend(offsets);
            if let Some(Ok(ControlRecord::EndTransaction(marker))) =
                records.first().map(ControlRecord::decode)
                && marker.result == TransactionResult::Abort
            {
                aborting.remove(&batch.producer_id().0);
            }
            continue;
        }
        let is_aborted = batch.is_transactional() && aborting.contains(&batch.producer_id().0);
        for record in records {
            let offset = record.offset.get();
            if is_aborted {
                found.aborted.insert(offset);
                continue;
            }
            let seen = (
                text(&record.key.unwrap()),
                record.value.as_ref().map(text),
                record.timestamp,
            );
            found.records.insert(offset, seen);
        }
    }
    Ok(found)
}
