//! Kafka Streams' word count, stopped and started again without its local state.

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::interop::{bench::Bench, matrix::Table, program, program::Service, wire::Wire};

const DEMO: &str = "org.apache.kafka.streams.examples.wordcount.WordCountDemo";
const INPUT: &str = "streams-plaintext-input";
const OUTPUT: &str = "streams-wordcount-output";
const PARTITIONS: i32 = 2;
const LINES: u64 = 500;
const COUNTED_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// Runs its one cell.
pub(crate) fn run(bench: &mut Bench<'_>) {
    bench.cell(Table::Streams, "WordCountDemo", "4.3.1", count_words);
}

fn count_words(bench: &Bench<'_>) -> Result<()> {
    bench.installation.install_streams_connect()?;
    let mut wire = Wire::connect(&bench.broker.server)?;
    for topic in [INPUT, OUTPUT] {
        wire.create_topic(topic, PARTITIONS, &[])?;
    }
    for round in 1..=2 {
        let mut demo = start(bench, round)?;
        produce(bench)?;
        wait_counted(bench, &mut demo, round * LINES)
            .with_context(|| format!("start {round} of the demo"))?;
        demo.stop()?;
    }
    Ok(())
}

/// The demo with a state directory of its own, which is empty: state comes from the changelog topic.
fn start(bench: &Bench<'_>, round: u64) -> Result<Service> {
    let folder = bench.folder()?;
    let properties = folder.join(format!("streams-{round}.properties"));
    let state = folder.join(format!("streams-state-{round}"));
    let settings = format!(
        "bootstrap.servers={}\nstate.dir={}\ncommit.interval.ms=200\n",
        bench.broker.server,
        state.display()
    );
    fs::write(&properties, settings)?;
    let mut command = bench.installation.java_streams_connect(DEMO);
    Service::start(
        command.arg(properties),
        &folder.join(format!("streams-{round}.log")),
    )
}

fn produce(bench: &Bench<'_>) -> Result<()> {
    let lines: String = (0..LINES).map(|n| format!("even{} all\n", n % 2)).collect();
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", &bench.broker.server, "-t", INPUT]);
    program::run(&kcat, lines.as_bytes()).map(drop)
}

/// Waits until the last count of each word is what it must be.
fn wait_counted(bench: &Bench<'_>, demo: &mut Service, lines: u64) -> Result<()> {
    let wanted: BTreeMap<String, u64> =
        [("all", lines), ("even0", lines / 2), ("even1", lines / 2)]
            .map(|(word, count)| (word.to_owned(), count))
            .into();
    let start = Instant::now();
    loop {
        let counted = counts(bench)?;
        if counted == wanted {
            return Ok(());
        }
        demo.check()?;
        if start.elapsed() > COUNTED_MAX {
            bail!("counted {counted:?} and not {wanted:?}");
        }
        thread::sleep(POLL);
    }
}

/// The last count of each word in the output topic: keys are text, values numbers of eight bytes.
fn counts(bench: &Bench<'_>) -> Result<BTreeMap<String, u64>> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-b", &bench.broker.server, "-t", OUTPUT])
        .args(["-o", "beginning", "-e", "-q", "-s", "value=>q"])
        .args(["-f", "%k %s\\n"]);
    let output = program::run(&kcat, b"")?;
    output
        .stdout
        .lines()
        .map(|line| {
            let (word, count) = line.split_once(' ').context("no count")?;
            Ok((word.to_owned(), count.parse()?))
        })
        .collect()
}
