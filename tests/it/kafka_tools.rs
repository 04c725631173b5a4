//! Apache Kafka's DumpLogSegments reads what our log writes, and reads what we read.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use millstream_log::{
    AppendContext, CompactionRequest, DataDirectory, LogConfig, LogLimits, Origin, PartitionLog,
    Unhurried,
    inspect::{VerifyOptions, verify},
    io::DiskIo,
    recovery_point::BootId,
};
use millstream_proto::{
    LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName, TopicPartition,
    record::{
        BatchBuilder, BatchOptions, Compression, Header, ProducerIdentity,
        control::{EndTransactionMarker, TransactionResult},
    },
};
use millstream_tests::{KafkaDump, binary};

/// 2013-01-01, as in the flights.
const START_MS: i64 = 1_356_998_400_000;
const ROUNDS: i32 = 60;
const RECORDS: i32 = 12;

/// What the tool says of files of one directory: standard output and error.
pub(super) fn dump_log_segments(
    dir: &Path,
    names: &[PathBuf],
    options: &[&str],
) -> Result<(String, String)> {
    let script = binary::repository().join("tests/interop/kafka_tools/dump-log-segments.sh");
    let output = Command::new(script)
        .arg(binary::target().join("interop/kafka-4.3.1"))
        .args(names)
        .arg("--")
        .args(options)
        .current_dir(dir)
        .output()
        .context("cannot start dump-log-segments.sh")?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    Ok((stdout.into_owned(), stderr.into_owned()))
}

/// With `--deep-iteration` Kafka 4.3.1's tool expects every segment to start at offset 0, and says
/// so on standard error of each that does not, its own (see the test of them) as ours. Only this
/// may be there, for those segments, and nothing else.
fn without_known_complaint(stderr: &str) -> Vec<&str> {
    let mut rest = Vec::new();
    let mut lines = stderr.lines().peekable();
    while let Some(line) = lines.next() {
        let base = line
            .strip_prefix("Non-consecutive offsets in ")
            .and_then(|path| Path::new(path).file_stem()?.to_str()?.parse::<i64>().ok());
        let known = base
            .filter(|base| *base > 0)
            .map(|base| format!("  -1 is followed by {base}"));
        match known {
            Some(known) if lines.peek() == Some(&known.as_str()) => drop(lines.next()),
            _ => rest.push(line),
        }
    }
    rest
}

/// In a compacted log the tool complains of every record that is missing between others, and of times
/// of batches that were emptied, its own as ours.
fn without_gaps(stderr: &str) -> Vec<&str> {
    let is_gap = |line: &str| {
        let mut words = line.trim_start().split(" is followed by ");
        let mut number = || words.next()?.parse::<i64>().ok();
        matches!((number(), number()), (Some(before), Some(after)) if before + 1 < after)
    };
    let is_known = |line: &str| {
        line.starts_with("Non-consecutive offsets in ")
            || line.starts_with("Found timestamp mismatch in :")
            || (line.starts_with("  Index timestamp: ") && line.ends_with(", log timestamp: -1"))
            || is_gap(line)
    };
    stderr.lines().filter(|line| !is_known(line)).collect()
}

/// Compares all that the tool says of a directory with what we do; `unknown` picks what it should not
/// say on standard error of a whole log.
fn assert_read_alike(dir: &Path, unknown: fn(&str) -> Vec<&str>) -> Result<String> {
    let dump = KafkaDump {
        dir,
        with_data: true,
    };
    let logs = dump.names(true)?;
    let options = ["--deep-iteration", "--print-data-log"];
    let (kafkas, complaints) = dump_log_segments(dir, &logs, &options)?;
    assert_eq!(unknown(&complaints), Vec::<&str>::new());
    assert_same(&dump.text(&logs)?, &kafkas);
    let others = dump.names(false)?;
    let (kafkas_others, complaints) = dump_log_segments(dir, &others, &[])?;
    assert_eq!(unknown(&complaints), Vec::<&str>::new());
    assert_same(&dump.text(&others)?, &kafkas_others);
    Ok(kafkas)
}

fn assert_same(ours: &str, kafkas: &str) {
    for (number, (ours, kafkas)) in ours.lines().zip(kafkas.lines()).enumerate() {
        assert_eq!(ours, kafkas, "line {}", number + 1);
    }
    assert_eq!(ours.lines().count(), kafkas.lines().count(), "lines");
}

