//! Servers that do what the system makes every broker do, and nothing else: what the generator of frames
//! reaches at most, and what processor time receiving, writing and sending take by themselves.

mod kafka;
mod log;
mod shelf;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use rustix::time::ClockId;

use crate::frames;

use self::log::Log;
pub use self::{kafka::KafkaServer, shelf::Shelf};

/// What an answer has of a shelf at most: a partition's share of the answer to a Kafka consumer with its defaults.
const ANSWER_BYTES: u64 = 1 << 20;

/// A server for some connections, one thread each, that ends with the last of them.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub address: String,
    accepting: JoinHandle<Result<Duration>>,
}

impl Server {
    /// Answers each message with the same bytes.
    ///
    /// # Errors
    /// No port.
    pub fn sink(connections: usize, answer: Bytes) -> Result<Self> {
        Self::start(connections, move |socket, _| {
            serve(socket, |socket, _| Ok(socket.write_all(&answer)?))
        })
    }

    /// Appends each message to a file of the connection before it answers.
    ///
    /// # Errors
    /// No port.
    pub fn log(connections: usize, answer: Bytes, dir: &Path) -> Result<Self> {
        let dir = dir.to_path_buf();
        Self::start(connections, move |socket, number| {
            let log = Log::create(dir.join(number.to_string()))?;
            serve(socket, |socket, message| {
                log.append(message)?;
                Ok(socket.write_all(&answer)?)
            })
        })
    }

    /// Appends each message to a file and has it on disk before it answers, together with all that came
    /// meanwhile. Each connection has a share of the files and takes them in turn, or one of them where
    /// there are fewer.
    ///
    /// # Errors
    /// No port; what the disk says.
    pub fn flushed_log(
        connections: usize,
        files: usize,
        answer: Bytes,
        dir: &Path,
    ) -> Result<Self> {
        let paths = (0..files).map(|number| dir.join(format!("flushed-{number}")));
        let logs = paths.map(Log::create).collect::<Result<Vec<_>>>()?;
        Self::start(connections, move |socket, number| {
            let share = logs.iter().skip(number % files).step_by(connections);
            let mut turns = share.cycle();
            let mut unanswered = Vec::new();
            serve(socket, |socket, message| {
                let log = turns.next().context("a share of no files")?;
                unanswered.push((log, log.append(message)?));
                if rustix::io::ioctl_fionread(&*socket)? > 0 {
                    return Ok(());
                }
                for (log, end) in &unanswered {
                    log.flush(*end)?;
                }
                let mut answers = unanswered.drain(..);
                Ok(answers.try_for_each(|_| socket.write_all(&answer))?)
            })
        })
    }

    /// Answers with batches of a shelf after the others, which the socket takes from its file; at its end
    /// with nothing, and from the beginning again.
    ///
    /// # Errors
    /// No port.
    pub fn shelf(connections: usize, topic: &str, shelf: Shelf) -> Result<Self> {
        let answer_bytes = shelf.whole_batches(ANSWER_BYTES);
        let full = frames::fetch_answer(topic, usize::try_from(answer_bytes)?)?;
        let empty = frames::fetch_answer(topic, 0)?;
        Self::start(connections, move |socket, _| {
            let mut at = 0;
            serve(socket, |socket, _| {
                let range = at..at + answer_bytes;
                if range.end > shelf.bytes() {
                    at = 0;
                    return Ok(socket.write_all(&empty)?);
                }
                at = range.end;
                socket.write_all(&full)?;
                shelf.send(range, socket)
            })
        })
    }

    /// Processor time of its connections, after the last of them has ended.
    ///
    /// # Errors
    /// What one of them met.
    pub fn cpu(self) -> Result<Duration> {
        self.accepting.join().expect("it does not panic")
    }

    fn start(
        connections: usize,
        serve: impl Fn(TcpStream, usize) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let serve = Arc::new(serve);
        let accepting = thread::spawn(move || {
            let mut threads = Vec::new();
            for number in 0..connections {
                let (socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                let serve = Arc::clone(&serve);
                threads.push(thread::spawn(move || {
                    serve(socket, number)?;
                    thread_cpu()
                }));
            }
            let served = threads.into_iter().map(JoinHandle::join);
            served
                .map(|cpu: thread::Result<Result<Duration>>| cpu.expect("it does not panic"))
                .sum()
        });
        Ok(Self { address, accepting })
    }
}

/// Processor time of the calling thread.
fn thread_cpu() -> Result<Duration> {
    let spent = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::try_from(spent)?)
}

/// Answers each message until the client closes its connection.
fn serve(
    mut socket: TcpStream,
    mut answer: impl FnMut(&mut TcpStream, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut message = Vec::new();
    loop {
        let mut length = [0; 4];
        match socket.read(&mut length)? {
            0 => return Ok(()),
            read => socket.read_exact(length.get_mut(read..).unwrap_or_default())?,
        }
        message.resize(usize::try_from(u32::from_be_bytes(length))?, 0);
        socket.read_exact(&mut message)?;
        answer(&mut socket, &mut message)?;
    }
}
