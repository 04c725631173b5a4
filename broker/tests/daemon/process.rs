//! Starts `millstreamd` on ports of its own and talks HTTP to it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

/// The binary with a data directory and free ports.
pub(crate) fn millstreamd(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstreamd"));
    command
        .env_clear()
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--set", "listeners.native_address=127.0.0.1:0"])
        .args(["--set", "listeners.kafka_address=127.0.0.1:0"])
        .args(["--set", "listeners.http_address=127.0.0.1:0"])
        .args(["--set", "log.disk_reserve=0B"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A daemon that is ready; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    /// Lines until it was ready.
    pub(crate) lines: Vec<String>,
    pub(crate) http: String,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary is there");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut daemon = Self {
            child,
            stderr,
            lines: Vec::new(),
            http: String::new(),
        };
        while daemon.http.is_empty() {
            daemon.read_line();
        }
        daemon
    }

    /// Reads one line; the one that says that it is ready names the HTTP address.
    fn read_line(&mut self) {
        let mut line = String::new();
        let read = self.stderr.read_line(&mut line).expect("text");
        assert!(read > 0, "it ended: {:?}", self.lines);
        if let Some((_, rest)) = line.split_once("millstreamd is ready") {
            let (_, http) = rest.split_once("http=").expect("it says where");
            let http = http.split_whitespace().next().expect("an address");
            self.http = http.to_owned();
        }
        self.lines.push(line.trim_end().to_owned());
    }

    /// Reads until a line holds the text.
    pub(crate) fn read_until(&mut self, text: &str) {
        while !self.lines.last().is_some_and(|line| line.contains(text)) {
            self.read_line();
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("not 0");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Waits for its end; returns its status and what it wrote since it was ready.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ran"), rest)
    }

    /// Status line and body of a page.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.http).expect("it listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
        (
            head.lines().next().expect("a status").to_owned(),
            body.to_owned(),
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
