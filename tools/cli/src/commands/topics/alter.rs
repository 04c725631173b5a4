//! `millstream topics alter NAME`.

use millstream::admin::{ConfigChange, ConfigResource};
use serde_json::{Value, json};

use super::{Setting, parse_setting};
use crate::{
    failure::{Failure, Outcome, Result},
    number,
    output::{self, OutputFormat},
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
    #[arg(long, value_name = "N", value_parser = number::within(1..=i32::MAX), allow_hyphen_values = true)]
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

/// Makes the changes: configuration first, then partitions. A number of partitions that is refused
/// stops it before anything is changed.
pub(crate) async fn run(options: Options, session: &Session) -> Result<Outcome> {
    let Options {
        name,
        partitions,
        dry_run,
        ..
    } = options;
    let changes = changes(options.configs, options.deleted);
    if changes.is_empty() && partitions.is_none() {
        return Err(Failure::new(
            "nothing to alter",
            "pass --partitions, --config or --delete-config",
        ));
    }
    // An unknown topic is told in the same words whatever is to be altered.
    session.describe(&name, false).await?;
    let admin = session.admin();
    if let Some(total) = partitions {
        admin.create_partitions(&name, total, true).await?;
    }
    if !changes.is_empty() {
        let resource = ConfigResource::Topic(name.clone());
        admin.alter_configs(&resource, &changes, dry_run).await?;
    }
    if let Some(total) = partitions.filter(|_| !dry_run) {
        admin.create_partitions(&name, total, false).await?;
    }
    show(&name, &changes, partitions, dry_run, session.output)?;
    Ok(Outcome::Positive)
}

fn show(
    name: &str,
    changes: &[ConfigChange],
    partitions: Option<i32>,
    dry_run: bool,
    format: OutputFormat,
) -> Result<()> {
    if format == OutputFormat::Json {
        return output::json(&json!({
            "name": name,
            "partitions": partitions,
            "configs": changes_json(changes),
            "dry_run": dry_run,
        }));
    }
    let done = if dry_run { "could be" } else { "was" };
    if !changes.is_empty() {
        output::line(&format!("configuration of {name} {done} changed"))?;
    }
    if let Some(total) = partitions {
        output::line(&format!("topic {name} {done} grown to {total} partitions"))?;
    }
    Ok(())
}

/// Keys with their new values; null for those that go back to their defaults.
pub(crate) fn changes_json(changes: &[ConfigChange]) -> Value {
    let entries = changes.iter().filter_map(|change| match change {
        ConfigChange::Set { name, value } => Some((name.clone(), json!(value))),
        ConfigChange::Delete { name } => Some((name.clone(), Value::Null)),
        _ => None,
    });
    Value::Object(entries.collect())
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
