//! [`Run`]: the tests of one suite against one broker, each in a process of its own.

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Result, ensure};

use super::{
    package::TestBinary,
    suite::{Reason, Suite, Value},
};
use crate::{interop::program, stage::test_counts};

/// What tests print that return at once because something is not configured.
const SKIPPED: &str = "skipping";

/// A suite and where it runs.
pub(crate) struct Run<'a> {
    pub(crate) suite: &'a Suite,
    /// Its package.
    pub(crate) folder: PathBuf,
    /// The broker, and the one for [`Suite::without_topics`].
    pub(crate) servers: [String; 2],
    pub(crate) proxy: String,
    /// Parts of names of which a test has one; all tests when there are none.
    pub(crate) wanted: &'a [String],
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    LeftOut(Reason),
    /// Nobody asked for it.
    NotRun,
}

/// A test by binary and path, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Tested {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

impl Run<'_> {
    /// Runs every test that is wanted and not left out, and prints what came of it.
    ///
    /// # Errors
    /// When a binary does not list its tests.
    pub(crate) fn all(&self, binaries: &[TestBinary]) -> Result<Vec<Tested>> {
        let mut all = Vec::new();
        for binary in binaries {
            for test in self.list(binary)? {
                let name = format!("{}::{test}", binary.name);
                let outcome = self.outcome(&name, binary, &test);
                all.push(Tested { name, outcome });
            }
        }
        Ok(all)
    }

    fn list(&self, binary: &TestBinary) -> Result<Vec<String>> {
        let mut command = Command::new(&binary.path);
        let listed = program::run(command.args(["--list", "--format", "terse"]), b"")?;
        let tests = listed
            .stdout
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        Ok(tests.map(str::to_owned).collect())
    }

    fn outcome(&self, name: &str, binary: &TestBinary, test: &str) -> Outcome {
        let mut left_out = self.suite.left_out.iter();
        if let Some(found) = left_out.find(|left_out| left_out.test == name) {
            return Outcome::LeftOut(found.reason);
        }
        if !self.wanted.is_empty() && !self.wanted.iter().any(|part| name.contains(part)) {
            return Outcome::NotRun;
        }
        let start = Instant::now();
        let [server, bare] = &self.servers;
        let result = match self.suite.without_topics.contains(&name) {
            true => self.run(binary, test, bare),
            false => self.run(binary, test, server),
        };
        let seconds = start.elapsed().as_secs_f64();
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        println!(
            "{:<8} {name:<72} {seconds:>6.1} s  {outcome}",
            self.suite.package
        );
        outcome
    }

    /// Runs one test, which must run and pass.
    fn run(&self, binary: &TestBinary, test: &str, server: &str) -> Result<()> {
        let mut command = Command::new(&binary.path);
        command
            .args(["--exact", test, "--nocapture"])
            .env("RUST_BACKTRACE", "0")
            .env_remove("RUST_LOG")
            .current_dir(&self.folder);
        for (variable, value) in self.suite.environment {
            command.env(
                variable,
                match value {
                    Value::Server => server,
                    Value::Proxy => &self.proxy,
                    Value::Text(text) => text,
                },
            );
        }
        let output = program::run(&command, b"")?;
        let mut counts = output.stdout.lines().filter_map(test_counts);
        ensure!(counts.next() == Some((1, 0)), "it is ignored");
        let said = output.stderr.to_lowercase();
        ensure!(!said.contains(SKIPPED), "it is skipped: {said}");
        Ok(())
    }
}
