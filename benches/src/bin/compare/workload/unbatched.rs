//! D: one record per request, one request on its way on each connection.

use anyhow::Result;
use millstream_benches::report::Percentiles;

use super::{KIB, Loads};
use crate::{
    broker::Broker,
    figure::{Case, Durability, Figures, Unit},
    machine::Touches,
};

const CONNECTIONS: [usize; 3] = [1, 100, 1_000];
const PARTITIONS: i32 = 16;
const TOPIC: &str = "unbatched";

/// The case of so many connections.
pub fn case(connections: usize) -> Case {
    let plural = if connections == 1 { "" } else { "s" };
    Case::new(format!("1 KiB, {connections} connection{plural}"))
}

/// Every number of connections with this broker.
pub fn run(broker: &mut Broker, loads: &Loads, figures: &mut Figures) -> Result<()> {
    for durability in Durability::ALL {
        broker.create(TOPIC, PARTITIONS, durability)?;
        for connections in CONNECTIONS {
            let mut frames = loads.frames(TOPIC, PARTITIONS, KIB, loads.scale.paced);
            frames.batch_records = 1;
            frames.connections = connections;
            frames.depth = 1;
            let (outcome, cost) =
                broker.metered(Touches::Disk, |address| frames.produce(address))?;
            let case = case(connections).with(durability);
            let rate = outcome.records as f64 / outcome.elapsed.as_secs_f64();
            figures.add(&case, Unit::RecordsPerS, rate);
            let latencies = Percentiles::of(&outcome.latency_us);
            figures.add(&case, Unit::P50Ms, latencies.p50_ms);
            figures.add(&case, Unit::P99Ms, latencies.p99_ms);
            figures.add(&case, Unit::P999Ms, latencies.p999_ms);
            let cores = cost.broker_cpu.as_secs_f64() / cost.elapsed.as_secs_f64();
            figures.add(&case, Unit::BrokerCores, cores);
        }
        broker.control.delete(TOPIC)?;
    }
    Ok(())
}
