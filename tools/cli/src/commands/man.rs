//! `millstream man [COMMAND]...`: the manual, generated from the command line's own description.

use std::io::Write;

use clap::CommandFactory;

use crate::{
    args::Args,
    failure::{Failure, Outcome, Result},
};

/// Options of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream man | man -l -
  millstream man topics create | man -l -")]
pub(crate) struct Options {
    /// The command that the page is about; the whole of millstream without it
    command: Vec<String>,
}

/// Prints the page as roff.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let page = page(&options.command)?;
    std::io::stdout().write_all(&page)?;
    Ok(Outcome::Positive)
}

fn page(names: &[String]) -> Result<Vec<u8>> {
    let mut command = Args::command();
    command.build();
    let mut full_name = command.get_name().to_owned();
    for name in names {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| unknown(name, &full_name))?;
        full_name = format!("{full_name} {name}");
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

fn unknown(name: &str, parent: &str) -> Failure {
    Failure::new(
        format!("{parent} has no command {name}"),
        format!("see {parent} --help"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_it() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let text =
            |list: &[&str]| String::from_utf8(page(&names(list)).expect("known")).expect("text");
        assert!(text(&[]).contains("topics"));
        let create = text(&["topics", "create"]);
        assert!(create.contains("millstream topics create"), "{create}");
        assert!(create.contains("partitions"));
        assert!(page(&names(&["nothing"])).is_err());
    }
}
