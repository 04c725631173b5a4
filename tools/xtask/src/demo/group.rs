//! [`Members`]: a group of member processes that share a topic, and what each of them read.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::flights::Cli;

/// Processes of the group.
pub(super) const MEMBERS: usize = 3;
/// How long the group may take to settle, to read, or to commit.
const WAIT_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Records that members have printed and nobody has counted yet.
const RECORDS_WAITING_MAX: usize = 1_024;

/// Member processes. Dropping them kills them.
pub(super) struct Members<'a> {
    cli: &'a Cli<'a>,
    group: &'a str,
    children: Vec<Child>,
    records: Receiver<Result<(usize, Consumed)>>,
}

/// What `millstream consume --format json` prints for a record.
#[derive(Deserialize)]
struct Consumed {
    partition: i32,
    offset: i64,
    key: Option<String>,
}

/// What `millstream groups describe --output json` prints of a group.
#[derive(Deserialize)]
struct Described {
    state: String,
    lag: Option<i64>,
    members: Vec<serde::de::IgnoredAny>,
}

/// Records of each key, by member.
pub(super) type Counts = BTreeMap<String, [usize; MEMBERS]>;

impl<'a> Members<'a> {
    /// Starts them, and waits until each knows what it is to read.
    ///
    /// # Errors
    /// When one cannot be started, or the group does not settle.
    pub(super) fn start(cli: &'a Cli<'a>, topic: &str, group: &'a str) -> Result<Self> {
        let (sender, records) = mpsc::sync_channel(RECORDS_WAITING_MAX);
        let mut members = Self {
            cli,
            group,
            children: Vec::with_capacity(MEMBERS),
            records,
        };
        for member in 0..MEMBERS {
            let mut child = Command::new(cli.binary)
                .args(["consume", topic, "--group", group, "--follow"])
                .args(["--format", "json", "--server", cli.server])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start millstream")?;
            let output = child.stdout.take().context("its output is piped")?;
            members.children.push(child);
            let sender = sender.clone();
            thread::spawn(move || read(member, output, &sender));
        }
        members.wait("is not settled", |group| {
            group.state == "Stable" && group.members.len() == MEMBERS
        })?;
        Ok(members)
    }

    /// Takes in what they print until there are so many records, each once.
    ///
    /// # Errors
    /// When one of them ends, or does not go on.
    pub(super) fn count(&self, records: usize) -> Result<Counts> {
        let mut seen = BTreeSet::new();
        let mut counts = Counts::new();
        while seen.len() < records {
            let received = self.records.recv_timeout(WAIT_MAX);
            let (member, record) = received
                .with_context(|| format!("the group read {} records of {records}", seen.len()))??;
            if seen.insert((record.partition, record.offset)) {
                let of_key = counts.entry(record.key.unwrap_or_default()).or_default();
                if let Some(count) = of_key.get_mut(member) {
                    *count += 1;
                }
            }
        }
        Ok(counts)
    }

    /// Waits until everything that they read is committed.
    ///
    /// # Errors
    /// When it is not in 30 s.
    pub(super) fn wait_committed(&self) -> Result<()> {
        self.wait("lags", |group| group.lag == Some(0))
    }

    fn wait(&self, what_not: &str, is_so: impl Fn(&Described) -> bool) -> Result<()> {
        let start = Instant::now();
        while !self.describe()?.as_ref().is_some_and(&is_so) {
            if start.elapsed() > WAIT_MAX {
                bail!("group {} {what_not} after {WAIT_MAX:?}", self.group);
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The group; `None` as long as it does not exist.
    fn describe(&self) -> Result<Option<Described>> {
        let output = Command::new(self.cli.binary)
            .args(["groups", "describe", self.group, "--output", "json"])
            .args(["--server", self.cli.server])
            .output()?;
        if !output.status.success() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&output.stdout)?))
    }

    /// Ends them as Ctrl-C does.
    ///
    /// # Errors
    /// When one of them fails.
    pub(super) fn stop(mut self) -> Result<()> {
        for mut child in self.children.drain(..) {
            kill_process(Pid::from_child(&child), Signal::INT)?;
            let status = child.wait()?;
            if !status.success() {
                bail!("a member ended with {status}");
            }
        }
        Ok(())
    }
}

impl Drop for Members<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Both fail where it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read(member: usize, output: ChildStdout, records: &SyncSender<Result<(usize, Consumed)>>) {
    for line in BufReader::new(output).lines() {
        let record = line.map_err(anyhow::Error::from).and_then(|line| {
            serde_json::from_str(&line).with_context(|| format!("consume printed no JSON: {line}"))
        });
        if records.send(record.map(|record| (member, record))).is_err() {
            break;
        }
    }
}
