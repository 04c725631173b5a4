//! `cargo xtask demo`: a broker that stays, and a month of flights through it.

mod broker;
mod flights;
mod group;
mod port;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::build::{Binaries, Build, is_ci};
use broker::Broker;
use flights::{Cli, Flights};
use group::{Counts, Members};

const TOPIC: &str = "flights";
const GROUP: &str = "airlines";
const KEY: &str = "carrier";
const PARTITIONS: u32 = 8;
const SAMPLE: &str = "tests/data/nycflights13/flights-2013-01.csv.gz";
const RECORDS_SHOWN: usize = 5;

/// Options of the demo.
#[derive(Args)]
pub(crate) struct Options {
    /// Stop the demo's broker; its data stays
    #[arg(long)]
    stop: bool,
    /// Add N to the ports 9092, 9192 and 9292
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_offset: u16,
}

/// Builds, starts or reuses the broker, streams the flights, checks what comes back.
///
/// # Errors
/// When a step fails, or when a row does not come back as it went in.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.stop {
        return stop(root);
    }
    let build = Build::from_environment();
    let binaries = build_binaries(root, build)?;
    let broker = start(root, &binaries, options.port_offset)?;
    let server = broker.server();
    let cli = Cli {
        binary: &binaries.cli,
        server: &server,
    };
    let result = stream(root, &cli);
    if is_ci() {
        broker.stop()?;
        println!("\nCI=true: the broker was stopped");
        return result;
    }
    result?;
    print_next(root, &binaries, &broker);
    Ok(())
}

fn stop(root: &Path) -> Result<()> {
    let brokers = Broker::running(root);
    if brokers.is_empty() {
        println!("no demo broker runs");
    }
    for broker in brokers {
        broker.stop()?;
        println!(
            "broker {} stopped; its data stays in {}",
            broker.pid,
            broker.data_dir.display()
        );
    }
    Ok(())
}

fn build_binaries(root: &Path, build: Build) -> Result<Binaries> {
    println!("building millstreamd and millstream (the first build takes minutes)");
    let start = Instant::now();
    let status = build.command(root).status()?;
    if !status.success() {
        bail!("the build failed: {status}");
    }
    println!("built in {:.1} s", start.elapsed().as_secs_f64());
    Ok(build.binaries(root))
}

fn start(root: &Path, binaries: &Binaries, port_offset: u16) -> Result<Broker> {
    let folder = Broker::folder(root, port_offset)?;
    if let Some(broker) = Broker::find(&folder) {
        println!("broker {} of an earlier run is used again", broker.pid);
        return Ok(broker);
    }
    let start = Instant::now();
    let broker = Broker::start(&folder, &binaries.daemon, port_offset)?;
    let ready_ms = start.elapsed().as_millis();
    println!("broker {} started, ready in {ready_ms} ms", broker.pid);
    Ok(broker)
}

/// The flights through the topic, and what came back: to one reader, and to a group that waited.
fn stream(root: &Path, cli: &Cli<'_>) -> Result<()> {
    let flights = Flights::read(&root.join(SAMPLE))?;
    recreate_topic(cli, TOPIC)?;
    println!(
        "\n$ millstream consume {TOPIC} --group {GROUP} --follow --format json   # three times"
    );
    let members = Members::start(cli, TOPIC, GROUP)?;
    println!("three members share the partitions, and wait");
    read_alone(cli, &flights)?;
    read_as_group(cli, &flights, members)
}

fn read_alone(cli: &Cli<'_>, flights: &Flights) -> Result<()> {
    println!(
        "\n$ zcat {SAMPLE} | millstream produce {TOPIC} --format csv --key {KEY} --timestamp time_hour"
    );
    let (_, produce_time) = timed(|| flights.produce(cli, TOPIC, KEY))?;
    println!("\n$ millstream consume {TOPIC} --format json");
    let (shown, consume_time) = timed(|| flights.verify(cli, TOPIC, KEY, RECORDS_SHOWN))?;
    for line in shown {
        println!("{line}");
    }
    let rows = flights.rows().count();
    println!("...\n\nrecords per airline, read back from the topic and equal to the file:");
    for (carrier, rows) in flights.by(KEY)? {
        println!("  {carrier}  {:>6}", rows.len());
    }
    println!("all {rows} rows came back byte for byte, each airline's in their order");
    print_rate("produced", rows, produce_time);
    print_rate("consumed", rows, consume_time);
    println!("check: zcat {SAMPLE} | tail -n +2 | cut -d, -f10 | sort | uniq -c");
    Ok(())
}

