//! Many consumer groups on one broker: how long it takes until they are there after kill -9, what they
//! hold, and how fast their members commit.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use millstream::{Client, NewTopic};
use millstream_benches::{
    daemon::Daemon,
    floor::Floor,
    report::{self, Percentiles},
    targets::{Figure, Targets},
};
use millstream_proto::grpc::v1::{self, group_service_client::GroupServiceClient};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

const TOPIC: &str = "groups";
const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The broker's `log.flush_threads`.
const FLUSH_THREADS: usize = 8;
/// The least that a disk writes.
const WRITE_BYTES: usize = 4096;
const FLOOR_TIME: Duration = Duration::from_secs(2);
/// How long the groups may take to be there before the benchmark gives up.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks whether they are.
const LOAD_POLL: Duration = Duration::from_millis(1);

/// Replay, memory and commit rate of many consumer groups
#[derive(Parser)]
struct Args {
    /// The daemon
    #[arg(long, default_value = "target/release/millstreamd")]
    daemon: PathBuf,
    /// Directory on the disk to use
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Groups
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
    /// Offsets that each has committed
    #[arg(long, default_value_t = 10)]
    offsets: i32,
    /// Connections that commit, each with one request on its way
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Commits of one partition each, all connections together
    #[arg(long, default_value_t = 400_000)]
    commits: usize,
    /// Fail when a target is missed
    #[arg(long)]
    assert: bool,
}

const REPLAY_MS: f64 = 1000.0;
const OWN_MIB: f64 = 200.0;
const COMMITS_PER_SECOND: f64 = 20_000.0;

