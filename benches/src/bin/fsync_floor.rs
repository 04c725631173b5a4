//! The disk's floor: a bare `pwrite` + `fdatasync` loop, the ceiling of every durable produce.
//!
//! With `--rate` it paces rounds on an open loop and counts latency from the time a round was due.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Parser;
use millstream_benches::{
    floor::Floor,
    report::{self, Percentiles},
};

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
    rate: Option<f64>,
    /// How long to run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    println!("{}", report::machine());
    let floor = Floor {
        size: args.size,
        files: args.files,
        rate: args.rate,
        time: Duration::from_secs(args.seconds),
    };
    let rounds = floor.measure(&args.dir)?;
    println!(
        "{} files x {} bytes: {:.0} rounds/s, {:.1} MB/s, {}",
        args.files,
        args.size,
        rounds.per_s(),
        rounds.mb_per_s(),
        Percentiles::of(&rounds.latency_us),
    );
    Ok(())
}
