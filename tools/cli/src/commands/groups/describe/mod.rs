//! `millstream groups describe GROUP`.

mod json;
mod table;

use clap::builder::NonEmptyStringValueParser;
use millstream::admin::GroupDescription;

use crate::{
    failure::{Outcome, Result},
    number,
    output::{self, OutputFormat},
    session::Session,
};

/// Options of `groups describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
COMMITTED is the next offset that the group reads, END the end of what can be read, LAG the records \
between them. BEHIND is the time since COMMITTED was the END. Members go by the beginning of their \
id, or by the name of a static member; --output json has all of it.

Examples:
  millstream groups describe readers
  millstream groups describe readers --rebalances
  millstream groups describe readers --lag-max 0 || echo 'not there yet'")]
pub(crate) struct Options {
    /// The group
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    group: String,
    /// Show all rebalances that are remembered, not only the last
    #[arg(long)]
    rebalances: bool,
    /// Exit with 1 where a partition lags by more than N records, or by an unknown number
    #[arg(
        long,
        value_name = "N",
        value_parser = number::within(0..=i64::MAX),
        allow_hyphen_values = true
    )]
    lag_max: Option<i64>,
}

/// Describes the group, its members and its partitions.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let group = session.describe_group(&options.group).await?;
    match session.output {
        OutputFormat::Json => output::json(&json::of(&group))?,
        OutputFormat::Table => table::print(&group, options.rebalances)?,
    }
    Ok(outcome(&group, options.lag_max))
}

fn outcome(group: &GroupDescription, lag_max: Option<i64>) -> Outcome {
    let Some(lag_max) = lag_max else {
        return Outcome::Positive;
    };
    let mut partitions = group.partitions.iter();
    if partitions.all(|partition| partition.lag.is_some_and(|lag| lag <= lag_max)) {
        Outcome::Positive
    } else {
        Outcome::Negative
    }
}
