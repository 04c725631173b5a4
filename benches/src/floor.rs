//! The disk's floor: bare `pwrite` + `fdatasync` rounds, the ceiling of every durable produce.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::fs::{FallocateFlags, fallocate};

use crate::report;

/// Files are preallocated in such steps, as the broker's segments are.
const PREALLOCATED_BYTES: u64 = 16 << 20;

/// What to write and how often.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// Bytes of one write.
    pub size: usize,
    /// Files written and flushed in parallel, a thread each.
    pub files: usize,
    /// Rounds per second and file on an open loop, latencies counted from when a round was due, and
    /// those that fell due during a flush share the next one; as fast as possible without.
    pub rate: Option<f64>,
    /// How long.
    pub time: Duration,
}

/// What was measured.
#[derive(Debug)]
pub struct Rounds {
    /// Microseconds of each round.
    pub latency_us: Histogram<u64>,
    /// How long all of them took.
    pub elapsed: Duration,
    size: usize,
}

impl Floor {
    /// Runs the rounds in a scratch directory in `dir`.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn measure(self, dir: &Path) -> Result<Rounds> {
        let scratch = tempfile::tempdir_in(dir).context("cannot create a scratch directory")?;
        let started = Instant::now();
        let workers: Vec<_> = (0..self.files)
            .map(|number| {
                let file = create(scratch.path().join(number.to_string()))?;
                Ok(thread::spawn(move || self.write(&file)))
            })
            .collect::<Result<_>>()?;
        let mut latency_us = report::histogram();
        for worker in workers {
            latency_us.add(worker.join().expect("a worker does not panic")?)?;
        }
        Ok(Rounds {
            latency_us,
            elapsed: started.elapsed(),
            size: self.size,
        })
    }

    fn write(self, file: &File) -> Result<Histogram<u64>> {
        let mut latency_us = report::histogram();
        let started = Instant::now();
        let due = |round: u32| match self.rate {
            Some(rate) => Duration::from_secs_f64(f64::from(round) / rate),
            None => started.elapsed(),
        };
        let (mut round, mut position, mut allocated) = (0, 0, 0);
        while due(round) < self.time {
            if let Some(wait) = due(round).checked_sub(started.elapsed()) {
                thread::sleep(wait);
            }
            let end = self.due_by(started.elapsed()).max(round + 1);
            let dues: Vec<_> = (round..end).map(due).collect();
            let bytes = vec![0x5a; self.size * dues.len()];
            while position + bytes.len() as u64 > allocated {
                allocated += PREALLOCATED_BYTES;
                fallocate(file, FallocateFlags::KEEP_SIZE, 0, allocated)?;
            }
            file.write_all_at(&bytes, position)?;
            file.sync_data()?;
            position += bytes.len() as u64;
            let done = started.elapsed();
            for due in dues {
                report::record(&mut latency_us, done.saturating_sub(due));
            }
            round = end;
        }
        Ok(latency_us)
    }

    /// How many rounds are due after a time.
    fn due_by(self, elapsed: Duration) -> u32 {
        let rate = self.rate.unwrap_or(0.0);
        (elapsed.as_secs_f64() * rate) as u32
    }
}

impl Rounds {
    /// Rounds per second, over all files.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        self.latency_us.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Bytes written, over all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.latency_us.len() * self.size as u64
    }

    /// MB per second, over all files.
    #[must_use]
    pub fn mb_per_s(&self) -> f64 {
        self.per_s() * self.size as f64 / 1e6
    }
}

/// A new file whose name is on disk.
fn create(path: PathBuf) -> Result<File> {
    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)?;
    fs::File::open(path.parent().context("the file has a directory")?)?.sync_all()?;
    Ok(file)
}