fn batch(round: i32, compression: Compression, options: BatchOptions) -> Result<bytes::Bytes> {
    let is_plain = options.producer.is_none();
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        ..options
    });
    for record in 0..RECORDS {
        let number = round * RECORDS + record;
        let key = format!("key-{}", number % 7);
        let value = format!("value {number} of {compression:?} in round {round}");
        let has_key = number % 5 != 0 || !is_plain;
        let key = has_key.then_some(key.as_bytes());
        let value = (number % 11 != 0).then_some(value.as_bytes());
        let headers = [
            Header::new("row", number.to_string()),
            Header::new("row", "again"),
        ];
        builder.append(START_MS + i64::from(number) * 60_000, key, value, &headers)?;
    }
    Ok(builder.finish()?)
}

fn producer(id: i64, base_sequence: i32, is_transactional: bool) -> BatchOptions {
    let identity = ProducerIdentity {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        base_sequence,
    };
    BatchOptions {
        producer: Some(identity),
        is_transactional,
        ..BatchOptions::default()
    }
}

/// All codecs, plain, idempotent and transactional producers, two leaderships, many segments.
fn write_log(dir: &Path) -> Result<u64> {
    let limits = LogLimits {
        flush_threads_max: 0,
        ..LogLimits::default()
    };
    let directory = DataDirectory::open(Arc::new(DiskIo), dir, limits, BootId([7; 16]))?;
    let topic = TopicName::new("interop")?;
    let partition = TopicPartition {
        topic,
        partition: PartitionIndex(0),
    };
    let config = LogConfig {
        segment_bytes: 40_000,
        index_interval_bytes: 1024,
        ..LogConfig::default()
    };
    let topic_id = TopicId::from_bytes([3; 16]);
    let log = PartitionLog::create(&directory, partition, topic_id, Arc::new(config))?;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let mut records = 0;
    for round in 0..ROUNDS {
        let leader_epoch = LeaderEpoch(if round < ROUNDS / 2 { 0 } else { 3 });
        let context = |origin| AppendContext {
            leader_epoch,
            now_ms: now_ms(round),
            origin,
        };
        for codec in codecs {
            let plain = batch(round, codec, BatchOptions::default())?;
            let idempotent = batch(round, codec, producer(10, records_of(round, codec), false))?;
            let transactional = batch(round, codec, producer(11, records_of(round, codec), true))?;
            for batch in [plain, idempotent, transactional] {
                log.append(batch, &context(Origin::Client))?;
                records += u64::from(RECORDS.unsigned_abs());
            }
        }
        let result = match round % 2 {
            0 => TransactionResult::Commit,
            _ => TransactionResult::Abort,
        };
        // The last transaction stays open.
        if round + 1 < ROUNDS {
            let marker = EndTransactionMarker::new(result, 1);
            let batch = marker.to_batch(
                now_ms(round),
                ProducerId(11),
                ProducerEpoch(0),
                leader_epoch,
            )?;
            log.append(batch, &context(Origin::Coordinator))?;
            records += 1;
        }
        log.flush()?;
    }
    log.close()?;
    Ok(records)
}

/// The broker's clock: just after the round's last record.
fn now_ms(round: i32) -> i64 {
    START_MS + i64::from((round + 1) * RECORDS) * 60_000
}

/// Sequence of the first record of a producer's batch.
const fn records_of(round: i32, codec: Compression) -> i32 {
    (round * 5 + codec as i32) * RECORDS
}

#[test]
fn dump_log_segments_reads_our_files_as_we_do() -> Result<()> {
    let work = tempfile::tempdir()?;
    let records = write_log(work.path())?;
    let dir = work.path().join("interop-0");
    let report = verify(&DiskIo, &dir, VerifyOptions::default())?;
    assert!(report.is_intact(), "{:#?}", report.findings);
    assert_eq!(report.records, records);
    assert!(report.segments >= 4, "{report:?}");
    let text = assert_read_alike(&dir, without_known_complaint)?;
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count() as u64;
    assert_eq!(count("isvalid: true"), report.batches);
    assert_eq!(count("isvalid: false"), 0);
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("| offset: "))
            .count() as u64,
        records
    );
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        assert!(count(&format!("compresscodec: {codec} ")) >= u64::from(ROUNDS.unsigned_abs()));
    }
    Ok(())
}

