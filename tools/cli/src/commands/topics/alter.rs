//! `millstream topics alter NAME`.

use millstream::admin::{ConfigChange, ConfigResource};

use super::{Setting, parse_setting};
use crate::{
    failure::{Failure, Outcome, Result},
    output,
    session::Session,
};

/// Options of `topics alter`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream topics alter flights --partitions 16
  millstream topics alter flights --config retention.ms=86400000 --delete-config segment.bytes")]
pub(crate) struct Options {
    /// The topic
    name: String,
    /// Raise the number of partitions to N; keys then go to other partitions than before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Set a configuration key; may be given several times
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = parse_setting)]
    configs: Vec<Setting>,
    /// Take a configuration key back to its default; may be given several times
    #[arg(long = "delete-config", value_name = "KEY")]
    deleted: Vec<String>,
    /// Only check whether it could be done
    #[arg(long)]
    dry_run: bool,
}

/// Makes the changes: configuration first, then partitions.
pub(crate) async fn run(options: Options, session: &Session) -> Result<Outcome> {
    let changes = changes(options.configs, options.deleted);
    if changes.is_empty() && options.partitions.is_none() {
        return Err(Failure::new(
            "nothing to alter",
            "pass --partitions, --config or --delete-config",
        ));
    }
    // An unknown topic is told in the same words whatever is to be altered.
    session.describe(&options.name, false).await?;
    let done = if options.dry_run { "could be" } else { "was" };
    if !changes.is_empty() {
        let resource = ConfigResource::Topic(options.name.clone());
        session
            .admin()
            .alter_configs(&resource, &changes, options.dry_run)
            .await?;
        output::line(&format!("configuration of {} {done} changed", options.name))?;
    }
    if let Some(total) = options.partitions {
        session
            .admin()
            .create_partitions(&options.name, total, options.dry_run)
            .await?;
        output::line(&format!(
            "topic {} {done} grown to {total} partitions",
            options.name
        ))?;
    }
    Ok(Outcome::Positive)
}

/// Settings and deletions as one list.
pub(crate) fn changes(set: Vec<Setting>, deleted: Vec<String>) -> Vec<ConfigChange> {
    let set = set.into_iter().map(|setting| ConfigChange::Set {
        name: setting.key,
        value: setting.value,
    });
    let deleted = deleted
        .into_iter()
        .map(|name| ConfigChange::Delete { name });
    set.chain(deleted).collect()
}
