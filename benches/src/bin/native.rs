//! What one broker does through the native API, each figure beside the machine's ceiling in the same
//! run: produce and consume as fast as possible, acknowledgements at a fixed rate.
//!
//! Loads and ceilings alternate and the median round counts, because machines are shared.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Parser;
use millstream_benches::{
    daemon::Daemon,
    floor::Floor,
    load::{Load, Outcome},
    loopback,
    report::{self, Percentiles},
    targets::{Figure, Targets},
};

/// Produce, consume and acknowledgement latency of a broker on this machine
#[derive(Parser)]
struct Args {
    /// The daemon
    #[arg(long, default_value = "target/release/millstreamd")]
    daemon: PathBuf,
    /// The command line that makes the load
    #[arg(long, default_value = "target/release/millstream")]
    cli: PathBuf,
    /// Directory on the disk to use
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// 1 KiB records of each round of produce and consume
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records per second where acknowledgements are timed
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Seconds of each round where acknowledgements are timed
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds of each kind
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fail when a target is missed
    #[arg(long)]
    assert: bool,
}

/// MB per second that a producer of 1 KiB records has to reach with an fsync before each answer.
const PRODUCE_MB: f64 = 150.0;
const CONSUME_MB: f64 = 400.0;
const P99_MS: f64 = 10.0;
/// What the broker may add to the disk's floor.
const FLOOR_FACTOR: f64 = 1.5;
const BEYOND_FLOOR_MS: f64 = 1.0;
/// 0, and the client's default.
const LINGERS_MS: [u64; 2] = [0, 5];
/// How long each ceiling is measured.
const CEILING_TIME: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.rounds > 0, "no rounds, nothing measured");
    println!("{}", report::machine());
    let scratch = tempfile::tempdir_in(&args.dir)?;
    let daemon = Daemon::start(&args.daemon, &scratch.path().join("data"), &[])?;
    let bench = Bench {
        load: Load {
            cli: args.cli.clone(),
        },
        daemon,
        dir: scratch.path(),
        args: &args,
    };
    let mut targets = Targets::default();
    bench.produce(&mut targets)?;
    bench.consume(&mut targets)?;
    for linger_ms in LINGERS_MS {
        bench.acknowledge(linger_ms, &mut targets)?;
    }
    bench.daemon.stop()?;
    targets.finish(args.assert)
}

/// A daemon and its load.
struct Bench<'a> {
    load: Load,
    daemon: Daemon,
    dir: &'a Path,
    args: &'a Args,
}

/// A load, and the flush rounds that it caused.
#[derive(Debug, Clone, Copy)]
struct Flushed {
    outcome: Outcome,
    rounds_per_s: f64,
    round_bytes: usize,
    broker_cpu_s_per_gib: f64,
}

