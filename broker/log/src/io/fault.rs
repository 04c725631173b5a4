//! [`FaultIo`]: wraps a file system and makes chosen operations fail, tear, wait, or do nothing.

use std::{
    fmt,
    io::{self, IoSlice},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{DirEntry, LockGuard, LogFile, LogIo, Map, Metadata, OpenMode, Space, dice::Dice};

/// Unit at which [`Action::TornWrite`] tears.
const SECTOR_BYTES: usize = 512;

/// What a [`Rule`] can act on, one for each operation of the seam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each is named as the operation of LogIo or LogFile"
)]
pub enum Operation {
    Open,
    Rename,
    RemoveFile,
    CreateDir,
    RemoveDir,
    ListDir,
    SyncDir,
    Metadata,
    Space,
    Lock,
    Write,
    Read,
    Allocate,
    SetLen,
    SyncData,
    Map,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 16] = [
        Self::Open,
        Self::Rename,
        Self::RemoveFile,
        Self::CreateDir,
        Self::RemoveDir,
        Self::ListDir,
        Self::SyncDir,
        Self::Metadata,
        Self::Space,
        Self::Lock,
        Self::Write,
        Self::Read,
        Self::Allocate,
        Self::SetLen,
        Self::SyncData,
        Self::Map,
    ];

    /// The name in `MILLSTREAM_TEST_IO`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Rename => "rename",
            Self::RemoveFile => "remove-file",
            Self::CreateDir => "create-dir",
            Self::RemoveDir => "remove-dir",
            Self::ListDir => "list-dir",
            Self::SyncDir => "sync-dir",
            Self::Metadata => "metadata",
            Self::Space => "space",
            Self::Lock => "lock",
            Self::Write => "write",
            Self::Read => "read",
            Self::Allocate => "allocate",
            Self::SetLen => "set-len",
            Self::SyncData => "sync-data",
            Self::Map => "map",
        }
    }

    /// The operation of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

/// What happens where a [`Rule`] applies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// The operation is not done and fails with this number (`libc::EIO`, `libc::ENOSPC`).
    Fail(i32),
    /// A write writes only so many bytes and fails with this number.
    ShortWrite {
        /// Bytes that are written.
        bytes: usize,
        /// System error number.
        errno: i32,
    },
    /// A write writes some of its 512-byte sectors, chosen by the seed, and fails with EIO.
    TornWrite {
        /// Chooses the sectors.
        seed: u64,
    },
    /// The operation waits so long, then is done.
    Delay(Duration),
    /// The operation is done, and takes so many times as long.
    Slow(u32),
    /// The operation claims success and is not done (flushes, writes, removals).
    Skip,
    /// Whoever asks for the operation panics.
    Panic,
}

/// At which of the operations that it matches a [`Rule`] applies; they are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At each.
    Always,
    /// At this one only.
    Nth(u64),
    /// At this one and all after it.
    From(u64),
    /// Once in `1_000_000 / parts_per_million`, chosen by the seed.
    Chance {
        /// Probability in millionths.
        parts_per_million: u32,
        /// Chooses.
        seed: u64,
    },
}

