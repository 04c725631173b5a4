//! `millstream log`: files of a log, read offline. Works on Kafka's files too.

mod contents;
mod dump;
mod row;
mod verify;

use clap::Subcommand;
use millstream_log::inspect::InspectError;

use crate::{
    failure::{Failure, Outcome, Result},
    output::OutputFormat,
};

/// What to do with log files.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream log verify millstream-data
  millstream log dump --records millstream-data/flights-0")]
pub(crate) enum Verb {
    /// Print what is in the files of a log
    Dump(dump::Options),
    /// Check everything that a checksum, continuity or recomputation can tell
    Verify(verify::Options),
}

/// Runs the verb.
pub(crate) fn run(verb: &Verb, format: OutputFormat) -> Result<Outcome> {
    match verb {
        Verb::Dump(options) => dump::run(options, format),
        Verb::Verify(options) => verify::run(options, format),
    }
}

fn unreadable(error: &InspectError) -> Failure {
    match error {
        InspectError::Io { path, source } => {
            Failure::io(&format!("cannot read {}", path.display()), source)
        }
        other => Failure::new(
            other.to_string(),
            "pass a data directory, a partition's directory in one, or a file of a segment",
        ),
    }
}
