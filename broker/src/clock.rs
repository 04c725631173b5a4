//! [`Clock`]: the daemon's only source of time, so that everything below takes time as a value.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::{self, format::Writer, time::FormatTime};

/// Wall time for records and retention, monotonic time for sessions and deadlines. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Starts the monotonic time at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Milliseconds since 1970 in UTC; may jump either way.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    /// Time since this clock was made; never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Now, on the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }
}

/// The present second in UTC, as `2026-11-22T22:24:10Z`.
#[must_use]
pub fn wall_text() -> String {
    /// Bytes up to the second.
    const SECOND_BYTES: usize = 19;
    let mut text = String::new();
    // Fails only where the clock cannot be read; then the text is empty.
    let _ = FormatTime::format_time(&fmt::time::SystemTime, &mut Writer::new(&mut text));
    text.truncate(SECOND_BYTES);
    text + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_of_this_century_in_milliseconds() {
        let year_2020_ms = 1_577_836_800_000;
        let year_2100_ms = 4_102_444_800_000;
        let now_ms = Clock::new().wall_ms();
        assert!((year_2020_ms..year_2100_ms).contains(&now_ms), "{now_ms}");
    }

    #[test]
    fn wall_time_as_text_ends_with_the_second() {
        let text = wall_text();
        assert_eq!(text.len(), "2026-11-22T22:24:10Z".len(), "{text}");
        assert!(text.starts_with("20") && text.ends_with('Z'), "{text}");
    }
}
