//! [`Daemon`]: one real `millstreamd`, its directory, ports and log.

use std::{
    fs::{self, File, OpenOptions},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{binary, http, port, retry};

/// How long a daemon may take until it is ready, with everything a test gives it to recover.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a probe waits for an answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a SIGTERM may take before a test gives up: above the daemon's own limit.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Environment variable that keeps the directories of daemons, to look at after a failure.
const KEEP: &str = "MILLSTREAM_TEST_KEEP";
/// Lines of the log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// How a daemon is started.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// Configuration keys, `section.key` and value, beside addresses and directory.
    pub settings: Vec<(String, String)>,
    /// Environment variables of all starts.
    pub environment: Vec<(String, String)>,
    /// Data directory; a temporary one without it.
    pub data_dir: Option<PathBuf>,
    /// Shell commands that prepare a mount namespace of the daemon's own; `$DATA_DIR` is its
    /// directory. Without root they run in an unprivileged user namespace.
    pub mounts: Vec<String>,
}

impl DaemonOptions {
    /// Adds a configuration key.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Uses this data directory.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Puts the data directory on a file system of its own with room for so many bytes.
    #[must_use]
    pub fn tmpfs(mut self, bytes: u64) -> Self {
        self.mounts.push(format!(
            "mount -t tmpfs -o size={bytes} tmpfs \"$DATA_DIR\""
        ));
        self
    }

    /// Lets the daemon write to its data directory, and nowhere else on the root file system.
    #[must_use]
    pub fn read_only_root(mut self) -> Self {
        let mounts = "mount --bind \"$DATA_DIR\" \"$DATA_DIR\" && mount -o remount,bind,ro /";
        self.mounts.push(mounts.to_owned());
        self
    }

    /// Has the daemon believe that the machine was booted anew: `file` holds the boot's id.
    #[must_use]
    pub fn boot_id(mut self, file: &Path) -> Self {
        let target = "/proc/sys/kernel/random/boot_id";
        self.mounts
            .push(format!("mount --bind '{}' {target}", file.display()));
        self
    }

    /// Starts a daemon and waits until it is ready.
    ///
    /// # Errors
    /// As [`Daemon::restart`].
    pub fn start(self) -> Result<Daemon> {
        let mut daemon = self.prepare()?;
        daemon.restart()?;
        Ok(daemon)
    }

    /// Chooses ports and directory, and starts nothing yet.
    ///
    /// # Errors
    /// When there is no free port or no room for a temporary directory.
    pub fn prepare(self) -> Result<Daemon> {
        let home = TempDir::new().context("a directory for the daemon")?;
        let data_dir = self
            .data_dir
            .clone()
            .unwrap_or_else(|| home.path().join("data"));
        Ok(Daemon {
            native: SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?)),
            kafka: SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?)),
            options: self,
            data_dir,
            home,
            child: None,
        })
    }
}

/// One daemon. Dropping it kills the process and removes the temporary directory.
#[derive(Debug)]
pub struct Daemon {
    options: DaemonOptions,
    data_dir: PathBuf,
    home: TempDir,
    native: SocketAddr,
    kafka: SocketAddr,
    http: SocketAddr,
    child: Option<Child>,
}

impl Daemon {
    /// Starts a daemon with defaults in an empty temporary directory.
    ///
    /// # Errors
    /// As [`Daemon::restart`].
    pub fn start() -> Result<Self> {
        DaemonOptions::default().start()
    }

    /// Where the native API listens.
    #[must_use]
    pub const fn native(&self) -> SocketAddr {
        self.native
    }

    /// Where Kafka clients are served.
    #[must_use]
    pub const fn kafka(&self) -> SocketAddr {
        self.kafka
    }

