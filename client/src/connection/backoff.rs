//! [`Backoff`]: how long to pause before the next attempt.

use std::time::Duration;

/// Part of a pause by which it is made longer or shorter at random.
const JITTER: f64 = 0.2;

/// Pauses that double with each failure, spread at random so that clients do not come back at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new((shortest, longest): (Duration, Duration)) -> Self {
        Self {
            shortest,
            longest,
            failures: 0,
        }
    }

    /// Counts a failure and returns the pause after it. `random` is uniform in 0 to 1.
    pub(crate) fn pause(&mut self, random: f64) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let pause = self.shortest.saturating_mul(factor).min(self.longest);
        pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
    }

    /// Forgets the failures.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new((MS(100), MS(350)));
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause(0.5)).collect();
        assert_eq!(pauses, [MS(100), MS(200), MS(350), MS(350)]);
        backoff.succeeded();
        assert_eq!(backoff.pause(0.5), MS(100));
    }

    #[test]
    fn jitter_spreads_by_a_fifth() {
        assert_eq!(Backoff::new((MS(100), MS(100))).pause(0.0), MS(80));
        assert_eq!(Backoff::new((MS(100), MS(100))).pause(1.0), MS(120));
    }
}
