//! Appending a coordinator's records: one batch at a time, without the coordinator's lock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{PoisonError, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use millstream_engine::group::Now;
use millstream_proto::{
    Offset,
    group_record::{GroupRecord, GroupRecordError},
    record::{BatchBuilder, BatchOptions, BuildError},
};

use super::{AppendOn, OffsetsPartition, Phase};
use crate::{coordinator::CoordinatorError, partition::PartitionError};

/// Batches that one caller appends for others at most, before other tasks of its thread get their turn.
const BATCHES_PER_TURN: u32 = 8;

/// Why records are not in the log.
#[derive(Debug, thiserror::Error)]
enum AppendFailed {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("record cannot be written: {0}")]
    Record(#[from] GroupRecordError),
    #[error("records cannot be written: {0}")]
    Batch(#[from] BuildError),
}

impl OffsetsPartition {
    /// Appends what waits, and what comes meanwhile.
    pub(super) fn append_on(&self, append_on: AppendOn) {
        let is_stalled = self.surroundings.partitions.append_gate().is_stalled();
        if append_on == AppendOn::ThisThread && !is_stalled && self.append_batches() {
            return;
        }
        if let Some(this) = self.this.upgrade() {
            let control = &self.surroundings.control;
            control.spawn_blocking(move || while !this.append_batches() {});
        }
    }

    /// Appends some batches; true when nothing more waits.
    fn append_batches(&self) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            let turn = self.append_turn.lock();
            let _turn = turn.unwrap_or_else(PoisonError::into_inner);
            let Some(records) = self.next_records() else {
                return true;
            };
            let append = AssertUnwindSafe(|| self.append(&records));
            let appended = catch_unwind(append).map_err(|_| self.failed("an append panicked"));
            self.appended(appended.and_then(|appended| {
                appended.map_err(|error| match error {
                    AppendFailed::Partition(error) => {
                        CoordinatorError::of_partition(self.partition(), &error)
                    }
                    error => self.failed(error),
                })
            }));
        }
        false
    }

    fn next_records(&self) -> Option<Vec<GroupRecord>> {
        match &mut *self.lock() {
            Phase::Active(active) | Phase::Stopping(Some(active)) => {
                let records = active.outstanding.take_records();
                if records.is_none() {
                    let high_watermark = self.replica.high_watermark();
                    active.outstanding.deliver_due(high_watermark);
                }
                records
            }
            _ => None,
        }
    }

    /// Appends records as one batch and returns the log's end after it.
    fn append(&self, records: &[GroupRecord]) -> Result<Offset, AppendFailed> {
        let surroundings = &self.surroundings;
        let now = surroundings.now();
        let batch = encode(records, now)?;
        let start = Instant::now();
        let appended = self.replica.append_own(batch, now.timestamp_ms);
        let took = start.elapsed();
        if surroundings.partitions.append_gate().record(took) {
            tracing::warn!(
                took_ms = took.as_millis(),
                "append of a coordinator stalled: appends leave the serving threads until the disk \
                 is quick again"
            );
        }
        let last_offset = appended?.last_offset;
        surroundings.counts.appended(records.len());
        Ok(last_offset.checked_add(1).unwrap_or(Offset::MAX))
    }

    fn appended(&self, appended: Result<Offset, CoordinatorError>) {
        let mut phase = self.lock();
        match (&mut *phase, appended) {
            (Phase::Active(active) | Phase::Stopping(Some(active)), Ok(end)) => {
                self.failures.store(0, Ordering::Relaxed);
                active.outstanding.appended(end);
                // The high watermark may have reached it before it was in line.
                active
                    .outstanding
                    .deliver_due(self.replica.high_watermark());
            }
            // It failed for another reason meanwhile.
            (_, Ok(_)) => {}
            (_, Err(error)) => self.fail(&mut phase, error),
        }
    }
}

fn encode(records: &[GroupRecord], now: Now) -> Result<Bytes, AppendFailed> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in records {
        let (key, value) = record.encode()?;
        builder.append(now.timestamp_ms, Some(&key), value.as_deref(), &[])?;
    }
    Ok(builder.finish()?)
}
