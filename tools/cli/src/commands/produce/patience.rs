//! [`Patience`]: says on standard error what records wait for, where no acknowledgement comes.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use millstream::Producer;

use crate::{
    output,
    quantity::{count, counted},
};

/// Time without an acknowledgement after which the first notice comes.
const FIRST_NOTICE: Duration = Duration::from_secs(2);
/// Time between two notices.
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);
/// How often the acknowledgements are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Watches a producer while it works.
pub(super) struct Patience<'a> {
    pub(super) producer: &'a Producer,
    /// Records whose acknowledgement was seen.
    pub(super) acknowledged: &'a AtomicU64,
    /// After which time records are given up.
    pub(super) timeout: Duration,
    /// Stands on the terminal, perhaps.
    pub(super) bar: ProgressBar,
}

impl Patience<'_> {
    /// Waits for `work`, with notices.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut stall = Stall::new(Instant::now(), 0);
        loop {
            if let Ok(done) = tokio::time::timeout(LOOK_INTERVAL, &mut work).await {
                return done;
            }
            let acknowledged = self.acknowledged.load(Ordering::Relaxed);
            let waiting = self.producer.unacknowledged();
            if stall.look(Instant::now(), acknowledged, waiting) {
                self.bar.suspend(|| output::talk(&self.notice(waiting)));
            }
        }
    }

    fn notice(&self, waiting: usize) -> String {
        let obstacle = self.producer.obstacle();
        let obstacle = obstacle.map_or_else(
            || "the broker has not answered yet".to_owned(),
            |obstacle| obstacle.to_string(),
        );
        format!(
            "waiting to deliver {}, for at most {} s (--timeout): {obstacle}",
            counted(waiting as u64, "record"),
            count(self.timeout.as_secs()),
        )
    }
}

/// How long acknowledgements have been missing.
struct Stall {
    since: Instant,
    acknowledged: u64,
    /// Time since then at which the next notice is due.
    notice_after: Duration,
}

impl Stall {
    const fn new(since: Instant, acknowledged: u64) -> Self {
        Self {
            since,
            acknowledged,
            notice_after: FIRST_NOTICE,
        }
    }

    /// Whether a notice is due now, with so many records acknowledged and so many still to be.
    fn look(&mut self, now: Instant, acknowledged: u64, waiting: usize) -> bool {
        if waiting == 0 || acknowledged != self.acknowledged {
            *self = Self::new(now, acknowledged);
        }
        if now.saturating_duration_since(self.since) < self.notice_after {
            return false;
        }
        self.notice_after += NOTICE_INTERVAL;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_soon_and_then_now_and_then_while_nothing_is_acknowledged() {
        let start = Instant::now();
        let mut stall = Stall::new(start, 0);
        let mut due = Vec::new();
        for second in 0..40 {
            if stall.look(start + Duration::from_secs(second), 0, 5) {
                due.push(second);
            }
        }
        assert_eq!(due, [2, 12, 22, 32]);
    }

    #[test]
    fn what_gets_on_and_what_has_nothing_to_wait_for_is_no_stall() {
        let start = Instant::now();
        let mut stall = Stall::new(start, 0);
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            assert!(!stall.look(now, second, 5), "{second}");
        }
        let mut stall = Stall::new(start, 0);
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            assert!(!stall.look(now, 0, 0), "{second}");
        }
    }
}
