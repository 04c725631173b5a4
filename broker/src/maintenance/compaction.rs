//! [`Compactor`]: when which partition is compacted, and how fast.
//!
//! One pass at a time, on a thread that gives way to all others, the dirtiest partition first. A
//! partition whose pass failed is left alone for [`FAILURE_PAUSE`], and for longer each time it fails
//! again, but where only room was missing no longer than that is; the others go on. How a pass works is
//! the log's business.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use millstream_log::{
    CompactionError, CompactionReport, CompactionRequest, Pace, PartitionLog, Ratio, Throttle,
};
use millstream_proto::{PartitionIndex, TopicId};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    clock::Clock,
    config::Config,
    partition::{Partitions, Replica},
    runtime,
    shutdown::Shutdown,
};

/// How long a partition whose pass failed is left alone: a pass may read gigabytes...
const FAILURE_PAUSE: Duration = Duration::from_mins(10);
/// ...and most failures stay until somebody mends the disk. Doubled at most so many times.
const FAILURE_DOUBLINGS_MAX: u32 = 6;

/// Longest sleep at a stretch, so that a shutdown does not wait.
const NAP_MAX: Duration = Duration::from_millis(50);

/// Failing partitions that are named in the metrics.
const FAILING_SHOWN_MAX: usize = 20;

/// Compacts partitions as their topics ask for it.
#[derive(Debug)]
pub struct Compactor {
    partitions: Arc<Partitions>,
    clock: Clock,
    check_interval: Duration,
    map_bytes_max: usize,
    bytes_per_second: u64,
    failing: HashMap<(TopicId, PartitionIndex), Failure>,
    /// A partition that changed under its pass waits for the next round.
    postponed: Option<(TopicId, PartitionIndex)>,
    status: Arc<CompactionStatus>,
}

#[derive(Debug)]
struct Failure {
    partition: String,
    reason: String,
    /// Passes that failed in a row.
    count: u32,
    retry: Retry,
}

/// When a partition whose pass failed is tried again.
#[derive(Debug)]
enum Retry {
    /// On the monotonic clock.
    At(Duration),
    /// Once so many bytes can be written.
    OnceThereIsRoom(u64),
}

/// What the last round found, for metrics.
#[derive(Debug, Default)]
pub struct CompactionStatus {
    latest: Mutex<Latest>,
}

/// See [`CompactionStatus`].
#[derive(Debug, Clone, Default)]
pub struct Latest {
    /// Share of the dirtiest partition that is not compacted yet.
    pub dirty_ratio_max: Ratio,
    /// Memory of the keys in the last pass.
    pub map_bytes: u64,
    /// Partitions whose last pass failed, up to [`FAILING_SHOWN_MAX`] of them.
    pub failing: Vec<Failing>,
}

/// A partition whose last pass failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Its topic and index.
    pub partition: String,
    /// Why.
    pub reason: String,
}

impl CompactionStatus {
    /// What the last round found.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A partition that is due.
struct Due {
    replica: Arc<Replica>,
    log: Arc<PartitionLog>,
    dirty_ratio: Ratio,
    is_overdue: bool,
}

impl Compactor {
    /// Compacts `partitions` as the configuration says and tells `status` of it.
    #[must_use]
    pub fn new(
        partitions: Arc<Partitions>,
        config: &Config,
        clock: Clock,
        status: Arc<CompactionStatus>,
    ) -> Self {
        Self {
            partitions,
            clock,
            check_interval: config.log.compaction_check_interval,
            map_bytes_max: config.log.compaction_map_bytes.as_usize(),
            bytes_per_second: config.log.compaction_bytes_per_second.0,
            failing: HashMap::new(),
            postponed: None,
            status,
        }
    }

    /// Runs until the shutdown begins.
    ///
    /// # Cancel safety
    /// A pass that has begun ends by itself once the shutdown has; what it has not put in place is
    /// given up.
    pub async fn run(self, shutdown: Shutdown) {
        let handle = Handle::current();
        let work = runtime::in_background("compaction", move || self.go_on(&handle, &shutdown));
        if let Err(error) = work.await {
            tracing::error!(%error, "compaction has ended, nothing is compacted until the next start");
        }
    }

    /// One round after the other until the shutdown begins.
    fn go_on(mut self, handle: &Handle, shutdown: &Shutdown) {
        while !shutdown.has_begun() {
            self.round(shutdown);
            // Until the next round is due, or the shutdown begins.
            let _ = handle.block_on(async { timeout(self.check_interval, shutdown.begun()).await });
        }
    }

    /// Passes over the dirtiest partitions until none is due. Waits for the disk.
    fn round(&mut self, shutdown: &Shutdown) {
        self.postponed = None;
        self.forget_others();
        while !shutdown.has_begun() {
            let due = self.look();
            self.show();
            let Some(due) = due else { return };
            self.pass(&due, shutdown);
        }
    }

