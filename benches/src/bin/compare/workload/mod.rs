//! The workloads of the comparison, each the same for both brokers.

pub mod end_to_end;
pub mod partitions;
pub mod throughput;
pub mod unbatched;

use std::{fmt, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use millstream_benches::kafka_server::KafkaJars;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{Broker, Cost, Site},
    figure::{Case, Durability, Figures, Subject, Unit},
    frames,
    librdkafka::{Latencies, Librdkafka},
};

/// A GiB as a number.
const GIB: f64 = (1_u64 << 30) as f64;
/// Bytes of a large record's value.
pub const KIB: usize = 1024;

/// A workload, under the letter that the design gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "UPPER")]
pub enum Workload {
    /// Paced records end to end, and acknowledgements at several rates
    A,
    /// As fast as possible
    B,
    /// One record per request, many connections
    D,
    /// 10,000 idle partitions
    E,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A: acknowledgements, and records end to end, librdkafka on an open loop",
            Self::B => "B: as fast as possible",
            Self::D => "D: one record per request, one request on its way per connection",
            Self::E => "E: idle partitions",
        })
    }
}

/// How long and how large.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// How long a load runs that is as fast as possible.
    pub fast: Duration,
    /// How long one is paced.
    pub paced: Duration,
    /// How long a broker is warmed up with each kind of load, before anything counts.
    pub warm_up: Duration,
    /// How long an idle broker is watched.
    pub idle: Duration,
    /// Records of Kafka's own tools.
    pub tool_records: u64,
    /// Partitions of E.
    pub idle_partitions: i32,
}

impl Scale {
    /// What counts.
    pub const FULL: Self = Self {
        fast: Duration::from_secs(3),
        paced: Duration::from_secs(10),
        warm_up: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        tool_records: 500_000,
        idle_partitions: 10_000,
    };
    /// What shows that everything works.
    pub const QUICK: Self = Self {
        fast: Duration::from_secs(1),
        paced: Duration::from_secs(2),
        warm_up: Duration::from_secs(2),
        idle: Duration::from_secs(2),
        tool_records: 50_000,
        idle_partitions: 500,
    };
}

/// What makes the loads.
#[derive(Debug, Clone)]
pub struct Loads {
    /// How long and how large they are.
    pub scale: Scale,
    /// Kafka's tools.
    pub jars: KafkaJars,
    /// librdkafka.
    pub librdkafka: Librdkafka,
}

impl Workload {
    /// One round of it with one broker.
    ///
    /// # Errors
    /// The broker or a load failed.
    pub fn run(self, site: &Site, loads: &Loads) -> Result<Figures> {
        let mut figures = Figures::default();
        if site.subject == Subject::Machine {
            match self {
                Self::B => throughput::ceilings(&site.dir, loads, &mut figures)?,
                Self::D => unbatched::ceilings(&site.dir, loads, &mut figures)?,
                Self::A | Self::E => {}
            }
            return Ok(figures);
        }
        site.prepare()?;
        if self == Self::E {
            partitions::run(site, loads, &mut figures)?;
            return Ok(figures);
        }
        let mut broker = site.start()?;
        add_start(&broker, &mut figures);
        loads.warm_up(&mut broker)?;
        match self {
            Self::A => end_to_end::run(&mut broker, loads, &mut figures)?,
            Self::B => throughput::run(&mut broker, loads, &mut figures)?,
            Self::D | Self::E => unbatched::run(&mut broker, loads, &mut figures)?,
        }
        broker.add_peaks(&mut figures)?;
        broker.kill()?;
        Ok(figures)
    }
}

/// Adds how long the first start took.
fn add_start(broker: &Broker, figures: &mut Figures) {
    let case = Case::new(FIRST_START);
    figures.add(&case, Unit::Ms, ms(broker.answered_after));
}

/// The case of a broker's start without data.
pub const FIRST_START: &str = "start to the first answer, no data";
/// The case of its memory over a whole round.
pub const MOST_MEMORY: &str = "most memory in the round";

impl Loads {
    /// Exercises what is measured until a just-in-time compiler has seen it.
    fn warm_up(&self, broker: &mut Broker) -> Result<()> {
        let topic = "warm-up";
        for durability in Durability::ALL {
            broker.create(topic, 16, durability)?;
            let frames = self.frames(topic, 16, KIB, self.scale.warm_up);
            frames.produce(&broker.address())?;
            frames.fetch(&broker.address())?;
            self.run_librdkafka(
                &broker.address(),
                topic,
                16,
                KIB,
                self.scale.warm_up,
                &["produce=0", "consume=end"],
            )?;
            broker.control.delete(topic)?;
        }
        Ok(())
    }

    /// Frames of about 64 KiB on four connections.
    fn frames(
        &self,
        topic: &str,
        partitions: i32,
        value_bytes: usize,
        time: Duration,
    ) -> frames::Load {
        frames::Load {
            topic: topic.to_owned(),
            partitions,
            value_bytes,
            batch_records: (64 << 10) / value_bytes,
            connections: 4,
            depth: 5,
            time,
            bytes_max: 2 << 30,
        }
    }

    fn run_librdkafka(
        &self,
        address: &str,
        topic: &str,
        partitions: i32,
        value_bytes: usize,
        time: Duration,
        options: &[&str],
    ) -> Result<crate::librdkafka::Outcome> {
        let mut all = vec![
            format!("partitions={partitions}"),
            format!("bytes={value_bytes}"),
            format!("seconds={}", time.as_secs()),
        ];
        all.extend(options.iter().map(|option| (*option).to_owned()));
        self.librdkafka.run(address, topic, &all)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Adds a rate, and what it cost.
fn add_rate(case: &Case, records_per_s: f64, value_bytes: usize, figures: &mut Figures) {
    figures.add(case, Unit::MbPerS, records_per_s * value_bytes as f64 / 1e6);
    figures.add(case, Unit::RecordsPerS, records_per_s);
}

/// Adds what each GiB of values cost.
fn add_cost(case: &Case, cost: Cost, value_bytes: f64, figures: &mut Figures) {
    let per_gib = |time: Duration| time.as_secs_f64() / (value_bytes / GIB);
    figures.add(case, Unit::BrokerCpuPerGib, per_gib(cost.broker_cpu));
    figures.add(case, Unit::ClientCpuPerGib, per_gib(cost.client_cpu));
}

/// Adds the percentiles of a latency.
fn add_latencies(case: &Case, latencies: Latencies, figures: &mut Figures) {
    figures.add(case, Unit::P50Ms, latencies.p50);
    figures.add(case, Unit::P99Ms, latencies.p99);
    figures.add(case, Unit::P999Ms, latencies.p999);
    figures.add(case, Unit::P9999Ms, latencies.p9999);
}
