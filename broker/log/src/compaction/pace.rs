//! [`Pace`]: how fast compaction may go, and whether it may go on at all.

use std::time::Duration;

/// Told of what compaction reads and writes; may wait before it returns.
pub trait Pace {
    /// `bytes` were read or written since the last call, at most a few MiB. False ends the pass:
    /// what was not put in place is given up.
    fn spent(&mut self, bytes: u64) -> bool;
}

/// As fast as it goes, to its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unhurried;

impl Pace for Unhurried {
    fn spent(&mut self, _bytes: u64) -> bool {
        true
    }
}

/// Says how long to wait so that a rate is kept. Pure: the caller has the clock and waits.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    bytes_per_second: u64,
    /// When everything spent so far would have been spent at the rate.
    free_at: Duration,
}

impl Throttle {
    /// Keeps to a rate; 0 is none.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            free_at: Duration::ZERO,
        }
    }

    /// How long to wait after `bytes` more at time `now` of a monotonic clock. Time in which nothing
    /// was spent is not made up for later.
    pub fn wait_after(&mut self, bytes: u64, now: Duration) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now) + took;
        self.free_at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_rate_is_kept_however_the_bytes_come() {
        let mut throttle = Throttle::new(1_000_000);
        let mut now = Duration::ZERO;
        for bytes in [1_000, 500_000, 1, 498_999] {
            now += throttle.wait_after(bytes, now);
        }
        assert_eq!(now, 1_000 * MS);
        // Work that takes as long by itself does not wait.
        now += 10 * MS;
        assert_eq!(throttle.wait_after(5_000, now), 5 * MS);
    }

    #[test]
    fn no_rate_never_waits() {
        assert_eq!(
            Throttle::new(0).wait_after(u64::MAX, Duration::ZERO),
            Duration::ZERO
        );
    }
}
