//! B: as fast as possible; and what the machine allows at most.

use std::{path::Path, time::Duration};

use anyhow::Result;
use millstream_benches::{floor::Floor, loopback, process};

use super::{GIB, KIB, Loads, add_cost, add_rate};
use crate::{
    bare::{KafkaServer, Server, Shelf},
    broker::Broker,
    figure::{Case, Durability, Figures, Unit},
    frames,
    machine::{self, Touches},
    perf_tools,
};

const VALUE_BYTES: [usize; 2] = [KIB, 100];
const PARTITIONS: [i32; 2] = [1, 16];
const TOPIC: &str = "throughput";

/// The loads of this workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    LibrdkafkaProduce,
    LibrdkafkaConsume,
    LibrdkafkaBoth,
    FramesProduce,
    FramesFetch,
    ToolProduce,
    ToolConsume,
}

impl Kind {
    /// A case of it.
    pub fn case(self, value_bytes: usize, partitions: i32) -> Case {
        let kind = match self {
            Self::LibrdkafkaProduce => "librdkafka produce",
            Self::LibrdkafkaConsume => "librdkafka consume",
            Self::LibrdkafkaBoth => "librdkafka produce and consume at once",
            Self::FramesProduce => "pre-encoded frames, produce",
            Self::FramesFetch => "pre-encoded frames, fetch",
            Self::ToolProduce => "ProducerPerformance",
            Self::ToolConsume => "ConsumerPerformance",
        };
        let size = match value_bytes {
            KIB => "1 KiB".to_owned(),
            bytes => format!("{bytes} B"),
        };
        let plural = if partitions == 1 { "" } else { "s" };
        Case::new(format!("{kind}, {size}, {partitions} partition{plural}"))
    }
}

/// The case of the machine's disk.
pub const DISK: &str = "1 MiB pwrite and fdatasync, one file";
/// The case of the same with a file for each of many partitions.
pub const DISK_MANY: &str = "64 KiB pwrite and fdatasync, 16 files at once";
/// The case of its loopback.
pub const LOOPBACK: &str = "loopback TCP, one connection";
/// What the machine allows librdkafka with so many partitions.
#[derive(Debug)]
pub struct LibrdkafkaCeiling {
    /// How many.
    pub partitions: i32,
    /// The case of producing to a server that keeps nothing.
    pub sink: &'static str,
    /// The case of consuming from one that has the batches in a file.
    pub shelf: &'static str,
}

/// For each number of partitions.
pub const LIBRDKAFKA_CEILINGS: [LibrdkafkaCeiling; 2] = [
    LibrdkafkaCeiling {
        partitions: 1,
        sink: "librdkafka produce, 1 KiB, 1 partition, against a sink",
        shelf: "librdkafka consume, 1 KiB, 1 partition, against a bare loop of sendfile",
    },
    LibrdkafkaCeiling {
        partitions: 16,
        sink: "librdkafka produce, 1 KiB, 16 partitions, against a sink",
        shelf: "librdkafka consume, 1 KiB, 16 partitions, against a bare loop of sendfile",
    },
];
/// The case of the generator of frames against a server that only says yes.
pub const SINK: &str = "pre-encoded frames, against a sink";

/// The case of the same against one that appends them to files.
pub const BARE_PRODUCE: &str = "pre-encoded frames, against a bare loop of recv and pwrite";
/// The case of the same where they are on disk before they are answered.
pub const BARE_FLUSHED: &str =
    "pre-encoded frames, against a bare loop of recv, pwrite and fdatasync, one file";
/// The case of the same with a file for each of many partitions.
pub const BARE_FLUSHED_MANY: &str =
    "pre-encoded frames, against a bare loop of recv, pwrite and fdatasync, 16 files";
/// The case of reading from one that has the answers in a file.
pub const BARE_FETCH: &str = "pre-encoded frames, against a bare loop of sendfile";
/// Bytes of such a file: what consumers of a load get through in a second or two.
const SHELF_BYTES: u64 = 2 << 30;

/// Every load with this broker.
pub fn run(broker: &mut Broker, loads: &Loads, figures: &mut Figures) -> Result<()> {
    for value_bytes in VALUE_BYTES {
        for partitions in PARTITIONS {
            let mut of = Of {
                broker,
                loads,
                figures,
                value_bytes,
                partitions,
            };
            for durability in Durability::ALL {
                of.librdkafka(durability)?;
                of.frames(durability)?;
                if value_bytes == KIB {
                    of.tools(durability)?;
                }
            }
        }
    }
    Ok(())
}

/// Loads of one size on one number of partitions.
struct Of<'a> {
    broker: &'a mut Broker,
    loads: &'a Loads,
    figures: &'a mut Figures,
    value_bytes: usize,
    partitions: i32,
}

