//! What the kernel says about this process: memory, descriptors, processor time, threads.

use std::{path::Path, time::Duration};

use millstream_log::io::{DiskIo, LogIo, OpenMode};
use rustix::process::{Resource, getrlimit};

use super::{Figures, catalog};

/// Longest `/proc` file that is read.
const PROC_BYTES_MAX: usize = 16 << 10;

/// Memory of a process in bytes, as `/proc/self/status` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The process's own: heap and stacks (`RssAnon`) and shared memory (`RssShmem`).
    pub own_bytes: u64,
    /// Resident pages of mapped files, which the kernel may drop (`RssFile`).
    pub file_bytes: u64,
    /// The most that was ever resident, maps included (`VmHWM`).
    pub peak_bytes: u64,
    /// Threads.
    pub threads: u64,
}

impl Memory {
    /// Reads the text of `/proc/self/status`.
    fn of_status(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_ascii_whitespace().nth(1));
            value
                .and_then(|value| value.parse::<u64>().ok())
                .unwrap_or(0)
        };
        Self {
            own_bytes: (field("RssAnon:") + field("RssShmem:")) << 10,
            file_bytes: field("RssFile:") << 10,
            peak_bytes: field("VmHWM:") << 10,
            threads: field("Threads:"),
        }
    }

    /// Memory of this process now; zero where `/proc` cannot be read.
    #[must_use]
    pub fn now() -> Self {
        Self::of_status(&read_proc("/proc/self/status").unwrap_or_default())
    }
}

fn read_proc(path: &str) -> Option<String> {
    let file = DiskIo.open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; PROC_BYTES_MAX];
    let found = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(found);
    String::from_utf8(bytes).ok()
}

/// Descriptors that are open.
fn open_descriptors() -> u64 {
    let entries = DiskIo.list_dir(Path::new("/proc/self/fd"));
    // Listing takes one itself.
    entries.map_or(0, |entries| entries.len().saturating_sub(1) as u64)
}

/// Processor time that the process has used, in user and kernel mode.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Adds all figures about this process.
pub fn figures(figures: &mut Figures) {
    let memory = Memory::now();
    figures.set(catalog::PROCESS_MEMORY_OWN, memory.own_bytes);
    figures.set(catalog::PROCESS_MEMORY_MAPPED, memory.file_bytes);
    figures.set(catalog::PROCESS_MEMORY_PEAK, memory.peak_bytes);
    figures.set(catalog::PROCESS_THREADS, memory.threads);
    figures.set(catalog::PROCESS_DESCRIPTORS, open_descriptors());
    let descriptors_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    figures.set(catalog::PROCESS_DESCRIPTORS_MAX, descriptors_max);
    figures.set(catalog::PROCESS_CPU, processor_time().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_status() {
        let text = "Name:\tm\nVmHWM:\t  2048 kB\nRssAnon:\t 100 kB\nRssFile:\t 30 kB\nRssShmem:\t 4 kB\nThreads:\t5\n";
        let expected = Memory {
            own_bytes: 104 << 10,
            file_bytes: 30 << 10,
            peak_bytes: 2 << 20,
            threads: 5,
        };
        assert_eq!(Memory::of_status(text), expected);
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let memory = Memory::now();
        assert!(memory.own_bytes > 100_000 && memory.peak_bytes >= memory.own_bytes);
        assert!(open_descriptors() >= 3);
        assert!(processor_time() > Duration::ZERO);
    }
}
