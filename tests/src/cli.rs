//! [`Cli`]: runs the real `millstream` command line against a daemon.

use std::{
    ffi::OsStr,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{Daemon, binary};

/// One command line.
#[derive(Debug)]
pub struct Cli {
    command: Command,
    input: Vec<u8>,
}

impl Cli {
    /// A command line that talks to `daemon`.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn new<A: AsRef<OsStr>>(
        daemon: &Daemon,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mut command = Command::new(binary::cli_path()?);
        command
            .env("MILLSTREAM_SERVER", daemon.native().to_string())
            .args(arguments);
        Ok(Self {
            command,
            input: Vec::new(),
        })
    }

    /// What it reads from standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(mut self) -> Result<Output> {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", self.command))?;
        let mut stdin = child.stdin.take().context("standard input is piped")?;
        let input = self.input;
        // Beside reading the output, so that neither pipe fills up. A process that stops reading
        // says why by its exit status.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        let _ = writer.join();
        Ok(output)
    }

    /// Runs it and returns standard output.
    ///
    /// # Errors
    /// When it does not exit with 0; with what it wrote to standard error.
    pub fn stdout(self) -> Result<Vec<u8>> {
        let what = format!("{:?}", self.command);
        let output = self.run()?;
        if !output.status.success() {
            bail!(
                "{what}: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output.stdout)
    }
}