    /// Where the HTTP listener is.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The directory of a partition.
    #[must_use]
    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.data_dir.join(format!("{topic}-{partition}"))
    }

    /// Starts the process again after it ended, and waits until it is ready. Returns how long that
    /// took.
    ///
    /// # Errors
    /// When it is running already, ends instead, or is not ready in time.
    pub fn restart(&mut self) -> Result<Duration> {
        self.restart_with(&[])
    }

    /// As [`Daemon::restart`], with environment variables for this start only.
    ///
    /// # Errors
    /// As [`Daemon::restart`].
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) -> Result<Duration> {
        let start = Instant::now();
        self.spawn(environment)?;
        self.wait_ready()?;
        Ok(start.elapsed())
    }

    /// Starts the process and returns at once.
    ///
    /// # Errors
    /// When it is running already, or cannot be started.
    pub fn spawn(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        if self.is_running() {
            bail!("the daemon runs already");
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let path = binary::daemon_path()?;
        let child = self
            .command(&path)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// The command that starts this daemon, for tests that watch it fail.
    #[must_use]
    pub fn command(&self, path: &Path) -> Command {
        let mut command = self.launcher(path);
        command
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg(format!("--set=listeners.native_address={}", self.native))
            .arg(format!("--set=listeners.kafka_address={}", self.kafka))
            .arg(format!("--set=listeners.http_address={}", self.http))
            .args(
                self.options
                    .settings
                    .iter()
                    .map(|(key, value)| format!("--set={key}={value}")),
            )
            .env_remove("MILLSTREAM_KILL_AT")
            .envs(
                self.options
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        command
    }

    /// `path` itself, or a shell that prepares its mounts and becomes it.
    fn launcher(&self, path: &Path) -> Command {
        if self.options.mounts.is_empty() {
            return Command::new(path);
        }
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let mounts = self.options.mounts.join(" && ");
        command
            .args(["--mount", "--", "sh", "-c"])
            .arg(format!("mkdir -p \"$DATA_DIR\" && {mounts} && exec \"$@\""))
            .arg("sh")
            .arg(path)
            .env("DATA_DIR", &self.data_dir);
        command
    }

    /// The data directory as the running daemon sees it, for tests that gave it mounts of its own.
    #[must_use]
    pub fn data_dir_inside(&self) -> PathBuf {
        let inside = self.data_dir.strip_prefix("/").unwrap_or(&self.data_dir);
        Path::new(&format!("/proc/{}/root", self.pid())).join(inside)
    }

    /// The process's own memory in KiB, without maps of files.
    ///
    /// # Errors
    /// When there is no process.
    pub fn memory_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kib = |key: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.with_context(|| format!("{key} is there"))?.parse()?)
        };
        Ok(kib("RssAnon:")? + kib("RssShmem:")?)
    }

    /// Waits until `/ready` answers 200.
    ///
    /// # Errors
    /// When the process ends, or the time passes.
    pub fn wait_ready(&mut self) -> Result<()> {
        let http = self.http;
        let mut last = String::new();
        let ready = retry::until("the daemon is ready", READY_WITHIN, || {
            if let Some(status) = self.exit_status() {
                return Some(Err(status));
            }
            match http::get(http, "/ready", PROBE_TIMEOUT) {
                Ok(response) if response.status == 200 => Some(Ok(())),
                Ok(response) => {
                    last = format!("{} {}", response.status, response.body);
                    None
                }
                Err(error) => {
                    last = error.to_string();
                    None
                }
            }
        });
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("the daemon ended with {status}:\n{}", self.log_tail()),
            Err(error) => bail!("{error}, last answer {last:?}:\n{}", self.log_tail()),
        }
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.exit_status().is_none()
    }

    /// How the process ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Process id of the running daemon.
    ///
    /// # Panics
    /// Before the first start.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("started").id()
    }

    /// Kills the process (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When there is no process.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon was never started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Waits for the end of a process that dies by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = retry::until("the daemon ends", limit, || self.exit_status())?;
        self.child = None;
        Ok(status)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When there is no process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid())?;
        rustix::process::kill_process(Pid::from_raw(pid).context("a pid above 0")?, signal)?;
        Ok(())
    }

    /// Stops it by SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_end(STOP_WITHIN)
    }

    /// Everything the process wrote to standard output and error, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The end of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Forgets the log so far.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn clear_log(&self) -> Result<()> {
        File::options()
            .write(true)
            .open(self.log_path())?
            .set_len(0)?;
        Ok(())
    }

    /// The page of metrics.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn metrics(&self) -> Result<String> {
        Ok(http::get(self.http, "/metrics", PROBE_TIMEOUT)?.body)
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("daemon.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::env::var_os(KEEP).is_some() {
            self.home.disable_cleanup(true);
            eprintln!("kept {}", self.data_dir.display());
        }
        if std::thread::panicking() {
            eprintln!("--- end of the daemon's log ---\n{}", self.log_tail());
        }
    }
}