/// What the members read meanwhile, how far the group has committed, and their end.
fn read_as_group(cli: &Cli<'_>, flights: &Flights, members: Members<'_>) -> Result<()> {
    let counts = members.count(flights.rows().count())?;
    let expected = flights.by(KEY)?;
    let expected = expected.iter().map(|(key, rows)| (*key, rows.len()));
    let found = counts
        .iter()
        .map(|(key, of)| (key.as_str(), of.iter().sum()));
    if !expected.eq(found) {
        bail!("the group read {counts:?}, which is not what the file has");
    }
    println!("\nthe same, as the three members of group {GROUP} read it meanwhile:");
    print_counts(&counts);
    members.wait_committed()?;
    println!("\n$ millstream groups describe {GROUP}");
    let mut describe = Command::new(cli.binary);
    let arguments = ["groups", "describe", GROUP, "--server", cli.server];
    run_command(describe.args(arguments))?;
    members.stop()
}

fn print_counts(counts: &Counts) {
    println!("      member 1  member 2  member 3");
    for (key, [first, second, third]) in counts {
        println!("  {key}  {first:>8}  {second:>8}  {third:>8}");
    }
}

/// An empty topic with the demo's partitions, also where an earlier run left one. The records carry
/// times of 2013, so retention by time is switched off.
fn recreate_topic(cli: &Cli<'_>, topic: &str) -> Result<()> {
    let exists = topics(cli, &["describe", topic]).output()?.status.success();
    if exists {
        println!("topic {topic} of an earlier run is deleted and created again");
        run_command(&mut topics(cli, &["delete", topic, "--yes"]))?;
    }
    let partitions = PARTITIONS.to_string();
    let options = ["--partitions", &partitions, "--config", "retention.ms=-1"];
    run_command(topics(cli, &["create", topic]).args(options))
}

fn topics(cli: &Cli<'_>, args: &[&str]) -> Command {
    let mut command = Command::new(cli.binary);
    command
        .arg("topics")
        .args(args)
        .args(["--server", cli.server]);
    command
}

fn run_command(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}

fn print_rate(what: &str, rows: usize, time: Duration) {
    let rows = u32::try_from(rows).map_or(f64::INFINITY, f64::from);
    let seconds = time.as_secs_f64();
    println!(
        "{what} {rows} records in {seconds:.2} s: {:.0} records/s (with the start of the command)",
        rows / seconds
    );
}

fn print_next(root: &Path, binaries: &Binaries, broker: &Broker) {
    let cli = binaries.cli.strip_prefix(root).unwrap_or(&binaries.cli);
    let cli = cli.display();
    let server = match broker.server() {
        server if server == "127.0.0.1:9192" => String::new(),
        server => format!(" --server {server}"),
    };
    println!("\nThe broker goes on running:");
    println!("  pid        {}", broker.pid);
    println!("  native API {}", broker.server());
    println!("  Kafka      127.0.0.1:{}", broker.kafka_port);
    println!(
        "  page       http://127.0.0.1:{}/ is open for a look",
        broker.http_port
    );
    println!("  metrics    http://127.0.0.1:{}/metrics", broker.http_port);
    println!("  data       {}", broker.data_dir.display());
    println!("  log        {}", broker.log.display());
    println!("  stop it    cargo xtask demo --stop");
    println!("\nTry next:");
    println!("  {cli} topics describe {TOPIC}{server}");
    println!("  {cli} consume {TOPIC} --from 2013-01-31T20:00:00Z --limit 10{server}");
    println!("  {cli} groups describe {GROUP} --rebalances{server}");
    println!("  {cli} offsets reset {GROUP} --topic {TOPIC} --to earliest --dry-run{server}");
    println!("  {cli} topics create greetings --partitions 1{server}");
    println!("  echo hello | {cli} produce greetings{server}");
    println!("  {cli} consume greetings --follow{server}");
    println!("  {cli} log verify {}", broker.data_dir.display());
    println!("  {cli} bench produce{server}");
}
