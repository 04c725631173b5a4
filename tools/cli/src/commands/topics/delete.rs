//! `millstream topics delete NAME...`.

use millstream::admin::TopicDescription;

use crate::{
    confirm::confirm,
    failure::{Outcome, Result},
    output,
    quantity::counted,
    session::Session,
};

/// Options of `topics delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream topics delete flights --dry-run
  millstream topics delete flights --yes")]
pub(crate) struct Options {
    /// The topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Deletes the topics, all known ones or none: an unknown name stops before anything is deleted.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let mut plans = Vec::with_capacity(options.names.len());
    for name in &options.names {
        plans.push(plan(&session.describe(name, true).await?));
    }
    let plan = format!("deleting {}", plans.join(", "));
    if options.dry_run {
        output::line(&format!("{plan} would succeed"))?;
        return Ok(Outcome::Positive);
    }
    confirm(&plan, options.yes)?;
    let names: Vec<_> = options.names.iter().map(String::as_str).collect();
    for (name, result) in session.admin().delete_topics(&names, false).await? {
        match result {
            Ok(()) => output::line(&format!("deleted topic {name}"))?,
            Err(error) => return Err(session.about_topic(&name, error).await),
        }
    }
    Ok(Outcome::Positive)
}

/// What goes with the topic.
fn plan(topic: &TopicDescription) -> String {
    let records: i64 = topic
        .partitions
        .iter()
        .filter_map(|partition| partition.log.as_ref())
        .map(|log| log.high_watermark.saturating_sub(log.log_start_offset))
        .sum();
    format!(
        "topic {} ({}, {})",
        topic.name,
        counted(topic.partitions.len() as u64, "partition"),
        counted(u64::try_from(records).unwrap_or(0), "record"),
    )
}
