//! [`DurationHistogram`]: how often something took how long, counted by many threads without a lock.
//!
//! Buckets are fixed, so a series takes the same memory whatever it counts. What is read while others count may miss
//! what they count just then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets; what took longer is in one more.
const BOUNDS: [Duration; 15] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Counts of durations.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// Of each bound those that no smaller one holds, then those beyond all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Counts of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationCounts {
    /// Upper bound in seconds, and how many are in this bucket and in no smaller one; the last bound is infinity.
    pub(super) buckets: Vec<(f64, u64)>,
    /// Of all of them, in seconds.
    pub(super) sum: f64,
}

impl DurationHistogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> DurationCounts {
        let bounds = BOUNDS.iter().map(Duration::as_secs_f64);
        let counts = self.counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        DurationCounts {
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

impl DurationCounts {
    /// How many there are in all.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|left, right| left < right));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let histogram = DurationHistogram::default();
        for micros in [0, 250, 251, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        let found = counts.buckets.iter().filter(|(_, count)| *count > 0);
        let found: Vec<(f64, u64)> = found.copied().collect();
        let expected = [(0.000_25, 2), (0.000_5, 1), (10.0, 1), (f64::INFINITY, 1)];
        assert_eq!(found, expected);
        assert_eq!(counts.count(), 5);
        assert_eq!(counts.buckets.len(), BOUNDS.len() + 1);
        assert!((counts.sum - 20.000_502).abs() < 1e-9, "{}", counts.sum);
    }
}
