//! The client against a fake broker: real gRPC, a log in memory, injected faults.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the support code is part of the tests, where clippy.toml allows them"
)]

mod admin;
mod cancellation;
mod connection;
mod consumer;
mod producer;
mod producer_faults;
mod support;
