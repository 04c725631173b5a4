//! The disk's floor: a bare `pwrite` + `fdatasync` loop, the ceiling of every durable produce.
//!
//! With `--rate` it paces rounds on an open loop and counts latency from the time a round was due.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use hdrhistogram::Histogram;
use millstream_benches::report::{self, Percentiles};

/// Bare pwrite + fdatasync rounds
#[derive(Parser)]
struct Args {
    /// Directory on the disk to measure
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Bytes of one write
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Files written and flushed in parallel, a thread each
    #[arg(long, default_value_t = 1)]
    files: usize,
    /// Rounds per second and file; as fast as possible without
    #[arg(long)]
    rate: Option<u32>,
    /// How long to run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    println!("{}", report::machine());
    let scratch = tempfile::tempdir_in(&args.dir).context("cannot create a scratch directory")?;
    let started = Instant::now();
    let workers: Vec<_> = (0..args.files)
        .map(|number| {
            let file = prepare(scratch.path().join(number.to_string()))?;
            let (size, rate, seconds) = (args.size, args.rate, args.seconds);
            Ok(thread::spawn(move || {
                rounds(&file, size, rate, Duration::from_secs(seconds))
            }))
        })
        .collect::<Result<_>>()?;
    let mut all = report::histogram();
    for worker in workers {
        all.add(worker.join().expect("a worker does not panic")?)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let rounds = all.len() as f64;
    let latency = Percentiles::of(&all);
    println!(
        "{} files x {} bytes: {:.0} rounds/s, {:.1} MB/s, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
        args.files,
        args.size,
        rounds / seconds,
        rounds * args.size as f64 / seconds / 1e6,
        latency.p50_ms,
        latency.p99_ms,
        latency.p999_ms,
        latency.max_ms,
    );
    Ok(())
}

/// A preallocated file, as the broker's segments are.
fn prepare(path: PathBuf) -> Result<File> {
    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)?;
    let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, keep, 0, 16 << 20).context("cannot preallocate")?;
    fs::File::open(path.parent().context("the file has a directory")?)?.sync_all()?;
    Ok(file)
}

fn rounds(
    file: &File,
    size: usize,
    rate: Option<u32>,
    duration: Duration,
) -> Result<Histogram<u64>> {
    let bytes = vec![0x5a; size];
    let mut histogram = report::histogram();
    let started = Instant::now();
    let mut position = 0;
    for round in 0u32.. {
        let due = rate.map_or_else(
            || started.elapsed(),
            |rate| Duration::from_secs(1) / rate * round,
        );
        if due >= duration {
            break;
        }
        if let Some(wait) = due.checked_sub(started.elapsed()) {
            thread::sleep(wait);
        }
        file.write_all_at(&bytes, position)?;
        file.sync_data()?;
        position += size as u64;
        report::record(&mut histogram, started.elapsed() - due);
    }
    Ok(histogram)
}
