//! Maintenance: when old segments go, when segments roll by age, when idle partitions give back files.
//!
//! Compaction has rounds of its own ([`compaction`]): a pass may take minutes.
//!
//! This module only decides when; how is the log's business, and what must not wait for a round
//! (flushes, recovery points, a full disk that has room again) the log's background thread sees to.
//! One round at a time, on the blocking pool, so that it costs one thread at most, however many
//! partitions there are.

pub mod compaction;

pub use compaction::{CompactionStatus, Compactor};

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_log::PartitionLog;
use millstream_proto::{PartitionIndex, TopicId};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    clock::Clock,
    config::Config,
    partition::{Partitions, Replica},
    shutdown::Shutdown,
};

/// How often a segment's age is looked at.
const ROLL_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How often a full disk makes retention look for room.
const FULL_DISK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What rounds do, each when its time has come.
#[derive(Debug)]
pub struct Maintenance {
    partitions: Arc<Partitions>,
    clock: Clock,
    schedule: Schedule,
    /// Partitions whose last round failed, so that each failure is logged once.
    failing: HashMap<(TopicId, PartitionIndex), String>,
}

/// When what is due.
#[derive(Debug, Clone)]
struct Schedule {
    tick: Duration,
    retention: Periodic,
    roll: Periodic,
    release: Periodic,
}

/// Something that is done again and again.
#[derive(Debug, Clone, Copy)]
struct Periodic {
    every: Duration,
    last: Duration,
}

/// What one round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Round {
    retention: bool,
    roll: bool,
    release: bool,
}

impl Maintenance {
    /// Maintains `partitions` as the configuration says.
    #[must_use]
    pub fn new(partitions: Arc<Partitions>, config: &Config, clock: Clock) -> Self {
        Self {
            partitions,
            clock,
            schedule: Schedule::new(config),
            failing: HashMap::new(),
        }
    }

    /// Runs until the shutdown begins.
    ///
    /// # Cancel safety
    /// A round that has begun goes on to its end on the blocking pool.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut ticks = interval(self.schedule.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                _ = ticks.tick() => {}
            }
            let is_full = self.partitions.directory().is_full();
            let round = self.schedule.next(self.clock.elapsed(), is_full);
            if round == Round::default() {
                continue;
            }
            let work = tokio::task::spawn_blocking(move || {
                self.round(round);
                self
            });
            match work.await {
                Ok(maintenance) => self = maintenance,
                Err(error) => {
                    tracing::error!(%error, "maintenance panicked and has ended");
                    return;
                }
            }
        }
    }

    /// One round over all partitions. Waits for the disk.
    fn round(&mut self, round: Round) {
        let start = Instant::now();
        let mut removed = 0;
        let partitions = &self.partitions;
        self.failing
            .retain(|(topic_id, index), _| partitions.get(*topic_id, *index).is_some());
        for replica in self.partitions.all() {
            // Offline and closed ones have nothing to maintain.
            let Ok(log) = replica.log() else { continue };
            if round.release {
                log.release_idle_resources();
            }
            match self.maintain(&replica, log, round) {
                Ok(segments) => {
                    removed += segments;
                    self.failing.remove(&(replica.topic_id(), replica.index()));
                }
                Err(error) => self.failed(&replica, error),
            }
        }
        if removed > 0 {
            let took_ms = start.elapsed().as_millis();
            tracing::info!(segments = removed, took_ms, "retention removed segments");
            self.partitions.directory().probe_space();
        }
    }

    fn maintain(
        &self,
        replica: &Replica,
        log: &PartitionLog,
        round: Round,
    ) -> Result<usize, String> {
        let now_ms = self.clock.wall_ms();
        if round.roll {
            log.roll_if_due(now_ms).map_err(|error| error.to_string())?;
        }
        if !round.retention {
            return Ok(0);
        }
        let removed = log.apply_retention(now_ms, replica.high_watermark());
        removed.map_err(|error| error.to_string())
    }

    fn failed(&mut self, replica: &Replica, error: String) {
        let key = (replica.topic_id(), replica.index());
        if self.failing.get(&key) != Some(&error) {
            tracing::warn!(partition = %replica.partition(), error, "maintenance failed, will retry");
            self.failing.insert(key, error);
        }
    }
}

impl Schedule {
    fn new(config: &Config) -> Self {
        let periodic = |every| Periodic {
            every,
            last: Duration::ZERO,
        };
        let log = &config.log;
        Self {
            tick: FULL_DISK_CHECK_INTERVAL
                .min(log.retention_check_interval)
                .min(log.idle_timeout)
                .max(Duration::from_millis(10)),
            retention: periodic(log.retention_check_interval),
            roll: periodic(ROLL_CHECK_INTERVAL.min(log.retention_check_interval)),
            release: periodic(log.idle_timeout),
        }
    }

    /// What is due now. A full disk is a reason to apply retention at every tick: it may free room.
    fn next(&mut self, now: Duration, is_full: bool) -> Round {
        Round {
            retention: self.retention.is_due(now) || is_full,
            roll: self.roll.is_due(now) && !is_full,
            release: self.release.is_due(now),
        }
    }
}

impl Periodic {
    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = now.saturating_sub(self.last) >= self.every;
        if is_due {
            self.last = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(&Config::default())
    }

    #[test]
    fn each_kind_of_work_is_due_at_its_own_interval() {
        let mut schedule = schedule();
        let secs = Duration::from_secs;
        assert_eq!(schedule.next(secs(1), false), Round::default());
        let roll = Round {
            roll: true,
            ..Round::default()
        };
        assert_eq!(schedule.next(secs(10), false), roll);
        assert_eq!(schedule.next(secs(11), false), Round::default());
        assert!(schedule.next(secs(60), false).release);
        assert!(schedule.next(secs(300), false).retention);
        assert!(!schedule.next(secs(301), false).retention);
    }

    #[test]
    fn a_full_disk_makes_retention_due_at_every_tick() {
        let mut schedule = schedule();
        for second in 1..4 {
            let round = schedule.next(Duration::from_secs(second), true);
            assert!(round.retention && !round.roll);
        }
    }
}
