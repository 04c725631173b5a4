//! [`Progress`]: a bar on a terminal, and the figures for the summary.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::quantity::{Throughput, count};

/// What was sent so far.
pub(crate) struct Progress {
    start: Instant,
    records: u64,
    bytes: u64,
    bar: ProgressBar,
}

impl Progress {
    /// Shows a bar on standard error where that is a terminal; of `length` bytes where that is known.
    pub(crate) fn start(length: Option<u64>) -> Self {
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "{wide_bar} {percent}% {msg}, {bytes_per_sec}, {eta} left",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {bytes} {msg}, {bytes_per_sec}",
            ),
        };
        let style = ProgressStyle::with_template(template).expect("our own templates are valid");
        Self {
            start: Instant::now(),
            records: 0,
            bytes: 0,
            bar: bar.with_style(style),
        }
    }

    /// Counts a record that the producer took.
    pub(crate) const fn add_record(&mut self) {
        self.records += 1;
    }

    /// Counts bytes of input that were dealt with.
    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
        if !self.bar.is_hidden() {
            self.bar
                .set_message(format!("{} records", count(self.records)));
            self.bar.inc(bytes);
        }
    }

    /// The bar, for those who write beside it.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Takes the bar away and answers the figures.
    pub(crate) fn finish(self) -> Throughput {
        self.bar.finish_and_clear();
        Throughput {
            records: self.records,
            bytes: self.bytes,
            time: self.start.elapsed(),
        }
    }
}
