//! `millstream offsets`.

mod commit;
mod delete;
mod list;
mod reset;
mod selection;

use clap::Subcommand;

use crate::{
    failure::{Failure, Outcome, Result},
    session::Session,
};

/// What to do with the committed offsets of groups.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream offsets list readers
  millstream offsets reset readers --topic flights --to earliest --dry-run")]
pub(crate) enum Verb {
    /// List what a group has committed
    List(list::Options),
    /// Commit one offset for a group that has no members
    Commit(commit::Options),
    /// Move the committed offsets of a group that has no members
    Reset(reset::Options),
    /// Forget committed offsets of a group
    Delete(delete::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::List(options) => list::run(&options, session).await,
        Verb::Commit(options) => commit::run(&options, session).await,
        Verb::Reset(options) => reset::run(&options, session).await,
        Verb::Delete(options) => delete::run(&options, session).await,
    }
}

/// The first refusal of several offsets, with how many there are; `name` says which one it is.
///
/// # Errors
/// When there is one.
fn refuse_failed<T>(
    action: &str,
    items: &[T],
    results: Vec<millstream::Result<()>>,
    name: impl Fn(&T) -> String,
) -> Result<()> {
    let failed: Vec<_> = items
        .iter()
        .zip(results)
        .filter_map(|(item, result)| Some((item, result.err()?)))
        .collect();
    let (count, total) = (failed.len(), items.len());
    let Some((item, error)) = failed.into_iter().next() else {
        return Ok(());
    };
    let name = name(item);
    let text = match total {
        1 => format!("the offset of {name} was not {action}: {error}"),
        _ => format!("{count} of {total} offsets were not {action}, {name}: {error}"),
    };
    let hint = error.hint().map(std::borrow::Cow::into_owned);
    Err(Failure::new(
        text,
        hint.unwrap_or_else(|| "try again; the broker's log says more".to_owned()),
    ))
}
