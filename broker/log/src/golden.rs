//! The formats against a data directory that Kafka 4.3.1 wrote (`tests/data/kafka-4.3.1-log`).

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
};

use millstream_proto::Offset;

use crate::{
    config::Durability,
    epoch::EpochHistory,
    frame, identity,
    index::{OffsetIndex, SegmentIndexes, TimeIndex, TransactionIndex},
    io::{DiskIo, LogIo as _, MemoryIo, OpenMode},
    layout::{FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA},
    producer::{ProducerState, snapshot},
    recovery::{Boot, Recovered, RecoveryInput, recover_partition},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.1-log")
}

fn partitions() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = DiskIo
        .list_dir(&root())
        .unwrap()
        .into_iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| root().join(entry.name))
        .filter(|dir| DiskIo.metadata(&dir.join(PARTITION_METADATA)).is_ok())
        .collect();
    assert_eq!(found.len(), 17, "the golden directory has 17 partitions");
    found
}

fn read(path: &Path) -> Vec<u8> {
    frame::read_file(&DiskIo, path)
        .unwrap()
        .unwrap_or_else(|| panic!("{} is missing", path.display()))
}

/// Files of one kind in a partition's directory, with the offsets that name them.
fn files(dir: &Path, wanted: FileKind) -> Vec<(Offset, PathBuf)> {
    DiskIo
        .list_dir(dir)
        .unwrap()
        .into_iter()
        .filter_map(|entry| FileKind::parse(&entry.name))
        .filter(|(kind, _)| *kind == wanted)
        .map(|(kind, offset)| (offset, kind.path(dir, offset)))
        .collect()
}

fn copy_without(dir: &Path, left_out: &[FileKind]) -> MemoryIo {
    let io = MemoryIo::new();
    let target = Path::new("/p");
    io.create_dir_all(target).unwrap();
    for entry in DiskIo.list_dir(dir).unwrap() {
        if FileKind::parse(&entry.name).is_some_and(|(kind, _)| left_out.contains(&kind)) {
            continue;
        }
        let file = io
            .open(&target.join(&entry.name), OpenMode::CreateNew)
            .unwrap();
        file.write_all_at(&[IoSlice::new(&read(&dir.join(&entry.name)))], 0)
            .unwrap();
    }
    io
}

fn recover(io: &MemoryIo, index_interval_bytes: u32) -> Recovered {
    let input = RecoveryInput {
        recovery_point: Offset::ZERO,
        boot: Boot::Other,
        ran_in_this_boot: false,
        compacted: true,
        durability: Durability::Fsync,
        index_interval_bytes,
        now_ms: 0,
        topic_id: None,
    };
    recover_partition(io, Path::new("/p"), &input).unwrap()
}

#[test]
fn every_index_and_snapshot_decodes_and_encodes_to_the_same_bytes() {
    let mut counts = [0; 4];
    for dir in partitions() {
        for (base, path) in files(&dir, FileKind::OffsetIndex) {
            let bytes = read(&path);
            let index = OffsetIndex::decode(base, &bytes).unwrap();
            assert_eq!(index.encode_from(0), bytes, "{}", path.display());
            counts[0] += index.len();
        }
        for (base, path) in files(&dir, FileKind::TimeIndex) {
            let bytes = read(&path);
            let index = TimeIndex::decode(base, &bytes).unwrap();
            assert_eq!(index.encode_from(0), bytes, "{}", path.display());
            counts[1] += index.len();
        }
        for (_, path) in files(&dir, FileKind::TransactionIndex) {
            let bytes = read(&path);
            let index = TransactionIndex::decode(&bytes).unwrap();
            assert_eq!(index.encode_from(0), bytes, "{}", path.display());
            counts[2] += index.len();
        }
        for (_, path) in files(&dir, FileKind::Snapshot) {
            let bytes = read(&path);
            let state = snapshot::decode(&bytes, 0).unwrap();
            assert_eq!(snapshot::encode(&state), bytes, "{}", path.display());
            counts[3] += state.len();
        }
    }
    assert_eq!(counts, [81, 98, 5, 10], "entries by Kafka's own dump");
}

#[test]
fn every_epoch_history_and_topic_id_comes_back_as_kafka_wrote_it() {
    for dir in partitions() {
        let text = String::from_utf8(read(&dir.join(LEADER_EPOCH_CHECKPOINT))).unwrap();
        assert_eq!(EpochHistory::from_text(&text).unwrap().to_text(), text);
        let text = String::from_utf8(read(&dir.join(PARTITION_METADATA))).unwrap();
        assert_eq!(identity::to_text(identity::from_text(&text).unwrap()), text);
    }
}

