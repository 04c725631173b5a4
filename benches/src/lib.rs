//! What the benchmarks share: the daemon under measurement, and how figures are printed.

pub mod daemon;
pub mod report;
