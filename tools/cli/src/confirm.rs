//! Asks before something is destroyed.

use std::io::{self, BufRead, IsTerminal};

use crate::{
    failure::{Failure, Result},
    output,
};

/// Returns once the user has agreed to `plan`: by `--yes`, or by typing it.
///
/// # Errors
/// When there is no terminal to ask at, or the answer is not yes.
pub(crate) fn confirm(plan: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            format!("{plan} needs a confirmation"),
            "pass --yes, or see what would happen with --dry-run",
        ));
    }
    output::talk(&format!("{plan}? Type yes to go on:"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::io("cannot read the answer", &error))?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::new(
            format!("{plan} was not confirmed"),
            "nothing was changed",
        ))
    }
}
