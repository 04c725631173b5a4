//! `millstream cluster`.

mod describe;

use clap::Subcommand;

use crate::{
    failure::{Outcome, Result},
    session::Session,
};

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream cluster describe
  millstream cluster describe --output json")]
pub(crate) enum Verb {
    /// Show brokers, their versions and their data directories
    Describe(describe::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::Describe(options) => describe::run(&options, session).await,
    }
}
