//! Each client reads what each has produced.

use anyhow::{Context, Result};

use super::produce::Load;
use crate::interop::{
    bench::Bench,
    client::{Client, Protocol, Subscription},
    matrix::Table,
    program,
    record::{Loss, Record, compare},
};

/// Runs the cells of all pairs of clients, with each protocol that the reader has.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for reader in &bench.selection.clients {
        for protocol in reader.protocols {
            for writer in &bench.selection.clients {
                let row = super::row(reader, *protocol);
                bench.cell(Table::Consume, &row, writer.name, |bench| {
                    consume(bench, reader, *protocol, writer)
                });
            }
        }
    }
}

fn consume(bench: &Bench<'_>, reader: &Client, protocol: Protocol, writer: &Client) -> Result<()> {
    let loads = Load::between(writer, reader);
    let topics: Vec<_> = loads.iter().map(|load| load.topic(writer)).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let sent: Vec<_> = loads.iter().map(|load| load.records(writer)).collect();
    let subscription = Subscription {
        topics: &topics,
        group: &format!("{}-{}-of-{}", reader.id(), protocol.name(), writer.id()),
        protocol,
        count: Some(sent.iter().map(Vec::len).sum()),
    };
    let command = reader.consume(bench.installation, &bench.broker.server, &subscription);
    let output = program::run(&command, b"")?;
    let got: Result<Vec<_>> = output.stdout.lines().map(Record::parse).collect();
    let got = got?;
    let losses: Vec<Loss> = [writer.sends_without, reader.reads_without].concat();
    for (topic, sent) in topics.iter().zip(&sent) {
        let got: Vec<_> = got.iter().filter(|record| record.topic == *topic).collect();
        compare(sent, &got, &losses).with_context(|| (*topic).to_owned())?;
    }
    Ok(())
}
