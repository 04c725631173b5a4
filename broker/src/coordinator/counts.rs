//! [`Counts`]: what coordinators have done so far, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use millstream_engine::group::{Action, Event, Outcome, Reply, Timer};
use millstream_proto::group_record::GroupRecord;

/// Counters of all coordinators of the broker.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rebalances: AtomicU64,
    members_silent: AtomicU64,
    members_gone: AtomicU64,
    members_unrevoked: AtomicU64,
    commits: AtomicU64,
    offsets_committed: AtomicU64,
    offsets_refused: AtomicU64,
    batches: AtomicU64,
    batch_records: AtomicU64,
    failures: AtomicU64,
    loads: AtomicU64,
    load_failures: AtomicU64,
    load_us: AtomicU64,
    load_us_last: AtomicU64,
    load_records: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CountsNow {
    /// Rebalances of all groups.
    pub rebalances: u64,
    /// Members that were put out because they said nothing on their stream.
    pub members_silent: u64,
    /// Members that were put out because their stream had broken and they did not come back.
    pub members_gone: u64,
    /// Members that were put out because they did not give up what they had to.
    pub members_unrevoked: u64,
    /// Requests to commit of which something was committed.
    pub commits: u64,
    /// Offsets committed.
    pub offsets_committed: u64,
    /// Offsets whose commit was refused, or failed.
    pub offsets_refused: u64,
    /// Batches appended to the offsets topic.
    pub batches: u64,
    /// Records in these.
    pub batch_records: u64,
    /// Times that a coordinator's state was dropped, or could not be loaded.
    pub failures: u64,
    /// Partitions of the offsets topic that were loaded.
    pub loads: u64,
    /// Loads that failed.
    pub load_failures: u64,
    /// Time that loads took, in microseconds.
    pub load_us: u64,
    /// Time that the last of them took, in microseconds.
    pub load_us_last: u64,
    /// Records that were read for it.
    pub load_records: u64,
}

/// What kind of event something came of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    /// A member was not heard of in time.
    Silence,
    /// A member did not give up its partitions in time.
    Revocation,
    /// Anything else.
    Other,
}

impl Cause {
    /// Of an event.
    pub(super) const fn of(event: &Event) -> Self {
        match event {
            Event::TimerDue(Timer::Session(_)) => Self::Silence,
            Event::TimerDue(Timer::Rebalance(_)) => Self::Revocation,
            _ => Self::Other,
        }
    }
}

impl Counts {
    /// What came of an event.
    pub(super) fn handled(&self, cause: Cause, outcome: &Outcome) {
        let count = |is_counted: fn(&GroupRecord) -> bool| {
            let counted = outcome.records.iter().filter(|record| is_counted(record));
            as_u64(counted.count())
        };
        let is_rebalance =
            |record: &GroupRecord| matches!(record, GroupRecord::Rebalance(_, Some(_)));
        add(&self.rebalances, count(is_rebalance));
        for (_, reply) in &outcome.replies {
            let committed = committed(reply);
            add(&self.commits, committed.min(1));
            add(&self.offsets_committed, committed);
        }
        let closes_stream = |action: &Action| matches!(action, Action::CloseStream { .. });
        let evicted = match cause {
            Cause::Silence if outcome.actions.iter().any(closes_stream) => &self.members_silent,
            Cause::Silence => &self.members_gone,
            Cause::Revocation => &self.members_unrevoked,
            Cause::Other => return,
        };
        add(
            evicted,
            count(|record| matches!(record, GroupRecord::Member(_, None))),
        );
    }

    /// Commits of so many offsets were refused, or failed.
    pub(super) fn refused(&self, offsets: usize) {
        add(&self.offsets_refused, as_u64(offsets));
    }

    /// A batch was appended.
    pub(super) fn appended(&self, records: usize) {
        add(&self.batches, 1);
        add(&self.batch_records, as_u64(records));
    }

    /// State was dropped, or there is none.
    pub(super) fn failed(&self) {
        add(&self.failures, 1);
    }

    /// A partition was loaded.
    pub(super) fn loaded(&self, records: u64, took: Duration) {
        add(&self.loads, 1);
        add(&self.load_records, records);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.load_us, took_us);
        self.load_us_last.store(took_us, Ordering::Relaxed);
    }

    /// A partition could not be loaded.
    pub(super) fn load_failed(&self) {
        add(&self.load_failures, 1);
    }

    /// All of them.
    pub(super) fn now(&self) -> CountsNow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountsNow {
            rebalances: read(&self.rebalances),
            members_silent: read(&self.members_silent),
            members_gone: read(&self.members_gone),
            members_unrevoked: read(&self.members_unrevoked),
            commits: read(&self.commits),
            offsets_committed: read(&self.offsets_committed),
            offsets_refused: read(&self.offsets_refused),
            batches: read(&self.batches),
            batch_records: read(&self.batch_records),
            failures: read(&self.failures),
            loads: read(&self.loads),
            load_failures: read(&self.load_failures),
            load_us: read(&self.load_us),
            load_us_last: read(&self.load_us_last),
            load_records: read(&self.load_records),
        }
    }
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
