//! Tasks of this repository: `cargo xtask <task>`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it talks to a terminal

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod generate;
mod tidy;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Millstream repository")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Generate the gRPC code from proto/api
    Generate {
        /// Only check that the generated code is up to date
        #[arg(long)]
        check: bool,
    },
    /// Check import directions, sizes, names and other rules of this repository
    Tidy,
}

fn main() -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    match Args::parse().task {
        Task::Generate { check } => generate::run(&root, check),
        Task::Tidy => tidy::run(&root),
    }
}
