//! Files that our log wrote: accepted as they are, and every flipped bit is reported.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName,
    TopicPartition,
    record::{
        BatchBuilder, BatchOptions, Compression, ProducerIdentity,
        control::{EndTransactionMarker, TransactionResult},
    },
};

use super::{Report, VerifyOptions, verify};
use crate::{
    AppendContext, DataDirectory, LogConfig, LogLimits, Origin, PartitionLog, ReadRequest,
    io::{LogIo, MemoryIo, OpenMode},
    layout::PARTITION_METADATA,
    recovery_point::BootId,
};

const DATA: &str = "/data";
const TIME_MS: i64 = 1_000_000;
const ROUNDS: i32 = 12;

struct Bed {
    io: MemoryIo,
    directory: Arc<DataDirectory>,
    log: Arc<PartitionLog>,
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn dir() -> PathBuf {
    Path::new(DATA).join("flights-0")
}

impl Bed {
    fn new() -> Self {
        let io = MemoryIo::new();
        io.create_dir_all(Path::new(DATA)).unwrap();
        let limits = LogLimits {
            flush_threads_max: 0,
            disk_reserve_bytes: 0,
            tail_cache_bytes_max: 0,
            ..LogLimits::default()
        };
        let shared: Arc<dyn LogIo> = Arc::new(io.clone());
        let directory =
            DataDirectory::open(shared, Path::new(DATA), limits, BootId([7; 16])).unwrap();
        let topic = TopicName::new("flights").unwrap();
        let partition = TopicPartition {
            topic,
            partition: PartitionIndex(0),
        };
        let config = LogConfig {
            segment_bytes: 1500,
            index_interval_bytes: 300,
            ..LogConfig::default()
        };
        let id = TopicId::from_bytes([3; 16]);
        let log = PartitionLog::create(&directory, partition, id, Arc::new(config)).unwrap();
        Self { io, directory, log }
    }

    /// Plain, idempotent and transactional batches over several segments and two leaderships; the
    /// last transaction stays open.
    fn fill(&self) {
        for round in 0..ROUNDS {
            let leader_epoch = LeaderEpoch(round / 7 * 4);
            let context = |origin| AppendContext {
                leader_epoch,
                now_ms: TIME_MS,
                origin,
            };
            for producer in [None, Some((5, false)), Some((6, true)), Some((7, true))] {
                let batch = batch(round, producer);
                self.log.append(batch, &context(Origin::Client)).unwrap();
            }
            for id in [6, 7]
                .into_iter()
                .filter(|id| round % 3 == id % 2 && round + 1 < ROUNDS)
            {
                let result = [TransactionResult::Commit, TransactionResult::Abort];
                let result = result[usize::from(round % 2 == 0)];
                let marker = EndTransactionMarker::new(result, 2);
                let batch = marker
                    .to_batch(
                        TIME_MS,
                        ProducerId(id.into()),
                        ProducerEpoch(0),
                        leader_epoch,
                    )
                    .unwrap();
                self.log
                    .append(batch, &context(Origin::Coordinator))
                    .unwrap();
            }
            self.log.flush().unwrap();
        }
    }

    fn close(&self) {
        let closed = self.log.close().unwrap();
        let partition = self.log.partition().clone();
        self.directory.shut_down(9, &[(partition, closed)]).unwrap();
    }

    fn report(&self) -> Report {
        self.report_of(VerifyOptions::default())
    }

    fn report_of(&self, options: VerifyOptions) -> Report {
        verify(&self.io, Path::new(DATA), options).unwrap()
    }

