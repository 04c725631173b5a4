//! Kafka's own files are accepted, and every flipped bit in them is reported.

use std::{
    fs,
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{claims::KAFKA_RECOVERY_POINTS, *};
use crate::io::{DiskIo, LogFile, MemoryIo, OpenMode};
use millstream_proto::record::BatchHeader;

fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.1-log")
}

/// The golden directory in memory, at `/kafka`.
struct Golden {
    io: MemoryIo,
    files: Vec<PathBuf>,
}

impl Golden {
    fn load() -> Self {
        let mut golden = Self {
            io: MemoryIo::new(),
            files: Vec::new(),
        };
        golden.copy(&golden_root(), Path::new("/kafka"));
        golden
    }

    fn copy(&mut self, from: &Path, to: &Path) {
        self.io.create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.copy(&entry.path(), &target);
            } else {
                let file = self.io.open(&target, OpenMode::CreateNew).unwrap();
                file.write_all_at(&[IoSlice::new(&fs::read(entry.path()).unwrap())], 0)
                    .unwrap();
                self.files.push(target);
            }
        }
    }

    fn of_kind(&self, extensions: &[&str]) -> Vec<PathBuf> {
        let has = |path: &&PathBuf| {
            path.extension()
                .is_some_and(|it| extensions.contains(&it.to_str().unwrap()))
        };
        let mut files: Vec<_> = self.files.iter().filter(has).cloned().collect();
        files.sort();
        files
    }

    fn is_reported(&self, path: &Path, decode_records: bool) -> bool {
        let options = VerifyOptions {
            decode_records,
            ..VerifyOptions::default()
        };
        !verify(&self.io, path.parent().unwrap(), options)
            .unwrap()
            .is_intact()
    }

    fn open(&self, path: &Path) -> Arc<dyn LogFile> {
        self.io.open(path, OpenMode::Write).unwrap()
    }
}

/// Flips a bit while `look` runs.
fn flipped<T>(file: &Arc<dyn LogFile>, bit: u64, look: impl FnOnce() -> T) -> T {
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    let bad = [byte[0] ^ (1 << (bit % 8))];
    file.write_all_at(&[IoSlice::new(&bad)], bit / 8).unwrap();
    let seen = look();
    file.write_all_at(&[IoSlice::new(&byte)], bit / 8).unwrap();
    seen
}

#[test]
fn everything_that_kafka_wrote_is_accepted() {
    let report = verify(&DiskIo, &golden_root(), VerifyOptions::default()).unwrap();
    let text: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(report.is_intact(), "{text:#?}");
    assert_eq!(report.partitions, 17);
    assert!(
        report.records > 3000 && report.stale_bytes == 0,
        "{report:?}"
    );
}

#[test]
fn every_partition_and_every_segment_alone_is_accepted() {
    let golden = Golden::load();
    for log in golden.of_kind(&["log"]) {
        for path in [log.as_path(), log.parent().unwrap()] {
            let report = verify(&golden.io, path, VerifyOptions::default()).unwrap();
            assert!(
                report.is_intact(),
                "{}: {:?}",
                path.display(),
                report.findings
            );
        }
    }
}

/// Files whose every bit is flipped.
fn check_every_bit(extension: &str, except: impl Fn(&Path, u64) -> bool) {
    let golden = Golden::load();
    let (mut flips, mut missed) = (0, Vec::new());
    for path in golden.of_kind(&[extension]) {
        let file = golden.open(&path);
        assert!(
            !golden.is_reported(&path, false),
            "{} as it is",
            path.display()
        );
        for bit in 0..file.len().unwrap() * 8 {
            flips += 1;
            let reported = flipped(&file, bit, || golden.is_reported(&path, false));
            if !reported && !except(&path, bit) {
                missed.push((path.clone(), bit));
            }
        }
    }
    assert!(
        missed.is_empty(),
        "{} of {flips} {extension} flips: {missed:?}",
        missed.len()
    );
    assert!(flips > 500, "only {flips} bits in .{extension} files");
}

#[test]
fn every_flipped_bit_of_an_offset_index_is_reported() {
    check_every_bit("index", |_, _| false);
}

#[test]
fn every_flipped_bit_of_a_time_index_is_reported() {
    check_every_bit("timeindex", |_, _| false);
}

#[test]
fn every_flipped_bit_of_a_producer_snapshot_is_reported() {
    check_every_bit("snapshot", |_, _| false);
}

#[test]
fn every_flipped_bit_of_a_transaction_index_is_reported() {
    // The first offset (bytes 10 to 17) of a transaction whose records were compacted away.
    check_every_bit("txnindex", |path, bit| {
        path.parent().unwrap().ends_with("compacted-transactions-0") && (80..144).contains(&bit)
    });
}

