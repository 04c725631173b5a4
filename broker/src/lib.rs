//! The broker daemon: configuration, lifecycle, listeners, metadata, partitions.
//!
//! Imports go one way, each of what is to its right:
//! `main > server > listener > service > coordinator > maintenance > partition > replication >
//! quorum > (engine, log)`. `config`, `clock`, `error`, `health`, `metrics`, `shutdown` and `uuid` import
//! none of these and may be used by all of them.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "millstreamd runs on Linux only: it relies on fdatasync, fallocate, mmap faults and /proc"
);

pub mod allocator;
pub mod args;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod directory;
pub mod error;
pub mod health;
pub mod listener;
pub mod logging;
pub mod maintenance;
pub mod metrics;
pub mod panics;
pub mod partition;
pub mod quorum;
pub mod runtime;
pub mod server;
pub mod service;
pub mod shutdown;
pub mod uuid;
pub mod version;
