//! Flushes that failed, with and without a marker, and what recovery itself makes durable.

use super::{
    fixture::{Partition, batches, input, offset, readable},
    *,
};
use crate::{config::Durability, flush_failure::FlushFailure};

/// Ten flushed offsets, ten more whose flush failed: their pages look clean and are not on disk.
fn after_a_failed_flush() -> Partition {
    let partition = Partition::new();
    partition.log(0, &batches(0, 10, 2).concat());
    partition.append_unflushed(0, &batches(10, 20, 2).concat());
    partition
        .io
        .give_up_unsynced(&Partition::path(FileKind::Log, 0))
        .unwrap();
    partition
}

fn mark(partition: &Partition) {
    let marker = FlushFailure {
        flushed_offset: offset(10),
        reason: "input/output error".to_owned(),
    };
    marker.store(&partition.io, Path::new(DIR)).unwrap();
}

#[test]
fn in_an_fsync_topic_what_is_above_the_marker_is_dropped() {
    for boot in [Boot::Same, Boot::Unknown] {
        let partition = after_a_failed_flush();
        mark(&partition);
        let recovered = partition.recover(4, boot);
        assert_eq!(recovered.log_end, offset(10));
        assert_eq!(recovered.report.truncated_batches, 5);
        let last = recovered.segments.last().unwrap();
        assert_eq!(*last, SegmentMeta::empty(offset(10)), "a new file follows");
        assert!(
            FlushFailure::load(&partition.io, Path::new(DIR))
                .unwrap()
                .is_none()
        );
        for seed in 0..20 {
            let crashed = partition.crash(seed);
            let again = crashed.recover(10, Boot::Other);
            assert_eq!(again.log_end, offset(10));
            assert_eq!(readable(&crashed.io, &again), batches(0, 10, 2));
        }
    }
}

#[test]
fn in_a_replicated_topic_it_is_copied_to_a_new_file_and_survives_a_power_cut() {
    let partition = after_a_failed_flush();
    mark(&partition);
    let mut replicated = input(4, Boot::Same);
    replicated.durability = Durability::Replicated;
    let recovered = partition.recover_with(&replicated);
    assert_eq!(recovered.log_end, offset(20));
    assert!(recovered.report.rewritten_bytes > 0);
    for seed in 0..20 {
        let crashed = partition.crash(seed);
        let again = crashed.recover(20, Boot::Other);
        assert_eq!(readable(&crashed.io, &again), batches(0, 20, 2), "{seed}");
    }
}

#[test]
fn without_a_marker_nothing_valid_is_dropped_and_all_of_it_becomes_durable() {
    let partition = after_a_failed_flush();
    let recovered = partition.recover(10, Boot::Same);
    assert_eq!(recovered.log_end, offset(20));
    for seed in 0..20 {
        let crashed = partition.crash(seed);
        let again = crashed.recover(20, Boot::Other);
        assert!(again.corrupt.is_empty(), "{:?}", again.corrupt);
        assert_eq!(readable(&crashed.io, &again), batches(0, 20, 2), "{seed}");
    }
}

#[test]
fn a_large_file_is_split_at_the_recovery_point_instead_of_copied() {
    let partition = Partition::new();
    let below = batches(0, 40_000, 400);
    let above = batches(40_000, 41_200, 400);
    partition.log(0, &below.concat());
    partition.append_unflushed(0, &above.concat());
    let recovered = partition.recover(40_000, Boot::Same);
    let bases: Vec<i64> = recovered
        .segments
        .iter()
        .map(|segment| segment.base_offset.get())
        .collect();
    assert_eq!(bases, [0, 40_000]);
    let copied = u64::try_from(above.concat().len()).unwrap();
    assert_eq!(recovered.report.rewritten_bytes, copied);
    assert_eq!(recovered.unlisted().len(), 1);
    let crashed = partition.crash(3);
    let again = crashed.recover(41_200, Boot::Other);
    assert_eq!(
        readable(&crashed.io, &again),
        [below, above].concat(),
        "both parts are durable"
    );
}

#[test]
fn what_is_kept_after_a_power_cut_is_durable_before_it_counts() {
    let partition = Partition::new();
    partition.log(0, &batches(0, 10, 2).concat());
    partition.append_unflushed(0, &batches(10, 20, 2).concat());
    // The kernel restarted with these bytes on disk by luck; they are not known to be flushed.
    let recovered = partition.recover(10, Boot::Other);
    assert_eq!(recovered.log_end, offset(20));
    for seed in 0..20 {
        let crashed = partition.crash(seed);
        let again = crashed.recover(20, Boot::Other);
        assert_eq!(readable(&crashed.io, &again), batches(0, 20, 2), "{seed}");
    }
}
