//! `groups`, `offsets` and `consume --group` against a real daemon.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{Cli, Daemon, DaemonOptions, cli_path, retry};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Rows that a topic is filled with.
const ROWS: usize = 20_000;

/// Runs a command that must succeed; its standard output.
fn run(daemon: &Daemon, line: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.stdout()?;
    Ok(String::from_utf8(output)?)
}

fn json(daemon: &Daemon, line: &str) -> Result<Value> {
    let text = run(daemon, &format!("{line} --output json"))?;
    serde_json::from_str(&text).with_context(|| text)
}

/// Runs a command that must end with 2 and print nothing; what it said.
fn refusal(daemon: &Daemon, line: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.run()?;
    ensure!(output.status.code() == Some(2), "{line}: {output:?}");
    ensure!(output.stdout.is_empty(), "{line}: {output:?}");
    let said = String::from_utf8(output.stderr)?;
    Ok(format!("$ millstream {line}\n{said}"))
}

/// A daemon with a topic `numbers` of six partitions, each number a row and a key.
fn daemon_with_numbers() -> Result<(Daemon, Vec<String>)> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create numbers --partitions 6")?;
    let rows: Vec<_> = (0..ROWS).map(|number| format!("{number:05}")).collect();
    let csv = format!("number\n{}\n", rows.join("\n"));
    let produce = "produce numbers --format csv --key number";
    Cli::new(&daemon, produce.split(' '))?.input(csv).stdout()?;
    Ok((daemon, rows))
}

/// A member that follows, and has printed its first record. Dropping it kills it.
struct Follower(Child);

impl Follower {
    fn start(daemon: &Daemon, group: &str) -> Result<Self> {
        let mut child = Command::new(cli_path()?)
            .env("MILLSTREAM_SERVER", daemon.native().to_string())
            .args(["consume", "numbers", "--follow", "--group", group])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("piped")?;
        let mut lines = BufReader::new(output).lines();
        let follower = Self(child);
        lines.next().context("it ended before it printed")??;
        // It never waits for us to read.
        thread::spawn(move || lines.for_each(drop));
        Ok(follower)
    }

