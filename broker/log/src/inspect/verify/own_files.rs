//! Files that our log wrote: accepted as they are, and every flipped bit is reported.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::{
    BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName,
    TopicPartition,
    metadata_record::{self, MetadataRecord, PartitionRegistration, TopicCreated, entry},
    record::{
        BatchBuilder, BatchOptions, Compression, ProducerIdentity,
        control::{EndTransactionMarker, TransactionResult},
    },
};

use super::{super::Finding, Report, VerifyOptions, verify};
use crate::{
    AppendContext, DataDirectory, LogConfig, LogLimits, Origin, PartitionLog, ReadRequest,
    frame::{self, FrameKind},
    identity,
    io::{LogIo, MemoryIo, OpenMode},
    layout::{
        CLEAN_SHUTDOWN, FileKind, IDENTITY, LEADER_EPOCH_CHECKPOINT, LEADER_EPOCHS, MANIFEST,
        METADATA, PARTITION_METADATA,
    },
    metadata_witness::MetadataWitness,
    recovery_point::BootId,
};

const DATA: &str = "/data";
const TIME_MS: i64 = 1_000_000;
const ROUNDS: i32 = 12;
const TOPIC_ID: TopicId = TopicId::from_bytes([3; 16]);

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
        store_metadata(&io);
        let log = PartitionLog::create(&directory, partition, TOPIC_ID, Arc::new(config)).unwrap();
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
        for at in [Path::new(DATA), &Path::new(DATA).join(METADATA), &dir()] {
            for entry in self.io.list_dir(at).unwrap() {
                if !entry.is_dir {
                    files.push(at.join(entry.name));
                }
            }
        }
        files
    }
}

/// What the broker keeps beside the partitions: the topic is all that its metadata has.
fn store_metadata(io: &MemoryIo) {
    let data = Path::new(DATA);
    let identity = FrameKind {
        id: 100,
        version: 1,
        name: "directory identity",
    };
    identity.store(io, &data.join(IDENTITY), b"ours").unwrap();
    let created = MetadataRecord::TopicCreated(TopicCreated {
        name: TopicName::new("flights").unwrap(),
        topic_id: TOPIC_ID,
        partitions: vec![PartitionRegistration::sole(PartitionIndex(0), BrokerId(1))],
        configs: Default::default(),
    });
    let mut bytes = metadata_record::FileKind::Log.header();
    bytes.extend(entry::encode(1, 1, &[created]).unwrap());
    let dir = data.join(METADATA);
    io.create_dir_all(&dir).unwrap();
    let path = dir.join(metadata_record::FileKind::Log.name(1));
    frame::replace_file(io, &path, &bytes).unwrap();
    MetadataWitness::create(io, data, 1).unwrap();
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
        let name = match path.parent().unwrap().ends_with(METADATA) {
            true => METADATA.as_ref(),
            false => path.extension().unwrap_or(path.file_name().unwrap()),
        };
        kinds.insert(name.to_owned());
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
            let report = bed.report_of(shallow);
            if report.is_intact() {
                missed.push((path.clone(), bit));
            }
            assert_in_words(&report);
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
        "identity",
        "metadata-witness",
        "metadata",
    ] {
        assert!(
            kinds.contains(std::ffi::OsStr::new(kind)),
            "{kind} in {kinds:?}"
        );
    }
}

/// People read findings: no name of a Rust type, no braces.
fn assert_in_words(report: &Report) {
    for finding in &report.findings {
        let reason = &finding.reason;
        let is_code = ["Some(", "Offset(", " {", "::"]
            .iter()
            .any(|it| reason.contains(it));
        assert!(!is_code, "{reason}");
    }
}

#[test]
fn whatever_a_clean_stop_leaves_is_missed() {
    let bed = Bed::new();
    bed.fill();
    bed.log.delete_records(offset(5)).unwrap();
    let log_end = bed.log.positions().log_end;
    bed.close();
    bed.assert_intact();
    for path in bed.files() {
        let io = bed.io.fork();
        io.remove_file(&path).unwrap();
        let report = verify(&io, Path::new(DATA), VerifyOptions::default()).unwrap();
        // Without the marker it was no clean stop, and what is known of producers earlier is no loss.
        let kind = FileKind::parse(Path::new(path.file_name().unwrap()));
        let is_earlier_state = matches!(
            kind,
            Some((FileKind::Snapshot | FileKind::Producers, at)) if at < log_end
        );
        let may_be_missing = path.ends_with(CLEAN_SHUTDOWN) || is_earlier_state;
        assert_eq!(report.is_intact(), may_be_missing, "{}", path.display());
        assert_in_words(&report);
    }
    for directory in [dir(), Path::new(DATA).join(METADATA)] {
        let io = bed.io.fork();
        io.rename(&directory, Path::new("/elsewhere")).unwrap();
        let report = verify(&io, Path::new(DATA), VerifyOptions::default()).unwrap();
        assert!(!report.is_intact(), "{}", directory.display());
    }
}

#[test]
fn after_a_kill_only_what_was_sealed_or_durable_is_missed() {
    let bed = Bed::new();
    bed.fill();
    bed.directory.checkpoint().unwrap();
    bed.assert_intact();
    let is_intact_without = |path: PathBuf| {
        let io = bed.io.fork();
        io.rename(&path, Path::new("/elsewhere")).unwrap();
        verify(&io, Path::new(DATA), VerifyOptions::default())
            .unwrap()
            .is_intact()
    };
    // Whoever is killed early has none of these.
    for name in [MANIFEST, LEADER_EPOCHS, LEADER_EPOCH_CHECKPOINT] {
        assert!(is_intact_without(dir().join(name)), "{name}");
    }
    assert!(!is_intact_without(dir()), "its records are durable");
    let indexes = bed.files().into_iter().filter(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("index" | "timeindex"))
    });
    let missed = indexes.filter(|path| !is_intact_without(path.clone()));
    assert!(missed.count() > 6, "files of sealed segments are missed");
}

#[test]
fn a_partition_that_the_metadata_does_not_name_or_names_otherwise_is_reported() {
    let bed = Bed::new();
    bed.fill();
    bed.close();
    let io = bed.io.fork();
    io.rename(&dir(), &Path::new(DATA).join("others-0"))
        .unwrap();
    let report = verify(&io, Path::new(DATA), VerifyOptions::default()).unwrap();
    let is_unknown =
        |it: &Finding| it.file.ends_with("others-0") && it.reason.contains("quarantine");
    assert!(report.findings.iter().any(is_unknown), "{report:?}");
    identity::store(&bed.io, &dir(), TopicId::from_bytes([4; 16])).unwrap();
    let report = bed.report();
    let is_other = |it: &Finding| it.file.ends_with(PARTITION_METADATA);
    assert!(report.findings.iter().any(is_other), "{report:?}");
    // A partition alone says nothing of other topics.
    let alone = verify(&bed.io, &dir(), VerifyOptions::default()).unwrap();
    assert!(alone.is_intact(), "{alone:?}");
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
