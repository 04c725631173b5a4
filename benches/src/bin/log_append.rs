//! Appends at log level with flush off, beside the ceiling: the same bytes by `pwrite` into a
//! preallocated file.
//!
//! Rounds of both alternate, and the median round counts, because machines are shared; the CPU time
//! beside it shows what the rate is on a core of its own. The first round warms the page cache up and
//! is dropped.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use clap::Parser;
use millstream_benches::report;
use millstream_log::{
    AppendContext, DataDirectory, Durability, LogConfig, LogLimits, Origin, PartitionLog,
    io::DiskIo,
};
use millstream_proto::{
    LeaderEpoch, PartitionIndex, TopicId, TopicName, TopicPartition,
    record::{BatchBuilder, BatchOptions},
};
use rustix::{
    fs::{FallocateFlags, fallocate},
    time::{ClockId, clock_gettime},
};

/// Appends to a partition log, flush off
#[derive(Parser)]
struct Args {
    /// Directory on the disk to measure
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Bytes of one record batch
    #[arg(long, default_value_t = 16 << 10)]
    batch_bytes: usize,
    /// MiB appended in each round
    #[arg(long, default_value_t = 512)]
    round_mib: usize,
    /// Rounds of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Fail when the median rate is below this many MB/s
    #[arg(long)]
    at_least_mb: Option<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    println!("{}", report::machine());
    let batch = batch(args.batch_bytes)?;
    let count = (args.round_mib << 20) / batch.len();
    let dir = tempfile::tempdir_in(&args.dir).context("no directory to write to")?;
    let (mut appends, mut writes) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let write = write_bare(dir.path(), &batch, count)?;
        let append = append_to_log(dir.path(), &batch, count)?;
        if round > 0 {
            writes.push(write);
            appends.push(append);
        }
    }
    let bytes = count * batch.len();
    let rate = print("log append", &mut appends, count, bytes);
    let ceiling = print("bare pwrite", &mut writes, count, bytes);
    println!("ratio to the ceiling: {:.2}", rate / ceiling);
    if let Some(least) = args.at_least_mb {
        ensure!(
            rate >= least,
            "{rate:.0} MB/s, expected at least {least:.0}"
        );
    }
    Ok(())
}

/// What one round took.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    wall: Duration,
    cpu: Duration,
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Prints the median round and returns its rate in MB/s.
fn print(name: &str, rounds: &mut [Round], count: usize, bytes: usize) -> f64 {
    let mut median = |key: fn(&Round) -> Duration| {
        rounds.sort_unstable_by_key(key);
        key(&rounds[rounds.len() / 2]).as_secs_f64()
    };
    let (wall, cpu) = (median(|round| round.wall), median(|round| round.cpu));
    let each = 1e6 / count as f64;
    let rate = bytes as f64 / wall / 1e6;
    println!(
        "{name:<12} {rate:>6.0} MB/s {:>6.2} us each; by CPU time {:>6.0} MB/s {:>6.2} us each",
        wall * each,
        bytes as f64 / cpu / 1e6,
        cpu * each,
    );
    rate
}

fn batch(bytes: usize) -> Result<Bytes> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'x'; 1000.min(bytes / 2)];
    while builder.size_bytes() + value.len() + 32 < bytes {
        builder.append(1_700_000_000_000, Some(b"key"), Some(&value), &[])?;
    }
    let left = bytes.saturating_sub(builder.size_bytes() + 16);
    builder.append(1_700_000_000_000, None, Some(&vec![b'y'; left]), &[])?;
    Ok(builder.finish()?)
}

fn append_to_log(dir: &Path, batch: &Bytes, count: usize) -> Result<Round> {
    let limits = LogLimits {
        flush_threads_max: 0,
        unflushed_bytes_max: u64::MAX,
        disk_reserve_bytes: 0,
        ..LogLimits::default()
    };
    let io = Arc::new(DiskIo);
    let boot_id = DataDirectory::read_boot_id(&*io)?;
    let directory = DataDirectory::open(io, dir, limits, boot_id)?;
    let partition = TopicPartition {
        topic: TopicName::new("bench")?,
        partition: PartitionIndex(0),
    };
    let config = LogConfig {
        durability: Durability::Replicated,
        max_message_bytes: 64 << 20,
        ..LogConfig::default()
    };
    let topic_id = TopicId::from_bytes([1; 16]);
    let log = PartitionLog::create(&directory, partition, topic_id, Arc::new(config))?;
    let context = AppendContext {
        leader_epoch: LeaderEpoch(0),
        now_ms: 1_700_000_000_000,
        origin: Origin::Client,
    };
    let copying = copy_only(batch, count);
    let mut took = Round::default();
    let started_cpu = cpu();
    for _ in 0..count {
        // A buffer of its own, as a listener hands one over: not part of the append.
        let own = BytesMut::from(&**batch).freeze();
        let started = Instant::now();
        log.append(own, &context)?;
        took.wall += started.elapsed();
    }
    took.cpu = (cpu() - started_cpu).saturating_sub(copying);
    log.delete()?;
    directory.checkpoint()?;
    Ok(took)
}

/// CPU time of the buffers alone.
fn copy_only(batch: &Bytes, count: usize) -> Duration {
    let started = cpu();
    for _ in 0..count {
        std::hint::black_box(BytesMut::from(&**batch).freeze());
    }
    cpu() - started
}

fn write_bare(dir: &Path, batch: &Bytes, count: usize) -> Result<Round> {
    let path = dir.join("bare");
    let file = File::create(&path)?;
    let (started, started_cpu) = (Instant::now(), cpu());
    let mut allocated = 0;
    let mut position = 0;
    for _ in 0..count {
        if position + batch.len() as u64 > allocated {
            allocated += 16 << 20;
            fallocate(&file, FallocateFlags::KEEP_SIZE, 0, allocated)?;
        }
        file.write_all_at(batch, position)?;
        position += batch.len() as u64;
    }
    let took = Round {
        wall: started.elapsed(),
        cpu: cpu() - started_cpu,
    };
    fs::remove_file(&path)?;
    Ok(took)
}