/// One fault: which operations, which paths, when, and what.
pub struct Rule {
    operations: Vec<Operation>,
    matches: Box<dyn Fn(&Path) -> bool + Send + Sync>,
    when: When,
    action: Action,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("operations", &self.operations)
            .field("when", &self.when)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl Rule {
    /// Acts on these operations, at every path, always.
    #[must_use]
    pub fn new(operations: &[Operation], action: Action) -> Self {
        let operations = operations.to_vec();
        Self {
            operations,
            matches: Box::new(|_| true),
            when: When::Always,
            action,
        }
    }

    /// Only at paths that the predicate accepts.
    #[must_use]
    pub fn at(mut self, matches: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.matches = Box::new(matches);
        self
    }

    /// Only at paths that contain the text.
    #[must_use]
    pub fn at_path_with(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.at(move |path| path.to_string_lossy().contains(&part))
    }

    /// Only at some of the operations that match.
    #[must_use]
    pub const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

/// A rule in force; outlives it without effect.
#[derive(Debug, Clone)]
pub struct Injection {
    active: Arc<ActiveRule>,
}

#[derive(Debug)]
struct ActiveRule {
    rule: Rule,
    is_stopped: AtomicBool,
    seen: AtomicU64,
    applied: AtomicU64,
    dice: Mutex<Dice>,
}

impl Injection {
    /// How often the rule was applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.active.applied.load(Ordering::Acquire)
    }

    /// Ends the fault.
    pub fn stop(&self) {
        self.active.is_stopped.store(true, Ordering::Release);
    }
}

impl ActiveRule {
    fn applies(&self, operation: Operation, path: &Path) -> bool {
        let rule = &self.rule;
        if self.is_stopped.load(Ordering::Acquire)
            || !rule.operations.contains(&operation)
            || !(rule.matches)(path)
        {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::AcqRel) + 1;
        let applies = match rule.when {
            When::Always => true,
            When::Nth(nth) => number == nth,
            When::From(nth) => number >= nth,
            When::Chance {
                parts_per_million, ..
            } => self
                .dice
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .chance(parts_per_million),
        };
        if applies {
            self.applied.fetch_add(1, Ordering::AcqRel);
        }
        applies
    }
}

type FailedSync = Box<dyn Fn(&Path) + Send + Sync>;

/// A file system with faults; clones share the rules. Without a rule it is the inner one.
#[derive(Debug, Clone)]
pub struct FaultIo<I> {
    inner: I,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    rules: RwLock<Vec<Arc<ActiveRule>>>,
    on_failed_sync: RwLock<Option<FailedSync>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl<I: LogIo> FaultIo<I> {
    /// Wraps `inner`, without a fault yet.
    pub fn new(inner: I) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// The file system underneath.
    pub const fn inner(&self) -> &I {
        &self.inner
    }

    /// Puts a rule in force. Of several that apply to an operation, the first decides, but delays
    /// add up.
    pub fn inject(&self, rule: Rule) -> Injection {
        let seed = match rule.when {
            When::Chance { seed, .. } => seed,
            _ => 0,
        };
        let active = Arc::new(ActiveRule {
            rule,
            is_stopped: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            dice: Mutex::new(Dice::new(seed)),
        });
        let mut rules = self
            .faults
            .rules
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        rules.push(Arc::clone(&active));
        Injection { active }
    }

    /// Called with a file's path when its `sync_data` was made to fail. Over a
    /// [`MemoryIo`](super::MemoryIo), have it call `give_up_unsynced`: as on a real disk a later
    /// flush then succeeds without having flushed.
    pub fn on_failed_sync(&self, call: impl Fn(&Path) + Send + Sync + 'static) {
        let mut slot = self
            .faults
            .on_failed_sync
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Box::new(call));
    }
}

/// What remains of the actions once delays are waited for.
enum Verdict {
    Go,
    GoSlowly(u32),
    Deny(Action),
}

impl Faults {
    fn verdict(&self, operation: Operation, path: &Path) -> Verdict {
        let rules = self
            .rules
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut verdict = Verdict::Go;
        for active in rules
            .iter()
            .filter(|active| active.applies(operation, path))
        {
            match active.rule.action {
                Action::Delay(time) => thread::sleep(time),
                Action::Slow(factor) => verdict = Verdict::GoSlowly(factor),
                Action::Panic => panicked(operation, path),
                action => return Verdict::Deny(action),
            }
        }
        verdict
    }

    /// Runs an operation under the rules; `skipped` is what a skipped one answers, where it can be
    /// skipped.
    fn run<T>(
        &self,
        operation: Operation,
        path: &Path,
        skipped: Option<T>,
        go: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self.verdict(operation, path) {
            Verdict::Go => go(),
            Verdict::GoSlowly(factor) => slowly(factor, go),
            Verdict::Deny(action) => match (action, skipped) {
                (Action::Skip, Some(answer)) => Ok(answer),
                _ => Err(self.denied(action, operation, path)),
            },
        }
    }