impl Of<'_> {
    fn case(&self, kind: Kind) -> Case {
        kind.case(self.value_bytes, self.partitions)
    }

    /// Runs loads on a new topic.
    fn on_topic(
        &mut self,
        durability: Durability,
        run: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.broker.create(TOPIC, self.partitions, durability)?;
        run(self)?;
        self.broker.control.delete(TOPIC)
    }

    /// Reading does not depend on the durability, so it is measured once.
    fn librdkafka(&mut self, durability: Durability) -> Result<()> {
        self.on_topic(durability, |of| {
            of.librdkafka_produce(Kind::LibrdkafkaProduce, durability, &["produce=0"])?;
            match durability {
                Durability::Memory => of.librdkafka_consume(),
                Durability::Flushed => Ok(()),
            }
        })?;
        self.on_topic(durability, |of| {
            let options = ["produce=0", "consume=end"];
            of.librdkafka_produce(Kind::LibrdkafkaBoth, durability, &options)
        })
    }

    fn librdkafka_produce(
        &mut self,
        kind: Kind,
        durability: Durability,
        options: &[&str],
    ) -> Result<()> {
        let (outcome, cost) = self.run_librdkafka(Touches::Disk, options)?;
        let case = self.case(kind).with(durability);
        let seconds = match kind {
            Kind::LibrdkafkaBoth => outcome.produce_s.max(outcome.consume_s),
            _ => outcome.produce_s,
        };
        let rate = outcome.sent as f64 / seconds;
        add_rate(&case, rate, self.value_bytes, self.figures);
        let bytes = (outcome.sent * self.value_bytes as u64) as f64;
        add_cost(&case, cost, bytes, self.figures);
        Ok(())
    }

    fn librdkafka_consume(&mut self) -> Result<()> {
        let (outcome, cost) = self.run_librdkafka(Touches::Memory, &["consume=start"])?;
        let case = self.case(Kind::LibrdkafkaConsume);
        let rate = outcome.consumed as f64 / outcome.consume_s;
        add_rate(&case, rate, self.value_bytes, self.figures);
        let bytes = (outcome.consumed * self.value_bytes as u64) as f64;
        add_cost(&case, cost, bytes, self.figures);
        Ok(())
    }

    fn run_librdkafka(
        &self,
        touches: Touches,
        options: &[&str],
    ) -> Result<(crate::librdkafka::Outcome, crate::broker::Cost)> {
        let time = self.loads.scale.fast;
        self.broker.metered(touches, |address| {
            self.loads.run_librdkafka(
                address,
                TOPIC,
                self.partitions,
                self.value_bytes,
                time,
                options,
            )
        })
    }

    fn frames(&mut self, durability: Durability) -> Result<()> {
        self.on_topic(durability, |of| {
            let time = of.loads.scale.fast;
            let frames = of.loads.frames(TOPIC, of.partitions, of.value_bytes, time);
            let produced = of
                .broker
                .metered(Touches::Disk, |address| frames.produce(address))?;
            let case = of.case(Kind::FramesProduce).with(durability);
            of.add_frames(&case, &produced);
            if durability == Durability::Memory {
                let fetched = of
                    .broker
                    .metered(Touches::Memory, |address| frames.fetch(address))?;
                of.add_frames(&of.case(Kind::FramesFetch), &fetched);
            }
            Ok(())
        })
    }

    fn add_frames(
        &mut self,
        case: &Case,
        (outcome, cost): &(frames::Outcome, crate::broker::Cost),
    ) {
        let rate = outcome.records as f64 / outcome.elapsed.as_secs_f64();
        add_rate(case, rate, self.value_bytes, self.figures);
        add_cost(case, *cost, outcome.value_bytes as f64, self.figures);
    }

    fn tools(&mut self, durability: Durability) -> Result<()> {
        let records = self.loads.scale.tool_records;
        let bytes = (records * self.value_bytes as u64) as f64;
        self.on_topic(durability, |of| {
            let jars = &of.loads.jars;
            let (rate, cost) = of.broker.metered(Touches::Disk, |address| {
                perf_tools::produce(jars, address, TOPIC, records, of.value_bytes)
            })?;
            let case = of.case(Kind::ToolProduce).with(durability);
            add_rate(&case, rate, of.value_bytes, of.figures);
            add_cost(&case, cost, bytes, of.figures);
            if durability == Durability::Flushed {
                return Ok(());
            }
            let (rate, cost) = of.broker.metered(Touches::Memory, |address| {
                perf_tools::consume(jars, address, TOPIC, records)
            })?;
            let case = of.case(Kind::ToolConsume);
            add_rate(&case, rate, of.value_bytes, of.figures);
            add_cost(&case, cost, bytes, of.figures);
            Ok(())
        })
    }
}

