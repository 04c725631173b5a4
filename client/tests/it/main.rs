//! The client against a fake broker: real gRPC, a log in memory, injected faults.

mod admin;
mod cancellation;
mod connection;
mod consumer;
mod producer;
mod producer_faults;
mod support;
