//! The command line where the broker cannot do what it is asked: it says so at once or while it waits,
//! with the reason, what to do, and what was done.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{Cli, Daemon, cli_path, retry};
use rustix::process::{Pid, Signal, kill_process};

/// Longest that a command may take to say that a partition is offline: it waits for nothing.
const AT_ONCE: Duration = Duration::from_secs(5);
const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// Runs a command that must succeed; its standard output.
fn run(daemon: &Daemon, line: &str, input: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.input(input).stdout()?;
    Ok(String::from_utf8(output)?)
}

/// Runs a command that must end with 2 and print no data; what it said, with names for what differs
/// from run to run.
fn refusal(daemon: &Daemon, line: &str, input: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.input(input).run()?;
    ensure!(output.status.code() == Some(2), "{line}: {output:?}");
    ensure!(output.stdout.is_empty(), "{line}: {output:?}");
    let said = String::from_utf8(output.stderr)?;
    let said = said.replace(&daemon.data_dir().display().to_string(), "DATA");
    Ok(format!("$ millstream {line}\n{said}"))
}

/// A daemon with a topic `victim` of one record, on a disk with this fault.
fn daemon_with(fault: &str) -> Result<Daemon> {
    let mut daemon = Daemon::start()?;
    run(&daemon, "topics create victim", "")?;
    run(&daemon, "produce victim", "first\n")?;
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    daemon.restart_with(&[("MILLSTREAM_TEST_IO", fault)])?;
    Ok(daemon)
}

#[test]
fn an_offline_partition_ends_every_command_at_once_with_its_reason() -> Result<()> {
    let daemon = daemon_with("fail:sync-data:eio:victim-0/")?;
    let mut refusals = Vec::new();
    for line in [
        // Its flush fails, and takes the partition offline.
        "produce victim",
        "produce victim",
        "consume victim",
        "consume victim --from 0 --follow",
        "consume victim --group readers",
        "offsets commit readers --topic victim --partition 0 --offset 0",
    ] {
        let start = Instant::now();
        refusals.push(refusal(&daemon, line, "second\n")?);
        ensure!(start.elapsed() < AT_ONCE, "{line}: {:?}", start.elapsed());
    }
    insta::assert_snapshot!(refusals.join("\n"));

    let cluster = run(&daemon, "cluster describe", "")?;
    ensure!(cluster.contains(" degraded "), "{cluster}");
    let cluster = run(&daemon, "cluster describe --output json", "")?;
    let cluster: serde_json::Value = serde_json::from_str(&cluster)?;
    let directory = &cluster["brokers"][0]["data_directories"][0];
    assert_eq!(directory["state"], "degraded");
    assert_eq!(directory["offline_partitions"], 1);
    Ok(())
}

#[test]
fn a_full_disk_is_told_while_produce_waits_and_when_it_gives_up() -> Result<()> {
    let daemon = daemon_with("fail:write:enospc:victim-0/00000000000000000000.log")?;
    let start = Instant::now();
    let said = refusal(&daemon, "produce victim --timeout 4", "second\n")?;
    ensure!(start.elapsed() < Duration::from_secs(30), "{said}");
    insta::assert_snapshot!(said);
    assert_eq!(run(&daemon, "consume victim", "")?, "first\n");
    Ok(())
}

#[test]
fn rows_above_a_bad_one_are_stored_and_counted() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create rows", "")?;
    let mut csv: String = (0..1000).map(|row| format!("{row},sound\n")).collect();
    csv.insert_str(0, "number,what\n");
    csv.push_str("1000\n1001,sound\n");
    // A batch that is not full lingers for longer than the command runs.
    let line = "produce rows --format csv --key number --linger-ms 60000";
    insta::assert_snapshot!(refusal(&daemon, line, &csv)?);
    let stored = run(&daemon, "consume rows", "")?;
    assert_eq!(stored.lines().count(), 1000);
    Ok(())
}

#[test]
fn records_and_batches_that_are_too_large_are_refused_with_the_limit() -> Result<()> {
    let daemon = Daemon::start()?;
    run(
        &daemon,
        "topics create small --config max.message.bytes=100",
        "",
    )?;
    let row = format!("{}\n", "x".repeat(200));
    let refusals = [
        refusal(&daemon, "produce small --record-bytes-max 20", &row)?,
        refusal(&daemon, "produce small", &row)?,
    ];
    insta::assert_snapshot!(refusals.join("\n"));
    Ok(())
}

#[test]
fn another_port_of_a_broker_is_told_with_the_one_that_is_meant() -> Result<()> {
    let daemon = Daemon::start()?;
    let at = |address: SocketAddr| -> Result<String> {
        let server = address.to_string();
        let said = refusal(&daemon, &format!("topics list --server {server}"), "")?;
        Ok(said.replace(&server, "SERVER"))
    };
    insta::assert_snapshot!(at(daemon.http())?);
    // The Kafka listener closes the connection; how the system puts that is a matter of time.
    let said = at(daemon.kafka())?;
    ensure!(
        said.contains("error: SERVER did not answer as the native API does: ")
            && said.contains("\nhint: the native API is on port 9192 "),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_bench_that_is_interrupted_says_so_and_leaves_no_topic() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut bench = Command::new(cli_path()?)
        .env("MILLSTREAM_SERVER", daemon.native().to_string())
        .args([
            "bench",
            "produce",
            "--rate",
            "1000",
            "--records",
            "1000000000",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    retry::until("the bench has its topic", STARTED_WITHIN, || {
        let topics = run(&daemon, "topics list", "").ok()?;
        topics.contains("millstream-bench").then_some(())
    })?;
    let mut said = BufReader::new(bench.stderr.take().context("it is piped")?);
    let (mut first, mut refusal) = (String::new(), String::new());
    said.read_line(&mut first)?;
    kill_process(Pid::from_child(&bench), Signal::INT)?;
    said.read_to_string(&mut refusal)?;
    let output = bench.wait_with_output()?;
    assert_eq!(output.status.code(), Some(2), "{first}{refusal}");
    ensure!(output.stdout.is_empty(), "{output:?}");
    insta::assert_snapshot!(refusal);
    assert_eq!(run(&daemon, "topics list", "")?, "");
    Ok(())
}
