//! The loopback's ceiling: one TCP connection, one sender, one receiver, no protocol.

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use millstream_benches::{loopback, report};

/// Raw loopback TCP throughput
#[derive(Parser)]
struct Args {
    /// Bytes of one write
    #[arg(long, default_value_t = 256 * 1024)]
    size: usize,
    /// How long to send
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    println!("{}", report::machine());
    let rate = loopback::mb_per_s(args.size, Duration::from_secs(args.seconds))?;
    println!("{} byte writes: {rate:.0} MB/s", args.size);
    Ok(())
}
