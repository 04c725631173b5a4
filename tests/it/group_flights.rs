//! The month of flights read by a group of processes, of which one is killed half way and one comes
//! late: every row is seen, everything is committed, and a batch counts the same.
//!
//! `MILLSTREAM_GROUP_FLIGHTS` names another file of the same form, for the whole year.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use millstream_proto::{PartitionIndex, TopicName, TopicPartition};
use millstream_tests::{
    Cli, Daemon,
    churn::{MemberNumber, Observation, Observer, Scene, check, drain, record_log_ends},
    flights::{Flights, carrier},
    member_process::{MemberProcess, Printed},
    ownership,
};
use tokio::{sync::mpsc, task::spawn_blocking};

const TOPIC: &str = "flights";
const GROUP: &str = "airlines";
const MEMBERS: usize = 3;

fn input() -> Result<Flights> {
    env::var_os("MILLSTREAM_GROUP_FLIGHTS")
        .map_or_else(Flights::sample, |path| Flights::read(Path::new(&path)))
}

fn per_airline<'a>(rows: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(carrier(row)).or_default() += 1;
    }
    counts
}

/// What the members printed, each record once, and how many were printed again.
struct Seen {
    scene: Arc<Scene>,
    rows: BTreeMap<(i32, i64), String>,
    again: usize,
    members: BTreeSet<MemberNumber>,
}

impl Seen {
    fn add(&mut self, printed: Printed) -> Result<()> {
        let Printed {
            member,
            partition,
            offset,
            value,
        } = printed;
        self.members.insert(member);
        self.scene.recorder.record(Observation::Polled {
            member,
            partition: TopicPartition {
                topic: TopicName::new(TOPIC)?,
                partition: PartitionIndex(partition),
            },
            offset,
        });
        if let Some(before) = self.rows.insert((partition, offset), value) {
            let value = self.rows.get(&(partition, offset));
            ensure!(
                value == Some(&before),
                "{partition} {offset} has two values"
            );
            self.again += 1;
        }
        Ok(())
    }
}

/// Streams the flights in, beside the test.
fn produce(daemon: &Daemon, flights: &Flights) -> Result<tokio::task::JoinHandle<Result<Vec<u8>>>> {
    let arguments = ["produce", TOPIC, "--format", "csv", "--key", "tailnum"];
    let produce = Cli::new(daemon, arguments)?.input(flights.text());
    Ok(spawn_blocking(|| produce.stdout()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flights_reach_a_group_of_processes_of_which_one_is_killed_and_one_comes_late() -> Result<()>
{
    let flights = input()?;
    let total = flights.rows().count();
    let mut daemon = Daemon::start()?;
    Cli::new(&daemon, ["topics", "create", TOPIC, "--partitions", "8"])?.stdout()?;
    let scene = Arc::new(Scene::new(&daemon, GROUP, &[TOPIC]));
    let (sink, mut printed) = mpsc::unbounded_channel();
    let start = || {
        let member = scene.recorder.member();
        MemberProcess::start(&daemon, TOPIC, GROUP, member, sink.clone())
    };
    let mut members: Vec<_> = (0..MEMBERS).map(|_| start()).collect::<Result<_>>()?;
    let mut observer = Observer::start(&scene).await?;
    observer.until_stable(MEMBERS).await?;

    let producing = produce(&daemon, &flights)?;
    let mut seen = Seen {
        scene: Arc::clone(&scene),
        rows: BTreeMap::new(),
        again: 0,
        members: BTreeSet::new(),
    };
    while seen.rows.len() < total / 2 {
        seen.add(printed.recv().await.context("members go on")?)?;
    }
    members.remove(0).kill()?;
    members.push(start()?);
    producing.await??;
    drain(&scene).await?;
    observer.until_stable(MEMBERS).await?;
    for member in members {
        let status = member.interrupt()?;
        ensure!(status.success(), "a member ended with {status}");
    }
    scene.end();
    observer.finish().await?;
    drain(&scene).await?;
    drop(sink);
    while let Some(printed) = printed.recv().await {
        seen.add(printed)?;
    }
    record_log_ends(&scene).await?;

    println!(
        "{total} rows, {} of them printed again after the kill",
        seen.again
    );
    assert_eq!(seen.members.len(), MEMBERS + 1, "everybody read something");
    let mut found: Vec<_> = seen.rows.values().map(String::as_str).collect();
    let mut expected: Vec<_> = flights.rows().collect();
    found.sort_unstable();
    expected.sort_unstable();
    ensure!(found == expected, "{} rows of {total}", found.len());
    let batch = String::from_utf8(Cli::new(&daemon, ["consume", TOPIC])?.stdout()?)?;
    assert_eq!(per_airline(found), per_airline(batch.lines()));
    let report = check(&scene.recorder.observed());
    assert!(report.anomalies.is_empty(), "{report}");
    daemon.terminate()?;
    let ownership = ownership::read(daemon.data_dir(), GROUP)?;
    println!(
        "{} decisions, {} moves",
        ownership.decisions, ownership.moves
    );
    assert!(ownership.moves > 0, "{ownership:?}");
    Ok(())
}