/// Compacts what [`write_log`] wrote, in parts and then as a whole, and again when tombstones and
/// markers may go. Records without a key stay. Returns how many went.
fn compact_log(dir: &Path) -> Result<u64> {
    let limits = LogLimits {
        flush_threads_max: 0,
        ..LogLimits::default()
    };
    let directory = DataDirectory::open(Arc::new(DiskIo), dir, limits, BootId([7; 16]))?;
    let partition = TopicPartition {
        topic: TopicName::new("interop")?,
        partition: PartitionIndex(0),
    };
    let config = LogConfig {
        segment_bytes: 40_000,
        index_interval_bytes: 1024,
        cleanup_compact: true,
        ..LogConfig::default()
    };
    let topic_id = TopicId::from_bytes([3; 16]);
    let config = Arc::new(config);
    let (log, _) = PartitionLog::open(&directory, partition, topic_id, config, START_MS)?;
    ensure!(log.size_bytes() > 0, "it is opened");
    let high_watermark = log.positions().log_end;
    log.advance_high_watermark(high_watermark);
    let mut removed = 0;
    for (map_bytes_max, day) in [(0, 0), (0, 0), (1 << 20, 0), (1 << 20, 2)] {
        let request = CompactionRequest {
            now_ms: now_ms(ROUNDS) + day * 86_400_000,
            high_watermark,
            map_bytes_max,
        };
        let report = log.compact(&request, &mut Unhurried)?;
        removed += report.records_before - report.records_after;
    }
    log.close()?;
    Ok(removed)
}

#[test]
fn dump_log_segments_reads_a_compacted_log_as_we_do() -> Result<()> {
    let work = tempfile::tempdir()?;
    let records = write_log(work.path())?;
    let removed = compact_log(work.path())?;
    let dir = work.path().join("interop-0");
    let report = verify(&DiskIo, &dir, VerifyOptions::default())?;
    assert!(report.is_intact(), "{:#?}", report.findings);
    assert_eq!(report.records, records - removed);
    assert!(removed * 2 > records, "{removed} of {records}");
    let text = assert_read_alike(&dir, without_gaps)?;
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count() as u64;
    assert_eq!(count("isvalid: true"), report.batches);
    assert_eq!(count("isvalid: false"), 0);
    assert!(count("deleteHorizonMs: OptionalLong[") > 0, "{text}");
    assert!(count("count: 0 ") > 0, "emptied ones and placeholders");
    Ok(())
}

#[test]
fn dump_log_segments_has_one_complaint_about_kafkas_own_segments() -> Result<()> {
    let dir = binary::data("kafka-4.3.1-log/many-segments-0");
    let names = KafkaDump {
        dir: &dir,
        with_data: false,
    }
    .names(true)?;
    let (_, complaints) = dump_log_segments(&dir, &names, &["--deep-iteration"])?;
    assert_eq!(
        complaints.lines().count(),
        2 * (names.len() - 1),
        "{complaints}"
    );
    assert_eq!(without_known_complaint(&complaints), Vec::<&str>::new());
    let (_, complaints) = dump_log_segments(&dir, &names, &[])?;
    assert_eq!(complaints, "");
    Ok(())
}

#[test]
fn other_complaints_are_not_taken_for_the_known_one() {
    let known = "Non-consecutive offsets in /d/00000000000000000007.log\n  -1 is followed by 7\n";
    assert!(without_known_complaint(known).is_empty());
    for other in [
        "Non-consecutive offsets in /d/00000000000000000007.log\n  -1 is followed by 8\n",
        "Non-consecutive offsets in /d/00000000000000000000.log\n  -1 is followed by 0\n",
        "Mismatches in :/d/00000000000000000007.index\n",
        "Non-consecutive offsets in /d/00000000000000000007.log\n  9 is followed by 7\n",
    ] {
        assert_eq!(
            without_known_complaint(other).len(),
            other.lines().count(),
            "{other}"
        );
    }
    for (known, other) in [
        ("  3 is followed by 5", "  3 is followed by 4"),
        (
            "  Index timestamp: 7, log timestamp: -1",
            "  Index timestamp: 7, log timestamp: 6",
        ),
    ] {
        assert!(without_gaps(known).is_empty());
        assert_eq!(without_gaps(other), [other]);
    }
}
