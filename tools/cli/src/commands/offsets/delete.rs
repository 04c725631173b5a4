//! `millstream offsets delete GROUP`.

use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::{
    refuse_failed,
    selection::{Selection, parse},
};
use crate::{
    confirm::confirm,
    failure::{Failure, Outcome, Result},
    output::{self, OutputFormat},
    quantity::counted,
    session::Session,
};

/// Options of `offsets delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where a group has committed nothing it starts where its members say. Offsets of a topic that a \
member of the group subscribes to are not deleted: stop the members first.

Examples:
  millstream offsets delete readers --topic flights --dry-run
  millstream offsets delete readers --topic flights:0,3 --topic weather --yes")]
pub(crate) struct Options {
    /// The group
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// The topic, or some partitions of it; may be given several times
    #[arg(long = "topic", value_name = "TOPIC[:P,...]", value_parser = parse, required = true)]
    selections: Vec<Selection>,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Shows which offsets go, then forgets them.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let group = &options.group;
    session.describe_group(group).await?;
    let listed = session.admin().list_group_offsets(group, &[]).await?;
    let mut doomed = Vec::new();
    for ((topic, partition), committed) in listed {
        let mut selections = options.selections.iter();
        if let Some(committed) = committed?
            && selections.any(|selection| selection.includes(&topic, partition))
        {
            doomed.push((topic, partition, committed.offset));
        }
    }
    if doomed.is_empty() {
        return Err(Failure::new(
            format!("group {group} has committed no offset of these partitions"),
            format!("see what it has committed with: millstream offsets list {group}"),
        ));
    }
    let is_for_people = session.output == OutputFormat::Table;
    if is_for_people || options.dry_run {
        show(&doomed, options, session.output)?;
    }
    if options.dry_run {
        return Ok(Outcome::Positive);
    }
    let count = counted(doomed.len() as u64, "committed offset");
    confirm(&format!("deleting {count} of group {group}"), options.yes)?;
    let places: Vec<_> = doomed
        .iter()
        .map(|(topic, partition, _)| (topic.as_str(), *partition))
        .collect();
    let results = session.admin().delete_group_offsets(group, &places).await?;
    refuse_failed("deleted", &places, results, |(topic, partition)| {
        format!("{topic}-{partition}")
    })?;
    if is_for_people {
        output::line(&format!("deleted {count} of group {group}"))?;
    } else {
        show(&doomed, options, session.output)?;
    }
    Ok(Outcome::Positive)
}

fn show(doomed: &[(String, i32, i64)], options: &Options, format: OutputFormat) -> Result<()> {
    let doomed = doomed.iter();
    match format {
        OutputFormat::Table => {
            let rows = doomed.map(|(topic, partition, offset)| {
                vec![topic.clone(), partition.to_string(), offset.to_string()]
            });
            output::table(&["TOPIC", "PARTITION", "OFFSET"], &[1, 2], rows.collect())
        }
        OutputFormat::Json => {
            let rows = doomed.map(|(topic, partition, offset)| {
                json!({ "topic": topic, "partition": partition, "offset": offset })
            });
            output::json(&json!({
                "group": options.group,
                "dry_run": options.dry_run,
                "partitions": rows.collect::<Vec<_>>(),
            }))
        }
    }
}
