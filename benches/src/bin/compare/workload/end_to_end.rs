//! A: records at a fixed rate, timed to their acknowledgement and to a consumer.

use anyhow::Result;

use super::{KIB, Loads, add_latencies};
use crate::{
    broker::Broker,
    figure::{Case, Durability, Figures, Unit},
    machine::Touches,
};

/// Partitions of the topic.
const PARTITIONS: i32 = 16;
const TOPIC: &str = "end-to-end";
/// Rate and linger of what a consumer reads meanwhile.
const CONSUMED: Pace = Pace {
    rate: 50_000,
    linger_ms: 5,
};
/// Rates and lingers of what is only acknowledged.
const ACKNOWLEDGED: [Pace; 4] = [
    Pace {
        rate: 1_000,
        linger_ms: 0,
    },
    Pace {
        rate: 5_000,
        linger_ms: 0,
    },
    Pace {
        rate: 20_000,
        linger_ms: 0,
    },
    Pace {
        rate: 20_000,
        linger_ms: 5,
    },
];

/// Records per second, and how long the producer waits for more of them.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub rate: u64,
    pub linger_ms: u64,
}

/// The paces at which acknowledgements are timed.
pub fn paces() -> impl Iterator<Item = Pace> {
    ACKNOWLEDGED.into_iter().chain([CONSUMED])
}

impl Pace {
    /// The case of acknowledgements at this pace.
    pub fn acknowledged(self) -> Case {
        let Self { rate, linger_ms } = self;
        Case::new(format!("acknowledged, {rate}/s, linger {linger_ms} ms"))
    }

    /// The case of records that reached a consumer.
    pub fn consumed(self) -> Case {
        let Self { rate, linger_ms } = self;
        Case::new(format!("consumed, {rate}/s, linger {linger_ms} ms"))
    }
}

/// Every pace with this broker.
pub fn run(broker: &mut Broker, loads: &Loads, figures: &mut Figures) -> Result<()> {
    for durability in Durability::ALL {
        broker.create(TOPIC, PARTITIONS, durability)?;
        for pace in paces() {
            run_pace(broker, loads, pace, durability, figures)?;
        }
        broker.control.delete(TOPIC)?;
    }
    Ok(())
}

fn run_pace(
    broker: &Broker,
    loads: &Loads,
    pace: Pace,
    durability: Durability,
    figures: &mut Figures,
) -> Result<()> {
    let (produce, linger) = (
        format!("produce={}", pace.rate),
        format!("linger-ms={}", pace.linger_ms),
    );
    let is_consumed = pace.rate == CONSUMED.rate;
    let mut options = vec![&*produce, &*linger];
    let mut time = loads.scale.paced;
    if is_consumed {
        options.push("consume=end");
        time *= 2;
    }
    let (outcome, cost) = broker.metered(Touches::Disk, |address| {
        loads.run_librdkafka(address, TOPIC, PARTITIONS, KIB, time, &options)
    })?;
    let case = pace.acknowledged().with(durability);
    add_latencies(&case, outcome.acknowledged_ms, figures);
    let cores = cost.broker_cpu.as_secs_f64() / cost.elapsed.as_secs_f64();
    figures.add(&case, Unit::BrokerCores, cores);
    if is_consumed {
        let case = pace.consumed().with(durability);
        add_latencies(&case, outcome.consumed_ms, figures);
    }
    Ok(())
}
