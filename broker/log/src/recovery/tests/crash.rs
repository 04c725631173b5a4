//! Recovery that is itself interrupted: failing operations and power cuts at every step.

use super::{
    fixture::{Partition, batches, input, offset, readable},
    *,
};
use crate::io::{Action, When};

const EVERY: [Operation; 8] = [
    Operation::Open,
    Operation::Write,
    Operation::SyncData,
    Operation::SyncDir,
    Operation::Rename,
    Operation::RemoveFile,
    Operation::SetLen,
    Operation::ListDir,
];

/// A directory with something of everything: sealed, stale tail, large enough to be split, torn.
fn eventful() -> (Partition, Vec<Vec<u8>>) {
    let partition = Partition::new();
    let (a, b) = (batches(0, 10, 2), batches(10, 8_010, 400));
    let (c, d) = (batches(8_010, 36_010, 400), batches(36_010, 36_030, 2));
    partition.sealed(0, &a);
    partition.log(10, &[&b[..], &batches(8_010, 9_210, 400)].concat().concat());
    partition.log(8_010, &c.concat());
    partition.append_unflushed(8_010, &d.concat());
    partition.append_unflushed(8_010, &d[0][..31]);
    (partition, [a, b, c, d].concat())
}

#[test]
fn recovery_interrupted_at_every_operation_loses_nothing_that_was_flushed() {
    let (_, written) = eventful();
    let flushed = offset(36_010);
    for boot in [Boot::Same, Boot::Other] {
        let mut interrupted = 0;
        for nth in 1.. {
            let (partition, _) = eventful();
            let io = FaultIo::new(partition.io.clone());
            let fault = io.inject(Rule::new(&EVERY, Action::Fail(libc::EIO)).when(When::From(nth)));
            let result = recover_partition(&io, Path::new(DIR), &input(36_010, boot));
            if fault.applied() == 0 {
                assert!(result.is_ok());
                break;
            }
            assert!(result.is_err(), "operation {nth} failed");
            interrupted += 1;
            // Killed there, and power lost there.
            let killed = partition.fork();
            let recovered = killed.recover(36_010, boot);
            assert_eq!(recovered.log_end, offset(36_030), "killed at {nth}");
            assert_eq!(readable(&killed.io, &recovered), written, "killed at {nth}");
            for seed in 0..6 {
                let crashed = partition.crash(seed);
                let recovered = crashed.recover(36_010, Boot::Other);
                assert!(
                    recovered.log_end >= flushed,
                    "crashed at {nth}, seed {seed}"
                );
                assert!(recovered.corrupt.is_empty(), "{:?}", recovered.corrupt);
                let found = readable(&crashed.io, &recovered);
                assert_eq!(found, written[..found.len()], "crashed at {nth}");
            }
        }
        assert!(interrupted > 20, "{interrupted} steps");
    }
}

#[test]
fn without_one_of_its_flushes_recovery_would_lose_what_it_reported() {
    // The same checks as above must fail once a flush does nothing: they can see its absence.
    let (_, written) = eventful();
    for (boot, skipped) in [
        (Boot::Same, Operation::SyncData),
        (Boot::Same, Operation::SyncDir),
        (Boot::Other, Operation::SyncData),
    ] {
        let lost = |skip: bool| {
            let (partition, _) = eventful();
            let io = FaultIo::new(partition.io.clone());
            if skip {
                io.inject(Rule::new(&[skipped], Action::Skip));
            }
            let recovered = recover_partition(&io, Path::new(DIR), &input(36_010, boot)).unwrap();
            assert_eq!(recovered.log_end, offset(36_030));
            (0..40).any(|seed| {
                let crashed = partition.crash(seed);
                let again = crashed.recover(36_010, Boot::Other);
                readable(&crashed.io, &again) != written
            })
        };
        assert!(!lost(false), "{boot:?}: all flushes done");
        assert!(lost(true), "{boot:?}: {skipped:?} skipped");
    }
}
