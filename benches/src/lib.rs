//! What the benchmarks share: how a machine and a distribution are printed.

pub mod report;
