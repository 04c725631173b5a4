//! Seeded schedules of operations that end in the middle of one: the process is killed or power is
//! lost at any write, fsync or rename, also while recovering. What was flushed is never lost, what is
//! read is what was appended, a retried batch is recognised. A schedule is replayed from its seed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use millstream_proto::Offset;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::super::testing::*;
use crate::{
    DataDirectory, Durability, LogConfig, PartitionLog, ReadError, ReadRequest,
    io::{Action, FaultIo, Injection, MemoryIo, Operation, Rule, When},
    recovery_point::BootId,
};

/// Everything that changes the disk: after a death none of it happens.
const CHANGES: [Operation; 9] = [
    Operation::Open,
    Operation::Write,
    Operation::SyncData,
    Operation::SyncDir,
    Operation::Rename,
    Operation::RemoveFile,
    Operation::SetLen,
    Operation::Allocate,
    Operation::CreateDir,
];
const LIVES: usize = 4;
const STEPS_MAX: usize = 40;

/// A broken promise, with what was expected and found.
type Broken = String;

macro_rules! promise {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

#[derive(Debug, Clone)]
struct Sent {
    base: i64,
    values: Vec<String>,
    /// Base sequence of the idempotent producer's batches.
    sequence: Option<i32>,
}

impl Sent {
    fn end(&self) -> i64 {
        self.base + i64::try_from(self.values.len()).unwrap()
    }
}

/// What an interrupted operation may or may not have done.
#[derive(Debug)]
enum Pending {
    Nothing,
    Append(Sent),
    Truncate(i64),
    RaiseStart(i64),
}

#[derive(Debug)]
struct Truth {
    sent: Vec<Sent>,
    flushed: i64,
    log_start: i64,
    next_sequence: i32,
    appended: u32,
    pending: Pending,
}

impl Truth {
    fn end(&self) -> i64 {
        self.sent.last().map_or(self.log_start, Sent::end)
    }

    fn truncate(&mut self, to: i64) {
        self.sent.retain(|sent| sent.end() <= to);
        if self.sent.is_empty() {
            self.log_start = self.log_start.min(to);
        }
        self.flushed = self.flushed.min(self.end());
    }

    /// Offsets and values of the batches that reach `from`.
    fn records(&self, from: i64) -> Vec<(i64, String)> {
        let readable = self.sent.iter().filter(|sent| sent.end() > from);
        readable
            .flat_map(|sent| (sent.base..).zip(sent.values.iter().cloned()))
            .collect()
    }
}

struct Rig {
    rng: StdRng,
    memory: MemoryIo,
    io: FaultIo<MemoryIo>,
    sabotage: Option<(Operation, &'static str)>,
    flush_failed: Arc<AtomicBool>,
    boot: u8,
    directory: Arc<DataDirectory>,
    log: Arc<PartitionLog>,
    config: LogConfig,
    truth: Truth,
    /// What was done, for a failure's message.
    trace: Vec<String>,
}

/// Wraps a file system: a failed fsync leaves its pages clean, and one kind of flush may do nothing.
fn wrap(
    memory: &MemoryIo,
    sabotage: Option<(Operation, &'static str)>,
    failed: &Arc<AtomicBool>,
) -> FaultIo<MemoryIo> {
    let io = FaultIo::new(memory.clone());
    let (inner, failed) = (memory.clone(), Arc::clone(failed));
    io.on_failed_sync(move |path| {
        failed.store(true, Ordering::Relaxed);
        let _ = inner.give_up_unsynced(path);
    });
    if let Some((operation, part)) = sabotage {
        io.inject(Rule::new(&[operation], Action::Skip).at_path_with(part));
    }
    io
}

/// All records from an offset to the end.
fn read_all(log: &PartitionLog, from: i64) -> Result<Vec<(i64, String)>, ReadError> {
    let mut next = offset(from);
    let mut found = Vec::new();
    loop {
        let request = ReadRequest {
            offset: next,
            max_bytes: 200,
            end_exclusive: Offset::MAX,
        };
        let loaded = log.read(&request)?.load()?;
        if loaded.next_offset == next {
            return Ok(found);
        }
        next = loaded.next_offset;
        found.extend(loaded.slices.into_iter().flat_map(values_in));
    }
}

fn open_directory(io: &FaultIo<MemoryIo>, boot: u8) -> Result<Arc<DataDirectory>, Broken> {
    let boot_id = BootId([boot; 16]);
    DataDirectory::open(Arc::new(io.clone()), Path::new(DIR), limits(), boot_id)
        .map_err(|error| error.to_string())
}

impl Rig {
    fn new(seed: u64, sabotage: Option<(Operation, &'static str)>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let memory = memory();
        let flush_failed = Arc::default();
        let io = wrap(&memory, sabotage, &flush_failed);
        let directory = open_directory(&io, 1).unwrap();
        let durability = if rng.random_bool(0.5) {
            Durability::Fsync
        } else {
            Durability::Replicated
        };
        let config = LogConfig {
            segment_bytes: rng.random_range(300..3_000),
            index_interval_bytes: 200,
            retention_ms: None,
            durability,
            ..LogConfig::default()
        };
        let log = create(&directory, config.clone());
        Self {
            rng,
            memory,
            io,
            sabotage,
            flush_failed,
            boot: 1,
            directory,
            log,
            config,
            truth: Truth {
                sent: Vec::new(),
                flushed: 0,
                log_start: 0,
                next_sequence: 0,
                appended: 0,
                pending: Pending::Nothing,
            },
            trace: Vec::new(),
        }
    }

    fn note(&mut self, what: &str) {
        let positions = self.log.positions();
        self.trace.push(format!(
            "{what} [{} {} {}]",
            positions.log_start, positions.flushed, positions.log_end
        ));
    }

    fn run(&mut self) -> Result<(), Broken> {
        for life in 0..LIVES {
            let death = self.arm();
            for _ in 0..self.rng.random_range(1..STEPS_MAX) {
                if !self.step()? {
                    break;
                }
            }
            if let Some(death) = death {
                death.stop();
            }
            let is_kill = self.rng.random_ratio(1, 3);
            self.die(is_kill)
                .map_err(|broken| format!("life {life}: {broken}"))?;
        }
        Ok(())
    }

    /// From some operation on nothing happens any more, or one flush fails.
    fn arm(&mut self) -> Option<Injection> {
        let nth = self.rng.random_range(1..300);
        match self.rng.random_range(0..4) {
            0 => None,
            1 => Some(
                self.io.inject(
                    Rule::new(&[Operation::SyncData], Action::Fail(libc::EIO))
                        .at_path_with(".log")
                        .when(When::Nth(nth % 20 + 1)),
                ),
            ),
            _ => Some(
                self.io
                    .inject(Rule::new(&CHANGES, Action::Fail(libc::EIO)).when(When::From(nth))),
            ),
        }
    }

    /// One operation; false once the log is dead.
    fn step(&mut self) -> Result<bool, Broken> {
        let dice = self.rng.random_range(0..100);
        let alive = match dice {
            0..60 => self.append(),
            60..75 => self.flush(),
            75..85 => self.checkpoint(),
            85..89 => self.truncate(),
            89..93 => self.delete_records(),
            93..96 => self.retain(),
            96..98 => {
                forget_tail(&self.log);
                self.log.release_idle_resources();
                true
            }
            _ => {
                let alive = self.restart_cleanly();
                self.note("restart");
                return alive;
            }
        };
        self.note(match dice {
            0..60 => "append",
            60..75 => "flush",
            75..85 => "checkpoint",
            85..89 => "truncate",
            89..93 => "delete records",
            93..96 => "retain",
            _ => "forget",
        });
        Ok(alive)
    }

    fn append(&mut self) -> bool {
        let truth = &mut self.truth;
        let records = self.rng.random_range(1..6);
        let bytes = self.rng.random_range(1..120);
        let values: Vec<String> = (0..records)
            .map(|index| format!("{}-{index}-{}", truth.appended, "x".repeat(bytes)))
            .collect();
        truth.appended += 1;
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let sequence = self.rng.random_bool(0.6).then_some(truth.next_sequence);
        let bytes = match sequence {
            Some(sequence) => from_producer(sequence, &texts),
            None => batch(&texts),
        };
        let sent = Sent {
            base: truth.end(),
            values,
            sequence,
        };
        match self.log.append(bytes, &context()) {
            Ok(appended) => {
                let found = (appended.base_offset.get(), appended.duplicate);
                assert_eq!(found, (sent.base, false), "{:?}", self.trace);
                if sequence.is_some() {
                    truth.next_sequence += records;
                }
                truth.sent.push(sent);
                true
            }
            Err(_) => {
                truth.pending = Pending::Append(sent);
                false
            }
        }
    }

    fn flush(&mut self) -> bool {
        let flushed = self.log.flush();
        if let Ok(flushed) = &flushed {
            self.truth.flushed = flushed.get();
        }
        flushed.is_ok()
    }

    fn checkpoint(&mut self) -> bool {
        let done = self.directory.checkpoint();
        if self.log.flush().is_err() {
            return false;
        }
        self.truth.flushed = self.log.positions().flushed.get();
        done.is_ok()
    }

    fn truncate(&mut self) -> bool {
        let truth = &mut self.truth;
        if truth.sent.is_empty() {
            return true;
        }
        let to = self.rng.random_range(truth.log_start..=truth.end());
        if self.log.truncate_to(offset(to)).is_err() {
            truth.pending = Pending::Truncate(to);
            return false;
        }
        truth.truncate(to);
        self.adopt_sequence();
        let positions = self.log.positions();
        self.truth.log_start = positions.log_start.get();
        self.truth.flushed = self.truth.flushed.min(positions.log_end.get());
        true
    }

    fn delete_records(&mut self) -> bool {
        let truth = &mut self.truth;
        let to = self
            .rng
            .random_range(truth.log_start..=truth.flushed.max(truth.log_start));
        if self.log.delete_records(offset(to)).is_err() {
            truth.pending = Pending::RaiseStart(to);
            return false;
        }
        truth.log_start = to;
        true
    }

    fn retain(&mut self) -> bool {
        let config = LogConfig {
            retention_bytes: Some(self.rng.random_range(0..4_000)),
            ..self.config.clone()
        };
        self.log.set_config(Arc::new(config));
        let done = self
            .log
            .apply_retention(1_000_000, offset(self.truth.flushed));
        self.log.set_config(Arc::new(self.config.clone()));
        if done.is_err() {
            self.truth.pending = Pending::RaiseStart(self.truth.flushed);
            return false;
        }
        self.truth.log_start = self.log.positions().log_start.get();
        true
    }

    fn restart_cleanly(&mut self) -> Result<bool, Broken> {
        let Ok(closed) = self.log.close() else {
            return Ok(false);
        };
        self.truth.flushed = self.truth.end();
        if self
            .directory
            .shut_down(1, &[(partition(0), closed)])
            .is_err()
        {
            return Ok(false);
        }
        let Ok(directory) = open_directory(&self.io, self.boot) else {
            return Ok(false);
        };
        self.directory = directory;
        self.log = reopen(&self.directory, self.config.clone());
        // A disk that died meanwhile cannot be read.
        if self.log.flush().is_err() || read_all(&self.log, self.truth.log_start).is_err() {
            return Ok(false);
        }
        self.check(self.truth.end())?;
        Ok(true)
    }

    /// The process is killed or power is lost; perhaps again while recovering.
    fn die(&mut self, is_kill: bool) -> Result<(), Broken> {
        self.memory = if is_kill {
            self.memory.fork()
        } else {
            self.boot += 1;
            self.memory.crash(self.rng.random())
        };
        let mut lost_power = !is_kill;
        self.note(if is_kill { "kill" } else { "power" });
        if self.rng.random_ratio(1, 3) {
            // Killed, not failing: what a kill keeps from being synced is synced by whoever comes next.
            self.io = FaultIo::new(self.memory.clone());
            let nth = self.rng.random_range(1..60);
            let death = self
                .io
                .inject(Rule::new(&CHANGES, Action::Fail(libc::EIO)).when(When::From(nth)));
            if let Ok(directory) = open_directory(&self.io, self.boot) {
                let _ = PartitionLog::open(
                    &directory,
                    partition(0),
                    topic_id(),
                    Arc::new(self.config.clone()),
                    0,
                );
            }
            death.stop();
            if self.rng.random_bool(0.5) {
                self.boot += 1;
                self.memory = self.memory.crash(self.rng.random());
                lost_power = true;
            }
        }
        let failed = Arc::new(AtomicBool::new(false));
        self.io = wrap(&self.memory, self.sabotage, &failed);
        let had_failed = std::mem::replace(&mut self.flush_failed, failed);
        self.directory = open_directory(&self.io, self.boot)?;
        self.log = reopen(&self.directory, self.config.clone());
        self.note(if lost_power { "power lost" } else { "killed" });
        self.verify(lost_power, had_failed.load(Ordering::Relaxed))?;
        if self.rng.random_bool(0.7) {
            self.directory
                .write_recovery_points()
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn verify(&mut self, lost_power: bool, flush_failed: bool) -> Result<(), Broken> {
        let positions = self.log.positions();
        let (start, end) = (positions.log_start.get(), positions.log_end.get());
        let is_fsync = self.config.durability == Durability::Fsync;
        let truth = &mut self.truth;
        let before_end = truth.end();
        let (mut start_max, mut may_be_cut) = (truth.log_start, None);
        let is_pending = !matches!(truth.pending, Pending::Nothing);
        match std::mem::replace(&mut truth.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::Append(sent) => truth.sent.push(sent),
            Pending::RaiseStart(to) => start_max = start_max.max(to),
            Pending::Truncate(to) => may_be_cut = Some(to),
        }
        let mut lowest = truth.flushed;
        if let Some(to) = may_be_cut {
            // The batch that holds the offset goes as a whole.
            let first_gone = truth.sent.iter().find(|sent| sent.end() > to);
            lowest = lowest.min(first_gone.map_or(to, |sent| sent.base.min(to)));
        }
        promise!(
            end >= lowest,
            "log ends at {end}, {lowest} was flushed ({before_end} appended)"
        );
        let nothing_lost = !(lost_power || is_pending || (flush_failed && is_fsync));
        promise!(
            !nothing_lost || end == before_end,
            "killed: log ends at {end}, {before_end} appended"
        );
        let is_boundary = end == start
            || end == truth.log_start
            || truth.sent.iter().any(|sent| sent.end() == end);
        promise!(is_boundary, "log ends at {end}, inside a batch");
        promise!(
            (truth.log_start..=start_max).contains(&start) || start == end,
            "log starts at {start}, expected {} to {start_max}",
            truth.log_start
        );
        truth.sent.retain(|sent| sent.end() <= end);
        if start == end {
            // What is left is below the log start: recovery starts anew there.
            truth.sent.clear();
        }
        truth.log_start = start;
        truth.flushed = end;
        self.adopt_sequence();
        self.check(end)?;
        self.check_retries()
    }

    /// The client goes on behind its last batch that is in the log.
    fn adopt_sequence(&mut self) {
        let last = self.truth.sent.iter().rev().find_map(|sent| {
            let count = i32::try_from(sent.values.len()).ok()?;
            Some(sent.sequence? + count)
        });
        if let Some(next) = last {
            self.truth.next_sequence = next;
        }
    }

    fn check(&self, end: i64) -> Result<(), Broken> {
        let positions = self.log.positions();
        promise!(
            positions.log_end.get() == end,
            "log ends at {}, expected {end}",
            positions.log_end
        );
        let found = read_all(&self.log, self.truth.log_start).map_err(|error| error.to_string())?;
        let expected = self.truth.records(self.truth.log_start);
        promise!(found == expected, "read {found:?}, expected {expected:?}");
        Ok(())
    }

    /// Any of the producer's last five batches is a duplicate of itself.
    fn check_retries(&mut self) -> Result<(), Broken> {
        let start = self.truth.log_start;
        let mut last_five: Vec<&Sent> = self
            .truth
            .sent
            .iter()
            .rev()
            .filter(|sent| sent.sequence.is_some())
            .take(5)
            .collect();
        last_five.retain(|sent| sent.base >= start);
        for sent in last_five {
            let texts: Vec<&str> = sent.values.iter().map(String::as_str).collect();
            let bytes = from_producer(sent.sequence.unwrap_or_default(), &texts);
            let appended = self
                .log
                .append(bytes, &context())
                .map_err(|error| format!("retry of {}: {error}", sent.base))?;
            promise!(
                appended.duplicate && appended.base_offset.get() == sent.base,
                "retry of {}: {appended:?}",
                sent.base
            );
        }
        Ok(())
    }
}

fn schedule(seed: u64, sabotage: Option<(Operation, &'static str)>) -> Result<(), Broken> {
    let mut rig = Rig::new(seed, sabotage);
    rig.run()
        .map_err(|broken| format!("seed {seed}: {broken}\n{:?}", rig.trace))
}

/// More of them with `MILLSTREAM_SCHEDULES`.
#[test]
fn four_thousand_schedules_lose_nothing_that_was_flushed() {
    let count = std::env::var("MILLSTREAM_SCHEDULES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(4_000);
    let broken: Vec<Broken> = (0..count)
        .filter_map(|seed| schedule(seed, None).err())
        .collect();
    assert!(
        broken.is_empty(),
        "{} broken: {}",
        broken.len(),
        broken
            .iter()
            .take(3)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n\n")
    );
}

/// Schedules that once broke: power was lost in the middle of a truncation, and of two renames only
/// the older segment's lasted, or a stale tail of the truncation before came back; a start was killed
/// between removing the clean-shutdown marker and making that durable, or between cutting a tail and
/// making that durable.
#[test]
fn schedules_that_once_broke_stay_whole() {
    for seed in [614, 8_777, 9_617, 13_572, 15_538, 31_197, 31_808, 53_749] {
        assert_eq!(schedule(seed, None), Ok(()));
    }
}

/// The schedules can see what they look for.
#[test]
fn without_one_fdatasync_or_directory_fsync_a_schedule_breaks() {
    for sabotage in [
        (Operation::SyncData, ".log"),
        (Operation::SyncData, "log-start"),
        (Operation::SyncDir, "flights-0"),
    ] {
        let broken = (0..1_000).find(|seed| {
            let attempt = || schedule(*seed, Some(sabotage)).is_err();
            std::panic::catch_unwind(attempt).unwrap_or(true)
        });
        assert!(broken.is_some(), "{sabotage:?} is not missed");
    }
}
