//! A real `millstreamd` under measurement: start, ready, kill.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process::{Usage, free_port};

/// How long a daemon may take to become ready before the benchmark gives up.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between two looks at `/ready`.
const READY_POLL: Duration = Duration::from_micros(500);

/// A daemon process on ports of its own. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    native_port: u16,
    kafka_port: u16,
    http_port: u16,
    /// From `exec` to the first positive `/ready`.
    pub ready_after: Duration,
}

impl Daemon {
    /// Starts `binary` on `data_dir` with extra `--set key=value` pairs and waits until it is ready.
    ///
    /// # Errors
    /// The daemon ended or was not ready in two minutes; its log is beside the data directory.
    pub fn start(binary: &Path, data_dir: &Path, settings: &[&str]) -> Result<Self> {
        let (native_port, kafka_port, http_port) = (free_port()?, free_port()?, free_port()?);
        let log = fs::File::create(data_dir.with_extension("log"))?;
        let mut command = Command::new(binary);
        command.arg("--data-dir").arg(data_dir);
        for (listener, port) in [
            ("native", native_port),
            ("kafka", kafka_port),
            ("http", http_port),
        ] {
            let address = format!("listeners.{listener}_address=127.0.0.1:{port}");
            command.args(["--set", &address]);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut daemon = Self {
            child,
            native_port,
            kafka_port,
            http_port,
            ready_after: Duration::ZERO,
        };
        while !daemon.is_ready() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!(
                    "the daemon ended with {status}: see {}",
                    data_dir.with_extension("log").display()
                );
            }
            if started.elapsed() > READY_TIMEOUT {
                bail!("the daemon was not ready after {READY_TIMEOUT:?}");
            }
            thread::sleep(READY_POLL);
        }
        daemon.ready_after = started.elapsed();
        Ok(daemon)
    }

    /// Address of its native listener.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.native_port)
    }

    /// Address of its Kafka listener.
    #[must_use]
    pub fn kafka_address(&self) -> String {
        format!("127.0.0.1:{}", self.kafka_port)
    }

    fn is_ready(&self) -> bool {
        http_get(self.http_port, "/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// The value of a metric without labels.
    ///
    /// # Errors
    /// The daemon does not answer, or has no such metric.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = http_get(self.http_port, "/metrics")?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no metric {name}"))?;
        Ok(value.trim().parse()?)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel accounts to it now.
    ///
    /// # Errors
    /// The process is gone.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM and waits; the time it took.
    ///
    /// # Errors
    /// It ended with another status than 0.
    pub fn stop(mut self) -> Result<Duration> {
        let started = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the daemon ended with {status} after SIGTERM");
        }
        Ok(started.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to a GET, headers and body.
fn http_get(port: u16, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}
