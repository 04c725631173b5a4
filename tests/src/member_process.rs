//! [`MemberProcess`]: a member of a group that is a process: `millstream consume --group --follow`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::{Daemon, binary, churn::MemberNumber};

/// A record that a member printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// Which member.
    pub member: MemberNumber,
    /// Partition of the record.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its value.
    pub value: String,
}

/// One process. Dropping it kills it.
#[derive(Debug)]
pub struct MemberProcess {
    child: Child,
    reader: Option<JoinHandle<Result<()>>>,
}

impl MemberProcess {
    /// Starts a member, whose records go to `sink`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        daemon: &Daemon,
        topic: &str,
        group: &str,
        member: MemberNumber,
        sink: UnboundedSender<Printed>,
    ) -> Result<Self> {
        let mut child = Command::new(binary::cli_path()?)
            .env("MILLSTREAM_SERVER", daemon.native().to_string())
            .args(["consume", topic, "--group", group])
            .args(["--follow", "--format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a member")?;
        let output = child.stdout.take().context("standard output is piped")?;
        let reader = thread::spawn(move || read(member, output, &sink));
        Ok(Self {
            child,
            reader: Some(reader),
        })
    }

    /// Kills it (SIGKILL), and waits until everything it had printed has come out of the pipe.
    ///
    /// # Errors
    /// When it printed something else than records.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.end()?;
        Ok(())
    }

    /// Asks it to end as Ctrl-C does, and waits for that.
    ///
    /// # Errors
    /// When it printed something else than records.
    pub fn interrupt(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.end()
    }

    fn end(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            match reader.join() {
                Ok(read) => read?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(status)
    }
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(member: MemberNumber, output: ChildStdout, sink: &UnboundedSender<Printed>) -> Result<()> {
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let Ok(record) = serde_json::from_slice::<Value>(&line) else {
            // What a killed process printed last may be cut off.
            continue;
        };
        let number = |name: &str| record[name].as_i64().with_context(|| format!("{record}"));
        let value = record["value"].as_str().context("a value is text")?;
        let printed = Printed {
            member,
            partition: i32::try_from(number("partition")?)?,
            offset: number("offset")?,
            value: value.to_owned(),
        };
        if sink.send(printed).is_err() {
            break;
        }
    }
    Ok(())
}
