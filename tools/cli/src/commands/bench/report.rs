//! Figures of a bench, as a table or as JSON.
//!
//! Throughput, percentiles of the latency, and the CPU time of this process; and whether they reach
//! the goals that the options set, which is the exit code.

use std::{fs, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::{Throughput, count, float, whole},
};

/// Largest latency told apart, 10 minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
/// The kernel counts a process's CPU time in hundredths of a second (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

const QUANTILES: &[(&str, f64)] = &[
    ("p50", 0.5),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("max", 1.0),
];

/// An empty histogram of microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid")
}

/// Adds a latency.
pub(crate) fn record(latency_us: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    latency_us.saturating_record(micros);
}

/// The rate that a bench has to reach, if any.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct RateGoal {
    /// Exit with 1 below this many MB of values per second
    #[arg(long, value_name = "MB")]
    at_least_mb: Option<f64>,
}

/// What a bench has to reach; without an option it only measures.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Goals {
    #[command(flatten)]
    rate: RateGoal,
    /// Exit with 1 when the 99th percentile of the latency is above
    #[arg(long, value_name = "MS")]
    at_most_p99_ms: Option<f64>,
}

impl From<RateGoal> for Goals {
    fn from(rate: RateGoal) -> Self {
        Self {
            rate,
            at_most_p99_ms: None,
        }
    }
}

impl Goals {
    /// Says what was missed.
    fn judge(self, report: &Report) -> Outcome {
        let rate = report.throughput.mb_per_s();
        let p99_ms = report
            .latency
            .as_ref()
            .map(|(_, latency_us)| millis(latency_us, 0.99));
        let mut outcome = Outcome::Positive;
        if let Some(least) = self.rate.at_least_mb.filter(|least| rate < *least) {
            output::talk(&format!(
                "missed: {rate:.1} MB/s, expected at least {least}"
            ));
            outcome = Outcome::Negative;
        }
        if let (Some(most), Some(p99_ms)) = (self.at_most_p99_ms, p99_ms)
            && p99_ms > most
        {
            output::talk(&format!(
                "missed: p99 {p99_ms:.3} ms, expected at most {most}"
            ));
            outcome = Outcome::Negative;
        }
        outcome
    }
}

/// What a bench found out.
pub(crate) struct Report {
    pub(crate) throughput: Throughput,
    /// What the latency counts from and to, and its microseconds.
    pub(crate) latency: Option<(&'static str, Histogram<u64>)>,
    /// CPU time of this process meanwhile.
    pub(crate) cpu: Duration,
}

impl Report {
    /// Prints it, and answers whether it reaches the goals.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn print(&self, format: OutputFormat, goals: Goals) -> Result<Outcome> {
        match format {
            OutputFormat::Table => self.print_table()?,
            OutputFormat::Json => output::json(&self.to_json())?,
        }
        Ok(goals.judge(self))
    }

    fn print_table(&self) -> Result<()> {
        let throughput = self.throughput;
        output::line(&throughput.to_string())?;
        output::line(&format!(
            "client CPU {:.2} s, {:.2} s per GiB",
            self.cpu.as_secs_f64(),
            self.cpu_s_per_gib()
        ))?;
        let Some((what, latency_us)) = &self.latency else {
            return Ok(());
        };
        output::line(&format!("latency, {what}, in ms:"))?;
        let names: Vec<_> = QUANTILES.iter().map(|(name, _)| *name).collect();
        let values = QUANTILES
            .iter()
            .map(|(_, quantile)| format!("{:.3}", millis(latency_us, *quantile)))
            .collect();
        output::table(&names, &[0, 1, 2, 3, 4], vec![values])
    }

    fn to_json(&self) -> Value {
        let latency = self.latency.as_ref().map(|(_, latency_us)| {
            let quantiles = QUANTILES
                .iter()
                .map(|(name, quantile)| ((*name).to_owned(), json!(millis(latency_us, *quantile))));
            quantiles.collect::<Map<_, _>>()
        });
        json!({
            "records": self.throughput.records,
            "bytes": self.throughput.bytes,
            "seconds": self.throughput.time.as_secs_f64(),
            "records_per_s": self.throughput.records_per_s(),
            "mb_per_s": self.throughput.mb_per_s(),
            "latency_ms": latency,
            "client_cpu_s": self.cpu.as_secs_f64(),
            "client_cpu_s_per_gib": self.cpu_s_per_gib(),
        })
    }

    fn cpu_s_per_gib(&self) -> f64 {
        let gib = float(self.throughput.bytes) / f64::from(1 << 30);
        self.cpu.as_secs_f64() / gib.max(f64::MIN_POSITIVE)
    }
}

fn millis(latency_us: &Histogram<u64>, quantile: f64) -> f64 {
    float(latency_us.value_at_quantile(quantile)) / 1e3
}

/// CPU time of this process so far, from `/proc/self/stat`; zero where there is none.
pub(crate) fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = cpu_ticks(&stat).unwrap_or(0);
    Duration::from_secs_f64(float(ticks) / TICKS_PER_S)
}

/// `utime` + `stime`, fields 14 and 15; the name in field 2 may hold anything, also spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A line while a bench runs.
pub(crate) fn talk_start(what: &str, records: u64, record_bytes: usize, rate: Option<u64>) {
    let rate = rate.map_or_else(
        || "as fast as possible".to_owned(),
        |rate| format!("at {} records/s", count(rate)),
    );
    let size = whole(float(record_bytes as u64));
    output::talk(&format!(
        "{what} {} records of {size} B {rate}",
        count(records)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn quantiles_are_in_milliseconds() {
        let latency_us = thousand();
        assert!((millis(&latency_us, 0.5) - 0.5).abs() < 0.001);
        assert!((millis(&latency_us, 0.99) - 0.99).abs() < 0.001);
    }

    /// 1 to 1,000 microseconds.
    fn thousand() -> Histogram<u64> {
        let mut latency_us = histogram();
        for micros in 1..=1000_u64 {
            record(&mut latency_us, Duration::from_micros(micros));
        }
        latency_us
    }

    #[test]
    fn a_goal_that_is_missed_is_a_negative_answer() {
        let report = Report {
            throughput: Throughput {
                records: 1000,
                bytes: 100_000_000,
                time: Duration::from_secs(1),
            },
            latency: Some(("from here to there", thousand())),
            cpu: Duration::ZERO,
        };
        let judged = |at_least_mb, at_most_p99_ms| {
            let rate = RateGoal { at_least_mb };
            let goals = Goals {
                rate,
                at_most_p99_ms,
            };
            goals.judge(&report)
        };
        assert_eq!(judged(None, None), Outcome::Positive);
        assert_eq!(judged(Some(99.0), Some(1.0)), Outcome::Positive);
        assert_eq!(judged(Some(101.0), None), Outcome::Negative);
        assert_eq!(judged(None, Some(0.9)), Outcome::Negative);
    }
}
