//! Producer state: what idempotent and transactional producers last wrote to a partition.
//!
//! [`ProducerState`] is a pure state machine. It is persisted at a segment's base offset and at a
//! clean stop, twice: [`snapshot`] in Kafka's schema, which keeps one batch a producer, and
//! [`sidecar`] in ours, which keeps five, so that any of five unacknowledged batches that is retried
//! after a kill is recognised.

mod entry;
pub mod sidecar;
pub mod snapshot;
mod state;
mod transactions;

#[cfg(test)]
mod tests;

pub use entry::{BATCHES_KEPT, BatchMetadata, ProducerEntry};
pub use state::{ProducerCheck, ProducerError, ProducerState};
pub use transactions::OpenTransactions;
