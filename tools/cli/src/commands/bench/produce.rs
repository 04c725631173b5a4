//! `millstream bench produce`.

use super::{
    Target,
    load::{Content, Load, Schedule},
    report::{self, Goals, Report},
};
use crate::{
    failure::{Outcome, Result},
    session::Session,
};

/// Options of `bench produce`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream bench produce
  millstream bench produce --rate 20000 --records 600000
  millstream bench produce --partitions 16 --record-bytes 100 --durability replicated")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    goals: Goals,
}

/// Sends the load and reports.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let load = &options.load;
    let work = async |topic: &str| {
        report::talk_start("sending", load.records, load.record_bytes, load.rate);
        let producer = load.producer(session)?;
        let cpu = report::cpu_time();
        let sent = load
            .send(producer, topic, Schedule::now(load.rate), Content::Noise)
            .await?;
        Ok(Report {
            throughput: sent.throughput,
            latency: Some((
                "from when a record was due to its acknowledgement",
                sent.latency_us,
            )),
            cpu: report::cpu_time().saturating_sub(cpu),
        })
    };
    let report = options.target.with(session, "produce", work).await?;
    report.print(session.output, options.goals)
}
