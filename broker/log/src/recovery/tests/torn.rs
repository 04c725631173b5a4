//! Torn tails and bad bits: what is cut, what is corrupt, what stays readable.

use super::{
    fixture::{Partition, assert_consistent, batch, batches, offset, readable},
    *,
};

/// The last three batches lie above the recovery point, at offset 8.
fn with_tail() -> (Vec<Vec<u8>>, usize) {
    let written = vec![
        batch(0, 4),
        batch(4, 4),
        batch(8, 3),
        batch(11, 1),
        batch(12, 5),
    ];
    let below = written[..2].concat().len();
    (written, below)
}

/// Batches of `written` that end at or before `length`.
fn whole(written: &[Vec<u8>], length: usize) -> Vec<Vec<u8>> {
    let mut end = 0;
    written
        .iter()
        .take_while(|bytes| {
            end += bytes.len();
            end <= length
        })
        .cloned()
        .collect()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn assert_keeps(bytes: &[u8], expected: &[Vec<u8>], boot: Boot, case: &str) {
    let partition = Partition::new();
    partition.log(0, bytes);
    let recovered = partition.recover(8, boot);
    assert_consistent(&recovered);
    assert_eq!(readable(&partition.io, &recovered), expected, "{case}");
    assert!(recovered.corrupt.is_empty(), "{case}: {recovered:?}");
    let path = Partition::path(FileKind::Log, 0);
    let left = partition.io.contents(&path).unwrap();
    assert_eq!(left, expected.concat(), "{case}: the tail is gone");
    let lost = u64::try_from(bytes.len() - left.len()).unwrap();
    assert_eq!(recovered.report.truncated_bytes, lost, "{case}");
}

#[test]
fn cut_at_every_byte_of_the_last_three_batches_keeps_the_whole_ones() {
    let (written, below) = with_tail();
    let bytes = written.concat();
    for boot in [Boot::Same, Boot::Other, Boot::Unknown] {
        for length in below..=bytes.len() {
            let expected = whole(&written, length);
            assert_keeps(
                &bytes[..length],
                &expected,
                boot,
                &format!("{boot:?} cut at {length}"),
            );
        }
    }
}

#[test]
fn zeros_and_noise_behind_every_cut_are_cut_off() {
    let (written, below) = with_tail();
    let bytes = written.concat();
    for boot in [Boot::Same, Boot::Other] {
        for length in below..=bytes.len() {
            for (name, tail) in [
                ("zeros", vec![0; 700]),
                ("short zeros", vec![0; 40]),
                ("noise", noise(300, length as u64)),
            ] {
                let case = format!("{boot:?} {name} at {length}");
                let damaged = [&bytes[..length], &tail].concat();
                // A tail may begin with just what was cut off.
                let same = damaged.iter().zip(&bytes).take_while(|(a, b)| a == b);
                let expected = whole(&written, same.count());
                if name == "noise" && boot == Boot::Same && is_whole_length(&written, &damaged) {
                    continue;
                }
                assert_keeps(&damaged, &expected, boot, &case);
            }
        }
    }
}

/// Noise that fills the last batch to its exact length looks like a batch that went bad.
fn is_whole_length(written: &[Vec<u8>], damaged: &[u8]) -> bool {
    let mut end = 0;
    written.iter().any(|bytes| {
        end += bytes.len();
        end == damaged.len()
    })
}

#[test]
fn a_flipped_bit_below_the_recovery_point_costs_its_batch_only() {
    let written = batches(0, 12, 2);
    let good = written.concat();
    for boot in [Boot::Same, Boot::Other] {
        for bit in (0..good.len() * 8).step_by(3) {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let partition = Partition::new();
            partition.log(0, &bytes);
            let recovered = partition.recover(12, boot);
            assert_eq!(recovered.log_end, offset(12), "bit {bit}");
            assert_eq!(recovered.report.truncated_bytes, 0, "bit {bit}");
            let path = Partition::path(FileKind::Log, 0);
            assert_eq!(partition.io.contents(&path).unwrap(), bytes, "bit {bit}");
            let index = bit / 8 / written[0].len();
            let mut others = written.clone();
            others.remove(index.min(others.len() - 1));
            let found = readable(&partition.io, &recovered);
            for bytes in &others {
                assert!(found.contains(bytes), "bit {bit}: {:?}", recovered.corrupt);
            }
        }
    }
}

#[test]
fn a_flipped_bit_above_it_in_the_same_boot_cuts_nothing_either() {
    let written = batches(0, 12, 2);
    let good = written.concat();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let partition = Partition::new();
        partition.log(0, &bytes);
        let recovered = partition.recover(0, Boot::Same);
        assert_consistent(&recovered);
        assert_eq!(recovered.log_end, offset(12), "bit {bit}");
        assert_eq!(recovered.report.truncated_bytes, 0, "bit {bit}");
        assert_eq!(recovered.corrupt.len(), 1, "bit {bit}");
        let index = bit / 8 / written[0].len();
        let start = i64::try_from(index.min(5) * 2).unwrap();
        assert_eq!(
            recovered.corrupt[0].offsets,
            offset(start)..offset(start + 2),
            "bit {bit}"
        );
        assert_eq!(readable(&partition.io, &recovered).len(), 5, "bit {bit}");
    }
}