impl Bench<'_> {
    fn produce(&self, targets: &mut Targets) -> Result<()> {
        let records = self.args.records.to_string();
        let (mut rates, mut ceilings) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            let flushed = self.run(&["produce", "--records", &records])?;
            let floor = Floor {
                size: flushed.round_bytes,
                files: 1,
                rate: None,
                time: CEILING_TIME,
            };
            ceilings.push(floor.measure(self.dir)?.mb_per_s());
            rates.push(flushed);
        }
        let median = by_median(&mut rates, |flushed| flushed.outcome.mb_per_s);
        println!(
            "produce: {:.0} flush rounds/s of {} bytes; CPU-s/GiB: client {:.2}, broker {:.2}",
            median.rounds_per_s,
            median.round_bytes,
            median.outcome.client_cpu_s_per_gib,
            median.broker_cpu_s_per_gib,
        );
        let figure = Figure {
            what: "produce, 1 KiB, fsync",
            value: median.outcome.mb_per_s,
            unit: "MB/s",
        };
        let ceiling = *by_median(&mut ceilings, |rate| *rate);
        targets.at_least(figure, PRODUCE_MB, ceiling);
        Ok(())
    }

    fn consume(&self, targets: &mut Targets) -> Result<()> {
        let records = self.args.records.to_string();
        let (mut rates, mut ceilings) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            let options = ["consume", "--records", &records];
            rates.push(self.load.run(&self.daemon, &options)?.mb_per_s);
            ceilings.push(loopback::mb_per_s(256 << 10, CEILING_TIME)?);
        }
        let figure = Figure {
            what: "consume, 1 KiB",
            value: *by_median(&mut rates, |rate| *rate),
            unit: "MB/s",
        };
        let ceiling = *by_median(&mut ceilings, |rate| *rate);
        targets.at_least(figure, CONSUME_MB, ceiling);
        Ok(())
    }

    fn acknowledge(&self, linger_ms: u64, targets: &mut Targets) -> Result<()> {
        let Args { rate, seconds, .. } = self.args;
        let (rate, records) = (rate.to_string(), (rate * seconds).to_string());
        let linger = linger_ms.to_string();
        let options = [
            "--rate",
            &rate,
            "--records",
            &records,
            "--linger-ms",
            &linger,
        ];
        let options = [&["produce"], &options[..]].concat();
        let (mut loads, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            let flushed = self.run(&options)?;
            let floor = Floor {
                size: flushed.round_bytes,
                files: 1,
                rate: Some(flushed.rounds_per_s),
                time: Duration::from_secs(*seconds),
            };
            floors.push(Percentiles::of(&floor.measure(self.dir)?.latency_us));
            loads.push(flushed);
        }
        let load = *by_median(&mut loads, |load| load.outcome.p99_ms);
        let floor = *by_median(&mut floors, |floor| floor.p99_ms);
        let Outcome {
            p50_ms,
            p99_ms,
            p999_ms,
            ..
        } = load.outcome;
        println!(
            "linger {linger_ms} ms: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, p99.9 {p999_ms:.2} ms; \
             {:.0} flush rounds/s of {} bytes, whose floor is {floor}",
            load.rounds_per_s, load.round_bytes,
        );
        let what = format!("p99 at {rate} records/s, fsync, linger {linger_ms} ms");
        let figure = Figure {
            what: &what,
            value: p99_ms,
            unit: "ms",
        };
        targets.at_most(figure, P99_MS, "");
        let most = FLOOR_FACTOR * floor.p99_ms + BEYOND_FLOOR_MS + linger_ms as f64;
        targets.at_most(figure, most, ", 1.5 x floor + 1 ms + linger");
        Ok(())
    }

    /// Runs a load, and asks the daemon what it flushed for it.
    fn run(&self, options: &[&str]) -> Result<Flushed> {
        let (before, before_cpu) = (Counts::of(&self.daemon)?, self.daemon.usage()?.cpu);
        let outcome = self.load.run(&self.daemon, options)?;
        let (after, after_cpu) = (Counts::of(&self.daemon)?, self.daemon.usage()?.cpu);
        let rounds = (after.flushes - before.flushes).max(1.0);
        let bytes = after.bytes - before.bytes;
        Ok(Flushed {
            outcome,
            rounds_per_s: rounds / outcome.seconds,
            round_bytes: (bytes / rounds) as usize,
            broker_cpu_s_per_gib: (after_cpu - before_cpu).as_secs_f64()
                / (bytes / f64::from(1 << 30)),
        })
    }
}

/// Counters of the daemon's log.
struct Counts {
    flushes: f64,
    bytes: f64,
}

impl Counts {
    fn of(daemon: &Daemon) -> Result<Self> {
        Ok(Self {
            flushes: daemon.metric("millstream_log_flushes_total")?,
            bytes: daemon.metric("millstream_log_append_bytes_total")?,
        })
    }
}

/// The round in the middle.
fn by_median<T>(rounds: &mut [T], key: impl Fn(&T) -> f64) -> &T {
    rounds.sort_unstable_by(|left, right| key(left).total_cmp(&key(right)));
    &rounds[rounds.len() / 2]
}
