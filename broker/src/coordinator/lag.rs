//! [`LagRings`]: how long ago an offset was the end of a partition's log, by samples of that end.
//!
//! Only partitions that somebody committed an offset of are sampled. A ring holds, for each end that
//! was seen, when it was seen last, on the monotonic clock:
//!
//! ```text
//!   end      100     250     400        committed 300: the log passed it after the sample of 250
//!   last at  t0      t1      t2         and by the one of 400, so it lags since about t1
//!   ─────────┴───────┴───────┴──► now
//! ```
//!
//! When a ring is full the sample goes that is nearest to its neighbours for its age, so that old lag
//! is told more coarsely than new: never too short, and too long by a part of itself at most. What a
//! partition lagged by already when it was first looked at, after a start for instance, has a lower bound.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError, RwLock},
};

use millstream_proto::{Offset, PartitionIndex, TopicId};
use tokio::sync::Notify;

use crate::partition::Partitions;

/// Fewest samples of a ring: thinning out must leave some.
const SAMPLES_MIN: usize = 4;

/// The rings of all partitions with commits.
#[derive(Debug)]
pub(super) struct LagRings {
    samples_max: usize,
    rings: RwLock<HashMap<(TopicId, PartitionIndex), Mutex<Ring>>>,
    /// Told of the first ring.
    begun: Notify,
}

/// For how long a log has been longer than a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behind {
    /// That long, in ms.
    pub ms: u64,
    /// At least: it was longer already when this broker looked for the first time.
    pub is_minimum: bool,
}

impl Behind {
    /// How far the one that is further behind is.
    #[must_use]
    pub fn furthest(self, other: Self) -> Self {
        Self {
            ms: self.ms.max(other.ms),
            is_minimum: self.is_minimum || other.is_minimum,
        }
    }
}

/// Samples of one partition, oldest first; ends and times only grow.
#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Sample>,
    /// When the first was taken.
    first_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    end: i64,
    /// When the log was last seen to end there, in ms of the monotonic clock.
    last_ms: u64,
}

impl LagRings {
    /// No ring yet.
    pub(super) fn new(samples_max: u16) -> Self {
        Self {
            samples_max: usize::from(samples_max).max(SAMPLES_MIN),
            rings: RwLock::default(),
            begun: Notify::new(),
        }
    }

    /// Takes note that somebody commits offsets of a partition.
    pub(super) fn note(&self, topic_id: TopicId, partition: PartitionIndex) {
        let key = (topic_id, partition);
        let is_known = |rings: &HashMap<_, _>| rings.contains_key(&key);
        if is_known(&self.rings.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
        let is_first = rings.is_empty();
        rings.entry(key).or_default();
        drop(rings);
        if is_first {
            self.begun.notify_one();
        }
    }

    /// Returns once there is a ring.
    pub(super) async fn begun(&self) {
        loop {
            let is_empty = {
                let rings = self.rings.read().unwrap_or_else(PoisonError::into_inner);
                rings.is_empty()
            };
            if !is_empty {
                return;
            }
            self.begun.notified().await;
        }
    }

    /// Looks at the end of each log; rings of partitions that are gone go.
    pub(super) fn sample(&self, partitions: &Partitions, now_ms: u64) {
        let mut gone = Vec::new();
        {
            let rings = self.rings.read().unwrap_or_else(PoisonError::into_inner);
            for (key, ring) in rings.iter() {
                match partitions.get(key.0, key.1) {
                    Some(replica) => {
                        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
                        ring.add(replica.high_watermark(), now_ms, self.samples_max);
                    }
                    None => gone.push(*key),
                }
            }
        }
        if !gone.is_empty() {
            let mut rings = self.rings.write().unwrap_or_else(PoisonError::into_inner);
            rings.retain(|key, _| !gone.contains(key));
        }
    }

    /// For how long the log has been longer than `committed`; `None` before the first look at it.
    pub(super) fn behind(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
        committed: i64,
        high_watermark: Offset,
        now_ms: u64,
    ) -> Option<Behind> {
        if committed >= high_watermark.get() {
            return Some(Behind::default());
        }
        let rings = self.rings.read().unwrap_or_else(PoisonError::into_inner);
        let ring = rings.get(&(topic_id, partition))?.lock();
        ring.unwrap_or_else(PoisonError::into_inner)
            .behind(committed, now_ms)
    }
}

impl Ring {
    fn add(&mut self, end: Offset, now_ms: u64, samples_max: usize) {
        let end = end.get();
        match self.samples.back_mut() {
            Some(newest) if newest.end >= end => newest.last_ms = now_ms,
            _ => {
                if self.samples.is_empty() {
                    self.first_ms = now_ms;
                }
                if self.samples.len() >= samples_max {
                    self.thin_out(now_ms);
                }
                self.samples.push_back(Sample {
                    end,
                    last_ms: now_ms,
                });
            }
        }
    }