    /// The partition that needs it most; notes how dirty the dirtiest one is.
    fn look(&self) -> Option<Due> {
        let now = self.clock.elapsed();
        let now_ms = self.clock.wall_ms();
        let mut dirty_ratio_max = Ratio::default();
        let mut most: Option<Due> = None;
        for replica in self.partitions.all() {
            // Offline and closed ones have nothing to compact.
            let Ok(log) = replica.log() else { continue };
            let Ok(Some(found)) = log.compactable(now_ms, replica.high_watermark()) else {
                continue;
            };
            dirty_ratio_max = dirty_ratio_max.max(found.dirty_ratio());
            let key = (replica.topic_id(), replica.index());
            let pauses = self.postponed == Some(key)
                || self
                    .failing
                    .get(&key)
                    .is_some_and(|failure| match failure.retry {
                        Retry::At(time) => time > now,
                        Retry::OnceThereIsRoom(bytes) => !log.has_room(bytes),
                    });
            if pauses || !found.is_due(&log.config().compaction) {
                continue;
            }
            let due = Due {
                log: Arc::clone(log),
                replica,
                dirty_ratio: found.dirty_ratio(),
                is_overdue: found.is_overdue,
            };
            if most.as_ref().is_none_or(|most| due.rank() > most.rank()) {
                most = Some(due);
            }
        }
        self.status.lock().dirty_ratio_max = dirty_ratio_max;
        most
    }

    fn pass(&mut self, due: &Due, shutdown: &Shutdown) {
        let partition = due.replica.partition();
        let key = (due.replica.topic_id(), due.replica.index());
        let request = CompactionRequest {
            now_ms: self.clock.wall_ms(),
            high_watermark: due.replica.high_watermark(),
            map_bytes_max: self.map_bytes_max,
        };
        let mut pace = Paced {
            throttle: Throttle::new(self.bytes_per_second),
            clock: self.clock,
            shutdown,
        };
        let began = self.clock.elapsed();
        let compact = AssertUnwindSafe(|| due.log.compact(&request, &mut pace));
        let Ok(compacted) = catch_unwind(compact) else {
            // Logged with its place by the hook; the other partitions are compacted still.
            self.failed(
                key,
                partition.to_string(),
                "it panicked, see the log".into(),
                None,
            );
            return;
        };
        match compacted {
            Ok(report) => {
                let took = self.clock.elapsed().saturating_sub(began);
                tell(&partition.to_string(), &report, took);
                self.failing.remove(&key);
                self.status.lock().map_bytes = u64::try_from(report.map_bytes).unwrap_or(u64::MAX);
            }
            Err(CompactionError::Stopped) => {}
            Err(CompactionError::LogChanged) => {
                tracing::info!(%partition, "log changed while it was compacted, will try again");
                self.failing.remove(&key);
                self.postponed = Some(key);
            }
            Err(error) => {
                let needs_room = match error {
                    CompactionError::NoRoom { needed, .. } => Some(needed),
                    _ => None,
                };
                let reason = error.to_string();
                tracing::error!(%partition, reason, "compaction failed, the partition stays as it is");
                self.failed(key, partition.to_string(), reason, needs_room);
            }
        }
    }

    /// Leaves a partition alone: as long as there is no room, or the longer the more often it failed.
    fn failed(
        &mut self,
        key: (TopicId, PartitionIndex),
        partition: String,
        reason: String,
        needs_room: Option<u64>,
    ) {
        let count = self.failing.get(&key).map_or(1, |before| before.count + 1);
        let retry = match needs_room {
            Some(bytes) => Retry::OnceThereIsRoom(bytes),
            None => Retry::At(self.clock.elapsed() + pause_after(count)),
        };
        let failure = Failure {
            partition,
            reason,
            count,
            retry,
        };
        self.failing.insert(key, failure);
    }

    /// Deleted partitions, and those that are not to be compacted any more, fail no more.
    fn forget_others(&mut self) {
        let partitions = &self.partitions;
        self.failing.retain(|(topic_id, index), _| {
            partitions.get(*topic_id, *index).is_some_and(|replica| {
                let log = replica.log();
                log.is_ok_and(|log| log.config().cleanup_compact)
            })
        });
    }

    fn show(&self) {
        let mut failing: Vec<_> = self
            .failing
            .values()
            .map(|failure| Failing {
                partition: failure.partition.clone(),
                reason: failure.reason.clone(),
            })
            .collect();
        failing.sort_by(|a, b| a.partition.cmp(&b.partition));
        failing.truncate(FAILING_SHOWN_MAX);
        self.status.lock().failing = failing;
    }
}

impl Due {
    fn rank(&self) -> (bool, Ratio) {
        (self.is_overdue, self.dirty_ratio)
    }
}

/// How long a partition is left alone after so many failures in a row, of which there is one at least.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(FAILURE_DOUBLINGS_MAX);
    FAILURE_PAUSE * 2_u32.pow(doublings)
}

fn tell(partition: &str, report: &CompactionReport, took: Duration) {
    tracing::info!(
        partition,
        from = report.from.get(),
        to = report.to.get(),
        is_complete = report.is_complete,
        records_before = report.records_before,
        records_after = report.records_after,
        bytes_before = report.bytes_before,
        bytes_after = report.bytes_after,
        keys = report.keys,
        map_bytes = report.map_bytes,
        took_ms = took.as_millis(),
        "partition is compacted"
    );
}

/// Keeps to the configured rate, and ends with the daemon.
struct Paced<'a> {
    throttle: Throttle,
    clock: Clock,
    shutdown: &'a Shutdown,
}

impl Pace for Paced<'_> {
    fn spent(&mut self, bytes: u64) -> bool {
        let now = self.clock.elapsed();
        let until = now + self.throttle.wait_after(bytes, now);
        while !self.shutdown.has_begun() {
            let left = until.saturating_sub(self.clock.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(NAP_MAX));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_fails_again_and_again_is_looked_at_less_and_less() {
        let minutes = |failures| pause_after(failures).as_secs() / 60;
        assert_eq!([1, 2, 3].map(minutes), [10, 20, 40]);
        assert_eq!([7, u32::MAX].map(minutes), [640, 640]);
    }
}
