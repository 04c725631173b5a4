//! D: one record per request, one request on its way on each connection.

use std::path::Path;

use anyhow::Result;
use millstream_benches::report::Percentiles;

use super::{KIB, Loads};
use crate::{
    bare::Server,
    broker::Broker,
    figure::{Case, Durability, Figures, Unit},
    frames,
    machine::{self, Touches},
};

const CONNECTIONS: [usize; 3] = [1, 100, 1_000];
const PARTITIONS: i32 = 16;
const TOPIC: &str = "unbatched";

/// The case of so many connections.
pub fn case(connections: usize) -> Case {
    let plural = if connections == 1 { "" } else { "s" };
    Case::new(format!("1 KiB, {connections} connection{plural}"))
}

/// The case of one connection to a server that appends each message to a file and answers, and does nothing of
/// its own.
pub const BARE: &str = "1 KiB, 1 connection, against a bare loop of recv and pwrite";

/// Every number of connections with this broker.
pub fn run(broker: &mut Broker, loads: &Loads, figures: &mut Figures) -> Result<()> {
    for durability in Durability::ALL {
        broker.create(TOPIC, PARTITIONS, durability)?;
        for connections in CONNECTIONS {
            let frames = one_by_one(loads, connections);
            let (outcome, cost) =
                broker.metered(Touches::Disk, |address| frames.produce(address))?;
            let case = case(connections).with(durability);
            let rate = outcome.records as f64 / outcome.elapsed.as_secs_f64();
            figures.add(&case, Unit::RecordsPerS, rate);
            add_latencies(&case, &outcome, figures);
            let cores = cost.broker_cpu.as_secs_f64() / cost.elapsed.as_secs_f64();
            figures.add(&case, Unit::BrokerCores, cores);
        }
        broker.control.delete(TOPIC)?;
    }
    Ok(())
}

/// What the machine allows at most: the way there and back, and a write between.
pub fn ceilings(dir: &Path, loads: &Loads, figures: &mut Figures) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let frames = one_by_one(loads, 1);
    let answer = frames::produce_answer(&frames.topic)?;
    machine::settle(Touches::Disk)?;
    let server = Server::log(frames.connections, answer, dir)?;
    let outcome = frames.produce(&server.address)?;
    add_latencies(&Case::new(BARE), &outcome, figures);
    server.cpu().map(drop)
}

/// One record per request, one request on its way on each connection.
fn one_by_one(loads: &Loads, connections: usize) -> frames::Load {
    frames::Load {
        batch_records: 1,
        connections,
        depth: 1,
        ..loads.frames(TOPIC, PARTITIONS, KIB, loads.scale.paced)
    }
}

fn add_latencies(case: &Case, outcome: &frames::Outcome, figures: &mut Figures) {
    let latencies = Percentiles::of(&outcome.latency_us);
    figures.add(case, Unit::P50Ms, latencies.p50_ms);
    figures.add(case, Unit::P99Ms, latencies.p99_ms);
    figures.add(case, Unit::P999Ms, latencies.p999_ms);
}
