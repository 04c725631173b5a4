//! What the benchmarks share: the brokers under measurement, their load, the machine's ceilings, and how
//! figures are printed and held against their targets.

pub mod daemon;
pub mod floor;
pub mod kafka_server;
pub mod load;
pub mod loopback;
pub mod process;
pub mod report;
pub mod targets;