/// Flips of `.log` files that no check can see: base offsets that keep a compacted log in order.
fn is_hidden(path: &Path, in_batch: u64) -> bool {
    let is_compacted = path
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    in_batch < 64
        && is_compacted.starts_with("compacted")
        && path.file_stem().unwrap() == "00000000000000000000"
}

/// Positions of a log's batches.
fn batches(file: &Arc<dyn LogFile>) -> Vec<u64> {
    let (mut position, mut found) = (0, Vec::new());
    while position < file.len().unwrap() {
        let mut header = [0; 61];
        file.read_exact_at(&mut header, position).unwrap();
        found.push(position);
        position += BatchHeader::decode_size(&header).unwrap() as u64;
    }
    found
}

#[test]
fn every_flipped_bit_of_a_batch_header_is_reported() {
    let golden = Golden::load();
    let (mut flips, mut missed, mut hidden) = (0, Vec::new(), 0);
    for path in golden.of_kind(&["log"]) {
        let file = golden.open(&path);
        assert!(
            !golden.is_reported(&path, false),
            "{} as it is",
            path.display()
        );
        let all = batches(&file);
        // All headers where there are few, else the first, the last and every seventh.
        let chosen = (0..all.len()).filter(|i| all.len() < 12 || i % 7 == 0 || i + 1 == all.len());
        for position in chosen.map(|i| all[i]) {
            for in_batch in 0..61 * 8 {
                flips += 1;
                let bit = position * 8 + in_batch;
                let reported = flipped(&file, bit, || golden.is_reported(&path, false));
                if !reported && is_hidden(&path, in_batch) {
                    hidden += 1;
                } else if !reported {
                    missed.push((path.clone(), position, in_batch));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} of {flips}: {missed:?}", missed.len());
    assert!(
        flips > 20_000 && hidden > 0 && hidden < 500,
        "{flips} flips, {hidden} hidden"
    );
}

#[test]
fn flipped_bits_all_over_the_logs_are_reported() {
    let golden = Golden::load();
    let mut state = 7_u64;
    for path in golden.of_kind(&["log"]) {
        let file = golden.open(&path);
        assert!(
            !golden.is_reported(&path, false),
            "{} as it is",
            path.display()
        );
        let all = batches(&file);
        for _ in 0..150 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let bits = file.len().unwrap() * 8;
            let bit = (state >> 11) % bits;
            let batch = all[all.partition_point(|position| position * 8 <= bit) - 1];
            let reported = flipped(&file, bit, || golden.is_reported(&path, false));
            let in_batch = bit - batch * 8;
            assert!(
                reported || is_hidden(&path, in_batch),
                "{}: bit {bit}",
                path.display()
            );
        }
    }
}

#[test]
fn log_that_is_not_known_to_be_compacted_is_only_accepted_on_request() {
    let golden = Golden::load();
    golden
        .io
        .remove_file(Path::new("/kafka/cleaner-offset-checkpoint"))
        .unwrap();
    let path = Path::new("/kafka/compacted-0");
    let strict = verify(&golden.io, path, VerifyOptions::default()).unwrap();
    assert!(!strict.is_intact());
    let options = VerifyOptions {
        assume_compacted: true,
        ..VerifyOptions::default()
    };
    let lenient = verify(&golden.io, path, options).unwrap();
    assert!(lenient.is_intact(), "{:?}", lenient.findings);
}

#[test]
fn missing_segment_and_cut_log_are_reported() {
    let golden = Golden::load();
    let dir = Path::new("/kafka/many-segments-0");
    let logs = golden
        .of_kind(&["log"])
        .into_iter()
        .filter(|path| path.starts_with(dir));
    let logs: Vec<_> = logs.collect();
    let whole = verify(&golden.io, Path::new("/kafka"), VerifyOptions::default()).unwrap();
    assert!(whole.is_intact());
    // The middle one with its indexes.
    let kept = golden.io.fork();
    for extension in ["log", "index", "timeindex"] {
        kept.remove_file(&logs[2].with_extension(extension))
            .unwrap();
    }
    assert!(
        !verify(&kept, dir, VerifyOptions::default())
            .unwrap()
            .is_intact()
    );
    // The last one is cut at a batch: only what lies beside the partition tells.
    let cut = golden.io.fork();
    let last = cut.open(logs.last().unwrap(), OpenMode::Write).unwrap();
    let end = *batches(&last).last().unwrap();
    last.set_len(end).unwrap();
    let report = verify(&cut, Path::new("/kafka"), VerifyOptions::default()).unwrap();
    assert!(!report.is_intact());
    assert!(
        report
            .findings
            .iter()
            .any(|it| it.file.ends_with(KAFKA_RECOVERY_POINTS)),
        "{report:?}"
    );
}
