//! Kafka's own `ProducerPerformance` and `ConsumerPerformance`, with the heap of their scripts.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use millstream_benches::kafka_server::KafkaJars;

/// `KAFKA_HEAP_OPTS` of `kafka-producer-perf-test.sh` and `kafka-consumer-perf-test.sh`.
const HEAP: [&str; 1] = ["-Xmx512M"];
/// Where the consumer's line has its records, and the milliseconds of its fetching without its rebalance.
const RECORDS: usize = 4;
const FETCH_MS: usize = 7;

/// Records per second that were produced.
///
/// # Errors
/// The tool fails, or says something else than it used to.
pub fn produce(
    jars: &KafkaJars,
    address: &str,
    topic: &str,
    records: u64,
    value_bytes: usize,
) -> Result<f64> {
    let output = run(jars
        .java(&HEAP, "org.apache.kafka.tools.ProducerPerformance")
        .args(["--bootstrap-server", address, "--topic", topic])
        .args(["--num-records", &records.to_string()])
        .args(["--record-size", &value_bytes.to_string()])
        .args(["--throughput", "-1"]))?;
    // 500000 records sent, 91240.9 records/sec (89.10 MB/sec), ...
    let last = output
        .lines()
        .rev()
        .find(|line| line.contains("records sent"));
    let rate = last.and_then(|line| line.split(", ").nth(1)?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("ProducerPerformance says {output}"))
}

/// Records per second that were consumed, the group's rebalance left out.
///
/// # Errors
/// The tool fails, or says something else than it used to.
pub fn consume(jars: &KafkaJars, address: &str, topic: &str, records: u64) -> Result<f64> {
    let output = run(jars
        .java(&HEAP, "org.apache.kafka.tools.ConsumerPerformance")
        .args(["--bootstrap-server", address, "--topic", topic])
        .args(["--num-records", &records.to_string(), "--hide-header"]))?;
    let fields: Vec<_> = output
        .lines()
        .last()
        .map(|line| line.split(", ").collect())
        .unwrap_or_default();
    let field = |at: usize| fields.get(at)?.trim().parse::<f64>().ok();
    let rate = field(RECORDS).zip(field(FETCH_MS));
    let rate = rate.map(|(records, ms)| records / ms * 1000.0);
    rate.with_context(|| format!("ConsumerPerformance says {output}"))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}
