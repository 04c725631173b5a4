//! Kafka Connect in distributed mode: a file through a topic into another file, while a worker is killed.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::interop::{
    bench::Bench,
    broker::free_port,
    matrix::Table,
    program::Service,
    wire::{Resource, Wire},
};

const WORKER: &str = "org.apache.kafka.connect.cli.ConnectDistributed";
const LINES: usize = 1_000;
const STEP_MAX: Duration = Duration::from_secs(120);
const ASK_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(250);

/// Of every worker; the delay is how long Connect waits for one to come back before others take its tasks.
const SETTINGS: &str = "\
group.id=connect
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.flush.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
session.timeout.ms=10000
plugin.discovery=service_load
";

const STATE_TOPICS: [&str; 3] = ["connect-configs", "connect-offsets", "connect-status"];

/// A worker and the port of its REST API.
struct Worker {
    port: u16,
    service: Service,
}

/// What the REST API says of a connector.
#[derive(Deserialize)]
struct Status {
    connector: State,
    tasks: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    state: String,
    worker_id: String,
}

/// Runs its one cell.
pub(crate) fn run(bench: &mut Bench<'_>) {
    bench.cell(Table::Connect, "file source and sink", "4.3.1", copy_a_file);
}

fn copy_a_file(bench: &Bench<'_>) -> Result<()> {
    bench.installation.install_streams_connect()?;
    let folder = bench.folder()?;
    let (source, sink) = (
        folder.join("connect-source.txt"),
        folder.join("connect-sink.txt"),
    );
    append(&source, 0..LINES)?;
    let mut workers = vec![start(bench, 1)?, start(bench, 2)?];
    let port = workers.first().context("two workers")?.port;
    wait("the first worker", &mut workers, || {
        ask(port, "GET", "/connectors", "").map(drop)
    })?;
    create(
        port,
        "source",
        "FileStreamSource",
        json!({"topic": "lines", "file": source}),
    )?;
    create(
        port,
        "sink",
        "FileStreamSink",
        json!({"topics": "lines", "file": sink}),
    )?;
    wait("both tasks", &mut workers, || {
        running(port, "source").and(running(port, "sink")).map(drop)
    })?;
    wait("the first half", &mut workers, || has_lines(&sink, LINES))?;
    check_compacted(bench)?;
    let victim = running(port, "source")?;
    let at = workers.iter().position(|worker| worker.id() == victim);
    let killed = workers.swap_remove(at.context("a worker has the task")?);
    killed.service.kill()?;
    append(&source, LINES..2 * LINES)?;
    wait("the second half", &mut workers, || {
        has_lines(&sink, 2 * LINES)
    })?;
    workers
        .into_iter()
        .try_for_each(|worker| worker.service.stop())
}

/// Connect keeps its state in three topics, which must be compacted.
fn check_compacted(bench: &Bench<'_>) -> Result<()> {
    let mut wire = Wire::connect(&bench.broker.server)?;
    for topic in STATE_TOPICS {
        let keys = wire
            .describe_configs(Resource::Topic, topic)?
            .map_err(Error::msg)?;
        let policy = keys.into_iter().find(|key| key.name == "cleanup.policy");
        let policy = policy.and_then(|key| key.value);
        ensure!(
            policy.as_deref() == Some("compact"),
            "{topic} is {policy:?}"
        );
    }
    Ok(())
}

fn start(bench: &Bench<'_>, number: usize) -> Result<Worker> {
    let folder = bench.folder()?;
    let port = free_port()?;
    let properties = folder.join(format!("connect-{number}.properties"));
    let settings = format!(
        "{SETTINGS}bootstrap.servers={}\nlisteners=http://127.0.0.1:{port}\n",
        bench.broker.server
    );
    fs::write(&properties, settings)?;
    let mut command = bench.installation.java_streams_connect(WORKER);
    let log = folder.join(format!("connect-{number}.log"));
    let service = Service::start(command.arg(properties), &log)?;
    Ok(Worker { port, service })
}

impl Worker {
    /// How the others know it.
    fn id(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn create(port: u16, name: &str, class: &str, mut config: serde_json::Value) -> Result<()> {
    let class = format!("org.apache.kafka.connect.file.{class}Connector");
    let settings = config.as_object_mut().context("a config is an object")?;
    settings.insert("connector.class".to_owned(), class.into());
    settings.insert("tasks.max".to_owned(), "1".into());
    let body = json!({"name": name, "config": config}).to_string();
    ask(port, "POST", "/connectors", &body).map(drop)
}

/// The worker that runs a connector's only task.
fn running(port: u16, connector: &str) -> Result<String> {
    let status = ask(port, "GET", &format!("/connectors/{connector}/status"), "")?;
    let status: Status = serde_json::from_str(&status)?;
    let [task] = &*status.tasks else {
        bail!("{connector} has {} tasks", status.tasks.len());
    };
    ensure!(
        status.connector.state == "RUNNING" && task.state == "RUNNING",
        "{connector} is {}, its task {}",
        status.connector.state,
        task.state
    );
    Ok(task.worker_id.clone())
}

/// Whether a file has each of the first lines at least once.
fn has_lines(file: &Path, count: usize) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let found: BTreeSet<_> = text.lines().collect();
    let missing = (0..count).filter(|number| !found.contains(&*line(*number)));
    let missing = missing.count();
    ensure!(missing == 0, "{missing} of {count} lines are missing");
    Ok(())
}

fn line(number: usize) -> String {
    format!("line {number}")
}

fn append(file: &Path, numbers: std::ops::Range<usize>) -> Result<()> {
    let text: String = numbers.map(|number| line(number) + "\n").collect();
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Waits until something holds, while all workers run.
fn wait(what: &str, workers: &mut [Worker], holds: impl Fn() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = holds() {
        for worker in &mut *workers {
            worker.service.check()?;
        }
        if start.elapsed() > STEP_MAX {
            return Err(error).with_context(|| format!("{what}: not in {STEP_MAX:?}"));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// A call of the REST API; answers the body.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ASK_TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let is_success = head
        .split(' ')
        .nth(1)
        .is_some_and(|code| code.starts_with('2'));
    ensure!(is_success, "{method} {path}: {answer}");
    Ok(body.to_owned())
}
