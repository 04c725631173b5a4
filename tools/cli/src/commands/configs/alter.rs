//! `millstream configs alter`.

use millstream::admin::ConfigResource;
use serde_json::json;

use super::Target;
use crate::{
    commands::topics::{
        Setting,
        alter::{changes, changes_json},
        parse_setting,
    },
    failure::{Failure, Outcome, Result},
    output::{self, OutputFormat},
    session::Session,
};

/// Options of `configs alter`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream configs alter --topic flights --set retention.ms=86400000 --delete segment.bytes
  millstream configs alter --broker --set topics.config.retention.ms=86400000")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Set a key; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<Setting>,
    /// Take a key back to its default; may be given several times
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
    /// Only check whether it could be done
    #[arg(long)]
    dry_run: bool,
}

/// Makes the changes, all or none.
pub(crate) async fn run(options: Options, session: &Session) -> Result<Outcome> {
    let changes = changes(options.set, options.delete);
    if changes.is_empty() {
        return Err(Failure::new("nothing to alter", "pass --set or --delete"));
    }
    let resource = options.target.resource();
    if let ConfigResource::Topic(topic) = &resource {
        session.describe(topic, false).await?;
    }
    session
        .admin()
        .alter_configs(&resource, &changes, options.dry_run)
        .await?;
    match session.output {
        OutputFormat::Table => {
            let done = if options.dry_run { "could be" } else { "was" };
            output::line(&format!(
                "configuration of {} {done} changed",
                name(&resource)
            ))?;
        }
        OutputFormat::Json => output::json(&json!({
            "resource": name(&resource),
            "configs": changes_json(&changes),
            "dry_run": options.dry_run,
        }))?,
    }
    Ok(Outcome::Positive)
}

fn name(resource: &ConfigResource) -> String {
    match resource {
        ConfigResource::Topic(name) => format!("topic {name}"),
        ConfigResource::Broker(Some(id)) => format!("broker {id}"),
        _ => "the broker".to_owned(),
    }
}
