//! The month of flights through the command line and back, byte for byte.
//!
//! `MILLSTREAM_FLIGHTS` names another file of the same form, for the whole year.

use std::{collections::HashMap, env, path::Path};

use anyhow::{Result, ensure};
use millstream_tests::{
    Cli, Daemon,
    flights::{Flights, tailnum},
};

const PARTITIONS: usize = 8;
const TOPIC: &str = "flights";

fn input() -> Result<Flights> {
    env::var_os("MILLSTREAM_FLIGHTS")
        .map_or_else(Flights::sample, |path| Flights::read(Path::new(&path)))
}

/// The rows of each key, in order.
fn by_key<'a>(rows: impl Iterator<Item = &'a str>) -> HashMap<&'a str, Vec<&'a str>> {
    let mut keys: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        keys.entry(tailnum(row)).or_default().push(row);
    }
    keys
}

fn consume(daemon: &Daemon, arguments: &[&str]) -> Result<String> {
    let output = Cli::new(daemon, [&["consume", TOPIC], arguments].concat())?.stdout()?;
    Ok(String::from_utf8(output)?)
}

#[test]
fn every_flight_comes_back_and_each_keys_flights_in_order() -> Result<()> {
    let flights = input()?;
    let daemon = Daemon::start()?;
    let partitions = PARTITIONS.to_string();
    Cli::new(
        &daemon,
        ["topics", "create", TOPIC, "--partitions", &partitions],
    )?
    .stdout()?;
    Cli::new(
        &daemon,
        ["produce", TOPIC, "--format", "csv", "--key", "tailnum"],
    )?
    .input(flights.text())
    .stdout()?;

    let mut expected: Vec<_> = flights.rows().collect();
    let all = consume(&daemon, &[])?;
    let mut found: Vec<_> = all.lines().collect();
    assert_eq!(found.len(), expected.len());
    expected.sort_unstable();
    found.sort_unstable();
    ensure!(found == expected, "the rows differ");

    let mut keys = by_key(flights.rows());
    assert!(
        keys.get("NA").is_some_and(|rows| rows.len() >= 155),
        "cancelled flights are keyed NA"
    );
    let mut partitions_used = 0;
    for partition in 0..PARTITIONS {
        let text = consume(&daemon, &["--partition", &partition.to_string()])?;
        partitions_used += usize::from(!text.is_empty());
        for (key, rows) in by_key(text.lines()) {
            let sent = keys.remove(key);
            ensure!(
                sent.as_deref() == Some(&rows[..]),
                "rows of {key} differ or are split"
            );
        }
    }
    assert!(keys.is_empty(), "{} keys are missing", keys.len());
    assert_eq!(partitions_used, PARTITIONS);
    Ok(())
}

#[test]
fn a_file_argument_and_limits_work_as_standard_input_does() -> Result<()> {
    let flights = Flights::sample()?;
    let daemon = Daemon::start()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("flights.csv");
    std::fs::write(
        &path,
        flights
            .text()
            .lines()
            .take(101)
            .collect::<Vec<_>>()
            .join("\n")
            + "\n",
    )?;
    let path = path.to_string_lossy().into_owned();
    Cli::new(&daemon, ["topics", "create", TOPIC, "--partitions", "1"])?.stdout()?;
    Cli::new(
        &daemon,
        [
            "produce", TOPIC, &path, "--format", "csv", "--key", "tailnum",
        ],
    )?
    .stdout()?;
    let expected: Vec<_> = flights.rows().take(100).collect();
    assert_eq!(consume(&daemon, &[])?.lines().collect::<Vec<_>>(), expected);
    let some = consume(&daemon, &["--from", "10", "--limit", "5"])?;
    assert_eq!(some.lines().collect::<Vec<_>>(), expected[10..15]);
    Ok(())
}
