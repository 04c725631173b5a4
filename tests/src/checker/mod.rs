//! What clients sent, were told and read, and what in it contradicts the broker's promises.
//!
//! Anomalies carry the names of Jepsen's Kafka workload. A [`History`] belongs to one partition and
//! keeps its operations in the order in which they were observed.

mod anomaly;
mod check;
mod history;
mod value;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Report};
pub use check::check;
pub use history::{History, Operation, ReaderId};
pub use value::{ValueId, decode, encode};
