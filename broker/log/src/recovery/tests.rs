//! Recovery, state by state, on directories written by hand.

mod crash;
mod ends;
mod fixture;
mod flush;
mod torn;

use std::path::Path;

use fixture::{
    DIR, Partition, assert_consistent, batches, idempotent_batch, input, offset, readable,
};
use millstream_proto::{LeaderEpoch, Offset, ProducerId, TopicId};

use super::*;
use crate::{
    clean_shutdown::CleanPartition,
    epoch::EpochHistory,
    identity,
    index::OffsetIndex,
    io::{FaultIo, LogIo as _, Operation, Rule},
    layout::FileKind,
    log_start,
    manifest::{Manifest, ManifestEntry, checksum_segment},
    producer::{ProducerState, sidecar},
    segment_meta::SegmentMeta,
};

#[test]
fn an_empty_directory_gets_a_segment_at_offset_0() {
    for boot in [Boot::Same, Boot::Other, Boot::Unknown] {
        let partition = Partition::new();
        let recovered = partition.recover(0, boot);
        assert_eq!(recovered.segments, [SegmentMeta::empty(Offset::ZERO)]);
        assert_eq!(recovered.log_end, Offset::ZERO);
        let path = Partition::path(FileKind::Log, 0);
        let after = partition.crash(1);
        assert_eq!(after.io.contents(&path).unwrap(), b"", "it is durable");
    }
}

#[test]
fn what_is_whole_is_kept_and_indexed_as_the_live_log_does() {
    for boot in [Boot::Same, Boot::Other, Boot::Unknown] {
        let partition = Partition::new();
        let written = batches(0, 40, 2);
        partition.log(0, &written.concat());
        let recovered = partition.recover(10, boot);
        assert_consistent(&recovered);
        assert_eq!(recovered.log_end, offset(40));
        assert!(recovered.corrupt.is_empty());
        assert_eq!(readable(&partition.io, &recovered), written);
        assert_eq!(recovered.segments[0].max_timestamp_ms, 1_039);
        assert_eq!(recovered.segments[0].max_timestamp_offset, offset(39));
        let path = Partition::path(FileKind::OffsetIndex, 0);
        let bytes = partition.io.contents(&path).unwrap();
        let index = OffsetIndex::decode(Offset::ZERO, &bytes).unwrap();
        assert!(index.len() >= 5, "{index:?}");
        for entry in index.iter() {
            let at = usize::try_from(entry.position).unwrap();
            let bytes = &written.concat()[at..];
            let header = millstream_proto::record::BatchHeader::decode(bytes).unwrap();
            assert_eq!(header.last_offset(), entry.last_offset);
        }
    }
}

#[test]
fn recovering_twice_changes_nothing_more() {
    for boot in [Boot::Same, Boot::Other] {
        let partition = Partition::new();
        let written = batches(0, 20, 2).concat();
        partition.log(0, &[&written[..], &[7; 33]].concat());
        let first = partition.recover(4, boot);
        let second = partition.recover(first.log_end.get(), boot);
        assert_eq!(first.segments, second.segments);
        assert_eq!(first.log_end, second.log_end);
        assert_eq!(second.report.truncated_bytes, 0);
        assert_eq!(second.report.rewritten_bytes, 0);
    }
}

#[test]
fn a_clean_start_reads_no_batch() {
    let partition = Partition::new();
    partition.sealed(0, &batches(0, 20, 2));
    partition.log(20, &batches(20, 30, 2).concat());
    let mut active = SegmentMeta::empty(offset(20));
    for bytes in batches(20, 30, 2) {
        let header = millstream_proto::record::BatchHeader::decode(&bytes).unwrap();
        active.add_batch(
            header.last_offset(),
            bytes.len().try_into().unwrap(),
            header.max_timestamp(),
        );
    }
    let dir = Path::new(DIR);
    let mut manifest = Manifest::load(&partition.io, dir).unwrap().unwrap();
    manifest.insert(ManifestEntry {
        meta: active,
        checksums: checksum_segment(&partition.io, dir, &active).unwrap(),
        sealed: false,
    });
    manifest.store(&partition.io, dir).unwrap();
    sidecar::store(&partition.io, dir, offset(30), &ProducerState::new()).unwrap();
    let clean = Boot::Clean(CleanPartition {
        log_start: offset(3),
        log_end: offset(30),
        leader_epoch: 0,
    });
    let io = FaultIo::new(partition.io.clone());
    let read = io.inject(
        Rule::new(&[Operation::Open], crate::io::Action::Fail(libc::EIO)).at_path_with(".log"),
    );
    let recovered = recover_partition(&io, dir, &input(0, clean)).unwrap();
    assert_eq!(read.applied(), 0);
    assert_eq!(recovered.segments.len(), 2);
    assert_eq!(
        (recovered.log_start, recovered.log_end),
        (offset(3), offset(30))
    );

    // A file that is not as long as it was closed is looked into, and nothing is cut.
    let path = Partition::path(FileKind::Log, 20);
    let whole = partition.io.contents(&path).unwrap();
    partition.write(&path, &whole[..whole.len() - 5]);
    let recovered = partition.recover(0, clean);
    assert_eq!(recovered.log_end, offset(30));
    assert_eq!(recovered.corrupt[0].offsets, offset(28)..offset(30));
    assert_eq!(recovered.report.truncated_bytes, 0);
}

