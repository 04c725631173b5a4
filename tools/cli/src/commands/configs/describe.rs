//! `millstream configs describe`.

use millstream::admin::{ConfigEntry, ConfigResource, ConfigSource};
use serde_json::json;

use super::Target;
use crate::{
    failure::{Failure, Outcome, Result},
    output::{self, OutputFormat},
    session::Session,
};

/// Options of `configs describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream configs describe --topic flights
  millstream configs describe --topic flights retention.ms segment.bytes
  millstream configs describe --broker --output json")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Only these keys
    keys: Vec<String>,
    /// Only keys that somebody set
    #[arg(long)]
    changed: bool,
}

/// Shows the entries.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let resource = options.target.resource();
    if let ConfigResource::Topic(topic) = &resource {
        session.describe(topic, false).await?;
    }
    let keys: Vec<_> = options.keys.iter().map(String::as_str).collect();
    let results = session.admin().describe_configs(&[resource], &keys).await?;
    let Some((_, entries)) = results.into_iter().next() else {
        return Err(Failure::new(
            "the broker answered nothing",
            "see the broker's log",
        ));
    };
    let mut entries = entries?;
    if options.changed {
        entries.retain(|entry| entry.source != ConfigSource::Default);
    }
    match session.output {
        OutputFormat::Json => {
            let list: Vec<_> = entries.iter().map(to_json).collect();
            output::json(&list)?;
        }
        OutputFormat::Table => {
            let rows = entries.into_iter().map(row).collect();
            output::table(&["KEY", "VALUE", "SOURCE", "DEFAULT"], &[], rows)?;
        }
    }
    Ok(Outcome::Positive)
}

fn row(entry: ConfigEntry) -> Vec<String> {
    let value = if entry.sensitive {
        "(hidden)".to_owned()
    } else {
        entry.value
    };
    let source = source(entry.source).to_owned();
    vec![entry.name, value, source, entry.default_value]
}

fn to_json(entry: &ConfigEntry) -> serde_json::Value {
    json!({
        "name": entry.name,
        "value": entry.value,
        "source": source(entry.source),
        "default": entry.default_value,
        "read_only": entry.read_only,
        "sensitive": entry.sensitive,
        "documentation": entry.documentation,
    })
}

const fn source(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Default => "default",
        ConfigSource::File => "file",
        ConfigSource::Environment => "environment",
        ConfigSource::Flag => "flag",
        ConfigSource::Topic => "topic",
        ConfigSource::Cluster => "cluster",
        _ => "unknown",
    }
}
