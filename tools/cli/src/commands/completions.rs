//! `millstream completions SHELL`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::Args,
    failure::{Outcome, Result},
};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream completions bash > ~/.local/share/bash-completion/completions/millstream")]
pub(crate) struct Options {
    /// The shell that completes
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let mut script = Vec::new();
    let mut command = Args::command();
    clap_complete::generate(options.shell, &mut command, "millstream", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Outcome::Positive)
}
