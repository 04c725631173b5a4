//! [`Stages`]: commands run one after another, each timed; the first failure ends the run.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// What has run so far, and what the tests among it said.
#[derive(Default)]
pub(crate) struct Stages {
    times: Vec<(String, Duration)>,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Stages {
    /// Runs a command as the stage `name`, its output on ours.
    ///
    /// # Errors
    /// When it cannot start, or does not succeed.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.stage(name, |_| {
            let status = command
                .status()
                .with_context(|| format!("cannot start {command:?}"))?;
            if !status.success() {
                bail!("{name} failed: {status}");
            }
            Ok(())
        })
    }

    /// Runs a test command; adds up what its `test result:` lines say.
    ///
    /// # Errors
    /// As [`Stages::run`].
    pub(crate) fn run_tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.stage(name, |stages| {
            let mut child = command
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {command:?}"))?;
            let output = child.stdout.take().context("its output is piped")?;
            for line in BufReader::new(output).lines() {
                let line = line?;
                println!("{line}");
                if let Some((passed, failed)) = test_counts(&line) {
                    stages.passed += passed;
                    stages.failed += failed;
                }
            }
            let status = child.wait()?;
            if !status.success() {
                bail!("{name} failed: {status}");
            }
            Ok(())
        })
    }

    /// Runs work of this process as the stage `name`.
    ///
    /// # Errors
    /// When the work fails.
    pub(crate) fn work(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.stage(name, |_| work())
    }

    fn stage(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        eprintln!("==> {name}");
        let start = Instant::now();
        let result = run(self);
        self.times.push((name.to_owned(), start.elapsed()));
        result
    }

    /// Prints every stage's time.
    pub(crate) fn print_times(&self) {
        for (name, time) in &self.times {
            eprintln!("{:>8.1} s  {name}", time.as_secs_f64());
        }
    }
}

/// Passed and failed of a line like `test result: ok. 14 passed; 0 failed; 0 ignored; ...`.
pub(crate) fn test_counts(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?;
    let number_before = |word: &str| -> Option<u64> {
        let (before, _) = counts.split_once(word)?;
        before.split_whitespace().last()?.parse().ok()
    };
    Some((number_before(" passed")?, number_before(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_lines_are_counted_and_others_are_not() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; finished in 0.06s";
        assert_eq!(test_counts(line), Some((12, 3)));
        assert_eq!(test_counts("12 passed; 3 failed"), None);
    }

    #[test]
    fn a_failing_command_fails_its_stage_and_its_counts_are_kept() {
        let mut stages = Stages::default();
        let script = "echo 'test result: FAILED. 1 passed; 2 failed;'; exit 1";
        let result = stages.run_tests("tests", Command::new("sh").args(["-c", script]));
        assert!(result.is_err());
        assert_eq!((stages.passed, stages.failed), (1, 2));
    }
}
