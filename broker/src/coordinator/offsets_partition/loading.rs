//! Loading: a partition of the offsets topic, read from its start to its end into a new coordinator.
//!
//! Offsets that were committed in a transaction count once its marker says so; this broker writes none,
//! but a log that Kafka wrote may hold them.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::Instant,
};

use millstream_engine::group::{Coordinator, Topics};
use millstream_log::{PartitionLog, ReadError, ReadRequest};
use millstream_proto::{
    Offset, ProducerId,
    group_record::{Decoded, GroupRecord, GroupRecordError},
    record::{
        Batch, BatchError, OwnedBatchIter, Record, RecordError,
        control::{ControlError, ControlRecord, TransactionResult},
    },
};

use super::{Active, AppendOn, OffsetsPartition, Phase};
use crate::{
    coordinator::{CoordinatorError, lag::LagRings},
    partition::PartitionError,
};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// Bytes that one batch may have once it is decompressed.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Why a partition cannot be loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("its log cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("a batch is malformed: {0}")]
    Batch(#[from] BatchError),
    #[error("records are malformed: {0}")]
    Records(#[from] RecordError),
    #[error("control record at offset {offset} is malformed: {error}")]
    Control { offset: Offset, error: ControlError },
    #[error("record at offset {offset} is no group record: {error}")]
    Record {
        offset: Offset,
        error: GroupRecordError,
    },
}

impl OffsetsPartition {
    /// An empty log is loaded at once, so that the first group of a partition does not wait; else in
    /// the background.
    pub(super) fn begin_loading(&self, phase: &mut Phase) {
        if let Ok(_turn) = self.append_turn.try_lock()
            && let Some(end) = self.end_of_empty_log()
        {
            let (coordinator, topics) = self.new_coordinator();
            let active = Active::begin(coordinator, topics, end, &self.surroundings);
            *phase = Phase::Active(Box::new(active));
            return;
        }
        *phase = Phase::Loading;
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let loads = Arc::clone(&self.surroundings.loads);
        self.surroundings.control.spawn(async move {
            // The semaphore is never closed.
            let _permit = loads.acquire_owned().await;
            let load = tokio::task::spawn_blocking(move || this.load());
            if let Err(error) = load.await {
                tracing::error!(%error, "loading a coordinator panicked");
            }
        });
    }

    /// The log's end, if it has no records.
    pub(super) fn end_of_empty_log(&self) -> Option<Offset> {
        let positions = self.replica.log().ok()?.positions();
        (positions.log_start == positions.log_end).then_some(positions.log_end)
    }

    fn new_coordinator(&self) -> (Coordinator, Arc<Topics>) {
        let topics = self.surroundings.topics_now();
        let config = self.surroundings.engine_config.clone();
        (Coordinator::new(config, Arc::clone(&topics)), topics)
    }

    /// Reads the log. Waits for the disk.
    fn load(&self) {
        {
            let turn = self.append_turn.lock();
            let _turn = turn.unwrap_or_else(PoisonError::into_inner);
            let read = AssertUnwindSafe(|| self.read_log());
            let loaded = catch_unwind(read).map_err(|_| self.failed("loading panicked"));
            let loaded = loaded.and_then(|loaded| loaded.map_err(|error| self.load_failed(&error)));
            let mut phase = self.lock();
            match (&*phase, loaded) {
                (Phase::Loading, Ok(active)) => *phase = Phase::Active(active),
                (Phase::Loading, Err(error)) => {
                    self.surroundings.counts.load_failed();
                    self.fail(&mut phase, error);
                }
                // It is to stop.
                _ => {}
            }
        }
        // What the engine wrote when it had everything is appended now.
        let _ = self.drive(AppendOn::ThisThread, |_, _| ());
    }

    fn load_failed(&self, error: &LoadError) -> CoordinatorError {
        match error {
            LoadError::Partition(error) => CoordinatorError::of_partition(self.partition(), error),
            error => self.failed(error),
        }
    }

    fn read_log(&self) -> Result<Box<Active>, LoadError> {
        let start = Instant::now();
        let log = self.replica.log()?;
        let (coordinator, topics) = self.new_coordinator();
        let mut loader = Loader::new(coordinator, &topics, &self.surroundings.lag);
        let end = loader.read(log)?;
        let (records, skipped) = (loader.records, loader.skipped);
        let coordinator = loader.coordinator;
        self.surroundings.counts.loaded(records, start.elapsed());
        tracing::info!(
            partition = %self.partition(),
            records,
            skipped,
            took_ms = start.elapsed().as_millis(),
            "coordinator of groups is loaded"
        );
        let active = Active::begin(coordinator, topics, end, &self.surroundings);
        Ok(Box::new(active))
    }
}

/// Replays a log.
struct Loader<'a> {
    coordinator: Coordinator,
    topics: &'a Topics,
    lag: &'a LagRings,
    /// Records of transactions whose marker was not seen yet.
    transactions: HashMap<ProducerId, Vec<GroupRecord>>,
    records: u64,
    /// Of them, records that this version has no use for.
    skipped: u64,
}

