//! `millstream offsets reset GROUP`.

mod plan;
mod target;

use std::collections::BTreeMap;

use clap::builder::NonEmptyStringValueParser;
use millstream::{
    CommitOffset, IsolationLevel, Start,
    admin::{GroupPartition, OffsetSpec},
};
use serde_json::json;

use super::{
    refuse_failed,
    selection::{self, Selection},
};
use crate::{
    commands::{groups::members, topics::log_of},
    confirm::confirm,
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::counted,
    session::Session,
    time,
};
use plan::Move;
use target::Target;

/// Options of `offsets reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The plan comes first: for each partition the offset committed now, the offset to commit, and the \
lag after that. An offset that is not in the log is replaced by the nearest one that is. A time \
stands for the first record at or after it, or for the end of the log where there is none. Nothing \
is reset while the group has members.

Examples:
  millstream offsets reset readers --topic flights --to earliest --dry-run
  millstream offsets reset readers --topic flights:0,3 --to 1000 --yes
  millstream offsets reset readers --topic flights --to 2013-01-31T20:00:00Z --yes
  millstream offsets reset readers --topic flights --to -1h30m --yes")]
pub(crate) struct Options {
    /// The group
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// The topic, or some partitions of it; may be given several times
    #[arg(long = "topic", value_name = "TOPIC[:P,...]", value_parser = selection::parse, required = true)]
    selections: Vec<Selection>,
    /// Where to: earliest, latest, an offset, a time, or a duration before now (-90s, -1h30m, -7d)
    #[arg(long, value_name = "WHERE", value_parser = target::parse, allow_hyphen_values = true)]
    to: Target,
    /// Reset without asking
    #[arg(long)]
    yes: bool,
    /// Only show the plan
    #[arg(long)]
    dry_run: bool,
}

/// Shows the plan, then carries it out.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let moves = plan(options, session).await?;
    let is_for_people = session.output == OutputFormat::Table;
    if is_for_people || options.dry_run {
        show(&moves, options, session.output)?;
    }
    if options.dry_run {
        return Ok(Outcome::Positive);
    }
    let group = &options.group;
    let count = counted(moves.len() as u64, "offset");
    confirm(&format!("resetting {count} of group {group}"), options.yes)?;
    let commits: Vec<_> = moves
        .iter()
        .map(|it| CommitOffset::new(&it.topic, it.partition, it.to()))
        .collect();
    let results = session
        .admin()
        .commit_group_offsets(group, &commits)
        .await?;
    refuse_failed("reset", &moves, results, Move::place)?;
    if is_for_people {
        output::line(&format!("reset {count} of group {group}"))?;
    } else {
        show(&moves, options, session.output)?;
    }
    Ok(Outcome::Positive)
}

/// What is to be moved, and where to.
async fn plan(options: &Options, session: &Session) -> Result<Vec<Move>> {
    let group = session.describe_group(&options.group).await?;
    members::refuse(&group)?;
    let mut logs = BTreeMap::new();
    for selection in &options.selections {
        let topic = session.describe(&selection.topic, true).await?;
        for partition in selection.partitions_of(&topic) {
            let place = (topic.name.clone(), partition);
            logs.insert(place, log_of(&topic, partition)?);
        }
    }
    let start = options.to.start(time::now_ms());
    let places: Vec<_> = logs.keys().collect();
    let found = at_time(start, &places, session).await?;
    let moves = logs.iter().zip(found).map(|((place, log), found)| {
        let (topic, partition) = place;
        let is_it = |it: &&GroupPartition| it.topic == *topic && it.partition == *partition;
        let committed = group.partitions.iter().find(is_it);
        Move {
            topic: topic.clone(),
            partition: *partition,
            from: committed.and_then(|it| it.committed_offset),
            wanted: plan::wanted(start, found, log),
            log_start_offset: log.log_start_offset,
            log_end_offset: log.high_watermark,
        }
    });
    Ok(moves.collect())
}

/// The first offset at or after a time, for each place; `None` where there is none, or no time is asked for.
async fn at_time(
    start: Start,
    places: &[&(String, i32)],
    session: &Session,
) -> Result<Vec<Option<i64>>> {
    let Start::TimestampMs(time) = start else {
        return Ok(vec![None; places.len()]);
    };
    let queries: Vec<_> = places
        .iter()
        .map(|(topic, partition)| (topic.as_str(), *partition, OffsetSpec::TimestampMs(time)))
        .collect();
    let listed = session
        .admin()
        .list_offsets(&queries, IsolationLevel::ReadUncommitted)
        .await?;
    let offsets = listed.into_iter().map(|listed| Ok(listed?.offset));
    offsets.collect()
}

fn show(moves: &[Move], options: &Options, format: OutputFormat) -> Result<()> {
    if format == OutputFormat::Json {
        return output::json(&json!({
            "group": options.group,
            "dry_run": options.dry_run,
            "partitions": moves.iter().map(Move::to_json).collect::<Vec<_>>(),
        }));
    }
    let mut header = vec!["TOPIC", "PARTITION", "FROM", "TO", "LAG-AFTER"];
    if moves.iter().any(|it| it.note().is_some()) {
        header.push("NOTE");
    }
    let rows = moves.iter().map(Move::row).collect();
    output::table(&header, &[1, 2, 3, 4], rows)
}
