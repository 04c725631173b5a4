//! [`Traffic`]: what clients produced and fetched, counted since the daemon started.

use std::{
    iter::Sum,
    ops::Add,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use millstream_proto::Offset;

/// Counters of a partition, or of the whole broker.
#[derive(Debug, Default)]
pub struct Traffic {
    produced_records: AtomicU64,
    produced_bytes: AtomicU64,
    fetched_records: AtomicU64,
    fetched_bytes: AtomicU64,
}

/// [`Traffic`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrafficCounts {
    /// Records appended for clients; a duplicate is appended once.
    pub produced_records: u64,
    /// Bytes of their batches.
    pub produced_bytes: u64,
    /// Offsets handed to clients; what compaction removed counts as if it were there.
    pub fetched_records: u64,
    /// Bytes of the batches handed to clients.
    pub fetched_bytes: u64,
}

impl Traffic {
    /// Counts records that were appended for a client.
    pub fn produced(&self, records: u64, bytes: usize) {
        add(&self.produced_records, records);
        add(&self.produced_bytes, u64::try_from(bytes).unwrap_or(0));
    }

    /// Counts records that were handed to a client.
    pub fn fetched(&self, records: u64, bytes: usize) {
        add(&self.fetched_records, records);
        add(&self.fetched_bytes, u64::try_from(bytes).unwrap_or(0));
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> TrafficCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficCounts {
            produced_records: get(&self.produced_records),
            produced_bytes: get(&self.produced_bytes),
            fetched_records: get(&self.fetched_records),
            fetched_bytes: get(&self.fetched_bytes),
        }
    }
}

/// How many offsets there are from `start` up to `end`; none when that lies before.
#[must_use]
pub fn span(start: Offset, end: Offset) -> u64 {
    u64::try_from(end.get() - start.get()).unwrap_or(0)
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl TrafficCounts {
    /// What was counted per second in the time `elapsed` since `earlier`; nothing where no time passed.
    #[must_use]
    pub fn rate_since(&self, earlier: &Self, elapsed: Duration) -> Self {
        let rate = |now: u64, before: u64| {
            let counted = u128::from(now.saturating_sub(before));
            let per_second = (counted * 1_000_000).checked_div(elapsed.as_micros());
            u64::try_from(per_second.unwrap_or(0)).unwrap_or(u64::MAX)
        };
        Self {
            produced_records: rate(self.produced_records, earlier.produced_records),
            produced_bytes: rate(self.produced_bytes, earlier.produced_bytes),
            fetched_records: rate(self.fetched_records, earlier.fetched_records),
            fetched_bytes: rate(self.fetched_bytes, earlier.fetched_bytes),
        }
    }
}

impl Add for TrafficCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            produced_records: self.produced_records + other.produced_records,
            produced_bytes: self.produced_bytes + other.produced_bytes,
            fetched_records: self.fetched_records + other.fetched_records,
            fetched_bytes: self.fetched_bytes + other.fetched_bytes,
        }
    }
}

impl Sum for TrafficCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_whatever_time_passed() {
        let traffic = Traffic::default();
        traffic.produced(10, 1_000);
        let before = traffic.counts();
        traffic.produced(30, 3_000);
        traffic.fetched(5, 500);
        let now = traffic.counts();
        let expected = TrafficCounts {
            produced_records: 60,
            produced_bytes: 6_000,
            fetched_records: 10,
            fetched_bytes: 1_000,
        };
        assert_eq!(
            now.rate_since(&before, Duration::from_millis(500)),
            expected
        );
        let nothing = TrafficCounts::default();
        assert_eq!(now.rate_since(&before, Duration::ZERO), nothing);
    }
}
