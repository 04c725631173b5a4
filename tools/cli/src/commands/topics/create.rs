//! `millstream topics create NAME`.

use millstream::{ErrorCode, NewTopic};
use serde_json::json;

use super::{Setting, parse_setting, single};
use crate::{
    failure::{Failure, Outcome, Result},
    number,
    output::{self, OutputFormat},
    quantity::counted,
    session::Session,
};

/// Options of `topics create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream topics create flights --partitions 8
  millstream topics create flights --partitions 8 --config retention.ms=-1 --if-not-exists")]
pub(crate) struct Options {
    /// Letters, digits, '.', '_' and '-', at most 249
    name: String,
    /// Number of partitions; the broker's default without it
    #[arg(long, value_name = "N", value_parser = number::within(1..=i32::MAX), allow_hyphen_values = true)]
    partitions: Option<i32>,
    /// Set a configuration key; may be given several times
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = parse_setting)]
    configs: Vec<Setting>,
    /// Succeed when the topic exists already, as it is
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it could be created
    #[arg(long)]
    dry_run: bool,
}

/// Creates the topic.
pub(crate) async fn run(options: Options, session: &Session) -> Result<Outcome> {
    let name = options.name;
    let mut topic = NewTopic::new(&name).partitions(options.partitions.unwrap_or(0));
    for Setting { key, value } in options.configs {
        topic = topic.config(key, value);
    }
    let results = session
        .admin()
        .create_topics(vec![topic], options.dry_run)
        .await?;
    let created = match single(results)? {
        Ok(created) => created,
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
            if options.if_not_exists {
                return show_existing(&name, options.partitions, session).await;
            }
            return Err(exists(&name, &error));
        }
        Err(error) => return Err(error.into()),
    };
    for warning in &created.warnings {
        output::talk(&format!("warning: {warning}"));
    }
    let partitions = counted(u64::try_from(created.partitions).unwrap_or(0), "partition");
    match session.output {
        OutputFormat::Table if options.dry_run => {
            output::line(&format!("topic {name} could be created with {partitions}"))?;
        }
        OutputFormat::Table => output::line(&format!("created topic {name} with {partitions}"))?,
        OutputFormat::Json => output::json(&json!({
            "name": created.name,
            "created": !options.dry_run,
            "topic_id": created.topic_id.map(|id| id.to_string()),
            "partitions": created.partitions,
            "replication_factor": created.replication_factor,
            "warnings": created.warnings,
        }))?,
    }
    Ok(Outcome::Positive)
}

/// Shows a topic that is left as it is, with a warning where it is not what was asked for.
async fn show_existing(name: &str, wanted: Option<i32>, session: &Session) -> Result<Outcome> {
    let topic = session.describe(name, false).await?;
    let found = topic.partitions.len();
    let partitions = counted(found as u64, "partition");
    let differs = wanted.filter(|wanted| usize::try_from(*wanted) != Ok(found));
    let warning = differs.map(|wanted| format!("topic {name} has {partitions}, not {wanted}"));
    if let Some(warning) = &warning {
        output::talk(&format!("warning: {warning}"));
    }
    match session.output {
        OutputFormat::Table => {
            output::line(&format!("topic {name} exists already with {partitions}"))?;
        }
        OutputFormat::Json => output::json(&json!({
            "name": topic.name,
            "created": false,
            "topic_id": topic.topic_id.to_string(),
            "partitions": found,
            "replication_factor": topic.partitions.first().map(|first| first.replicas.len()),
            "warnings": warning.into_iter().collect::<Vec<_>>(),
        }))?,
    }
    Ok(Outcome::Positive)
}

/// The broker's words, which may also say that another spelling of the name collides.
fn exists(name: &str, error: &millstream::Error) -> Failure {
    Failure::new(
        error.to_string(),
        format!("pass --if-not-exists, or see it with: millstream topics describe {name}"),
    )
}
