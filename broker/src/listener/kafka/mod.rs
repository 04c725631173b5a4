//! The listener for Kafka's own protocol.

pub mod codec;