    fn interrupt(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn members_share_the_rows_and_end_by_themselves() -> Result<()> {
    let (daemon, rows) = daemon_with_numbers()?;
    let consume = || run(&daemon, "consume numbers --group readers");
    let printed: Vec<_> = thread::scope(|scope| {
        let members: Vec<_> = (0..3).map(|_| scope.spawn(consume)).collect();
        let ended = members.into_iter().map(|member| member.join());
        ended.collect::<Vec<_>>()
    });
    let mut all = Vec::with_capacity(ROWS);
    for printed in printed {
        let printed = printed.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        all.extend(printed.lines().map(str::to_owned));
    }
    all.sort_unstable();
    ensure!(
        all == rows,
        "{} rows instead of {ROWS}, each once",
        all.len()
    );
    let group = json(&daemon, "groups describe readers --lag-max 0")?;
    assert_eq!(
        (&group["lag"], &group["state"]),
        (&0.into(), &"Empty".into())
    );
    assert_eq!(run(&daemon, "consume numbers --group readers")?, "");
    Ok(())
}

#[test]
fn what_is_printed_is_committed_and_a_reset_brings_it_back() -> Result<()> {
    let (daemon, rows) = daemon_with_numbers()?;
    let mut printed = String::new();
    for limit in [1, 7, 5_000, ROWS] {
        printed += &run(
            &daemon,
            &format!("consume numbers --group g --limit {limit}"),
        )?;
        let group = json(&daemon, "groups describe g")?;
        let left = ROWS - printed.lines().count();
        assert_eq!(group["lag"].as_u64(), Some(left as u64), "after {limit}");
    }
    let mut printed: Vec<_> = printed.lines().collect();
    printed.sort_unstable();
    ensure!(
        printed == rows,
        "{} rows instead of {ROWS}, each once",
        printed.len()
    );

    let plan = json(
        &daemon,
        "offsets reset g --topic numbers:2 --to earliest --dry-run",
    )?;
    let of_partition = plan["partitions"][0]["lag_after"].as_u64();
    assert_eq!(json(&daemon, "groups describe g")?["lag"], 0);
    run(
        &daemon,
        "offsets reset g --topic numbers:2 --to earliest --yes",
    )?;
    assert_eq!(
        json(&daemon, "groups describe g")?["lag"].as_u64(),
        of_partition
    );
    let again = run(&daemon, "consume numbers --group g")?;
    assert_eq!(Some(again.lines().count() as u64), of_partition);

    run(&daemon, "offsets delete g --topic numbers:2 --yes")?;
    let listed = json(&daemon, "offsets list g")?;
    assert_eq!(listed.as_array().map(Vec::len), Some(5));
    run(
        &daemon,
        "offsets commit g --topic numbers --partition 2 --offset 1 --metadata m",
    )?;
    let listed = json(&daemon, "offsets list g --topic numbers:2")?;
    assert_eq!(
        (&listed[0]["offset"], &listed[0]["metadata"]),
        (&1.into(), &"m".into())
    );
    run(&daemon, "groups delete g --yes")?;
    assert_eq!(json(&daemon, "groups list")?, Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn a_reader_that_goes_away_loses_nothing_for_its_group() -> Result<()> {
    let (daemon, rows) = daemon_with_numbers()?;
    let script = format!(
        "set -o pipefail; '{}' consume numbers --group g --server {} --format '{{value}} {}' | head -n 1",
        cli_path()?.display(),
        daemon.native(),
        "x".repeat(100),
    );
    let output = Command::new("bash").args(["-c", &script]).output()?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let lag = json(&daemon, "groups describe g")?["lag"].as_u64();
    let rest = run(&daemon, "consume numbers --group g")?;
    assert_eq!(lag, Some(rest.lines().count() as u64));
    // 64 KiB are in a pipe, and a record has more than 100 bytes.
    ensure!(rest.lines().count() > rows.len() - 700, "{lag:?}");
    Ok(())
}

#[test]
fn every_refusal_about_groups_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let (daemon, _) = daemon_with_numbers()?;
    run(&daemon, "topics create other")?;
    run(
        &daemon,
        "offsets commit audit --topic other --partition 0 --offset 0",
    )?;
    let follower = Follower::start(&daemon, "readers")?;
    let committed = || json(&daemon, "offsets list audit");
    let before = committed()?;
    let long = "x".repeat(300);
    let refusals: Vec<_> = [
        "groups describe raeders",
        "groups delete raeders --yes",
        "groups delete audit readers --yes",
        "groups delete audit",
        "offsets list raeders",
        "offsets commit readers --topic other --partition 0 --offset 0",
        "offsets commit audit --topic other --partition 0 --offset 1",
        "offsets commit audit --topic other --partition 1 --offset 0",
        "offsets commit audit --topic ohter --partition 0 --offset 0",
        &format!("offsets commit {long} --topic other --partition 0 --offset 0"),
        &format!(
            "offsets commit audit --topic other --partition 0 --offset 0 --metadata {}",
            long.repeat(20)
        ),
        "offsets reset raeders --topic numbers --to latest --yes",
        "offsets reset readers --topic numbers --to latest --dry-run",
        "offsets reset readers --topic numbers --to latest --yes",
        "offsets reset audit --topic other:1 --to latest --yes",
        "offsets delete audit --topic numbers --yes",
        "consume other --group audit --from earliest",
        &format!("consume other --group {long}"),
    ]
    .iter()
    .map(|line| refusal(&daemon, line))
    .collect::<Result<_>>()?;
    let members = json(&daemon, "groups describe readers")?["members"].take();
    let member = members[0]["member_id"]
        .as_str()
        .context("it has a member")?;
    let client = members[0]["client_id"]
        .as_str()
        .context("it has a client")?;
    let text = refusals
        .join("\n")
        .replace(&member[..8], "MEMBER")
        .replace(client, "CLIENT")
        .replace(&long.repeat(20), "LONG")
        .replace(&long, "LONG");
    insta::assert_snapshot!(text);
    assert_eq!(committed()?, before);

    // A plan that the broker refuses.
    let output = Cli::new(
        &daemon,
        "offsets delete readers --topic numbers:0,1 --yes".split(' '),
    )?;
    let output = output.run()?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    insta::assert_snapshot!("subscribed", String::from_utf8(output.stderr)?);
    follower.interrupt()?;
    run(&daemon, "groups delete readers --yes")?;
    Ok(())
}

#[test]
fn a_lag_that_is_older_than_the_daemon_has_a_lower_bound() -> Result<()> {
    let mut daemon = DaemonOptions::default()
        .set("groups.lag_sample_interval", "10ms")
        .start()?;
    run(&daemon, "topics create numbers")?;
    let produce = |daemon: &Daemon| {
        let produce = Cli::new(daemon, ["produce", "numbers"])?;
        produce.input("number\n").stdout().map(drop)
    };
    produce(&daemon)?;
    run(
        &daemon,
        "offsets commit readers --topic numbers --partition 0 --offset 1",
    )?;
    let lag = |daemon: &Daemon| {
        let group = json(daemon, "groups describe readers").ok()?;
        let partition = &group["partitions"][0];
        let seconds = partition["lag_seconds"].as_f64()?;
        let is_minimum = partition["lag_seconds_is_minimum"].as_bool()?;
        Some((partition["lag"].as_i64()?, seconds, is_minimum))
    };
    let told = |daemon: &Daemon, what: &str, expected: (i64, bool)| {
        retry::until(what, Duration::from_secs(20), || {
            let (records, seconds, is_minimum) = lag(daemon)?;
            ((records, is_minimum) == expected).then_some(seconds)
        })
    };
    told(&daemon, "the end of the log is looked at", (0, false))?;
    produce(&daemon)?;
    let seconds = told(&daemon, "one record is not committed", (1, false))?;
    daemon.terminate()?;
    let stopped = Instant::now();
    daemon.restart()?;
    let at_least = told(&daemon, "nobody knows for how long", (1, true))?;
    ensure!(
        at_least <= stopped.elapsed().as_secs_f64(),
        "{at_least} s after {seconds} s"
    );
    let table = run(&daemon, "groups describe readers")?;
    ensure!(table.contains(" > "), "{table}");
    Ok(())
}
