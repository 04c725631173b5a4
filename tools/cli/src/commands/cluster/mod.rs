//! `millstream cluster`.

mod clients;
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
  millstream cluster clients
  millstream cluster describe --output json")]
pub(crate) enum Verb {
    /// Show brokers, their versions and their data directories
    Describe(describe::Options),
    /// Show who is connected, with which software
    Clients(clients::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::Describe(options) => describe::run(&options, session).await,
        Verb::Clients(options) => clients::run(&options, session).await,
    }
}
