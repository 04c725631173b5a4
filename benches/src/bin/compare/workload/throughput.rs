//! B: as fast as possible; and what the machine allows at most.

use std::{path::Path, time::Duration};

use anyhow::Result;
use millstream_benches::{floor::Floor, loopback};

use super::{KIB, Loads, add_cost, add_rate};
use crate::{
    broker::Broker,
    figure::{Case, Durability, Figures, Unit},
    perf_tools, sink,
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
/// The case of its loopback.
pub const LOOPBACK: &str = "loopback TCP, one connection";
/// The case of the generator of frames against a server that only says yes.
pub const SINK: &str = "pre-encoded frames, against a sink";

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
        let (outcome, cost) = self.run_librdkafka(options)?;
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
        let (outcome, cost) = self.run_librdkafka(&["consume=start"])?;
        let case = self.case(Kind::LibrdkafkaConsume);
        let rate = outcome.consumed as f64 / outcome.consume_s;
        add_rate(&case, rate, self.value_bytes, self.figures);
        let bytes = (outcome.consumed * self.value_bytes as u64) as f64;
        add_cost(&case, cost, bytes, self.figures);
        Ok(())
    }

    fn run_librdkafka(
        &self,
        options: &[&str],
    ) -> Result<(crate::librdkafka::Outcome, crate::broker::Cost)> {
        let time = self.loads.scale.fast;
        self.broker.metered(|address| {
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
            let produced = of.broker.metered(|address| frames.produce(address))?;
            let case = of.case(Kind::FramesProduce).with(durability);
            of.add_frames(&case, &produced);
            if durability == Durability::Memory {
                let fetched = of.broker.metered(|address| frames.fetch(address))?;
                of.add_frames(&of.case(Kind::FramesFetch), &fetched);
            }
            Ok(())
        })
    }

    fn add_frames(
        &mut self,
        case: &Case,
        (outcome, cost): &(crate::frames::Outcome, crate::broker::Cost),
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
            let (rate, cost) = of.broker.metered(|address| {
                perf_tools::produce(jars, address, TOPIC, records, of.value_bytes)
            })?;
            let case = of.case(Kind::ToolProduce).with(durability);
            add_rate(&case, rate, of.value_bytes, of.figures);
            add_cost(&case, cost, bytes, of.figures);
            if durability == Durability::Flushed {
                return Ok(());
            }
            let (rate, cost) = of
                .broker
                .metered(|address| perf_tools::consume(jars, address, TOPIC, records))?;
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
    let loopback = loopback::mb_per_s(256 << 10, time)?;
    figures.add(&Case::new(LOOPBACK), Unit::MbPerS, loopback);
    let mut frames = loads.frames("sink", 1, KIB, time);
    frames.bytes_max = u64::MAX;
    let outcome = frames.produce(&sink::start("sink")?)?;
    let rate = outcome.value_bytes as f64 / outcome.elapsed.as_secs_f64() / 1e6;
    figures.add(&Case::new(SINK), Unit::MbPerS, rate);
    Ok(())
}
