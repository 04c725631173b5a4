//! What a reader sees before and after compaction is the same, wherever a pass is interrupted: by a
//! kill or a power cut at each operation on the disk, in the pass or in the start after it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use millstream_proto::{Offset, ProducerId};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    super::super::testing::*,
    history::{History, Visible, visible},
};
use crate::{
    CompactionConfig, CompactionError, CompactionReport, CompactionRequest, DataDirectory,
    LogConfig, PartitionLog, Ratio, Unhurried,
    inspect::{VerifyOptions, verify},
    io::{Action, FaultIo, LogIo, MemoryIo, Operation, Rule, When},
    layout::{CLEANED_SUFFIX, FileKind},
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
const RETENTION_MS: u64 = 700;

fn config(rng: &mut StdRng) -> LogConfig {
    LogConfig {
        segment_bytes: rng.random_range(300..1_500),
        index_interval_bytes: 150,
        cleanup_delete: false,
        cleanup_compact: true,
        compaction: CompactionConfig {
            dirty_ratio_min: Ratio::from_millionths(0),
            delete_retention_ms: RETENTION_MS,
            ..CompactionConfig::default()
        },
        ..LogConfig::default()
    }
}

fn open(io: &Arc<dyn LogIo>, boot: u8) -> Arc<DataDirectory> {
    let boot_id = BootId([boot; 16]);
    DataDirectory::open(Arc::clone(io), Path::new(DIR), limits(), boot_id).unwrap()
}

/// One pass, whose map has room for all keys or, with 0 bytes, for some of them.
fn compact_with(
    log: &PartitionLog,
    now_ms: i64,
    map_bytes_max: usize,
) -> Result<CompactionReport, CompactionError> {
    let high_watermark = log.positions().log_end;
    log.advance_high_watermark(high_watermark);
    let request = CompactionRequest {
        now_ms,
        high_watermark,
        map_bytes_max,
    };
    log.compact(&request, &mut Unhurried)
}

fn compact(log: &PartitionLog, now_ms: i64) -> Result<CompactionReport, CompactionError> {
    compact_with(log, now_ms, 1 << 20)
}

/// When the horizons of tombstones were stamped, by offset: the first pass that may have done it, and
/// the first that must have.
#[derive(Debug, Clone, Default)]
struct Stamps {
    earliest: BTreeMap<i64, i64>,
    latest: BTreeMap<i64, i64>,
}

impl Stamps {
    fn begin_pass(&mut self, before: &Visible, now_ms: i64) {
        for offset in before.tombstones() {
            self.earliest.entry(offset).or_insert(now_ms);
        }
    }

    /// A pass came to its end: what it had to remove is gone, what is left it has stamped.
    fn end_pass(&mut self, after: &Visible, report: &CompactionReport, now_ms: i64, seed: &str) {
        if report.to == report.from {
            return;
        }
        let below = after.tombstones().filter(|at| *at < report.to.get());
        for offset in below {
            let stamped_at = *self.latest.entry(offset).or_insert(now_ms);
            assert!(
                stamped_at + RETENTION_MS.cast_signed() > now_ms || stamped_at == now_ms,
                "{seed}: the tombstone at {offset} is there at {now_ms}, stamped at {stamped_at}"
            );
        }
    }
}

/// What compaction at `now_ms` may have done to what a reader sees, and nothing else.
fn check_same(before: &Visible, after: &Visible, stamps: &Stamps, now_ms: i64, seed: &str) {
    assert_eq!(
        (before.log_end, before.last_stable),
        (after.log_end, after.last_stable),
        "{seed}"
    );
    for (offset, record) in &after.records {
        let was = before.records.get(offset);
        assert_eq!(was, Some(record), "{seed}: offset {offset}");
    }
    for offset in &after.aborted {
        assert!(before.aborted.contains(offset), "{seed}: offset {offset}");
    }
    let (expected, found) = (before.latest(), after.latest());
    for (key, (offset, value)) in &expected {
        match found.get(key) {
            Some(newest) => assert_eq!(newest, &(*offset, *value), "{seed}: {key}"),
            None => {
                let has_passed = stamps
                    .earliest
                    .get(offset)
                    .is_some_and(|at| at + RETENTION_MS.cast_signed() <= now_ms);
                assert!(
                    value.is_none() && has_passed,
                    "{seed}: {key} was {value:?} at {offset} and is gone at {now_ms}"
                );
            }
        }
    }
}

/// After a whole pass no key is twice below its end, and nothing that was aborted.
fn check_clean(after: &Visible, to: Offset, seed: &str) {
    let mut keys = BTreeMap::new();
    for (offset, (key, ..)) in after.records.range(..to.get()) {
        let other = keys.insert(key, offset);
        assert_eq!(other, None, "{seed}: {key} at {offset}, too");
    }
    let left: Vec<_> = after.aborted.range(..to.get()).collect();
    assert!(left.is_empty(), "{seed}: aborted records at {left:?}");
}

fn check_producers(log: &PartitionLog, history: &History, seed: &str) {
    let writer = log.writer().unwrap();
    for (id, next) in history.next_sequences() {
        let entry = writer.producers.get(ProducerId(id)).unwrap();
        let last = entry.last_batch().unwrap();
        assert_eq!(last.last_sequence, next - 1, "{seed}: producer {id}");
    }
}

/// The partition's files are consistent with each other; nothing is left of a copy.
fn check_files(io: &MemoryIo, seed: &str) {
    let dir = Path::new(DIR).join("flights-0");
    let names = io.list_dir(&dir).unwrap();
    let is_copy = |name: &Path| name.to_string_lossy().ends_with(CLEANED_SUFFIX);
    assert!(
        !names.iter().any(|entry| is_copy(&entry.name)),
        "{seed}: {names:?}"
    );
    let report = verify(io, &dir, VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{seed}: {:?}", report.findings);
}

/// A log with some clean and some dirty part, everything of it flushed.
struct Subject {
    memory: MemoryIo,
    config: LogConfig,
    history: History,
    stamps: Stamps,
}

impl Subject {
    fn new(seed: u64) -> (Self, StdRng) {
        let mut rng = StdRng::seed_from_u64(seed);
        let memory = memory();
        let io: Arc<dyn LogIo> = Arc::new(memory.clone());
        let config = config(&mut rng);
        let mut history = History::starting_at(1_000_000);
        let mut stamps = Stamps::default();
        {
            let directory = open(&io, 1);
            let log = create(&directory, config.clone());
            for round in 0..rng.random_range(1..4) {
                let batches = rng.random_range(10..60);
                history.append_some(&mut rng, &log, batches);
                if rng.random_bool(0.6) {
                    history.end_all(&mut rng, &log);
                }
                log.flush().unwrap();
                directory.checkpoint().unwrap();
                let before = visible(&log).unwrap();
                history.now_ms += rng.random_range(0..1_000);
                let name = format!("seed {seed} round {round}");
                let map_bytes_max = if rng.random_bool(0.3) { 0 } else { 1 << 20 };
                let report = compact_with(&log, history.now_ms, map_bytes_max).unwrap();
                stamps.begin_pass(&before, history.now_ms);
                let after = visible(&log).unwrap();
                check_same(&before, &after, &stamps, history.now_ms, &name);
                check_clean(&after, report.to, &name);
                stamps.end_pass(&after, &report, history.now_ms, &name);
            }
            let batches = rng.random_range(10..60);
            history.append_some(&mut rng, &log, batches);
            log.flush().unwrap();
            directory.checkpoint().unwrap();
            history.now_ms += rng.random_range(0..1_000);
            directory.stop();
        }
        let subject = Self {
            memory,
            config,
            history,
            stamps,
        };
        (subject, rng)
    }

    fn reopen(&self, memory: &MemoryIo, boot: u8) -> (Arc<DataDirectory>, Arc<PartitionLog>) {
        let io: Arc<dyn LogIo> = Arc::new(memory.clone());
        let directory = open(&io, boot);
        let log = reopen(&directory, self.config.clone());
        (directory, log)
    }
}

fn count(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// More of them with `MILLSTREAM_COMPACTIONS`.
#[test]
fn many_passes_over_a_growing_log_keep_what_a_reader_sees() {
    let (mut tombstones_gone, mut markers_gone) = (0, 0);
    for seed in 0..count("MILLSTREAM_COMPACTIONS", 300) {
        let (mut subject, mut rng) = Subject::new(seed);
        let (directory, log) = subject.reopen(&subject.memory, 1);
        let (history, stamps) = (&mut subject.history, &mut subject.stamps);
        for round in 0..4 {
            let name = format!("seed {seed} late round {round}");
            let batches = rng.random_range(10..40);
            history.append_some(&mut rng, &log, batches);
            if rng.random_bool(0.8) {
                history.end_all(&mut rng, &log);
            }
            log.flush().unwrap();
            directory.checkpoint().unwrap();
            let before = visible(&log).unwrap();
            history.now_ms += rng.random_range(0..2 * RETENTION_MS.cast_signed());
            stamps.begin_pass(&before, history.now_ms);
            let report = compact(&log, history.now_ms).unwrap();
            assert!(report.is_complete, "{name}");
            let after = visible(&log).unwrap();
            check_same(&before, &after, stamps, history.now_ms, &name);
            check_clean(&after, report.to, &name);
            stamps.end_pass(&after, &report, history.now_ms, &name);
            tombstones_gone += before.tombstones().count() - after.tombstones().count();
            markers_gone += before.markers.difference(&after.markers).count();
        }
        let name = format!("seed {seed}");
        check_producers(&log, history, &name);
        let closed = log.close().unwrap();
        directory.shut_down(1, &[(partition(0), closed)]).unwrap();
        check_files(&subject.memory, &name);
    }
    println!("{tombstones_gone} tombstones and {markers_gone} markers are gone");
    assert!(tombstones_gone > 100 && markers_gone > 100);
}

/// Interrupts a pass at each of its operations; returns how many crashes that were.
fn interrupt_everywhere(seed: u64, sabotage: Option<(Operation, &'static str)>) -> u64 {
    let (subject, mut rng) = Subject::new(seed);
    for nth in 1.. {
        let image = subject.memory.fork();
        let io = FaultIo::new(image.clone());
        let directory = open(&(Arc::new(io.clone()) as Arc<dyn LogIo>), 1);
        let log = reopen(&directory, subject.config.clone());
        let before = visible(&log).unwrap();
        let mut stamps = subject.stamps.clone();
        stamps.begin_pass(&before, subject.history.now_ms);
        if let Some((operation, part)) = sabotage {
            io.inject(Rule::new(&[operation], Action::Skip).at_path_with(part));
        }
        let death = io.inject(Rule::new(&CHANGES, Action::Fail(libc::EIO)).when(When::From(nth)));
        let result = compact(&log, subject.history.now_ms);
        let ended = death.applied() == 0;
        assert_eq!(result.is_ok(), ended, "seed {seed}, {nth}: {result:?}");
        if ended {
            return 2 * (nth - 1);
        }
        let left_by_kill = image.fork();
        let left_by_power_cut = image.crash(rng.random());
        drop((log, directory));
        for (left, boot) in [(left_by_kill, 1), (left_by_power_cut, 2)] {
            let name = format!("seed {seed}, operation {nth}, boot {boot}");
            go_on(&subject, &left, boot, &before, &stamps, &name, &mut rng);
        }
    }
    0
}

/// More of them with `MILLSTREAM_COMPACTION_CRASHES`.
#[test]
fn a_pass_interrupted_at_any_operation_keeps_what_a_reader_sees() {
    let seeds = 0..count("MILLSTREAM_COMPACTION_CRASHES", 8);
    let crashes: u64 = seeds.map(|seed| interrupt_everywhere(seed, None)).sum();
    println!("{crashes} crashes");
    assert!(crashes > 400, "{crashes} crashes");
}

/// The crashes can see what they look for.
#[test]
fn without_one_fdatasync_or_directory_fsync_a_crash_loses_records() {
    for sabotage in [
        (Operation::SyncData, ".log.cleaned"),
        (Operation::SyncData, "manifest"),
        (Operation::SyncDir, "flights-0"),
    ] {
        let is_seen = (0..20).any(|seed| {
            let attempt = || interrupt_everywhere(seed, Some(sabotage));
            std::panic::catch_unwind(attempt).is_err()
        });
        assert!(is_seen, "{sabotage:?} is not missed");
    }
}

/// Starts on what a crash left, perhaps crashing again, and compacts to the end.
fn go_on(
    subject: &Subject,
    left: &MemoryIo,
    boot: u8,
    before: &Visible,
    stamps: &Stamps,
    name: &str,
    rng: &mut StdRng,
) {
    let mut left = left.clone();
    if rng.random_bool(0.3) {
        let io = FaultIo::new(left.clone());
        let nth = rng.random_range(1..40);
        let death = io.inject(Rule::new(&CHANGES, Action::Fail(libc::EIO)).when(When::From(nth)));
        let shared: Arc<dyn LogIo> = Arc::new(io.clone());
        let boot_id = BootId([boot; 16]);
        let path = Path::new(DIR);
        if let Ok(directory) = DataDirectory::open(shared, path, limits(), boot_id) {
            let config = Arc::new(subject.config.clone());
            let _ = PartitionLog::open(&directory, partition(0), topic_id(), config, 0);
        }
        death.stop();
        left = match boot {
            1 => left.fork(),
            _ => left.crash(rng.random()),
        };
    }
    let now_ms = subject.history.now_ms;
    let (directory, log) = subject.reopen(&left, boot);
    let after = visible(&log).unwrap_or_else(|error| panic!("{name}: {error}"));
    check_same(before, &after, stamps, now_ms, name);
    check_producers(&log, &subject.history, name);
    let report = compact(&log, now_ms).unwrap_or_else(|error| panic!("{name}: {error}"));
    let after = visible(&log).unwrap();
    check_same(before, &after, stamps, now_ms, name);
    check_clean(&after, report.to, name);
    let closed = log.close().unwrap();
    directory.shut_down(1, &[(partition(0), closed)]).unwrap();
    check_files(&left, name);
    let (_, log) = subject.reopen(&left, boot);
    assert_eq!(visible(&log).unwrap(), after, "{name}");
}

/// Producer state can be had from the compacted batches alone.
#[test]
fn each_producers_last_sequence_survives_in_the_log() {
    for seed in 0..40 {
        let (subject, _) = Subject::new(seed);
        let name = format!("seed {seed}");
        {
            let (directory, log) = subject.reopen(&subject.memory, 1);
            compact(&log, subject.history.now_ms).unwrap();
            compact(&log, subject.history.now_ms + 100_000).unwrap();
            log.flush().unwrap();
            directory.checkpoint().unwrap();
        }
        let dir = Path::new(DIR).join("flights-0");
        for entry in subject.memory.list_dir(&dir).unwrap() {
            if let Some((FileKind::Snapshot | FileKind::Producers, _)) =
                FileKind::parse(&entry.name)
            {
                subject.memory.remove_file(&dir.join(&entry.name)).unwrap();
            }
        }
        let (_, log) = subject.reopen(&subject.memory, 2);
        check_producers(&log, &subject.history, &name);
    }
}
