//! [`Broker`]: the demo's daemon, detached from this process and found again by the next run.

use std::{
    fs,
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use super::port;
use crate::refusal::Refusal;

const NATIVE_PORT: u16 = 9192;
const KAFKA_PORT: u16 = 9092;
const HTTP_PORT: u16 = 9292;
const READY_WAIT: Duration = Duration::from_secs(30);
/// Longer than the daemon's own shutdown timeout.
const STOP_WAIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

/// Closes every descriptor above standard error, then becomes the daemon: it must hold no pipe of
/// whoever started the demo.
const DETACH: &str = r#"for fd in /proc/self/fd/*; do
  number=${fd##*/}
  if [ "$number" -gt 2 ]; then eval "exec $number>&-"; fi
done
exec "$@""#;

/// Where a demo broker lives and listens. Written to its folder, read by the next run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Broker {
    pub(crate) pid: u32,
    pub(crate) native_port: u16,
    pub(crate) kafka_port: u16,
    pub(crate) http_port: u16,
    pub(crate) data_dir: PathBuf,
    pub(crate) log: PathBuf,
    binary: PathBuf,
}

impl Broker {
    /// The folder of the demo with this offset; everything it writes is below.
    pub(crate) fn folder(root: &Path, port_offset: u16) -> Result<PathBuf> {
        let port = NATIVE_PORT
            .checked_add(port_offset)
            .filter(|_| HTTP_PORT.checked_add(port_offset).is_some())
            .context("--port-offset leads past port 65535")?;
        Ok(demo_folder(root).join(port.to_string()))
    }

    /// All demo brokers that run.
    pub(crate) fn running(root: &Path) -> Vec<Self> {
        let Ok(folders) = fs::read_dir(demo_folder(root)) else {
            return Vec::new();
        };
        folders
            .flatten()
            .filter_map(|folder| Self::find(&folder.path()))
            .collect()
    }

    /// The broker of an earlier run in this folder, if it still runs.
    pub(crate) fn find(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("broker.json")).ok()?;
        let broker: Self = serde_json::from_str(&text).ok()?;
        broker.is_running().then_some(broker)
    }

    /// Starts a broker in the folder and waits until it is ready.
    ///
    /// # Errors
    /// When a port is taken, when it ends, or when it is not ready in 30 s.
    pub(crate) fn start(folder: &Path, binary: &Path, port_offset: u16) -> Result<Self> {
        let [native_port, kafka_port, http_port] =
            [NATIVE_PORT, KAFKA_PORT, HTTP_PORT].map(|port| port + port_offset);
        for port in [native_port, kafka_port, http_port] {
            refuse_busy(port, port_offset)?;
        }
        let data_dir = folder.join("data");
        let log = folder.join("millstreamd.log");
        fs::create_dir_all(folder)?;
        let mut child = spawn(
            binary,
            &data_dir,
            &log,
            [native_port, kafka_port, http_port],
        )?;
        wait_ready(&mut child, &log, http_port)?;
        let broker = Self {
            pid: child.id(),
            native_port,
            kafka_port,
            http_port,
            data_dir,
            log,
            binary: binary.to_owned(),
        };
        let state = serde_json::to_string_pretty(&broker)?;
        fs::write(folder.join("broker.json"), state)?;
        Ok(broker)
    }

    /// Asks the broker to stop and waits until it is gone.
    ///
    /// # Errors
    /// When it still runs after 15 s.
    pub(crate) fn stop(&self) -> Result<()> {
        let pid = self.process()?;
        kill_process(pid, Signal::TERM)?;
        let start = Instant::now();
        while self.is_running() {
            if start.elapsed() > STOP_WAIT {
                let error = format!("broker {} still runs {STOP_WAIT:?} after SIGTERM", self.pid);
                return Err(Refusal::error(error, format!("kill -9 {}", self.pid)));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Address for `--server`.
    pub(crate) fn server(&self) -> String {
        format!("127.0.0.1:{}", self.native_port)
    }

    /// Whether the process exists, is no zombie, and is the daemon and not a later owner of its pid.
    fn is_running(&self) -> bool {
        let Ok(pid) = self.process() else {
            return false;
        };
        let Ok(status) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        let is_zombie = status
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'));
        let name = self.binary.file_name().unwrap_or_default();
        let is_daemon = fs::read_link(format!("/proc/{}/exe", self.pid))
            .is_ok_and(|exe| exe.to_string_lossy().contains(&*name.to_string_lossy()));
        test_kill_process(pid).is_ok() && is_daemon && !is_zombie
    }

    fn process(&self) -> Result<Pid> {
        let raw = i32::try_from(self.pid)?;
        Pid::from_raw(raw).context("pid 0 is no process")
    }
}

fn demo_folder(root: &Path) -> PathBuf {
    root.join("demo-data")
}

fn refuse_busy(port: u16, port_offset: u16) -> Result<()> {
    if port::is_free(port) {
        return Ok(());
    }
    let owner = port::owner(port).map_or_else(
        || "a process of another user".to_owned(),
        |owner| format!("{} (pid {})", owner.name, owner.pid),
    );
    let next = port_offset.saturating_add(1000);
    Err(Refusal::error(
        format!("port {port} of 127.0.0.1 is taken by {owner}"),
        format!("stop it, or run cargo xtask demo --port-offset {next}"),
    ))
}

fn spawn(
    binary: &Path,
    data_dir: &Path,
    log: &Path,
    [native_port, kafka_port, http_port]: [u16; 3],
) -> Result<Child> {
    let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    Command::new("setsid")
        .args(["bash", "-c", DETACH, "millstreamd"])
        .arg(binary)
        .arg("--data-dir")
        .arg(data_dir)
        .arg("--set")
        .arg(format!("listeners.native_address=127.0.0.1:{native_port}"))
        .arg("--set")
        .arg(format!("listeners.kafka_address=127.0.0.1:{kafka_port}"))
        .arg("--set")
        .arg(format!("listeners.http_address=127.0.0.1:{http_port}"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot start the broker (needs setsid of util-linux, and bash)")
}

fn wait_ready(child: &mut Child, log: &Path, http_port: u16) -> Result<()> {
    let start = Instant::now();
    while !is_ready(http_port) {
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(log).unwrap_or_default();
            bail!("the broker ended at once ({status}); its log says:\n{said}");
        }
        if start.elapsed() > READY_WAIT {
            bail!(
                "the broker is not ready after {READY_WAIT:?}; see {}",
                log.display()
            );
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Whether `/ready` answers 200.
fn is_ready(http_port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, http_port));
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
