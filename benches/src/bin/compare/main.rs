//! Millstream beside Apache Kafka: the same machine, the same clients, the same durability, one after the
//! other, round by round.
//!
//! ```text
//!  round 1: machine, Kafka, Millstream    round 2: machine, Millstream, Kafka    ...
//!              └──── each a new process on a new directory, warmed up, then every load of the workload
//! ```
//!
//! Each of these runs is a line in a file as soon as it is over, so a comparison that was stopped goes on
//! where it was. What comes of all lines together is printed, and written into `docs/performance.md`.

mod bare;
mod broker;
mod control;
mod figure;
mod frames;
mod librdkafka;
mod machine;
mod perf_tools;
mod store;
mod table;
mod targets;
mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use millstream_benches::{kafka_server::KafkaJars, report};

use broker::Site;
use figure::Subject;
use librdkafka::Librdkafka;
use store::{Run, Store};
use workload::{Loads, Scale, Workload};

/// Millstream beside Apache Kafka 4.3.1, figure by figure
#[derive(Parser)]
struct Args {
    /// The workload; without, what was measured so far is printed and written
    #[arg(long, value_enum)]
    workload: Option<Workload>,
    /// Rounds; Kafka and Millstream take turns in going first
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// No further run begins that may end after so many minutes: the same command goes on with it
    #[arg(long, default_value_t = 40)]
    minutes: u64,
    /// Forget what was measured of the workload before
    #[arg(long)]
    again: bool,
    /// One short round that only shows whether everything works; its results are kept apart and are not
    /// written into the document
    #[arg(long)]
    quick: bool,
    /// The daemon
    #[arg(long, default_value = "target/release/millstreamd")]
    daemon: PathBuf,
    /// Where brokers have their data
    #[arg(long, default_value = "target/compare")]
    dir: PathBuf,
    /// Every run of which the document has the medians
    #[arg(long, default_value = "benches/results/compare.jsonl")]
    results: PathBuf,
    /// The document
    #[arg(long, default_value = "docs/performance.md")]
    document: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.dir)?;
    let quick = args.dir.join("quick.jsonl");
    let results = if args.quick { &quick } else { &args.results };
    let mut store = Store::open(results)?;
    if let Some(workload) = args.workload {
        if args.again || args.quick {
            store.forget(workload)?;
        }
        Comparison::new(&args, workload)?.run(&mut store)?;
    }
    let table = table::render(&store)?;
    println!("{table}");
    if !args.quick {
        table::write_into(&args.document, &table)?;
    }
    Ok(())
}

/// The rounds of one workload.
struct Comparison<'a> {
    args: &'a Args,
    workload: Workload,
    rounds: usize,
    loads: Loads,
}

impl<'a> Comparison<'a> {
    fn new(args: &'a Args, workload: Workload) -> Result<Self> {
        Ok(Self {
            args,
            workload,
            rounds: if args.quick { 1 } else { args.rounds },
            loads: Loads {
                scale: if args.quick {
                    Scale::QUICK
                } else {
                    Scale::FULL
                },
                jars: KafkaJars::install()?,
                librdkafka: Librdkafka::install(&args.dir)?,
            },
        })
    }

    /// Runs what is missing, until it is all there or the time is up.
    fn run(&self, store: &mut Store) -> Result<()> {
        let started = Instant::now();
        let time = Duration::from_secs(self.args.minutes * 60);
        for round in 1..=self.rounds {
            for subject in subjects(round) {
                if store.has(self.workload, round, subject) {
                    continue;
                }
                let longest = store.of(self.workload, subject).map(|run| run.seconds);
                let longest = Duration::from_secs_f64(longest.fold(0.0, f64::max));
                if started.elapsed() + longest > time {
                    eprintln!("the time is up: the same command goes on in round {round}");
                    return Ok(());
                }
                store.add(self.measure(round, subject)?)?;
            }
        }
        Ok(())
    }

    fn measure(&self, round: usize, subject: Subject) -> Result<Run> {
        eprintln!("round {round}: {subject:?}");
        let scratch = tempfile::tempdir_in(&self.args.dir)?;
        let site = Site {
            subject,
            dir: fs::canonicalize(scratch.path())?.join("broker"),
            jars: self.loads.jars.clone(),
            daemon: absolute(&self.args.daemon)?,
        };
        let started = Instant::now();
        let figures = self
            .workload
            .run(&site, &self.loads)
            .with_context(|| format!("round {round} of {}: {subject:?}", self.workload))?;
        Ok(Run {
            workload: self.workload,
            round,
            subject,
            machine: report::machine(),
            build: site.build()?,
            seconds: started.elapsed().as_secs_f64(),
            figures: figures.0,
        })
    }
}

/// Who comes when: first and last change from round to round.
fn subjects(round: usize) -> [Subject; 3] {
    match round % 2 {
        1 => [Subject::Machine, Subject::Kafka, Subject::Millstream],
        _ => [Subject::Machine, Subject::Millstream, Subject::Kafka],
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("{} is missing: build it", path.display()))
}
