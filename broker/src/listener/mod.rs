//! Listeners: thin adapters between a protocol and the services. They never import each other.

pub mod grpc;
pub mod http;
pub mod kafka;
mod watched;
