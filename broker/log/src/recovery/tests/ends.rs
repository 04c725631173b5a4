//! Where segments and logs end: stale tails, missing and foreign files, offsets that were deleted.

use super::{
    fixture::{Partition, assert_consistent, batches, offset, readable},
    *,
};

#[test]
fn a_stale_tail_behind_the_next_segments_base_is_not_revived() {
    for boot in [Boot::Same, Boot::Other] {
        for recovery_point in [0, 6, 8, 10] {
            let partition = Partition::new();
            let old = batches(0, 12, 2);
            partition.log(0, &old.concat());
            let new = batches(8, 10, 2);
            partition.log(8, &new.concat());
            let recovered = partition.recover(recovery_point, boot);
            assert_consistent(&recovered);
            assert_eq!(recovered.log_end, offset(10));
            assert!(recovered.corrupt.is_empty(), "{:?}", recovered.corrupt);
            let expected = [&old[..4], &new[..]].concat();
            assert_eq!(readable(&partition.io, &recovered), expected);
            let path = Partition::path(FileKind::Log, 0);
            let left = partition.io.contents(&path).unwrap();
            assert_eq!(left, old[..4].concat(), "the tail is cut at the start");
        }
    }
}

/// Headers below the recovery point once counted with the records that nobody read.
#[test]
fn scanned_are_the_bytes_of_batches_that_were_read_whole() {
    let partition = Partition::new();
    let all = batches(0, 16, 2);
    partition.log(0, &all.concat());
    for (recovery_point, first) in [(0, 0), (10, 5), (16, 8)] {
        let recovered = partition.fork().recover(recovery_point, Boot::Same);
        let expected: usize = all[first..].iter().map(Vec::len).sum();
        let found = recovered.report.scanned_bytes;
        assert_eq!(found, expected as u64, "recovery point {recovery_point}");
    }
}

#[test]
fn a_missing_segment_answers_corrupt_and_the_rest_is_readable() {
    let partition = Partition::new();
    for base in [0, 10, 20] {
        partition.sealed(base, &batches(base, base + 10, 2));
    }
    partition.log(30, &batches(30, 34, 2).concat());
    for missing in [0, 10, 20] {
        let copy = partition.fork();
        copy.io
            .remove_file(&Partition::path(FileKind::Log, missing))
            .unwrap();
        let recovered = copy.recover(30, Boot::Other);
        assert_eq!(recovered.log_start, Offset::ZERO, "without {missing}");
        assert_eq!(recovered.log_end, offset(34), "without {missing}");
        assert_eq!(recovered.corrupt.len(), 1);
        let range = &recovered.corrupt[0];
        assert_eq!(range.offsets, offset(missing)..offset(missing + 10));
        assert!(range.reason.contains("missing"));
        assert_eq!(readable(&copy.io, &recovered).len(), 12);
        // Nor does the next start take what is left for the whole.
        let again = copy.recover(30, Boot::Same);
        assert_eq!(again.log_start, Offset::ZERO, "without {missing}");
        assert_eq!(again.corrupt[0].offsets, range.offsets);
    }
}

#[test]
fn an_empty_directory_below_a_recovery_point_is_a_loss_that_no_start_forgets() {
    let partition = Partition::new();
    for boot in [Boot::Same, Boot::Other] {
        let copy = partition.fork();
        for _ in 0..2 {
            let recovered = copy.recover(16, boot);
            assert_eq!(recovered.log_start, Offset::ZERO);
            assert_eq!(recovered.log_end, offset(16));
            assert_eq!(recovered.corrupt[0].offsets, offset(0)..offset(16));
        }
    }
}

#[test]
fn a_missing_active_segment_does_not_lower_the_end_below_the_recovery_point() {
    let partition = Partition::new();
    partition.sealed(0, &batches(0, 10, 2));
    for boot in [Boot::Same, Boot::Other] {
        let copy = partition.fork();
        let recovered = copy.recover(16, boot);
        assert_consistent(&recovered);
        assert_eq!(recovered.log_end, offset(16));
        assert_eq!(recovered.corrupt[0].offsets, offset(10)..offset(16));
        let last = recovered.segments.last().unwrap();
        assert_eq!(*last, SegmentMeta::empty(offset(16)));
    }
}

#[test]
fn a_file_that_lost_bytes_below_the_recovery_point_is_followed_by_a_new_segment() {
    let written = batches(0, 20, 2);
    let bytes = written.concat();
    for boot in [Boot::Same, Boot::Other] {
        for length in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
            let partition = Partition::new();
            partition.log(0, &bytes[..length]);
            let recovered = partition.recover(20, boot);
            assert_consistent(&recovered);
            assert_eq!(recovered.log_end, offset(20), "{boot:?} {length}");
            assert_eq!(recovered.report.truncated_bytes, 0);
            let range = recovered.corrupt.last().unwrap();
            assert_eq!(range.offsets.end, offset(20));
            let left = partition
                .io
                .contents(&Partition::path(FileKind::Log, 0))
                .unwrap();
            assert_eq!(left, bytes[..length], "nothing is cut");
            let next = recovered.segments.last().unwrap();
            assert_eq!(*next, SegmentMeta::empty(offset(20)));
        }
    }
}

