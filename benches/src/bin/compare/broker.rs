//! [`Broker`]: either broker, started in the same way and watched in the same way.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use millstream_benches::{
    daemon::Daemon,
    kafka_server::{KafkaJars, KafkaServer},
    process::{self, Memory, Usage},
};

use crate::{
    control::Control,
    figure::{Case, Durability, Figures, Subject, Unit},
    machine::{self, Touches},
    workload::MOST_MEMORY,
};

/// Pause between two looks at the memory of a broker.
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// Where a broker is to run, and what is needed to start it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Which one.
    pub subject: Subject,
    /// Its data; a new directory for each run.
    pub dir: PathBuf,
    /// Kafka's.
    pub jars: KafkaJars,
    /// `millstreamd`.
    pub daemon: PathBuf,
}

#[derive(Debug)]
enum Process {
    Kafka(KafkaServer),
    Millstream(Daemon),
}

/// A broker that answers. Killed when dropped.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    /// Which one it is.
    pub subject: Subject,
    /// From its start to its first answer to a request for metadata.
    pub answered_after: Duration,
    /// A connection to it.
    pub control: Control,
    watch: Watch,
}

/// What a load cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Processor time of the broker.
    pub broker_cpu: Duration,
    /// Processor time of the client.
    pub client_cpu: Duration,
    /// How long all of it took.
    pub elapsed: Duration,
}

impl Site {
    /// Makes the directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        match self.subject {
            Subject::Kafka => KafkaServer::format(&self.jars, &self.dir),
            _ => Ok(()),
        }
    }

    /// What the broker says of its build, where it is ours.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn build(&self) -> Result<String> {
        if self.subject != Subject::Millstream {
            return Ok(String::new());
        }
        let output = Command::new(&self.daemon).arg("--version").output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts the broker on the directory as it is, and waits for its first answer.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self) -> Result<Broker> {
        let started = Instant::now();
        let process = match self.subject {
            Subject::Kafka => Process::Kafka(KafkaServer::start(&self.jars, &self.dir)?),
            Subject::Millstream => {
                Process::Millstream(Daemon::start(&self.daemon, &self.dir.join("data"), &[])?)
            }
            Subject::Machine => bail!("the machine is no broker"),
        };
        let control = Control::wait(&process.address())?;
        Ok(Broker {
            subject: self.subject,
            answered_after: started.elapsed(),
            control,
            watch: Watch::new(process.pid()),
            process,
        })
    }
}

impl Process {
    fn address(&self) -> String {
        match self {
            Self::Kafka(server) => server.address(),
            Self::Millstream(daemon) => daemon.kafka_address(),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Kafka(server) => server.pid(),
            Self::Millstream(daemon) => daemon.pid(),
        }
    }
}

impl Broker {
    /// Where Kafka clients reach it.
    pub fn address(&self) -> String {
        self.process.address()
    }

    /// What the kernel accounts to it now.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.pid())
    }

    /// A new topic of this durability.
    ///
    /// # Errors
    /// It is refused.
    pub fn create(&mut self, topic: &str, partitions: i32, durability: Durability) -> Result<()> {
        let config = durability.config(self.subject);
        self.control.create(topic, partitions, config)?;
        Ok(())
    }

    /// Runs a load on a machine that is settled for it, and says what it cost.
    ///
    /// # Errors
    /// The load's.
    pub fn metered<T>(
        &self,
        touches: Touches,
        load: impl FnOnce(&str) -> Result<T>,
    ) -> Result<(T, Cost)> {
        machine::settle(touches)?;
        let (broker, client) = (self.usage()?, process::own_and_children_cpu()?);
        let started = Instant::now();
        let done = load(&self.address())?;
        let elapsed = started.elapsed();
        let cost = Cost {
            broker_cpu: self.usage()?.cpu_of_all - broker.cpu_of_all,
            client_cpu: process::own_and_children_cpu()? - client,
            elapsed,
        };
        Ok((done, cost))
    }

    /// Adds what it holds at most, so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn add_peaks(&self, figures: &mut Figures) -> Result<()> {
        let case = Case::new(MOST_MEMORY);
        figures.add(&case, Unit::OwnMib, mib(self.watch.peak()));
        figures.add(
            &case,
            Unit::ResidentMib,
            mib(self.usage()?.memory.peak_bytes),
        );
        Ok(())
    }

    /// Adds what it holds and burns while nobody asks for anything.
    ///
    /// # Errors
    /// It is gone.
    pub fn add_idle(&self, case: &Case, time: Duration, figures: &mut Figures) -> Result<()> {
        let before = self.usage()?;
        thread::sleep(time);
        let after = self.usage()?;
        let burnt = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        figures.add(case, Unit::OwnMib, mib(after.memory.own_bytes));
        figures.add(case, Unit::ResidentMib, mib(after.memory.resident_bytes));
        figures.add(case, Unit::IdlePercent, burnt / time.as_secs_f64() * 100.0);
        Ok(())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn kill(self) -> Result<()> {
        match self.process {
            Process::Kafka(server) => server.kill(),
            Process::Millstream(daemon) => daemon.kill(),
        }
    }

    /// Ends it with SIGTERM, and waits.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn stop(self) -> Result<()> {
        match self.process {
            Process::Kafka(server) => server.stop(),
            Process::Millstream(daemon) => daemon.stop().map(drop),
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Looks at the own memory of a process until it is dropped.
#[derive(Debug)]
struct Watch {
    peak: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn new(pid: u32) -> Self {
        let (peak, is_over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = thread::spawn({
            let (peak, is_over) = (Arc::clone(&peak), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Relaxed)
                    && let Ok(memory) = Memory::of(pid)
                {
                    peak.fetch_max(memory.own_bytes, Ordering::Relaxed);
                    thread::sleep(WATCH_PAUSE);
                }
            }
        });
        Self {
            peak,
            is_over,
            thread: Some(thread),
        }
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
