//! What the benchmarks share: the daemon under measurement, its load, the machine's ceilings, and how
//! figures are printed and held against their targets.

pub mod daemon;
pub mod floor;
pub mod load;
pub mod loopback;
pub mod report;
pub mod targets;