#[test]
fn a_directory_of_another_topic_is_left_alone() {
    let partition = Partition::new();
    let (ours, theirs) = (TopicId::from_bytes([1; 16]), TopicId::from_bytes([2; 16]));
    identity::store(&partition.io, Path::new(DIR), theirs).unwrap();
    partition.log(0, b"theirs");
    let mut input = input(0, Boot::Same);
    input.topic_id = Some(ours);
    let error = recover_partition(&partition.io, Path::new(DIR), &input).unwrap_err();
    assert!(matches!(error, RecoveryError::TopicId { .. }), "{error}");
    let path = Partition::path(FileKind::Log, 0);
    assert_eq!(partition.io.contents(&path).unwrap(), b"theirs");
}

#[test]
fn retries_of_five_batches_are_recognised_after_a_kill_and_a_power_cut() {
    for boot in [Boot::Same, Boot::Other] {
        let partition = Partition::new();
        let first: Vec<_> = (0..5)
            .map(|n| idempotent_batch(n * 2, 2, i32::try_from(n * 2).unwrap()))
            .collect();
        let second: Vec<_> = (5..8)
            .map(|n| idempotent_batch(n * 2, 2, i32::try_from(n * 2).unwrap()))
            .collect();
        partition.sealed(0, &first);
        partition.log(10, &second.concat());
        // The sidecar at the roll is missing: the sealed segment is replayed, too.
        let recovered = partition.recover(10, boot);
        let entry = recovered.producers.get(ProducerId(7)).unwrap();
        let kept: Vec<i64> = entry
            .batches()
            .iter()
            .map(|batch| batch.base_offset().get())
            .collect();
        assert_eq!(kept, [6, 8, 10, 12, 14]);
        for bytes in first.iter().chain(&second).skip(3) {
            let header = millstream_proto::record::BatchHeader::decode(bytes).unwrap();
            let check = recovered.producers.check(&header).unwrap();
            assert!(
                matches!(check, crate::producer::ProducerCheck::Duplicate(original)
                    if original.base_offset() == header.base_offset()),
                "{check:?}"
            );
        }
    }
}

#[test]
fn the_newest_sidecar_that_can_be_believed_is_replayed_from() {
    let partition = Partition::new();
    let dir = Path::new(DIR);
    partition.sealed(0, &batches(0, 10, 2));
    partition.log(10, &idempotent_batch(10, 2, 4));
    let mut state = ProducerState::new();
    let header = millstream_proto::record::BatchHeader::decode(&idempotent_batch(8, 2, 2)).unwrap();
    state.apply(&header, offset(8), 1);
    sidecar::store(&partition.io, dir, offset(10), &state).unwrap();
    let sequences = |recovered: &Recovered| {
        let entry = recovered.producers.get(ProducerId(7)).unwrap();
        entry
            .batches()
            .iter()
            .map(|batch| batch.last_sequence)
            .collect::<Vec<_>>()
    };
    let recovered = partition.fork().recover(10, Boot::Same);
    assert_eq!(sequences(&recovered), [3, 5]);

    let path = Partition::path(FileKind::Producers, 10);
    let mut bytes = partition.io.contents(&path).unwrap();
    bytes[30] ^= 1;
    partition.write(&path, &bytes);
    let recovered = partition.recover(10, Boot::Same);
    assert_eq!(sequences(&recovered), [5]);
    assert_eq!(recovered.report.damaged_files.len(), 1);
}

