//! The real binaries under test: a harness that starts, kills and watches `millstreamd`, raw
//! clients of the native API and of the Kafka protocol, a checker of what clients saw, and the workloads that feed it.
//!
//! Tests live in `it/` (one binary). Long forms are the same tests with environment variables set;
//! `cargo xtask soak` knows them.

pub mod binary;
pub mod bomb;
pub mod browser;
pub mod checker;
pub mod churn;
pub mod cli;
pub mod compacted;
pub mod daemon;
pub mod flights;
pub mod http;
pub mod kafka;
pub mod kafka_dump;
pub mod kill_loop;
pub mod member_process;
pub mod native;
pub mod numbered;
pub mod ownership;
pub mod port;
pub mod python;
pub mod retry;
pub mod scale;
pub mod workload;

pub use binary::{cli_path, daemon_path};
pub use bomb::{Bomb, Packing};
pub use browser::{Browser, Screen};
pub use cli::Cli;
pub use compacted::CompactedTopic;
pub use daemon::{Daemon, DaemonOptions};
pub use kafka::Kafka;
pub use kafka_dump::KafkaDump;
pub use native::Native;

/// The README's snippet, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