    fn assert_intact(&self) -> Report {
        let report = self.report();
        let texts: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(report.is_intact(), "{texts:#?}");
        report
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for at in [Path::new(DATA), &dir()] {
            for entry in self.io.list_dir(at).unwrap() {
                if !entry.is_dir {
                    files.push(at.join(entry.name));
                }
            }
        }
        files
    }
}

fn batch(round: i32, producer: Option<(i64, bool)>) -> Bytes {
    let identity = |id| ProducerIdentity {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        base_sequence: round * 3,
    };
    let compression = if round % 2 == 0 {
        Compression::None
    } else {
        Compression::Lz4
    };
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        producer: producer.map(|(id, _)| identity(id)),
        is_transactional: producer.is_some_and(|(_, is_transactional)| is_transactional),
        ..BatchOptions::default()
    });
    for record in 0..3 {
        let value = format!("value {record} of round {round}");
        let time = TIME_MS + i64::from(round * 10 + record);
        builder
            .append(time, Some(b"key"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn open_and_closed_logs_are_accepted() {
    let bed = Bed::new();
    bed.assert_intact();
    bed.fill();
    bed.directory.checkpoint().unwrap();
    bed.assert_intact();
    bed.close();
    let report = bed.assert_intact();
    assert!(report.segments > 3 && report.batches > 45, "{report:?}");
}

#[test]
fn every_flipped_bit_of_our_own_files_is_reported() {
    let bed = Bed::new();
    bed.fill();
    bed.log.delete_records(offset(5)).unwrap();
    bed.directory.checkpoint().unwrap();
    bed.close();
    bed.assert_intact();
    // Where records are not decoded, checksums alone must tell.
    let shallow = VerifyOptions {
        decode_records: false,
        ..VerifyOptions::default()
    };
    let (mut flips, mut missed, mut kinds) = (0, Vec::new(), std::collections::BTreeSet::new());
    for path in bed.files() {
        // A topic id is as good as any other, and only the metadata knows which one belongs here.
        if path.ends_with(PARTITION_METADATA) {
            continue;
        }
        kinds.insert(
            path.extension()
                .unwrap_or(path.file_name().unwrap())
                .to_owned(),
        );
        let file = bed.io.open(&path, OpenMode::Write).unwrap();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        // Logs are sampled: their headers' bits are all flipped in Kafka's files.
        let step = if is_log { 37 } else { 1 };
        for bit in (0..file.len().unwrap() * 8).step_by(step) {
            flips += 1;
            let mut byte = [0];
            file.read_exact_at(&mut byte, bit / 8).unwrap();
            let bad = [byte[0] ^ (1 << (bit % 8))];
            file.write_all_at(&[IoSlice::new(&bad)], bit / 8).unwrap();
            if bed.report_of(shallow).is_intact() {
                missed.push((path.clone(), bit));
            }
            file.write_all_at(&[IoSlice::new(&byte)], bit / 8).unwrap();
        }
    }
    assert!(missed.is_empty(), "{} of {flips}: {missed:?}", missed.len());
    for kind in [
        "index",
        "timeindex",
        "txnindex",
        "snapshot",
        "producers",
        "manifest",
        "log",
        "leader-epochs",
        "leader-epoch-checkpoint",
        "log-start",
        "recovery-points",
        "clean-shutdown",
    ] {
        assert!(
            kinds.contains(std::ffi::OsStr::new(kind)),
            "{kind} in {kinds:?}"
        );
    }
}

#[test]
fn segments_that_changed_places_are_reported() {
    let bed = Bed::new();
    bed.fill();
    bed.close();
    let logs: Vec<PathBuf> = bed
        .files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    let aside = dir().join("aside");
    for (from, to) in [(&logs[0], &aside), (&logs[1], &logs[0]), (&aside, &logs[1])] {
        bed.io.rename(from, to).unwrap();
    }
    assert!(!bed.report().is_intact());
}

#[test]
fn stale_tail_of_a_truncation_is_counted_and_accepted() {
    let bed = Bed::new();
    bed.fill();
    // A reader that holds a segment keeps its stale tail in place.
    let request = ReadRequest {
        offset: offset(40),
        max_bytes: 1,
        end_exclusive: Offset::MAX,
    };
    let held = bed.log.read(&request).unwrap();
    bed.log.truncate_to(offset(44)).unwrap();
    bed.log.append(batch(ROUNDS, None), &context()).unwrap();
    bed.log.flush().unwrap();
    assert!(bed.assert_intact().stale_bytes > 0);
    drop(held);
    bed.close();
    bed.assert_intact();
}

fn context() -> AppendContext {
    AppendContext {
        leader_epoch: LeaderEpoch(4),
        now_ms: TIME_MS,
        origin: Origin::Client,
    }
}

#[test]
fn missing_first_segment_after_a_clean_stop_is_reported() {
    let bed = Bed::new();
    bed.fill();
    bed.close();
    bed.assert_intact();
    for extension in ["log", "index", "timeindex", "txnindex"] {
        let _ = bed
            .io
            .remove_file(&dir().join(format!("{:020}.{extension}", 0)));
    }
    assert!(!bed.report().is_intact());
}
