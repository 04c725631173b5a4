//! Tasks of this repository: `cargo xtask <task>`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it talks to a terminal

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

mod build;
mod client_suites;
mod compat;
mod config;
mod demo;
mod document;
mod fuzz;
mod generate;
mod interop;
mod kafka_compatibility;
mod kafka_layouts;
mod refusal;
mod release_binary;
mod soak;
mod stage;
mod test;
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
        /// Promise what the API offers now: later changes may only add to it
        #[arg(long, conflicts_with = "check")]
        freeze: bool,
    },
    /// Compare what the daemon answers with what Apache Kafka answers, in docs/kafka-compatibility.md
    KafkaCompatibility {
        /// Only check that the document is up to date
        #[arg(long)]
        check: bool,
    },
    /// Generate the layouts of Kafka's requests from a kafka-clients jar
    KafkaLayouts {
        /// The jar, of the Kafka version that is followed
        #[arg(long)]
        jar: PathBuf,
    },
    /// Check import directions, sizes, names and other rules of this repository
    Tidy,
    /// Check that config/millstreamd.toml names every key with its default
    Config {
        /// There is nothing else to do with it
        #[arg(long, required = true)]
        check: bool,
    },
    /// Run every test
    Test,
    /// Start a broker and stream a month of flights through it
    Demo(demo::Options),
    /// Run real clients of Kafka against Millstream and against Apache Kafka
    Interop(interop::Options),
    /// Run the tests that ship inside published Rust clients of Kafka against Millstream
    ClientSuites(client_suites::Options),
    /// Let a fuzzer look for inputs that break a decoder
    Fuzz(fuzz::Options),
    /// Run a long test; without a name, list them
    Soak(soak::Options),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    match Args::parse().task {
        Task::Generate { check, freeze } => generate::run(&root, check, freeze),
        Task::KafkaCompatibility { check } => kafka_compatibility::run(&root, check),
        Task::KafkaLayouts { jar } => kafka_layouts::run(&root, &jar),
        Task::Tidy => tidy::run(&root),
        Task::Config { .. } => config::check(&root),
        Task::Test => test::run(&root),
        Task::Demo(options) => demo::run(&root, &options),
        Task::Interop(options) => interop::run(&root, &options),
        Task::ClientSuites(options) => client_suites::run(&root, &options),
        Task::Fuzz(options) => fuzz::run(&root, &options),
        Task::Soak(options) => soak::run(&root, &options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_code_is_up_to_date() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        generate::run(&root, true, false).expect("up to date");
    }
}
