//! The loopback's ceiling: one TCP connection, one sender, one receiver, no protocol.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// MB per second of writes of `size` bytes, measured for `time`.
///
/// # Errors
/// Whatever the system says.
pub fn mb_per_s(size: usize, time: Duration) -> Result<f64> {
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
    let bytes = vec![0x5a; size];
    let started = Instant::now();
    while started.elapsed() < time {
        socket.write_all(&bytes)?;
    }
    drop(socket);
    let received = receiver.join().expect("the receiver does not panic")?;
    Ok(received as f64 / started.elapsed().as_secs_f64() / 1e6)
}
