//! [`Counts`]: what coordinators have done so far, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use millstream_engine::group::{Event, Outcome, Reply};
use millstream_proto::group_record::GroupRecord;

/// Counters of all coordinators of the broker.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rebalances: AtomicU64,
    offsets_committed: AtomicU64,
    members_evicted: AtomicU64,
    batches: AtomicU64,
    batch_records: AtomicU64,
    failures: AtomicU64,
    loads: AtomicU64,
    load_us: AtomicU64,
    load_records: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CountsNow {
    /// Rebalances of all groups.
    pub rebalances: u64,
    /// Offsets committed.
    pub offsets_committed: u64,
    /// Members that were put out because of their silence, or because they gave up nothing.
    pub members_evicted: u64,
    /// Batches appended to the offsets topic.
    pub batches: u64,
    /// Records in these.
    pub batch_records: u64,
    /// Times that a coordinator's state was dropped.
    pub failures: u64,
    /// Partitions of the offsets topic that were loaded.
    pub loads: u64,
    /// Time that took, in microseconds.
    pub load_us: u64,
    /// Records that were read for it.
    pub load_records: u64,
}

impl Counts {
    /// What came of an event.
    pub(super) fn handled(&self, was_timer: bool, outcome: &Outcome) {
        let count = |is_counted: fn(&GroupRecord) -> bool| {
            let counted = outcome.records.iter().filter(|record| is_counted(record));
            as_u64(counted.count())
        };
        add(
            &self.rebalances,
            count(|record| matches!(record, GroupRecord::Rebalance(_, Some(_)))),
        );
        add(
            &self.offsets_committed,
            outcome
                .replies
                .iter()
                .map(|(_, reply)| committed(reply))
                .sum(),
        );
        if was_timer {
            add(
                &self.members_evicted,
                count(|record| matches!(record, GroupRecord::Member(_, None))),
            );
        }
    }

    /// A batch was appended.
    pub(super) fn appended(&self, records: usize) {
        add(&self.batches, 1);
        add(&self.batch_records, as_u64(records));
    }

    /// State was dropped.
    pub(super) fn failed(&self) {
        add(&self.failures, 1);
    }

    /// A partition was loaded.
    pub(super) fn loaded(&self, records: u64, took: Duration) {
        add(&self.loads, 1);
        add(&self.load_records, records);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.load_us, took_us);
    }

    /// All of them.
    pub(super) fn now(&self) -> CountsNow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountsNow {
            rebalances: read(&self.rebalances),
            offsets_committed: read(&self.offsets_committed),
            members_evicted: read(&self.members_evicted),
            batches: read(&self.batches),
            batch_records: read(&self.batch_records),
            failures: read(&self.failures),
            loads: read(&self.loads),
            load_us: read(&self.load_us),
            load_records: read(&self.load_records),
        }
    }
}

/// Whether an event tells of time that passed.
pub(super) const fn is_timer(event: &Event) -> bool {
    matches!(event, Event::TimerDue(_))
}

fn committed(reply: &Reply) -> u64 {
    match reply {
        Reply::Committed(results) => as_u64(results.iter().filter(|result| result.is_ok()).count()),
        _ => 0,
    }
}

fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
