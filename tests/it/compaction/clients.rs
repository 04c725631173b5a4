//! Compaction as clients see it: what is left, what is refused, and reading through gaps.

use std::time::Duration;

use anyhow::{Result, ensure};
use millstream_tests::{Cli, Daemon, DaemonOptions, retry};

const WITHIN: Duration = Duration::from_secs(30);

fn run(daemon: &Daemon, line: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.stdout()?;
    Ok(String::from_utf8(output)?)
}

/// Produces records of the topic `t` to one partition, as `key=value`, `key` deletes.
fn produce(daemon: &Daemon, records: &[&str]) -> Result<()> {
    let rows = records.iter().map(|record| match record.split_once('=') {
        Some((key, value)) => format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}\n"),
        None => format!("{{\"key\":\"{record}\",\"value\":null}}\n"),
    });
    let rows: String = rows.collect();
    Cli::new(daemon, ["produce", "t", "--format", "json"])?
        .input(rows)
        .stdout()?;
    Ok(())
}

/// All records as `offset:key=value`.
fn consume(daemon: &Daemon, options: &str) -> Result<Vec<String>> {
    let line = format!(r"consume t --format {{offset}}:{{key}}={{value}} {options}");
    let text = run(daemon, line.trim_end())?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn wait_for(daemon: &Daemon, expected: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    let waited = retry::until("the topic is compacted", WITHIN, || {
        found = consume(daemon, "").ok()?;
        (found == expected).then_some(())
    });
    ensure!(
        waited.is_ok(),
        "{found:?}, expected {expected:?}\n{}",
        daemon.log_tail()
    );
    Ok(())
}

/// Segments roll and passes are due by age alone: it all happens with a few records.
const COMPACT: &str = "--config cleanup.policy=compact --config max.compaction.lag.ms=1 \
                       --config min.cleanable.dirty.ratio=1 --config delete.retention.ms=0";

#[test]
fn a_topic_that_becomes_compacted_keeps_the_newest_of_each_key_and_refuses_records_without()
-> Result<()> {
    let daemon = DaemonOptions::default()
        .set("log.compaction_check_interval", "20ms")
        .set("log.retention_check_interval", "20ms")
        .start()?;
    run(&daemon, "topics create t")?;
    Cli::new(&daemon, ["produce", "t"])?
        .input("no key\n")
        .stdout()?;
    produce(&daemon, &["a=1", "b=1", "a=2", "b", "c=1"])?;
    run(&daemon, &format!("topics alter t {COMPACT}"))?;
    wait_for(&daemon, &["0:null=no key", "3:a=2", "4:b=null", "5:c=1"])?;
    // The next pass finds the tombstone's horizon passed, and what is behind the gaps is read on.
    produce(&daemon, &["c=2"])?;
    wait_for(&daemon, &["0:null=no key", "3:a=2", "6:c=2"])?;
    let from_a_gap = consume(&daemon, "--partition 0 --from 4 --limit 1")?;
    assert_eq!(from_a_gap, ["6:c=2"]);
    let refused = Cli::new(&daemon, ["produce", "t"])?
        .input("no key\n")
        .run()?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8(refused.stderr)?;
    let expected = "error: t-0: record 0 of the batch has no key, a compacted topic needs one\n\
                    hint: give every record a key, or take compact out of the topic's cleanup.policy\n";
    assert!(said.ends_with(expected), "{said}");
    // What was refused left no trace, and the topic can be what it was.
    run(&daemon, "topics alter t --config cleanup.policy=delete")?;
    Cli::new(&daemon, ["produce", "t"])?
        .input("again\n")
        .stdout()?;
    let all = consume(&daemon, "")?;
    assert_eq!(all, ["0:null=no key", "3:a=2", "6:c=2", "7:null=again"]);
    Ok(())
}

#[test]
fn a_topic_is_created_compacted_and_waits_for_its_lag() -> Result<()> {
    let daemon = DaemonOptions::default()
        .set("log.compaction_check_interval", "20ms")
        .set("log.retention_check_interval", "20ms")
        .start()?;
    let keys = "--config cleanup.policy=compact,delete --config segment.ms=1 \
                --config min.cleanable.dirty.ratio=0 --config min.compaction.lag.ms=3600000 \
                --config retention.ms=-1";
    run(&daemon, &format!("topics create t {keys}"))?;
    produce(&daemon, &["a=1", "a=2"])?;
    produce(&daemon, &["a=3"])?;
    // It is sealed, so nothing but the lag keeps it.
    let segments = daemon.partition_dir("t", 0);
    retry::until("segments roll", WITHIN, || {
        let files = std::fs::read_dir(&segments).ok()?;
        let logs = files.filter(|file| {
            let name = file.as_ref().map(std::fs::DirEntry::file_name);
            name.is_ok_and(|name| name.to_string_lossy().ends_with(".log"))
        });
        (logs.count() >= 2).then_some(())
    })?;
    assert_eq!(consume(&daemon, "")?, ["0:a=1", "1:a=2", "2:a=3"]);
    run(&daemon, "topics alter t --config min.compaction.lag.ms=0")?;
    wait_for(&daemon, &["2:a=3"])
}