    /// Removes the sample that is nearest to its neighbours for its age. The oldest stays.
    fn thin_out(&mut self, now_ms: u64) {
        let samples = self.samples.make_contiguous().windows(3).enumerate();
        let crowding = samples.map(|(index, around)| match around {
            [before, sample, after] => {
                let span_ms = after.last_ms.saturating_sub(before.last_ms);
                let age_ms = now_ms.saturating_sub(sample.last_ms).max(1);
                let parts = u128::from(span_ms) * 1_000_000 / u128::from(age_ms);
                (parts, index + 1)
            }
            _ => (u128::MAX, index + 1),
        });
        if let Some((_, index)) = crowding.min() {
            self.samples.remove(index);
        }
    }

    /// For how long the log has been longer than `offset`, which it is.
    fn behind(&self, offset: i64, now_ms: u64) -> Option<Behind> {
        let (since_ms, is_minimum) = match self.last_at(offset) {
            Some(last_ms) => (last_ms, false),
            None if self.samples.is_empty() => return None,
            None => (self.first_ms, true),
        };
        Some(Behind {
            ms: now_ms.saturating_sub(since_ms),
            is_minimum,
        })
    }

    /// When the log last ended at `offset` or before, as far as is known.
    fn last_at(&self, offset: i64) -> Option<u64> {
        let after = self.samples.partition_point(|sample| sample.end <= offset);
        let sample = self.samples.get(after.checked_sub(1)?)?;
        Some(sample.last_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(samples: &[(i64, u64)], samples_max: usize) -> Ring {
        let mut ring = Ring::default();
        for (end, now_ms) in samples {
            ring.add(
                Offset::new(*end).expect("not negative"),
                *now_ms,
                samples_max,
            );
        }
        ring
    }

    #[test]
    fn lag_begins_when_the_log_grew_beyond_the_offset() {
        let ring = ring(&[(100, 1_000), (250, 2_000), (400, 3_000)], 8);
        assert_eq!(ring.last_at(99), None, "longer ago than anybody looked");
        for (offset, expected) in [(100, 1_000), (249, 1_000), (250, 2_000), (300, 2_000)] {
            assert_eq!(ring.last_at(offset), Some(expected), "{offset}");
        }
    }

    #[test]
    fn lag_that_is_older_than_the_first_look_has_a_lower_bound() {
        let behind = |samples: &[_], offset| ring(samples, 8).behind(offset, 9_000);
        let bound = |ms, is_minimum| Some(Behind { ms, is_minimum });
        // The log does not grow any more, which makes its last sample younger and younger.
        let stuck = [(100, 1_000), (100, 8_000)];
        assert_eq!(behind(&stuck, 40), bound(8_000, true));
        assert_eq!(
            behind(&[(100, 1_000), (250, 2_000)], 40),
            bound(8_000, true)
        );
        assert_eq!(
            behind(&[(100, 1_000), (250, 2_000)], 100),
            bound(8_000, false)
        );
        assert_eq!(behind(&[], 40), None);
        let [short, long] =
            [(1, true), (5, false)].map(|(ms, is_minimum)| Behind { ms, is_minimum });
        assert_eq!(Some(short.furthest(long)), bound(5, true));
    }

    #[test]
    fn a_quiet_log_does_not_age_the_lag_of_what_comes_later() {
        let ring = ring(&[(100, 1_000), (100, 60_000), (101, 61_000)], 8);
        assert_eq!(ring.last_at(100), Some(60_000));
        assert_eq!(ring.samples.len(), 2);
    }

    #[test]
    fn a_full_ring_tells_any_lag_to_a_part_of_itself() {
        let second = |second: i64| (second * 10, second.unsigned_abs() * 1_000);
        let day: Vec<_> = (0..86_400).map(second).collect();
        let ring = ring(&day, 64);
        assert_eq!(ring.samples.len(), 64);
        let now_ms = 86_399_000;
        for lag_s in [0, 1, 2, 60, 3_600, 80_000, 86_399] {
            let found_ms = now_ms - ring.last_at((86_399 - lag_s) * 10).expect("known");
            let lag_ms = lag_s.unsigned_abs() * 1_000;
            let bounds = lag_ms..=lag_ms + lag_ms / 2;
            assert!(bounds.contains(&found_ms), "{found_ms} of {lag_ms}");
        }
    }
}
