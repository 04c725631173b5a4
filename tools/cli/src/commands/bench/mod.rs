//! `millstream bench`: throughput and latency, from an open-loop generator.
//!
//! Records are due at times fixed in advance, and a latency counts from when its record was due, so
//! that a broker that stalls the generator is charged for it (no coordinated omission).

mod consume;
mod e2e;
mod load;
mod produce;
mod report;

use clap::{Subcommand, ValueEnum};
use millstream::NewTopic;

use crate::{
    failure::{Failure, Outcome, Result},
    interrupts::Interrupts,
    number, output,
    session::Session,
};

/// What to measure.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  millstream bench produce --rate 20000 --records 600000
  millstream bench consume
  millstream bench e2e --rate 5000")]
pub(crate) enum Verb {
    /// Records and bytes per second of a producer, and the latency of its acknowledgements
    Produce(produce::Options),
    /// Records and bytes per second of a consumer that drains a topic
    Consume(consume::Options),
    /// Latency from when a record was due to when a consumer has it
    E2e(e2e::Options),
}

/// Runs the verb.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Outcome> {
    match verb {
        Verb::Produce(options) => produce::run(&options, session).await,
        Verb::Consume(options) => consume::run(&options, session).await,
        Verb::E2e(options) => e2e::run(&options, session).await,
    }
}

/// Where a bench writes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// Use this topic and keep it; without it, one is created and deleted afterwards
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Partitions of the topic that is created
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::within(1..=i32::MAX), allow_hyphen_values = true)]
    partitions: i32,
    /// Durability of the topic that is created
    #[arg(long, value_enum, default_value = "fsync")]
    durability: TopicDurability,
}

/// Values of `millstream.durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TopicDurability {
    /// Acknowledged and shown once it is on disk
    Fsync,
    /// Acknowledged and shown once the in-sync set has it in memory
    Replicated,
}

impl Target {
    /// The topic's name, once it exists.
    ///
    /// # Errors
    /// When the named topic does not exist, or a new one cannot be created.
    async fn open(&self, session: &Session, verb: &str) -> Result<String> {
        if let Some(topic) = &self.topic {
            session.describe(topic, false).await?;
            return Ok(topic.clone());
        }
        let name = format!("millstream-bench-{verb}-{}", std::process::id());
        let durability = match self.durability {
            TopicDurability::Fsync => "fsync",
            TopicDurability::Replicated => "replicated",
        };
        let topic = NewTopic::new(&name)
            .partitions(self.partitions)
            .config("millstream.durability", durability);
        session.admin().create_topic(topic).await?;
        Ok(name)
    }

    /// Runs `work` on the topic and deletes the topic afterwards where it was created for it, also
    /// when the work fails or is interrupted.
    async fn with<T>(
        &self,
        session: &Session,
        verb: &str,
        work: impl AsyncFnOnce(&str) -> Result<T>,
    ) -> Result<T> {
        // From before there is a topic to delete.
        let mut interrupts = Interrupts::listen()?;
        let topic = self.open(session, verb).await?;
        let result = tokio::select! {
            result = work(&topic) => result,
            () = interrupts.wait() => {
                Err(Failure::new(
                    "the bench was interrupted, nothing was measured",
                    "run it again; fewer --records take less time",
                ))
            }
        };
        if self.topic.is_none()
            && let Err(error) = self.delete(session, &topic).await
        {
            output::talk(&format!("warning: topic {topic} was not deleted: {error}"));
        }
        result
    }

    async fn delete(&self, session: &Session, topic: &str) -> millstream::Result<()> {
        for (_, result) in session.admin().delete_topics(&[topic], false).await? {
            result?;
        }
        Ok(())
    }
}