/// What the machine allows at most.
pub fn ceilings(dir: &Path, loads: &Loads, figures: &mut Figures) -> Result<()> {
    let time = loads.scale.fast.min(Duration::from_secs(3));
    std::fs::create_dir_all(dir)?;
    let floor = Floor {
        size: 1 << 20,
        files: 1,
        rate: None,
        time,
    };
    let disk = floor.measure(dir)?.mb_per_s();
    figures.add(&Case::new(DISK), Unit::MbPerS, disk);
    let floor = Floor {
        size: 64 << 10,
        files: 16,
        ..floor
    };
    let before = process::own_and_children_cpu()?;
    let rounds = floor.measure(dir)?;
    let cpu = process::own_and_children_cpu()? - before;
    let case = Case::new(DISK_MANY);
    figures.add(&case, Unit::MbPerS, rounds.mb_per_s());
    let per_gib = cpu.as_secs_f64() / (rounds.bytes() as f64 / GIB);
    figures.add(&case, Unit::BrokerCpuPerGib, per_gib);
    let loopback = loopback::mb_per_s(256 << 10, time)?;
    figures.add(&Case::new(LOOPBACK), Unit::MbPerS, loopback);
    bare_servers(dir, loads, figures)?;
    for ceiling in &LIBRDKAFKA_CEILINGS {
        librdkafka_sink(ceiling, loads, figures)?;
        librdkafka_shelf(ceiling, dir, loads, figures)?;
    }
    Ok(())
}

fn librdkafka_sink(
    ceiling: &LibrdkafkaCeiling,
    loads: &Loads,
    figures: &mut Figures,
) -> Result<()> {
    let partitions = ceiling.partitions;
    let server = KafkaServer::start("bare", partitions, None)?;
    let (address, time) = (&server.address, loads.scale.fast);
    let outcome = loads.run_librdkafka(address, "bare", partitions, KIB, time, &["produce=0"])?;
    let rate = outcome.sent as f64 * KIB as f64 / outcome.produce_s / 1e6;
    figures.add(&Case::new(ceiling.sink), Unit::MbPerS, rate);
    Ok(())
}

fn librdkafka_shelf(
    ceiling: &LibrdkafkaCeiling,
    dir: &Path,
    loads: &Loads,
    figures: &mut Figures,
) -> Result<()> {
    let partitions = ceiling.partitions;
    let batch = loads
        .frames("bare", partitions, KIB, loads.scale.fast)
        .batch()?;
    let parts = u64::try_from(partitions)?;
    let shelf = Shelf::write(&dir.join("shelf"), &batch, parts, SHELF_BYTES)?;
    machine::settle(Touches::Memory)?;
    let server = KafkaServer::start("bare", partitions, Some(shelf))?;
    let (address, time) = (&server.address, loads.scale.fast);
    let outcome =
        loads.run_librdkafka(address, "bare", partitions, KIB, time, &["consume=start"])?;
    let bytes = outcome.consumed as f64 * KIB as f64;
    let case = Case::new(ceiling.shelf);
    let per_gib = server.cpu().as_secs_f64() / (bytes / GIB);
    figures.add(&case, Unit::MbPerS, bytes / outcome.consume_s / 1e6);
    figures.add(&case, Unit::BrokerCpuPerGib, per_gib);
    Ok(())
}

/// The generator of frames against servers that do nothing of their own.
fn bare_servers(dir: &Path, loads: &Loads, figures: &mut Figures) -> Result<()> {
    let frames = loads.frames("bare", 1, KIB, loads.scale.fast);
    let answer = frames::produce_answer(&frames.topic)?;
    let mut add = |case, server: Server, outcome: frames::Outcome| {
        let (case, bytes) = (Case::new(case), outcome.value_bytes as f64);
        let rate = bytes / outcome.elapsed.as_secs_f64() / 1e6;
        figures.add(&case, Unit::MbPerS, rate);
        let per_gib = server.cpu()?.as_secs_f64() / (bytes / GIB);
        figures.add(&case, Unit::BrokerCpuPerGib, per_gib);
        anyhow::Ok(())
    };

    let server = Server::sink(frames.connections, answer.clone())?;
    let outcome = frames.produce(&server.address)?;
    add(SINK, server, outcome)?;

    machine::settle(Touches::Disk)?;
    let server = Server::log(frames.connections, answer.clone(), dir)?;
    let outcome = frames.produce(&server.address)?;
    add(BARE_PRODUCE, server, outcome)?;

    for (files, case) in [(1, BARE_FLUSHED), (16, BARE_FLUSHED_MANY)] {
        machine::settle(Touches::Disk)?;
        let server = Server::flushed_log(frames.connections, files, answer.clone(), dir)?;
        let outcome = frames.produce(&server.address)?;
        add(case, server, outcome)?;
    }

    let shelf = Shelf::write(&dir.join("shelf"), &frames.batch()?, 1, SHELF_BYTES)?;
    machine::settle(Touches::Memory)?;
    let server = Server::shelf(frames.connections, &frames.topic, shelf)?;
    let outcome = frames.fetch(&server.address)?;
    add(BARE_FETCH, server, outcome)
}