fn main() -> Result<()> {
    let args = Args::parse();
    println!("{}", report::machine());
    let scratch = tempfile::tempdir_in(&args.dir).context("cannot create a scratch directory")?;
    let data_dir = scratch.path().join("data");
    let runtime = tokio::runtime::Runtime::new()?;

    let daemon = Daemon::start(&args.daemon, &data_dir, &[])?;
    let topic_id = runtime.block_on(fill(&daemon, &args))?;
    daemon.kill()?;
    let (daemon, replay) = restart(&args.daemon, &data_dir, &runtime, args.groups)?;
    let own_bytes = daemon.usage()?.memory.own_bytes;
    let ceiling = runtime.block_on(ceiling(&daemon, &args))?;
    let rate = runtime.block_on(commit_rate(&daemon, &topic_id, &args))?;
    println!(
        "own memory {:.1} MiB after it",
        mib(daemon.usage()?.memory.own_bytes)
    );
    daemon.kill()?;
    let (daemon, _) = restart(&args.daemon, &data_dir, &runtime, args.groups)?;
    daemon.stop()?;

    let mut targets = Targets::default();
    let replay = Figure {
        what: "all groups there after kill -9",
        value: ms(replay),
        unit: "ms",
    };
    targets.at_most(replay, REPLAY_MS, "");
    let own = Figure {
        what: "own memory with them",
        value: mib(own_bytes),
        unit: "MiB",
    };
    targets.at_most(own, OWN_MIB, "");
    let rate = Figure {
        what: "commits of one partition each",
        value: rate,
        unit: "commits/s",
    };
    targets.at_least(rate, COMMITS_PER_SECOND, ceiling);
    targets.finish(args.assert)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Starts the daemon on what a killed one left; how long that took until every group was there.
fn restart(
    binary: &Path,
    data_dir: &Path,
    runtime: &tokio::runtime::Runtime,
    groups: usize,
) -> Result<(Daemon, Duration)> {
    let started = Instant::now();
    let daemon = Daemon::start(binary, data_dir, &[])?;
    runtime.block_on(all_there(&daemon.address(), groups))?;
    let replay = started.elapsed();
    println!(
        "after kill -9: ready in {:.0} ms, all {groups} groups there after {:.0} ms",
        ms(daemon.ready_after),
        ms(replay)
    );
    Ok((daemon, replay))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

async fn all_there(address: &str, groups: usize) -> Result<()> {
    let mut client =
        GroupServiceClient::new(connect(address).await?).max_decoding_message_size(64 << 20);
    let end = Instant::now() + LOAD_TIMEOUT;
    while Instant::now() < end {
        let listed = client
            .list_groups(v1::ListGroupsRequest::default())
            .await?
            .into_inner();
        if listed.error.is_none() {
            let found = listed.groups.len();
            ensure!(found == groups, "{found} groups of {groups} came back");
            return Ok(());
        }
        tokio::time::sleep(LOAD_POLL).await;
    }
    bail!("the groups were not there after {LOAD_TIMEOUT:?}")
}

async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(endpoint.connect().await?)
}

/// Creates the topic and lets every group commit once; the topic's id.
async fn fill(daemon: &Daemon, args: &Args) -> Result<Bytes> {
    let client = Client::connect(&daemon.address()).await?;
    let topic = NewTopic::new(TOPIC).partitions(args.offsets);
    let created = client.admin().create_topic(topic).await?;
    let topic_id = created.topic_id.context("a topic created has an id")?;
    let topic_id = Bytes::copy_from_slice(topic_id.as_bytes());
    let started = Instant::now();
    let each = |connection: usize| {
        let (topic_id, offsets) = (topic_id.clone(), args.offsets);
        let groups = (connection..args.groups).step_by(args.connections);
        groups.map(move |group| request(&topic_id, group, 0..offsets, 0))
    };
    committed(&daemon.address(), args.connections, each).await?;
    println!(
        "{} groups committed {} offsets each in {:.1} s",
        args.groups,
        args.offsets,
        started.elapsed().as_secs_f64()
    );
    Ok(topic_id)
}

/// What the disk allows: bare rounds of write and flush, as many at a time as the broker flushes files,
/// each of which makes the commits durable that wait in one partition of the offsets topic.
async fn ceiling(daemon: &Daemon, args: &Args) -> Result<f64> {
    let client = Client::connect(&daemon.address()).await?;
    let described = client
        .admin()
        .describe_topics(&[OFFSETS_TOPIC], false)
        .await?;
    let (_, topic) = described.into_iter().next().context("one result a topic")?;
    let each = args.connections as f64 / topic?.partitions.len() as f64;
    let floor = Floor {
        size: WRITE_BYTES,
        files: FLUSH_THREADS,
        rate: None,
        time: FLOOR_TIME,
    };
    Ok(floor.measure(&args.dir)?.per_s() * each.max(1.0))
}

/// Every connection commits one partition after the other; commits per second.
async fn commit_rate(daemon: &Daemon, topic_id: &Bytes, args: &Args) -> Result<f64> {
    let (groups, offsets) = (args.groups, args.offsets);
    let before = daemon.usage()?.cpu;
    let started = Instant::now();
    let each = |connection: usize| {
        let topic_id = topic_id.clone();
        let numbers = (connection..args.commits).step_by(args.connections);
        numbers.map(move |number| {
            let partition = i32::try_from(number).unwrap_or(0) % offsets;
            let offset = i64::try_from(number).unwrap_or(0);
            request(&topic_id, number % groups, partition..partition + 1, offset)
        })
    };
    let latencies = committed(&daemon.address(), args.connections, each).await?;
    let elapsed = started.elapsed();
    let rate = args.commits as f64 / elapsed.as_secs_f64();
    let cpu = daemon.usage()?.cpu.saturating_sub(before);
    let Percentiles {
        p50_ms,
        p99_ms,
        p999_ms,
        max_ms,
    } = Percentiles::of(&latencies);
    println!(
        "{} connections: {rate:.0} commits/s of one partition each, flushed; p50 {p50_ms:.2} ms, \
         p99 {p99_ms:.2} ms, p99.9 {p999_ms:.2} ms, longest {max_ms:.1} ms; {:.2} broker cores",
        args.connections,
        cpu.as_secs_f64() / elapsed.as_secs_f64()
    );
    Ok(rate)
}

fn request(
    topic_id: &Bytes,
    group: usize,
    partitions: std::ops::Range<i32>,
    offset: i64,
) -> v1::CommitOffsetsRequest {
    let offsets = partitions.map(|partition| v1::OffsetCommit {
        topic_id: topic_id.clone(),
        partition,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    });
    v1::CommitOffsetsRequest {
        request_id: 0,
        group_id: format!("group-{group}"),
        member_id: String::new(),
        member_epoch: -1,
        offsets: offsets.collect(),
    }
}

/// Sends each connection's requests, one at a time; their latencies.
async fn committed<I>(
    address: &str,
    connections: usize,
    requests: impl Fn(usize) -> I,
) -> Result<Histogram<u64>>
where
    I: Iterator<Item = v1::CommitOffsetsRequest> + Send + 'static,
{
    let address: Arc<str> = address.into();
    let mut running = JoinSet::new();
    for connection in 0..connections {
        let (address, requests) = (Arc::clone(&address), requests(connection));
        running.spawn(async move {
            let mut committer = Committer::connect(&address).await?;
            let mut latencies = report::histogram();
            for request in requests {
                let sent = Instant::now();
                committer.commit(request).await?;
                report::record(&mut latencies, sent.elapsed());
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut all = report::histogram();
    while let Some(latencies) = running.join_next().await {
        all.add(latencies??)?;
    }
    Ok(all)
}

/// A stream of commits on a connection of its own.
struct Committer {
    requests: mpsc::Sender<v1::CommitOffsetsRequest>,
    answers: Streaming<v1::CommitOffsetsResponse>,
}

impl Committer {
    async fn connect(address: &str) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(1);
        let mut client = GroupServiceClient::new(connect(address).await?);
        let answers = client.commit_offsets(ReceiverStream::new(receiver)).await?;
        Ok(Self {
            requests,
            answers: answers.into_inner(),
        })
    }

    async fn commit(&mut self, request: v1::CommitOffsetsRequest) -> Result<()> {
        let offsets = request.offsets.len();
        self.requests.send(request).await?;
        let answer = self.answers.message().await?.context("the stream ended")?;
        let refused = answer.error.or_else(|| {
            let mut results = answer.results.iter();
            results.find_map(|result| result.error.clone())
        });
        if let Some(error) = refused {
            bail!("{}: {}", error.name, error.message);
        }
        ensure!(answer.results.len() == offsets, "one result an offset");
        Ok(())
    }
}
