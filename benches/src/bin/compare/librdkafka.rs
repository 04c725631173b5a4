//! [`Librdkafka`]: the load of `benches/librdkafka/load.c`, a process of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The load, built.
#[derive(Debug, Clone)]
pub struct Librdkafka {
    binary: PathBuf,
}

/// What it says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Outcome {
    /// Records produced.
    pub sent: u64,
    failed: u64,
    /// To the last acknowledgement.
    pub produce_s: f64,
    /// Records consumed.
    pub consumed: u64,
    /// From the first to the last of them.
    pub consume_s: f64,
    /// From when a record was due to its acknowledgement.
    pub acknowledged_ms: Latencies,
    /// From when a record was due to the consumer.
    pub consumed_ms: Latencies,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Latencies {
    pub p50: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p999: f64,
    #[serde(rename = "p99.99")]
    pub p9999: f64,
}

impl Librdkafka {
    /// Builds the load; installs Debian's librdkafka where it is missing.
    ///
    /// # Errors
    /// gcc is missing or the package cannot be had; what was said is in the error.
    pub fn install(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let binary = fs::canonicalize(dir)?.join("librdkafka-load");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/librdkafka/install.sh");
        let output = Command::new(script).arg(&binary).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "load of librdkafka: {errors}");
        Ok(Self { binary })
    }

    /// Runs it with options as `load.c` has them.
    ///
    /// # Errors
    /// It failed, or a record did: what it said is in the error.
    pub fn run(&self, address: &str, topic: &str, options: &[String]) -> Result<Outcome> {
        let output = Command::new(&self.binary)
            .args([address, topic])
            .args(options)
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "load {options:?}: {errors}");
        let outcome: Outcome =
            serde_json::from_slice(&output.stdout).context("the load says nothing")?;
        let failed = outcome.failed;
        ensure!(failed == 0, "{failed} records failed: {options:?}");
        Ok(outcome)
    }
}
