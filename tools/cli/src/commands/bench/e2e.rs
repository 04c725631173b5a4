//! `millstream bench e2e`.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use millstream::{Assignment, Consumer, Start};

use super::{
    Target,
    load::{Content, Load, Schedule, index_of},
    report::{self, Goals, Report},
};
use crate::{
    failure::{Failure, Outcome, Result},
    quantity::{Throughput, counted},
    session::Session,
};

/// Without a rate the queue in front of the broker would be measured.
const RATE_DEFAULT: u64 = 5_000;
/// How long the consumer waits for a record before it gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Options of `bench e2e`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --rate, 5,000 records are sent per second.

Examples:
  millstream bench e2e --records 100000
  millstream bench e2e --rate 50000 --records 3000000 --partitions 16 --durability replicated")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    goals: Goals,
}

/// Sends and receives the load, and reports.
pub(crate) async fn run(options: &Options, session: &Session) -> Result<Outcome> {
    let work = async |topic: &str| measure(&options.load, session, topic).await;
    let report = options.target.with(session, "e2e", work).await?;
    report.print(session.output, options.goals)
}

async fn measure(load: &Load, session: &Session, topic: &str) -> Result<Report> {
    let rate = load.rate.unwrap_or(RATE_DEFAULT);
    report::talk_start(
        "sending and receiving",
        load.records,
        load.record_bytes,
        Some(rate),
    );
    let mut consumer = session.client.consumer().build()?;
    let end = Assignment::topic(topic).start(Start::Latest);
    consumer.assign([end]).await?;
    let producer = load.producer(session)?;
    let cpu = report::cpu_time();
    let schedule = Schedule::now(Some(rate));
    let (sent, received) = tokio::join!(
        load.send(producer, topic, schedule, Content::Indexed),
        receive(&mut consumer, schedule, load.records),
    );
    sent?;
    let (latency_us, end) = received?;
    Ok(Report {
        throughput: Throughput {
            records: load.records,
            bytes: load.records * load.record_bytes as u64,
            time: end.saturating_duration_since(schedule.start),
        },
        latency: Some(("from when a record was due to its consumer", latency_us)),
        cpu: report::cpu_time().saturating_sub(cpu),
    })
}

/// Receives as many records as are sent; answers their latencies and when the last one came.
async fn receive(
    consumer: &mut Consumer,
    schedule: Schedule,
    records: u64,
) -> Result<(Histogram<u64>, Instant)> {
    let mut latency_us = report::histogram();
    let mut end = schedule.start;
    while latency_us.len() < records {
        let record = tokio::time::timeout(SILENCE_MAX, consumer.recv())
            .await
            .map_err(|_| silence(latency_us.len(), records))??;
        let Some(record) = record else {
            return Err(silence(latency_us.len(), records));
        };
        let index = record.value.as_deref().and_then(index_of);
        // Others may write to a topic that is not ours alone.
        if let Some(index) = index.filter(|index| *index < records) {
            end = Instant::now();
            let latency = end.saturating_duration_since(schedule.due(index));
            report::record(&mut latency_us, latency);
        }
    }
    Ok((latency_us, end))
}

fn silence(received: u64, records: u64) -> Failure {
    let received = counted(received, "record");
    Failure::new(
        format!("{received} of {records} came back, and no more within {SILENCE_MAX:?}"),
        "see the broker's log, and millstream topics describe",
    )
}
