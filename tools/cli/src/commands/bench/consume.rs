//! `millstream bench consume`.

use std::time::Instant;

use millstream::Assignment;

use super::{
    Target,
    load::{Content, Load, Schedule},
    report::{self, RateGoal, Report},
};
use crate::{
    failure::{Outcome, Result},
    quantity::Throughput,
    session::Session,
};

/// Options of `bench consume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --topic a topic is filled first, which is not measured.

Examples:
  millstream bench consume
  millstream bench consume --topic flights")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    goal: RateGoal,
}

/// Drains the topic and reports.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let load = &options.load;
    let work = async |topic: &str| {
        if options.target.topic.is_none() {
            report::talk_start(
                "filling a topic with",
                load.records,
                load.record_bytes,
                load.rate,
            );
            let producer = load.producer(session)?;
            load.send(producer, topic, Schedule::now(load.rate), Content::Noise)
                .await?;
        }
        let cpu = report::cpu_time();
        let throughput = drain(session, topic).await?;
        Ok(Report {
            throughput,
            latency: None,
            cpu: report::cpu_time().saturating_sub(cpu),
        })
    };
    let report = options.target.with(session, "consume", work).await?;
    report.print(session.output, options.goal.into())
}

async fn drain(session: &Session, topic: &str) -> Result<Throughput> {
    let start = Instant::now();
    let mut consumer = session.client.consumer().build()?;
    consumer
        .assign([Assignment::topic(topic).until_end()])
        .await?;
    let (mut records, mut bytes) = (0, 0);
    while let Some(record) = consumer.recv().await? {
        records += 1;
        let key = record.key.as_ref().map_or(0, |key| key.len());
        let value = record.value.as_ref().map_or(0, |value| value.len());
        bytes += (key + value) as u64;
    }
    Ok(Throughput {
        records,
        bytes,
        time: start.elapsed(),
    })
}
