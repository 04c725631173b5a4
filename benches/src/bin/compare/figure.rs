//! [`Figure`]: one measured value, and what it is of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whom a figure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Apache Kafka.
    Kafka,
    /// Millstream.
    Millstream,
    /// The machine itself: what it allows at most.
    Machine,
}

/// What an acknowledged record has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing but the process: Kafka's default, and our `replicated` on one broker.
    Memory,
    /// A power cut: Kafka's `flush.messages=1`, and our `fsync`.
    Flushed,
}

impl Durability {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Flushed];

    /// The topic configuration that asks for it.
    pub const fn config(self, subject: Subject) -> Option<(&'static str, &'static str)> {
        match (subject, self) {
            (Subject::Millstream, Self::Memory) => Some(("millstream.durability", "replicated")),
            (Subject::Millstream, Self::Flushed) => Some(("millstream.durability", "fsync")),
            (_, Self::Memory) => None,
            (_, Self::Flushed) => Some(("flush.messages", "1")),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Flushed => "flushed",
        })
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// In words.
    pub load: String,
    /// Where it matters.
    pub durability: Option<Durability>,
}

impl Case {
    /// A case whatever the durability.
    pub fn new(load: impl Into<String>) -> Self {
        Self {
            load: load.into(),
            durability: None,
        }
    }

    /// The same with a durability.
    pub fn with(self, durability: Durability) -> Self {
        Self {
            durability: Some(durability),
            ..self
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.load)?;
        match self.durability {
            Some(durability) => write!(f, ", {durability}"),
            None => Ok(()),
        }
    }
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// MB of values per second.
    MbPerS,
    /// Records per second.
    RecordsPerS,
    /// Processor seconds of the broker for each GiB of values.
    BrokerCpuPerGib,
    /// The same of the client.
    ClientCpuPerGib,
    /// Processors that the broker kept busy.
    BrokerCores,
    /// Milliseconds that half of all stayed below.
    P50Ms,
    /// 99 of 100.
    P99Ms,
    /// 999 of 1,000.
    P999Ms,
    /// 9,999 of 10,000.
    P9999Ms,
    /// Milliseconds.
    Ms,
    /// MiB of memory of its own: RssAnon + RssShmem.
    OwnMib,
    /// MiB of all resident pages, file maps included.
    ResidentMib,
    /// Percent of one processor.
    IdlePercent,
}

impl Unit {
    /// All, in the order in which tables have them.
    pub const ALL: [Self; 13] = [
        Self::MbPerS,
        Self::RecordsPerS,
        Self::P50Ms,
        Self::P99Ms,
        Self::P999Ms,
        Self::P9999Ms,
        Self::BrokerCpuPerGib,
        Self::ClientCpuPerGib,
        Self::BrokerCores,
        Self::Ms,
        Self::OwnMib,
        Self::ResidentMib,
        Self::IdlePercent,
    ];
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MbPerS => "MB/s",
            Self::RecordsPerS => "records/s",
            Self::BrokerCpuPerGib => "broker CPU-s/GiB",
            Self::ClientCpuPerGib => "client CPU-s/GiB",
            Self::BrokerCores => "broker cores",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::P999Ms => "p99.9 ms",
            Self::P9999Ms => "p99.99 ms",
            Self::Ms => "ms",
            Self::OwnMib => "own MiB",
            Self::ResidentMib => "RSS MiB",
            Self::IdlePercent => "% of a core",
        })
    }
}

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was done.
    #[serde(flatten)]
    pub case: Case,
    /// What is counted.
    pub unit: Unit,
    /// How much.
    pub value: f64,
}

/// All figures of one run.
#[derive(Debug, Default)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Adds a value.
    pub fn add(&mut self, case: &Case, unit: Unit, value: f64) {
        self.0.push(Figure {
            case: case.clone(),
            unit,
            value,
        });
    }
}
