//! E: many partitions that nobody uses: what they cost, and how long a broker takes to be back with them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{KIB, Loads, add_start, ms};
use crate::{
    broker::{Broker, Site},
    figure::{Case, Durability, Figures, Unit},
};

/// Topics that share the partitions: Kafka's controller refuses to make ten thousand at once.
const TOPICS: [&str; 5] = [
    "partitions-1",
    "partitions-2",
    "partitions-3",
    "partitions-4",
    "partitions-5",
];
/// Records in each partition.
const FILLED_RECORDS: usize = 16;
/// Longer than it takes: the bytes are what ends a load.
const FOREVER: Duration = Duration::from_secs(600);

/// The case of a broker's start after its process was killed.
pub const KILLED_START: &str = "kill -9 to the first answer";
/// The case of its start after it ended by itself.
pub const CLEAN_START: &str = "clean stop to the first answer";
/// The case of the partitions at rest.
pub const IDLE: &str = "idle with partitions";

/// A broker's life with many partitions.
pub fn run(site: &Site, loads: &Loads, figures: &mut Figures) -> Result<()> {
    let idle = loads.scale.idle;
    let of_topic = loads.scale.idle_partitions / i32::try_from(TOPICS.len())?;
    let mut broker = site.start()?;
    add_start(&broker, figures);
    broker.add_idle(&Case::new("idle, no data"), idle, figures)?;
    let config = Durability::Memory.config(site.subject);
    let (mut created, mut filled) = (Duration::ZERO, Duration::ZERO);
    for topic in TOPICS {
        created += broker.control.create(topic, of_topic, config)?;
    }
    figures.add(&Case::new("partitions created"), Unit::Ms, ms(created));
    for topic in TOPICS {
        filled += fill(&broker, loads, topic, of_topic)?;
    }
    let case = Case::new("16 KiB in each, in order");
    figures.add(&case, Unit::Ms, ms(filled));
    broker.add_idle(&Case::new("idle, just filled"), idle, figures)?;
    broker.kill()?;

    let mut broker = site.start()?;
    let case = Case::new(KILLED_START);
    figures.add(&case, Unit::Ms, ms(broker.answered_after));
    let waited = Instant::now();
    for topic in TOPICS {
        broker.control.wait_for_leaders(topic, of_topic)?;
    }
    first_produce(&broker, loads)?;
    let case = Case::new("kill -9 to the first acknowledged record");
    figures.add(
        &case,
        Unit::Ms,
        ms(broker.answered_after + waited.elapsed()),
    );
    broker.add_idle(&Case::new("idle, back after kill -9"), idle, figures)?;
    broker.stop()?;

    let broker = site.start()?;
    let case = Case::new(CLEAN_START);
    figures.add(&case, Unit::Ms, ms(broker.answered_after));
    broker.add_idle(&Case::new(IDLE), idle, figures)?;
    broker.kill()
}

/// Writes a batch to each partition of a topic; how long that took.
fn fill(broker: &Broker, loads: &Loads, topic: &str, partitions: i32) -> Result<Duration> {
    let mut frames = loads.frames(topic, partitions, KIB, FOREVER);
    frames.batch_records = FILLED_RECORDS;
    frames.bytes_max = u64::try_from(partitions)? * (FILLED_RECORDS * KIB) as u64;
    Ok(frames.produce(&broker.address())?.elapsed)
}

/// One record, acknowledged.
fn first_produce(broker: &Broker, loads: &Loads) -> Result<()> {
    let topic = TOPICS.first().context("there are topics")?;
    let mut frames = loads.frames(topic, 1, KIB, FOREVER);
    frames.batch_records = 1;
    frames.connections = 1;
    frames.bytes_max = KIB as u64;
    frames.produce(&broker.address())?;
    Ok(())
}
