//! The commands: a folder per noun, a file per verb.

pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod configs;
pub(crate) mod consume;
pub(crate) mod groups;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod topics;

use crate::{
    args::{Args, Noun},
    failure::{Outcome, Result},
    session::Session,
};

/// Runs the command that the arguments name.
///
/// # Errors
/// What kept it from being done.
pub(crate) async fn run(args: Args) -> Result<Outcome> {
    let global = &args.global;
    match args.noun {
        Noun::Topics(verb) => topics::run(verb, &Session::connect(global).await?).await,
        Noun::Produce(options) => produce::run(options, global).await,
        Noun::Consume(options) => consume::run(&options, global).await,
        Noun::Groups(verb) => groups::run(verb, &Session::connect(global).await?).await,
        Noun::Offsets(verb) => offsets::run(verb, &Session::connect(global).await?).await,
        Noun::Configs(verb) => configs::run(verb, &Session::connect(global).await?).await,
        Noun::Cluster(verb) => cluster::run(verb, &Session::connect(global).await?).await,
        Noun::Log(verb) => log::run(&verb, global.output),
        Noun::Bench(verb) => bench::run(verb, &Session::connect(global).await?).await,
        Noun::Completions(options) => completions::run(&options),
        Noun::Man(options) => man::run(&options),
    }
}
