//! `millstream groups`.

mod delete;
mod describe;
mod list;
pub(crate) mod members;

use clap::Subcommand;

use crate::{
    failure::{Outcome, Result},
    session::Session,
};

/// What to do with consumer groups.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream groups list
  millstream groups describe readers")]
pub(crate) enum Verb {
    /// List all groups
    List(list::Options),
    /// Show members, assignment, lag and the last rebalance of a group
    Describe(describe::Options),
    /// Delete groups and all their committed offsets
    Delete(delete::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::List(options) => list::run(&options, session).await,
        Verb::Describe(options) => describe::run(&options, session).await,
        Verb::Delete(options) => delete::run(&options, session).await,
    }
}
