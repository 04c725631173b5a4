//! [`Load`]: `millstream bench` against a daemon under measurement, and what it printed.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::Daemon;

/// The command line that makes the load.
#[derive(Debug)]
pub struct Load {
    /// The binary `millstream`.
    pub cli: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// MB of values per second.
    pub mb_per_s: f64,
    /// Processor time of the client for each GiB.
    pub client_cpu_s_per_gib: f64,
    /// From when a record was due; zero where latencies were not measured.
    pub p50_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// 999 of 1,000 are at most this.
    pub p999_ms: f64,
    /// How long it took.
    pub seconds: f64,
}

impl Load {
    /// Runs `millstream bench` with `options` and reads its report.
    ///
    /// # Errors
    /// It failed; its standard error says why.
    pub fn run(&self, daemon: &Daemon, options: &[&str]) -> Result<Outcome> {
        let output = Command::new(&self.cli)
            .args(["--server", &daemon.address(), "--output", "json", "bench"])
            .args(options)
            .output()
            .with_context(|| format!("cannot start {}", self.cli.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bench {options:?}: {errors}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
        let latency = |quantile: &str| number(&format!("/latency_ms/{quantile}")).unwrap_or(0.0);
        Ok(Outcome {
            mb_per_s: number("/mb_per_s").context("the report has no rate")?,
            client_cpu_s_per_gib: number("/client_cpu_s_per_gib").unwrap_or(0.0),
            p50_ms: latency("p50"),
            p99_ms: latency("p99"),
            p999_ms: latency("p99.9"),
            seconds: number("/seconds").context("the report has no time")?,
        })
    }
}
