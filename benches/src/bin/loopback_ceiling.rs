//! The loopback's ceiling: one TCP connection, one sender, one receiver, no protocol.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use millstream_benches::report;

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
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let receiver = thread::spawn(move || -> Result<u64> {
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; 1 << 20];
        let mut received = 0;
        loop {
            match socket.read(&mut buffer)? {
                0 => return Ok(received),
                count => received += count as u64,
            }
        }
    });
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let bytes = vec![0x5a; args.size];
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(args.seconds) {
        socket.write_all(&bytes)?;
    }
    drop(socket);
    let received = receiver.join().expect("the receiver does not panic")?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} byte writes: {:.0} MB/s",
        args.size,
        received as f64 / seconds / 1e6
    );
    Ok(())
}
