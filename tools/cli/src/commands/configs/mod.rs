//! `millstream configs`.

mod alter;
mod describe;

use clap::Subcommand;
use millstream::admin::ConfigResource;

use crate::{
    failure::{Outcome, Result},
    session::Session,
};

/// What to do with configurations.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream configs describe --topic flights --changed
  millstream configs alter --topic flights --set retention.ms=86400000")]
pub(crate) enum Verb {
    /// Show the keys of a topic or broker, their values and where those come from
    Describe(describe::Options),
    /// Set keys of a topic or defaults of all topics, or take them back
    Alter(alter::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::Describe(options) => describe::run(&options, session).await,
        Verb::Alter(options) => alter::run(options, session).await,
    }
}

/// Whose configuration.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Configuration of this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Configuration of the broker with this id; of the one that answers without an id
    #[arg(long, value_name = "ID", num_args = 0..=1)]
    broker: Option<Option<i32>>,
}

impl Target {
    fn resource(&self) -> ConfigResource {
        match (&self.topic, self.broker) {
            (Some(topic), _) => ConfigResource::Topic(topic.clone()),
            (None, broker) => ConfigResource::Broker(broker.flatten()),
        }
    }
}
