//! `millstream topics list`.

use serde_json::json;

use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    session::Session,
};

/// Options of `topics list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream topics list --output json")]
pub(crate) struct Options {
    /// Also topics of the cluster itself
    #[arg(long)]
    internal: bool,
}

/// Lists the topics by name.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let topics = session.admin().list_topics(options.internal).await?;
    if session.output == OutputFormat::Json {
        let list: Vec<_> = topics
            .iter()
            .map(|topic| {
                json!({
                    "name": topic.name,
                    "topic_id": topic.topic_id.to_string(),
                    "partitions": topic.partitions,
                    "replication_factor": topic.replication_factor,
                    "internal": topic.internal,
                })
            })
            .collect();
        output::json(&list)?;
        return Ok(Outcome::Positive);
    }
    if topics.is_empty() {
        output::talk("no topics; create one with: millstream topics create NAME --partitions 1");
        return Ok(Outcome::Positive);
    }
    let rows = topics
        .iter()
        .map(|topic| {
            vec![
                topic.name.clone(),
                topic.partitions.to_string(),
                topic.replication_factor.to_string(),
                topic.topic_id.to_string(),
            ]
        })
        .collect();
    output::table(&["TOPIC", "PARTITIONS", "REPLICAS", "ID"], &[1, 2], rows)?;
    Ok(Outcome::Positive)
}
