//! `millstream groups delete GROUP...`.

use clap::builder::NonEmptyStringValueParser;
use millstream::admin::GroupDescription;
use serde_json::{Value, json};

use super::members;
use crate::{
    confirm::confirm,
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::counted,
    session::Session,
};

/// Options of `groups delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A group that has members is not deleted: stop them first.

Examples:
  millstream groups delete readers --dry-run
  millstream groups delete readers --yes")]
pub(crate) struct Options {
    /// The groups
    #[arg(required = true, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    groups: Vec<String>,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Deletes the groups: an unknown one, or one with members, stops before anything is deleted.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let mut found = Vec::with_capacity(options.groups.len());
    for group in &options.groups {
        let group = session.describe_group(group).await?;
        members::refuse(&group)?;
        found.push(group);
    }
    let plans: Vec<_> = found.iter().map(plan).collect();
    let plan = format!("deleting {}", plans.join(", "));
    if options.dry_run {
        match session.output {
            OutputFormat::Table => output::line(&format!("{plan} would succeed"))?,
            OutputFormat::Json => output::json(&to_json(&found, false))?,
        }
        return Ok(Outcome::Positive);
    }
    confirm(&plan, options.yes)?;
    let names: Vec<_> = options.groups.iter().map(String::as_str).collect();
    let mut refused = Vec::new();
    for (group, result) in session.admin().delete_groups(&names).await? {
        if let Err(error) = result {
            found.retain(|found| found.group != group);
            refused.push(error);
        }
    }
    match session.output {
        OutputFormat::Table => {
            for group in &found {
                output::line(&format!("deleted group {}", group.group))?;
            }
        }
        OutputFormat::Json => output::json(&to_json(&found, true))?,
    }
    match refused.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(Outcome::Positive),
    }
}

fn to_json(groups: &[GroupDescription], deleted: bool) -> Vec<Value> {
    let groups = groups.iter().map(|group| {
        json!({
            "group": group.group,
            "committed_offsets": committed(group),
            "deleted": deleted,
        })
    });
    groups.collect()
}

/// What goes with the group.
fn plan(group: &GroupDescription) -> String {
    let offsets = counted(committed(group), "committed offset");
    format!("group {} ({offsets})", group.group)
}

fn committed(group: &GroupDescription) -> u64 {
    let partitions = group.partitions.iter();
    let committed = partitions.filter(|partition| partition.committed_offset.is_some());
    committed.count() as u64
}
