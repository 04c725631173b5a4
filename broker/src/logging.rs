//! The daemon's log lines, on standard error, as text or JSON.
//!
//! A line that repeats is written once per `logs.repeat_interval`, with a count of those left out;
//! one place in the code writes at most [`PLACE_LINES_MAX`] lines in that time. Whatever a field
//! holds, it is cut to [`FIELD_CHARS_MAX`] and control characters are escaped, so that no client's
//! bytes get into a line raw.

mod line;
mod repeats;

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use crate::config::{
    Logs,
    value::{LogFormat, LogLevel},
};
use line::Line;
use repeats::{Repeats, Verdict};

/// Longest text of a field that is written.
const FIELD_CHARS_MAX: usize = 500;

/// Lines that one place in the code may write per `logs.repeat_interval`.
const PLACE_LINES_MAX: u32 = 100;

/// Where lines go.
type Sink = Box<dyn Write + Send>;

/// The daemon's log. Cheap to clone.
#[derive(Clone)]
pub struct Logger {
    inner: Arc<Inner>,
}

struct Inner {
    format: LogFormat,
    level: LevelFilter,
    output: Mutex<Output>,
}

struct Output {
    sink: Sink,
    repeats: Repeats,
}

impl std::fmt::Debug for Logger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logger").finish_non_exhaustive()
    }
}

/// Sends all log lines of the process to standard error from now on. Only the first call counts.
#[must_use]
pub fn install(config: &Logs) -> Logger {
    let logger = Logger::new(config, Box::new(std::io::stderr()));
    // Fails when a subscriber is there already, as in tests that start several daemons.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(logger.clone()));
    logger
}

impl Logger {
    fn new(config: &Logs, sink: Sink) -> Self {
        let LogLevel(level) = config.level;
        Self {
            inner: Arc::new(Inner {
                format: config.format,
                level: LevelFilter::from_level(level),
                output: Mutex::new(Output {
                    sink,
                    repeats: Repeats::new(config.repeat_interval, PLACE_LINES_MAX),
                }),
            }),
        }
    }

    /// Writes how many lines were left out, where their time is over.
    pub fn report_repeats(&self, now: Instant) {
        self.with_output(|output| self.write_repeats(output, now));
    }

    /// How often that should be called.
    #[must_use]
    pub fn repeat_interval(&self) -> Duration {
        self.with_output(|output| output.repeats.interval())
    }

    fn with_output<T>(&self, act: impl FnOnce(&mut Output) -> T) -> T {
        let mut output = self
            .inner
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        act(&mut output)
    }

    fn write_repeats(&self, output: &mut Output, now: Instant) {
        for (mut line, count) in output.repeats.expired(now) {
            line.stamp();
            line.count("left_out", count);
            self.write(output, &line);
        }
    }

    /// Nobody is there to hear that standard error is gone.
    fn write(&self, output: &mut Output, line: &Line) {
        let _ = output
            .sink
            .write_all(line.render(self.inner.format).as_bytes());
    }
}

impl<S: Subscriber> Layer<S> for Logger {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if *event.metadata().level() > self.inner.level {
            return;
        }
        let line = Line::of(event);
        let now = Instant::now();
        self.with_output(|output| {
            self.write_repeats(output, now);
            if output.repeats.judge(&line, now) == Verdict::Write {
                self.write(output, &line);
            }
        });
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.inner.level)
    }
}

#[cfg(test)]
mod tests;