impl<'a> Loader<'a> {
    fn new(coordinator: Coordinator, topics: &'a Topics, lag: &'a LagRings) -> Self {
        Self {
            coordinator,
            topics,
            lag,
            transactions: HashMap::new(),
            records: 0,
            skipped: 0,
        }
    }

    /// Reads a whole log, to which nobody may append meanwhile, and returns its end.
    fn read(&mut self, log: &PartitionLog) -> Result<Offset, LoadError> {
        let positions = log.positions();
        let mut offset = positions.log_start;
        while offset < positions.log_end {
            let request = ReadRequest {
                offset,
                max_bytes: READ_BYTES,
                end_exclusive: positions.log_end,
            };
            let read = log.read(&request)?.load()?;
            // Compaction may have left nothing at the end.
            if read.next_offset <= offset {
                break;
            }
            for batches in read.slices {
                for batch in OwnedBatchIter::new(batches) {
                    self.batch(&batch?)?;
                }
            }
            offset = read.next_offset;
        }
        Ok(positions.log_end)
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), LoadError> {
        for record in batch.records(BATCH_BYTES_MAX)? {
            let record = record?;
            self.records += 1;
            if batch.is_control() {
                self.control(batch.producer_id(), &record)?;
            } else if let Some(found) = self.decode(&record)? {
                if batch.is_transactional() {
                    let transaction = self.transactions.entry(batch.producer_id());
                    transaction.or_default().push(found);
                } else {
                    self.replay(&found);
                }
            }
        }
        Ok(())
    }

    fn decode(&mut self, record: &Record) -> Result<Option<GroupRecord>, LoadError> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        match GroupRecord::decode(key, value) {
            Ok(Decoded::Known(found)) => Ok(Some(found)),
            Ok(Decoded::Skipped { .. }) => {
                self.skipped += 1;
                Ok(None)
            }
            Err(error) => Err(LoadError::Record {
                offset: record.offset,
                error,
            }),
        }
    }

    fn control(&mut self, producer_id: ProducerId, record: &Record) -> Result<(), LoadError> {
        let control = ControlRecord::decode(record).map_err(|error| LoadError::Control {
            offset: record.offset,
            error,
        })?;
        if let ControlRecord::EndTransaction(marker) = control {
            let ended = self.transactions.remove(&producer_id).unwrap_or_default();
            if marker.result == TransactionResult::Commit {
                ended.iter().for_each(|record| self.replay(record));
            }
        }
        Ok(())
    }

    fn replay(&mut self, record: &GroupRecord) {
        if let GroupRecord::OffsetCommit(key, Some(value)) = record {
            let topic_id = value.topic_id;
            let by_name = || self.topics.get(&key.topic).map(|topic| topic.id);
            if let Some(topic_id) = topic_id.or_else(by_name) {
                self.lag.note(topic_id, key.partition);
            }
        }
        self.coordinator.replay(record);
    }
}