#[test]
fn a_segment_from_elsewhere_inside_a_sealed_one_is_set_aside_not_used() {
    let partition = Partition::new();
    let first = batches(0, 10, 2);
    partition.sealed(0, &first);
    partition.sealed(10, &batches(10, 20, 2));
    partition.log(20, b"");
    partition.log(4, &batches(4, 8, 1).concat());
    for boot in [Boot::Same, Boot::Other] {
        let copy = partition.fork();
        let recovered = copy.recover(20, boot);
        assert_eq!(recovered.log_end, offset(20));
        assert!(recovered.corrupt.is_empty());
        assert_eq!(recovered.report.damaged_files.len(), 1);
        assert_eq!(readable(&copy.io, &recovered)[..5], first);
        let left = copy.io.contents(&Partition::path(FileKind::Log, 4));
        assert!(left.is_ok(), "it is not deleted");
    }
}

#[test]
fn swapped_segments_are_corrupt_where_the_manifest_or_continuity_sees_it() {
    let partition = Partition::new();
    partition.sealed(0, &batches(0, 10, 2));
    partition.sealed(10, &batches(10, 20, 2));
    partition.log(20, &batches(20, 24, 2).concat());
    let (first, active) = (
        Partition::path(FileKind::Log, 0),
        Partition::path(FileKind::Log, 20),
    );
    let (a, b) = (
        partition.io.contents(&first).unwrap(),
        partition.io.contents(&active).unwrap(),
    );
    partition.write(&first, &b);
    partition.write(&active, &a);
    let recovered = partition.recover(24, Boot::Same);
    assert_eq!(recovered.log_end, offset(24));
    let ranges: Vec<_> = recovered
        .corrupt
        .iter()
        .map(|range| (range.offsets.start.get(), range.offsets.end.get()))
        .collect();
    assert_eq!(ranges, [(0, 10), (20, 24)]);
}

#[test]
fn a_log_start_beyond_what_survived_starts_the_log_anew_there() {
    let partition = Partition::new();
    partition.log(0, &batches(0, 10, 2).concat());
    log_start::store(&partition.io, Path::new(DIR), offset(14)).unwrap();
    let recovered = partition.recover(0, Boot::Other);
    assert_consistent(&recovered);
    assert_eq!(
        (recovered.log_start, recovered.log_end),
        (offset(14), offset(14))
    );
    assert!(recovered.corrupt.is_empty());
    assert_eq!(recovered.segments, [SegmentMeta::empty(offset(14))]);
    assert!(
        partition
            .io
            .metadata(&Partition::path(FileKind::Log, 0))
            .is_err()
    );
}

#[test]
fn segments_below_the_log_start_are_removed_the_one_that_holds_it_is_not() {
    let partition = Partition::new();
    for base in [0, 10, 20] {
        partition.sealed(base, &batches(base, base + 10, 2));
    }
    partition.log(30, b"");
    log_start::store(&partition.io, Path::new(DIR), offset(15)).unwrap();
    let recovered = partition.recover(30, Boot::Same);
    assert_eq!(recovered.log_start, offset(15));
    let bases: Vec<i64> = recovered
        .segments
        .iter()
        .map(|segment| segment.base_offset.get())
        .collect();
    assert_eq!(bases, [10, 20, 30]);
    assert!(
        partition
            .io
            .metadata(&Partition::path(FileKind::Log, 0))
            .is_err()
    );
}

#[test]
fn a_missing_manifest_is_made_up_for_by_the_batches() {
    let partition = Partition::new();
    partition.sealed(0, &batches(0, 10, 2));
    partition.sealed(10, &batches(10, 20, 2));
    partition.log(20, &batches(20, 24, 2).concat());
    let path = Path::new(DIR).join(crate::layout::MANIFEST);
    let mut bytes = partition.io.contents(&path).unwrap();
    bytes[40] ^= 4;
    partition.write(&path, &bytes);
    let recovered = partition.recover(22, Boot::Other);
    assert_eq!(recovered.log_end, offset(24));
    assert!(recovered.corrupt.is_empty());
    assert_eq!(recovered.report.damaged_files.len(), 1);
    assert_eq!(recovered.unlisted().len(), 2);
    assert_eq!(readable(&partition.io, &recovered).len(), 12);
}

#[test]
fn offsets_that_compaction_removed_are_not_missing() {
    let partition = Partition::new();
    let kept = [batches(0, 4, 2), batches(8, 10, 2)].concat();
    partition.log(0, &kept.concat());
    partition.log(20, &batches(20, 24, 2).concat());
    let mut input = input(24, Boot::Same);
    input.compacted = true;
    let recovered = partition.recover_with(&input);
    assert!(recovered.corrupt.is_empty(), "{:?}", recovered.corrupt);
    assert_eq!(recovered.log_end, offset(24));
    input.compacted = false;
    let recovered = partition.recover_with(&input);
    assert!(!recovered.corrupt.is_empty());
}
