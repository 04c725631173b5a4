//! The daemon's command line.

use std::path::PathBuf;

use clap::Parser;

/// A Kafka-like partitioned log broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Parser)]
#[command(name = "millstreamd", version = crate::version::LONG)]
pub struct Args {
    /// Directory for all data, created when missing [default: ./millstream-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Configuration file in TOML; see config/millstreamd.toml for every key
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Sets one key, over the file and the environment (repeatable)
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,

    /// Prints every key with its value and where the value comes from, then exits
    #[arg(long)]
    pub print_config: bool,

    /// Prints every metric as Markdown, with its type, unit, labels and when to act, then exits
    #[arg(long)]
    pub print_metrics: bool,

    /// Checks the configuration and exits: 0 when it is valid, 2 otherwise
    #[arg(long)]
    pub check: bool,
}
