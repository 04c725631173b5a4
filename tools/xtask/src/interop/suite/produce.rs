//! Each client produces with each codec that it has, and one batch of many records.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::interop::matrix::Table;
use crate::interop::{
    bench::Bench,
    client::Client,
    log_files, program,
    record::{Record, one_batch, sample},
    wire::Wire,
};

const PARTITIONS: i32 = 3;
/// The records' timestamps are older than Kafka keeps records by default.
const KEPT: &[(&str, &str)] = &[("retention.ms", "-1")];
/// What clients that make small batches by default may put into one, as much as librdkafka does.
const BATCH_BYTES: &str = "1000000";

/// What a client sends to a topic of its own.
#[derive(Clone, Copy)]
pub(super) enum Load {
    /// The sample, with this codec.
    Sample(&'static str),
    /// Many records in one batch, without a codec.
    OneBatch,
}

impl Load {
    /// Those that one client sends and another can read.
    pub(super) fn between(writer: &Client, reader: &Client) -> Vec<Self> {
        let codecs = writer.codecs.iter().copied();
        let known = codecs.filter(|codec| reader.codecs.contains(codec));
        known.map(Self::Sample).chain([Self::OneBatch]).collect()
    }

    /// As the matrix names it.
    fn title(self) -> &'static str {
        match self {
            Self::Sample(codec) => codec,
            Self::OneBatch => "none, one batch",
        }
    }

    fn codec(self) -> &'static str {
        match self {
            Self::Sample(codec) => codec,
            Self::OneBatch => "none",
        }
    }

    /// The topic that a client fills with it.
    pub(super) fn topic(self, client: &Client) -> String {
        let name = match self {
            Self::Sample(codec) => codec,
            Self::OneBatch => "batch",
        };
        format!("from-{}-{name}", client.id())
    }

    /// What that holds then.
    pub(super) fn records(self, client: &Client) -> Vec<Record> {
        match self {
            Self::Sample(codec) => sample(&format!("{}/{codec}", client.name)),
            Self::OneBatch => one_batch(client.name),
        }
    }
}

/// Runs the cells of all clients.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for client in &bench.selection.clients {
        for load in Load::between(client, client) {
            bench.cell(Table::Produce, client.name, load.title(), |bench| {
                produce(bench, client, load)
            });
        }
    }
}

fn produce(bench: &Bench<'_>, client: &Client, load: Load) -> Result<()> {
    let topic = load.topic(client);
    let server = &bench.broker.server;
    Wire::connect(server)?.create_topic(&topic, PARTITIONS, KEPT)?;
    let lines: Result<Vec<_>> = load.records(client).iter().map(Record::line).collect();
    let mut command = client.produce(bench.installation, server, &topic, load.codec());
    if matches!(load, Load::OneBatch) {
        command.args(["--batch-bytes", BATCH_BYTES]);
    }
    program::run(&command, lines?.concat().as_bytes())?;
    let found = log_files::codecs(&bench.broker.data_dir, &topic)?;
    match load {
        Load::Sample(codec) => {
            let mut found: BTreeSet<_> = found.into_iter().collect();
            // A batch that does not get smaller is sent as it is.
            if codec != "none" {
                found.remove("none");
            }
            ensure!(
                found == BTreeSet::from([codec]),
                "batches in the log are of {found:?}"
            );
        }
        Load::OneBatch => {
            let batches = found.len();
            ensure!(batches == 1, "the records are in {batches} batches");
        }
    }
    Ok(())
}