#[test]
fn after_a_power_cut_the_log_ends_at_the_first_bad_batch_and_says_how_much_is_lost() {
    let written = batches(0, 20, 2);
    let mut bytes = written.concat();
    let third = written[..6].concat().len();
    bytes[third + 70] ^= 1;
    let partition = Partition::new();
    partition.log(0, &bytes);
    partition.log(20, &batches(20, 24, 2).concat());
    let recovered = partition.recover(8, Boot::Other);
    assert_eq!(recovered.log_end, offset(12));
    assert_eq!(readable(&partition.io, &recovered), written[..6]);
    assert_eq!(recovered.report.truncated_batches, 3);
    let reason = recovered.report.truncation_reason.unwrap();
    assert!(
        reason.contains("00000000000000000000.log: at byte"),
        "{reason}"
    );
    assert!(reason.contains("crc"), "{reason}");
    let later = Partition::path(FileKind::Log, 20);
    assert!(
        partition.io.metadata(&later).is_err(),
        "it is above the cut"
    );
}

#[test]
fn in_the_same_boot_bad_bytes_before_valid_ones_are_corruption() {
    let written = batches(0, 20, 2);
    let mut bytes = written.concat();
    let start = written[..6].concat().len();
    bytes[start..start + 40].fill(0);
    let partition = Partition::new();
    partition.log(0, &bytes);
    let recovered = partition.recover(8, Boot::Same);
    assert_eq!(recovered.log_end, offset(20));
    assert_eq!(recovered.corrupt.len(), 1);
    let range = &recovered.corrupt[0];
    assert_eq!(range.offsets, offset(12)..offset(14));
    assert_eq!(readable(&partition.io, &recovered).len(), 9);
}

#[test]
fn a_batch_inside_another_ones_value_is_not_taken_for_the_next() {
    // A value that is itself a valid batch with a later offset.
    let inner = batch(6, 1);
    let mut builder =
        millstream_proto::record::BatchBuilder::new(millstream_proto::record::BatchOptions {
            base_offset: offset(4),
            leader_epoch: LeaderEpoch(0),
            ..Default::default()
        });
    builder.append(1, None, Some(&inner), &[]).unwrap();
    let mut outer = builder.finish().unwrap().to_vec();
    outer[62] ^= 1;
    let partition = Partition::new();
    partition.log(0, &[batch(0, 4), outer, batch(5, 5)].concat());
    let recovered = partition.recover(0, Boot::Same);
    assert_eq!(recovered.corrupt.len(), 1);
    assert_eq!(recovered.corrupt[0].offsets, offset(4)..offset(5));
    assert_eq!(recovered.log_end, offset(10));
}