#[test]
fn a_state_above_the_logs_end_is_removed() {
    let partition = Partition::new();
    partition.log(0, &batches(0, 10, 2).concat());
    let dir = Path::new(DIR);
    sidecar::store(&partition.io, dir, offset(12), &ProducerState::new()).unwrap();
    partition.recover(0, Boot::Other);
    let path = Partition::path(FileKind::Producers, 12);
    assert!(partition.io.metadata(&path).is_err());
}

#[test]
fn batches_of_another_epoch_than_the_history_says_are_corrupt() {
    let partition = Partition::new();
    let mut epochs = EpochHistory::new();
    epochs.assign(LeaderEpoch(0), Offset::ZERO);
    epochs.assign(LeaderEpoch(3), offset(4));
    epochs.store(&partition.io, Path::new(DIR)).unwrap();
    partition.log(0, &batches(0, 6, 2).concat());
    let recovered = partition.recover(6, Boot::Same);
    assert_eq!(recovered.log_end, offset(6));
    let below = partition.fork().recover(0, Boot::Same);
    assert_eq!(below.log_end, offset(6), "a whole last batch is not cut");
    assert_eq!(below.corrupt[0].offsets, offset(4)..offset(6));
    assert!(
        below.corrupt[0]
            .reason
            .contains("leader epoch 0, expected 3")
    );
}

#[test]
fn a_history_without_a_checksum_is_rebuilt_from_the_batches() {
    let partition = Partition::new();
    for name in [
        crate::layout::LEADER_EPOCHS,
        crate::layout::LEADER_EPOCH_CHECKPOINT,
    ] {
        partition
            .io
            .remove_file(&Path::new(DIR).join(name))
            .unwrap();
    }
    let path = Path::new(DIR).join(crate::layout::LEADER_EPOCH_CHECKPOINT);
    partition.write(&path, b"0\n1\n7 0\n");
    partition.log(0, &batches(0, 6, 2).concat());
    let recovered = partition.recover(6, Boot::Same);
    assert!(recovered.corrupt.is_empty());
    assert_eq!(
        recovered.epochs.latest().unwrap().leader_epoch,
        LeaderEpoch(0)
    );
    let stored = EpochHistory::load(&partition.io, Path::new(DIR)).unwrap();
    assert!(stored.is_framed);
    assert_eq!(stored.history, recovered.epochs);
}

#[test]
fn a_damaged_log_start_shows_more_and_loses_nothing() {
    let partition = Partition::new();
    partition.log(0, &batches(0, 10, 2).concat());
    log_start::store(&partition.io, Path::new(DIR), offset(4)).unwrap();
    assert_eq!(partition.fork().recover(0, Boot::Same).log_start, offset(4));
    let path = Path::new(DIR).join(crate::layout::LOG_START);
    let mut bytes = partition.io.contents(&path).unwrap();
    bytes[20] ^= 64;
    partition.write(&path, &bytes);
    let recovered = partition.recover(0, Boot::Same);
    assert_eq!(recovered.log_start, Offset::ZERO);
    assert_eq!(recovered.log_end, offset(10));
    assert_eq!(recovered.report.damaged_files.len(), 1);
}

#[test]
fn many_partitions_are_recovered_by_few_threads_in_order() {
    let io = crate::io::MemoryIo::new();
    let jobs: Vec<RecoveryJob> = (0..20)
        .map(|number| {
            let dir = std::path::PathBuf::from(format!("/data/p-{number}"));
            io.create_dir_all(&dir).unwrap();
            let path = FileKind::Log.path(&dir, Offset::ZERO);
            let file = io.open(&path, crate::io::OpenMode::CreateNew).unwrap();
            let bytes = batches(0, number * 2, 2).concat();
            file.write_all_at(&[std::io::IoSlice::new(&bytes)], 0)
                .unwrap();
            RecoveryJob {
                dir,
                input: input(0, Boot::Same),
            }
        })
        .collect();
    let results = recover_all(&io, &jobs, 3.try_into().unwrap());
    let ends: Vec<i64> = results
        .into_iter()
        .map(|result| result.unwrap().log_end.get())
        .collect();
    assert_eq!(ends, (0..20).map(|number| number * 2).collect::<Vec<_>>());
}