#[test]
fn indexes_rebuilt_from_the_batches_are_those_that_kafka_wrote() {
    let left_out = [
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
    ];
    // What compaction rewrites is indexed by another rule.
    let appended = |dir: &PathBuf| !dir.to_string_lossy().contains("compacted");
    for dir in partitions().into_iter().filter(appended) {
        let interval = if dir.ends_with("many-segments-0") {
            1024
        } else {
            4096
        };
        let io = copy_without(&dir, &left_out);
        let recovered = recover(&io, interval);
        for meta in &recovered.segments {
            let mut indexes =
                SegmentIndexes::load(&io, Path::new("/p"), meta, u64::from(interval)).unwrap();
            indexes.seal().unwrap();
            let golden = |kind: FileKind| read(&kind.path(&dir, meta.base_offset));
            let name = format!("{} {}", dir.display(), meta.base_offset);
            assert_eq!(
                indexes.offset.encode_from(0),
                golden(FileKind::OffsetIndex),
                "{name}"
            );
            assert_eq!(
                indexes.time.encode_from(0),
                golden(FileKind::TimeIndex),
                "{name}"
            );
        }
        for (base, path) in files(&dir, FileKind::TransactionIndex) {
            let rebuilt = FileKind::TransactionIndex.path(Path::new("/p"), base);
            assert_eq!(io.contents(&rebuilt).unwrap(), read(&path));
        }
    }
}

#[test]
fn producer_state_replayed_from_the_batches_is_what_kafka_snapshot() {
    let mut compared = 0;
    for dir in partitions() {
        let io = copy_without(&dir, &[FileKind::Snapshot]);
        let recovered = recover(&io, 4096);
        let at_end = FileKind::Snapshot.path(&dir, recovered.log_end);
        assert_eq!(
            snapshot::encode(&recovered.producers),
            read(&at_end),
            "{}",
            at_end.display()
        );
        compared += recovered.producers.len();
    }
    assert_eq!(compared, 7);
}

#[test]
fn a_snapshot_in_the_middle_is_what_the_batches_before_it_give() {
    let dir = root().join("transactions-0");
    let io = copy_without(&dir, &[FileKind::Snapshot]);
    let middle = Offset::new(10).unwrap();
    for kind in FileKind::ALL {
        let path = kind.path(Path::new("/p"), middle);
        if io.metadata(&path).is_ok() {
            io.remove_file(&path).unwrap();
        }
    }
    let recovered = recover(&io, 4096);
    assert_eq!(recovered.log_end, middle);
    let golden = read(&FileKind::Snapshot.path(&dir, middle));
    assert_eq!(snapshot::encode(&recovered.producers), golden);
    assert_eq!(
        recovered.producers.transactions().first_unstable(),
        Some(Offset::ZERO)
    );
}

#[test]
fn replay_from_kafkas_snapshot_equals_replay_from_the_start() {
    let dir = root().join("transactions-0");
    let with = recover(&copy_without(&dir, &[]), 4096);
    let without = recover(&copy_without(&dir, &[FileKind::Snapshot]), 4096);
    assert_eq!(
        snapshot::encode(&with.producers),
        snapshot::encode(&without.producers)
    );
    let open: Vec<_> = with.producers.transactions().iter().collect();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].0.get(), 75);
}

#[test]
fn a_flipped_bit_in_a_snapshot_is_seen() {
    let golden = read(&root().join("transactions-0/00000000000000000076.snapshot"));
    for bit in 0..golden.len() * 8 {
        let mut bad = golden.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(snapshot::decode(&bad, 0).is_err(), "bit {bit}");
    }
    assert_eq!(
        snapshot::decode(&snapshot::encode(&ProducerState::new()), 0),
        Ok(ProducerState::new())
    );
}

#[test]
fn aborted_transactions_are_found_by_range_as_kafka_finds_them() {
    let path = root().join("transactions-0/00000000000000000010.txnindex");
    let index = TransactionIndex::decode(&read(&path)).unwrap();
    let aborted = |start, end| {
        let (found, complete) =
            index.aborted_in(Offset::new(start).unwrap(), Offset::new(end).unwrap());
        let firsts: Vec<i64> = found.iter().map(|entry| entry.first_offset.get()).collect();
        (firsts, complete)
    };
    assert_eq!(aborted(0, 20), (vec![12], true));
    assert_eq!(aborted(24, 60), (vec![24, 49], true));
    assert_eq!(aborted(0, 76), (vec![12, 24, 49, 61], false));
    assert_eq!(aborted(71, 76), (vec![], false));
}
