//! What the kernel accounts to a process under measurement.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

/// What the kernel accounts to a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time of the threads that live, to the nanosecond.
    pub cpu: Duration,
    /// Processor time of all threads that ever lived, to the tick of 10 ms.
    pub cpu_of_all: Duration,
    /// What it holds.
    pub memory: Memory,
}

/// Memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// RssAnon + RssShmem in bytes: memory of its own, without file maps.
    pub own_bytes: u64,
    /// All resident pages in bytes, file maps included.
    pub resident_bytes: u64,
    /// Peak of all resident pages in bytes, file maps included.
    pub peak_bytes: u64,
}

/// How long a tick of `/proc/PID/stat` is: `USER_HZ`, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Which fields behind the name of the command have the ticks of a process in user mode and in the kernel.
const OWN_TICKS: [usize; 2] = [11, 12];
/// The same, of its children that were waited for.
const CHILDREN_TICKS: [usize; 2] = [13, 14];

impl Usage {
    /// What is accounted to a process now.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let mut nanos = 0;
        for thread in fs::read_dir(process.join("task"))? {
            let schedstat =
                fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanos += schedstat
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(Self {
            cpu: Duration::from_nanos(nanos),
            cpu_of_all: ticks(&pid.to_string(), OWN_TICKS)?,
            memory: Memory::of(pid)?,
        })
    }
}

impl Memory {
    /// What a process holds now.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        Ok(Self {
            own_bytes: bytes("RssAnon:") + bytes("RssShmem:"),
            resident_bytes: bytes("VmRSS:"),
            peak_bytes: bytes("VmHWM:"),
        })
    }
}

/// Processor time of this process and of its children that have ended.
///
/// # Errors
/// No `/proc`.
pub fn own_and_children_cpu() -> Result<Duration> {
    Ok(ticks("self", OWN_TICKS)? + ticks("self", CHILDREN_TICKS)?)
}

fn ticks(process: &str, fields: [usize; 2]) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may have spaces and parentheses in it.
    let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
    let values: Vec<&str> = rest.split(' ').collect();
    let mut sum = 0;
    for field in fields {
        let value = values.get(field).context("stat is too short")?;
        sum += value.parse::<u32>()?;
    }
    Ok(TICK * sum)
}

/// A port of the loopback that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
