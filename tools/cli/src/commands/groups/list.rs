//! `millstream groups list`.

use clap::builder::PossibleValuesParser;
use serde_json::json;

use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    session::Session,
};

/// Kafka's names of the states that a group can be in.
const STATES: [&str; 6] = [
    "Empty",
    "Assigning",
    "Reconciling",
    "Stable",
    "PreparingRebalance",
    "CompletingRebalance",
];

/// Options of `groups list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Types: the broker assigns the partitions of a consumer group, and the members of a classic group do \
it among themselves; a simple group is a name for committed offsets, which nobody joined.

Examples:
  millstream groups list
  millstream groups list --state Empty --output json")]
pub(crate) struct Options {
    /// Only groups in this state; may be given several times
    #[arg(
        long = "state",
        value_name = "STATE",
        ignore_case = true,
        value_parser = PossibleValuesParser::new(STATES)
    )]
    states: Vec<String>,
}

/// Lists the groups by name.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let mut groups = session.admin().list_groups().await?;
    if !options.states.is_empty() {
        let is_wanted = |state: &str| {
            options
                .states
                .iter()
                .any(|it| it.eq_ignore_ascii_case(state))
        };
        groups.retain(|group| is_wanted(&group.state));
    }
    if session.output == OutputFormat::Json {
        let list: Vec<_> = groups
            .iter()
            .map(|group| {
                json!({
                    "group": group.group,
                    "type": group.group_type.as_str(),
                    "state": group.state,
                    "members": group.members,
                })
            })
            .collect();
        output::json(&list)?;
        return Ok(Outcome::Positive);
    }
    if groups.is_empty() {
        output::talk("no groups; one begins with: millstream consume TOPIC --group NAME");
        return Ok(Outcome::Positive);
    }
    let rows = groups
        .into_iter()
        .map(|group| {
            vec![
                group.group,
                group.group_type.as_str().to_owned(),
                group.state,
                group.members.to_string(),
            ]
        })
        .collect();
    output::table(&["GROUP", "TYPE", "STATE", "MEMBERS"], &[3], rows)?;
    Ok(Outcome::Positive)
}
