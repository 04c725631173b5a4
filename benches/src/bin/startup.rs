//! How fast a broker is there, and what it holds: empty, with many partitions, after kill -9.
//!
//! With `--fill-gib` the partitions are filled first, so that recovery has something to find.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Parser;
use millstream::{Client, NewTopic, Record};
use millstream_benches::{
    daemon::Daemon,
    report,
    targets::{Figure, Targets},
};

const TOPIC: &str = "startup";
const RECORD_BYTES: usize = 1024;

/// Start time, recovery time and idle cost of a broker
#[derive(Parser)]
struct Args {
    /// The daemon
    #[arg(long, default_value = "target/release/millstreamd")]
    daemon: PathBuf,
    /// Directory on the disk to use
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1000)]
    partitions: i32,
    /// GiB of 1 KiB records written before the kill
    #[arg(long, default_value_t = 0)]
    fill_gib: u64,
    /// How long to watch an idle broker
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
    /// Fail when a target is missed
    #[arg(long)]
    assert: bool,
}

/// What an idle broker may hold, without file maps.
const OWN_MIB: f64 = 30.0;
/// What each idle partition may add to that.
const PARTITION_KIB: f64 = 8.0;
const READY_EMPTY_MS: f64 = 100.0;
const READY_CLEAN_MS: f64 = 1000.0;
const READY_KILLED_MS: f64 = 2000.0;

fn main() -> Result<()> {
    let args = Args::parse();
    println!("{}", report::machine());
    let scratch = tempfile::tempdir_in(&args.dir).context("cannot create a scratch directory")?;
    let data_dir = scratch.path().join("data");
    let runtime = tokio::runtime::Runtime::new()?;
    let start = |settings: &[&str]| Daemon::start(&args.daemon, &data_dir, settings);

    let mut targets = Targets::default();

    let daemon = start(&[])?;
    let empty = report_daemon("empty directory", &daemon, &args)?;
    targets.at_most(
        ready("ready in an empty directory", &daemon),
        READY_EMPTY_MS,
        "",
    );
    let own = Figure {
        what: "own memory of an idle broker",
        value: mib(empty),
        unit: "MiB",
    };
    targets.at_most(own, OWN_MIB, "");
    runtime.block_on(fill(&daemon.address(), &args))?;
    report_daemon(
        &format!("{} partitions, just written", args.partitions),
        &daemon,
        &args,
    )?;

    let stopped = daemon.stop()?;
    println!("stopped by SIGTERM in {:.0} ms", ms(stopped));
    let daemon = start(&[])?;
    let idle = report_daemon("started after a clean stop", &daemon, &args)?;
    targets.at_most(
        ready("ready after a clean stop", &daemon),
        READY_CLEAN_MS,
        "",
    );
    let each = each_partition("each idle partition after a clean stop", idle, empty, &args);
    targets.at_most(each, PARTITION_KIB, "");
    let first = runtime.block_on(first_produce(&daemon.address()))?;
    println!("first acknowledged record {:.0} ms after ready", ms(first));

    runtime.block_on(touch_all(&daemon.address(), args.partitions))?;
    daemon.kill()?;
    let daemon = start(&[])?;
    let idle = report_daemon("started after kill -9", &daemon, &args)?;
    targets.at_most(ready("ready after kill -9", &daemon), READY_KILLED_MS, "");
    let each = each_partition("each idle partition after kill -9", idle, empty, &args);
    targets.at_most(each, PARTITION_KIB, "");
    let first = runtime.block_on(first_produce(&daemon.address()))?;
    println!("first acknowledged record {:.0} ms after ready", ms(first));
    daemon.stop()?;
    targets.finish(args.assert)
}

fn ready<'a>(what: &'a str, daemon: &Daemon) -> Figure<'a> {
    Figure {
        what,
        value: ms(daemon.ready_after),
        unit: "ms",
    }
}

/// What each idle partition adds to the memory of an empty broker.
fn each_partition<'a>(what: &'a str, own_bytes: u64, empty_bytes: u64, args: &Args) -> Figure<'a> {
    let added = own_bytes.saturating_sub(empty_bytes) as f64;
    Figure {
        what,
        value: added / 1024.0 / f64::from(args.partitions),
        unit: "KiB of own memory",
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Prints when it was ready, what it holds, and what it burns while nobody asks for anything; answers
/// its own memory in bytes.
fn report_daemon(what: &str, daemon: &Daemon, args: &Args) -> Result<u64> {
    let before = daemon.usage()?;
    thread::sleep(Duration::from_secs(args.idle_seconds));
    let after = daemon.usage()?;
    let idle = (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / args.idle_seconds as f64;
    println!(
        "{what}: ready in {:.0} ms, own memory {:.1} MiB, peak with maps {:.1} MiB, idle CPU {:.2} %",
        ms(daemon.ready_after),
        mib(after.memory.own_bytes),
        mib(after.memory.peak_bytes),
        idle * 100.0,
    );
    Ok(after.memory.own_bytes)
}

/// Creates the topic, and writes `fill_gib` to it, at least one record to every partition.
async fn fill(address: &str, args: &Args) -> Result<()> {
    let client = Client::connect(address).await?;
    let topic = NewTopic::new(TOPIC).partitions(args.partitions);
    let started = Instant::now();
    client.admin().create_topic(topic).await?;
    println!(
        "created {} partitions in {:.0} ms",
        args.partitions,
        ms(started.elapsed())
    );
    touch_all(address, args.partitions).await?;
    let records = args.fill_gib * (1 << 30) / RECORD_BYTES as u64;
    let producer = client.producer().build()?;
    let started = Instant::now();
    let value = Bytes::from(vec![0x5a; RECORD_BYTES]);
    for number in 0..records {
        let partition = (number / 256) as i32 % args.partitions;
        let record = Record::to_topic(TOPIC)
            .partition(partition)
            .value(value.clone());
        // Whether all arrived is what the flush below tells.
        drop(producer.send(record).await?);
    }
    producer.flush().await?;
    producer.close(Duration::from_secs(60)).await?;
    if records > 0 {
        let rate = (args.fill_gib << 30) as f64 / started.elapsed().as_secs_f64() / 1e6;
        println!("wrote {} GiB at {rate:.0} MB/s", args.fill_gib);
    }
    Ok(())
}

/// One acknowledged record to every partition.
async fn touch_all(address: &str, partitions: i32) -> Result<()> {
    let client = Client::connect(address).await?;
    let producer = client.producer().build()?;
    let mut deliveries = Vec::new();
    for partition in 0..partitions {
        let record = Record::to_topic(TOPIC)
            .partition(partition)
            .value("touched");
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close(Duration::from_secs(60)).await?;
    Ok(())
}

/// How long it takes a fresh client until its first record is acknowledged.
async fn first_produce(address: &str) -> Result<Duration> {
    let started = Instant::now();
    let client = Client::connect(address).await?;
    let producer = client.producer().build()?;
    producer
        .send(Record::to_topic(TOPIC).partition(0).value("first"))
        .await?
        .await?;
    let elapsed = started.elapsed();
    producer.close(Duration::from_secs(60)).await?;
    Ok(elapsed)
}