    fn denied(&self, action: Action, operation: Operation, path: &Path) -> io::Error {
        if operation == Operation::SyncData
            && let Some(call) = &*self
                .on_failed_sync
                .read()
                .unwrap_or_else(PoisonError::into_inner)
        {
            call(path);
        }
        let errno = match action {
            Action::Fail(errno) | Action::ShortWrite { errno, .. } => errno,
            _ => libc::EIO,
        };
        io::Error::from_raw_os_error(errno)
    }
}

#[expect(clippy::panic, reason = "it is the fault that was asked for")]
fn panicked(operation: Operation, path: &Path) -> ! {
    panic!("injected at {} of {}", operation.name(), path.display())
}

fn slowly<T>(factor: u32, go: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    let answer = go();
    thread::sleep(start.elapsed() * factor.saturating_sub(1));
    answer
}

impl<I: LogIo> LogIo for FaultIo<I> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        let inner = self
            .faults
            .run(Operation::Open, path, None, || self.inner.open(path, mode))?;
        Ok(Arc::new(FaultFile {
            inner,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.run(Operation::Rename, from, Some(()), || {
            self.inner.rename(from, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.faults.run(Operation::RemoveFile, path, Some(()), || {
            self.inner.remove_file(path)
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.run(Operation::CreateDir, path, Some(()), || {
            self.inner.create_dir_all(path)
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.run(Operation::RemoveDir, path, Some(()), || {
            self.inner.remove_dir(path)
        })
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.faults
            .run(Operation::ListDir, path, None, || self.inner.list_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.run(Operation::SyncDir, path, Some(()), || {
            self.inner.sync_dir(path)
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.faults.run(Operation::Metadata, path, None, || {
            self.inner.metadata(path)
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.faults
            .run(Operation::Space, path, None, || self.inner.space(path))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.faults.run(Operation::Lock, path, Some(None), || {
            self.inner.try_lock(path)
        })
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn LogFile>,
    faults: Arc<Faults>,
}

impl FaultFile {
    fn write_part(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.inner.write_all_at(&[IoSlice::new(bytes)], position)
    }

    fn tear(&self, bytes: &[u8], position: u64, seed: u64) -> io::Result<()> {
        let mut dice = Dice::new(seed);
        let in_sector = usize::try_from(position % SECTOR_BYTES as u64).unwrap_or(0);
        let (first, rest) = bytes.split_at((SECTOR_BYTES - in_sector).min(bytes.len()));
        let mut position = position;
        for sector in std::iter::once(first).chain(rest.chunks(SECTOR_BYTES)) {
            if dice.coin() {
                self.write_part(sector, position)?;
            }
            position += sector.len() as u64;
        }
        Ok(())
    }
}

impl LogFile for FaultFile {
    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let action = match self.faults.verdict(Operation::Write, self.path()) {
            Verdict::Go => return self.inner.write_all_at(buffers, position),
            Verdict::GoSlowly(factor) => {
                return slowly(factor, || self.inner.write_all_at(buffers, position));
            }
            Verdict::Deny(Action::Skip) => return Ok(()),
            Verdict::Deny(action) => action,
        };
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect();
        match action {
            Action::ShortWrite { bytes: count, .. } => {
                self.write_part(bytes.get(..count).unwrap_or(&bytes), position)?;
            }
            Action::TornWrite { seed } => self.tear(&bytes, position, seed)?,
            _ => {}
        }
        Err(self.faults.denied(action, Operation::Write, self.path()))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let go = || self.inner.read_at(buffer, position);
        self.faults
            .run(Operation::Read, self.inner.path(), None, go)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let go = || self.inner.allocate(length);
        self.faults
            .run(Operation::Allocate, self.path(), Some(()), go)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let go = || self.inner.set_len(length);
        self.faults
            .run(Operation::SetLen, self.path(), Some(()), go)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let go = || self.inner.sync_data();
        self.faults
            .run(Operation::SyncData, self.path(), Some(()), go)
    }

    fn begin_write_back(&self, position: u64, length: u64) {
        self.inner.begin_write_back(position, length);
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.faults
            .run(Operation::Map, self.path(), None, || self.inner.map(length))
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }
}

#[cfg(test)]
mod tests;
