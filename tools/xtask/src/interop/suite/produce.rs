//! Each client produces with each codec that it has.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::interop::matrix::Table;
use crate::interop::{
    bench::Bench,
    client::Client,
    log_files, program,
    record::{Record, sample},
    wire::Wire,
};

const PARTITIONS: i32 = 3;
/// The records' timestamps are older than Kafka keeps records by default.
const KEPT: &[(&str, &str)] = &[("retention.ms", "-1")];

/// The topic that a client fills with one codec.
pub(super) fn topic(client: &Client, codec: &str) -> String {
    format!("from-{}-{codec}", client.id())
}

/// What it holds then.
pub(super) fn records(client: &Client, codec: &str) -> Vec<Record> {
    sample(&format!("{}/{codec}", client.name))
}

/// Runs the cells of all clients.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for client in &bench.selection.clients {
        for codec in client.codecs {
            bench.cell(Table::Produce, client.name, codec, |bench| {
                produce(bench, client, codec)
            });
        }
    }
}

fn produce(bench: &Bench<'_>, client: &Client, codec: &'static str) -> Result<()> {
    let topic = topic(client, codec);
    let server = &bench.broker.server;
    Wire::connect(server)?.create_topic(&topic, PARTITIONS, KEPT)?;
    let lines: Result<Vec<_>> = records(client, codec).iter().map(Record::line).collect();
    let command = client.produce(bench.installation, server, &topic, codec);
    program::run(&command, lines?.concat().as_bytes())?;
    let mut found = log_files::codecs(&bench.broker.data_dir, &topic)?;
    // A batch that does not get smaller is sent as it is.
    if codec != "none" {
        found.remove("none");
    }
    ensure!(
        found == BTreeSet::from([codec]),
        "batches in the log are of {found:?}"
    );
    Ok(())
}
