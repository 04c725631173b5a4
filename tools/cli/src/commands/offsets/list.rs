//! `millstream offsets list GROUP`.

use clap::builder::NonEmptyStringValueParser;
use millstream::CommittedOffset;
use serde_json::{Value, json};

use super::selection::{Selection, parse};
use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    session::Session,
    time,
};

/// Options of `offsets list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
OFFSET is the next offset that the group reads. How far behind that is: millstream groups describe.

Examples:
  millstream offsets list readers
  millstream offsets list readers --topic flights:0,3 --output json")]
pub(crate) struct Options {
    /// The group
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// Only this topic, or these partitions of it; may be given several times
    #[arg(long = "topic", value_name = "TOPIC[:P,...]", value_parser = parse)]
    selections: Vec<Selection>,
}

/// A partition's committed offset.
type Committed = (String, i32, CommittedOffset);

/// Lists what is committed, by topic and partition.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    // That the group exists is asked for: one that does not has committed nothing, too.
    session.describe_group(&options.group).await?;
    let is_wanted = |topic: &str, partition: i32| {
        let mut selections = options.selections.iter();
        options.selections.is_empty() || selections.any(|it| it.includes(topic, partition))
    };
    let listed = session
        .admin()
        .list_group_offsets(&options.group, &[])
        .await?;
    let mut offsets = Vec::with_capacity(listed.len());
    for ((topic, partition), committed) in listed {
        if let Some(committed) = committed?.filter(|_| is_wanted(&topic, partition)) {
            offsets.push((topic, partition, committed));
        }
    }
    match session.output {
        OutputFormat::Json => {
            let list: Vec<_> = offsets.iter().map(to_json).collect();
            output::json(&list)?;
        }
        OutputFormat::Table if offsets.is_empty() => {
            output::talk(&format!("group {} has committed nothing", options.group));
        }
        OutputFormat::Table => {
            let header = ["TOPIC", "PARTITION", "OFFSET", "COMMITTED-AT", "METADATA"];
            output::table(&header, &[1, 2], offsets.into_iter().map(row).collect())?;
        }
    }
    Ok(Outcome::Positive)
}

fn row((topic, partition, committed): Committed) -> Vec<String> {
    vec![
        topic,
        partition.to_string(),
        committed.offset.to_string(),
        time::format(committed.commit_timestamp_ms),
        committed.metadata,
    ]
}

fn to_json((topic, partition, committed): &Committed) -> Value {
    json!({
        "topic": topic,
        "partition": partition,
        "offset": committed.offset,
        "leader_epoch": Some(committed.leader_epoch).filter(|epoch| *epoch >= 0),
        "metadata": committed.metadata,
        "commit_timestamp_ms": committed.commit_timestamp_ms,
    })
}
