//! Compaction of what Kafka 4.3.1 wrote and compacted (`tests/data/kafka-4.3.1-log`).

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_proto::Offset;

use super::{
    super::super::testing::*,
    history::{Visible, visible},
};
use crate::{
    CompactionConfig, CompactionReport, CompactionRequest, LogConfig, PartitionLog, Ratio,
    Unhurried, frame, identity,
    inspect::{VerifyOptions, verify},
    io::{DiskIo, LogIo as _, MemoryIo, OpenMode},
    layout::PARTITION_METADATA,
};

/// Long before the delete horizons that Kafka set, and long after.
const EARLY_MS: i64 = 1_000;
const LATE_MS: i64 = 4_000_000_000_000;

/// The partition as Kafka left it, in a data directory of ours.
fn import(name: &str) -> MemoryIo {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/kafka-4.3.1-log")
        .join(name);
    let io = memory();
    let target = PathBuf::from(DIR).join("flights-0");
    io.create_dir_all(&target).unwrap();
    for entry in DiskIo.list_dir(&source).unwrap() {
        if entry.name == Path::new(PARTITION_METADATA) {
            continue;
        }
        let bytes = frame::read_file(&DiskIo, &source.join(&entry.name)).unwrap();
        let path = target.join(&entry.name);
        let file = io.open(&path, OpenMode::CreateNew).unwrap();
        file.write_all_at(&[IoSlice::new(&bytes.unwrap())], 0)
            .unwrap();
        file.sync_data().unwrap();
    }
    identity::store(&io, &target, topic_id()).unwrap();
    io.sync_dir(Path::new(DIR)).unwrap();
    io
}

fn config() -> LogConfig {
    LogConfig {
        cleanup_delete: false,
        cleanup_compact: true,
        compaction: CompactionConfig {
            dirty_ratio_min: Ratio::from_millionths(0),
            ..CompactionConfig::default()
        },
        ..LogConfig::default()
    }
}

fn compact(log: &PartitionLog, now_ms: i64) -> CompactionReport {
    let high_watermark = log.positions().log_end;
    let request = CompactionRequest {
        now_ms,
        high_watermark,
        map_bytes_max: 1 << 20,
    };
    log.compact(&request, &mut Unhurried).unwrap()
}

fn latest_values(seen: &Visible) -> Vec<(String, String)> {
    let latest = seen.latest();
    latest
        .iter()
        .filter_map(|(key, (_, value))| Some(((*key).to_owned(), (*value)?.to_owned())))
        .collect()
}

fn check(name: &str) -> (Visible, Visible, Visible) {
    let io = import(name);
    let directory = directory(&io);
    let log = reopen(&directory, config());
    let before = visible(&log).unwrap();
    assert!(!before.records.is_empty(), "{name}");
    compact(&log, EARLY_MS);
    let early = visible(&log).unwrap();
    compact(&log, LATE_MS);
    for now_ms in [LATE_MS, LATE_MS + 2 * 24 * 3_600_000] {
        fill_active(&log);
        directory.checkpoint().unwrap();
        compact(&log, now_ms);
    }
    let late = visible(&log).unwrap();
    let closed = log.close().unwrap();
    directory.shut_down(1, &[(partition(0), closed)]).unwrap();
    let dir = Path::new(DIR).join("flights-0");
    let report = verify(&io, &dir, VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{name}: {:?}", report.findings);
    (before, early, late)
}

/// Seals what Kafka had active, so that it may be compacted.
fn fill_active(log: &PartitionLog) {
    let config = LogConfig {
        segment_bytes: 100,
        ..config()
    };
    log.set_config(Arc::new(config));
    append(log, &["one more"]);
    log.flush().unwrap();
}

#[test]
fn compacting_what_kafka_compacted_loses_nothing() {
    for name in ["compacted-0", "compacted-transactions-0"] {
        let (before, early, late) = check(name);
        assert_eq!(before, early, "{name}: Kafka left nothing to do");
        assert!(late.log_end == before.log_end + 2, "{name}");
        let mut expected = latest_values(&before);
        expected.push(("key".to_owned(), "one more".to_owned()));
        expected.sort();
        assert_eq!(latest_values(&late), expected, "{name}");
        let tombstones = |seen: &Visible| {
            let records = seen.records.values();
            records.filter(|(_, value, _)| value.is_none()).count()
        };
        assert!(tombstones(&before) > 0, "{name}");
        assert!(tombstones(&late) < tombstones(&before), "{name}");
    }
}

/// `__consumer_offsets` is the topic that is compacted most.
#[test]
fn kafkas_offsets_topic_keeps_the_newest_of_each_key() {
    let io = import("__consumer_offsets-0");
    let directory = directory(&io);
    let log = reopen(&directory, config());
    let before = visible(&log).unwrap();
    fill_active(&log);
    directory.checkpoint().unwrap();
    let report = compact(&log, EARLY_MS);
    assert_eq!(report.to, Offset::new(before.log_end).unwrap());
    let after = visible(&log).unwrap();
    let mut expected = latest_values(&before);
    expected.push(("key".to_owned(), "one more".to_owned()));
    expected.sort();
    assert_eq!(latest_values(&after), expected);
    assert!(after.records.len() < before.records.len());
}
