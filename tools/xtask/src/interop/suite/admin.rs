//! Each client makes the administrative calls that it has and Kafka's tools have not.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::interop::{
    bench::Bench,
    client::{AdminCall, Client},
    matrix::Table,
    program,
    record::{Record, sample},
    wire::{Resource, Wire},
};

/// As `tests/interop/README.md` says.
const DELETED_BEFORE: &str = "5";
/// How long a changed configuration may take to be told.
const CHANGED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// The records' timestamps are older than Kafka keeps records by default.
const KEPT: (&str, &str) = ("retention.ms", "-1");
const POLICY: &str = "cleanup.policy";

/// Runs the cells of all clients.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for client in &bench.selection.clients {
        for call in client.admin {
            bench.cell(Table::Admin, client.name, call.title(), |bench| {
                check(bench, client, *call)
            });
        }
    }
}

fn check(bench: &Bench<'_>, client: &Client, call: AdminCall) -> Result<()> {
    let server = &bench.broker.server;
    let topic = format!("admin-{}-{}", client.id(), call.name());
    let mut wire = Wire::connect(server)?;
    match call {
        AdminCall::SubtractConfig => wire.create_topic(&topic, 1, &[(POLICY, "compact,delete")])?,
        _ => wire.create_topic(&topic, 1, &[KEPT])?,
    }
    if call.is_about_records() {
        let records = sample(&topic);
        let lines: Result<Vec<_>> = records.iter().map(Record::line).collect();
        let produce = client.produce(bench.installation, server, &topic, "none");
        program::run(&produce, lines?.concat().as_bytes())?;
    }
    let admin = client.admin(bench.installation, server, &topic, call);
    let said = program::run(&admin, b"")?.stdout;
    match call {
        AdminCall::DescribeProducers => ensure!(said.trim() == "1", "{said} producers"),
        AdminCall::DeleteRecords => ensure!(said.trim() == DELETED_BEFORE, "it starts at {said}"),
        AdminCall::DescribeLogDirs => {
            let bytes = log_bytes(bench, &topic)?.to_string();
            ensure!(said.trim() == bytes, "{said} bytes, its log has {bytes}");
        }
        AdminCall::ListConfigResources => {
            ensure!(said.lines().any(|line| line == topic), "it lists {said:?}");
        }
        AdminCall::AppendConfig => wait_for_policy(&mut wire, &topic, "delete,compact")?,
        AdminCall::SubtractConfig => wait_for_policy(&mut wire, &topic, "compact")?,
    }
    Ok(())
}

/// Bytes of the segment of a topic's only partition.
fn log_bytes(bench: &Bench<'_>, topic: &str) -> Result<u64> {
    let directory = bench.broker.data_dir.join(format!("{topic}-0"));
    let log = directory.join(format!("{:020}.log", 0));
    let metadata = fs::metadata(&log).with_context(|| log.display().to_string())?;
    Ok(metadata.len())
}

/// Waits until a topic has this policy: what the controller has taken a broker tells a moment later.
fn wait_for_policy(wire: &mut Wire, topic: &str, expected: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let keys = wire.describe_configs(Resource::Topic, topic)?;
        let keys = keys.map_err(anyhow::Error::msg)?;
        let found = keys.into_iter().find(|key| key.name == POLICY);
        let found = found.and_then(|key| key.value).unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        ensure!(start.elapsed() < CHANGED_WITHIN, "{POLICY} is {found}");
        thread::sleep(POLL);
    }
}
