//! [`Alarm`]: wakes the task that tells coordinators what time it is, exactly when one wants to know.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use super::GroupCoordinators;

/// When the next timer of any coordinator is due.
#[derive(Debug)]
pub(super) struct Alarm {
    /// On the monotonic clock; the largest number while nobody waits for it.
    at_ms: AtomicU64,
    earlier: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self {
            at_ms: AtomicU64::new(u64::MAX),
            earlier: Notify::new(),
        }
    }
}

impl Alarm {
    /// A timer is due at this time.
    pub(super) fn set(&self, at_ms: u64) {
        if at_ms < self.at_ms.load(Ordering::Acquire) {
            self.earlier.notify_one();
        }
    }
}

impl GroupCoordinators {
    /// Hands timers over as they are due, until it is dropped.
    pub(super) async fn keep_time(&self) {
        let surroundings = self.surroundings();
        let alarm = &surroundings.alarm;
        loop {
            // From here on every timer that is set is heard of, also by a look that comes before it.
            alarm.at_ms.store(u64::MAX, Ordering::Release);
            let next_ms = self.fire_timers();
            alarm
                .at_ms
                .store(next_ms.unwrap_or(u64::MAX), Ordering::Release);
            let Some(next_ms) = next_ms else {
                alarm.earlier.notified().await;
                continue;
            };
            let wait_ms = next_ms.saturating_sub(surroundings.monotonic_ms());
            tokio::select! {
                () = alarm.earlier.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            }
        }
    }

    /// Hands over every timer that is due; returns when the next one is.
    fn fire_timers(&self) -> Option<u64> {
        let loaded = self.partitions().iter();
        loaded.filter_map(|partition| partition.fire_timers()).min()
    }
}
