//! Our own framed files, all kinds: they come back, their bytes are fixed, no flipped bit passes.

use std::path::{Path, PathBuf};

use millstream_proto::{LeaderEpoch, Offset};
use proptest::prelude::*;

use crate::{
    clean_shutdown::{CleanPartition, CleanShutdown},
    epoch::EpochHistory,
    flush_failure::FlushFailure,
    io::{LogIo as _, MemoryIo, OpenMode},
    layout, log_start,
    manifest::{Manifest, ManifestEntry, PendingSwap, SegmentChecksums},
    producer::{ProducerState, sidecar},
    recovery_point::{BootId, RecoveryPoint, RecoveryPoints},
    segment_meta::SegmentMeta,
};

const DIR: &str = "/p";

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn manifest() -> Manifest {
    let mut manifest = Manifest::new();
    for base in [20, 0, 10] {
        let mut meta = SegmentMeta::empty(offset(base));
        meta.add_batch(offset(base + 9), 1_234, 99);
        manifest.insert(ManifestEntry {
            meta,
            checksums: SegmentChecksums {
                log: 1,
                offset_index: 2,
                time_index: 3,
                transaction_index: 4,
                offset_index_bytes: 8,
                time_index_bytes: 12,
            },
            sealed: base < 20,
        });
    }
    let entry = *manifest.get(offset(10)).unwrap();
    let swap = PendingSwap {
        base_offset: offset(10),
        has_transactions: true,
        merged: vec![offset(12), offset(17)],
    };
    manifest.begin_swap(entry, swap, offset(20));
    manifest.set_cleaned_to(offset(15));
    manifest.set_cut(offset(30), 4_711);
    manifest
}

fn recovery_points() -> RecoveryPoints {
    let mut points = RecoveryPoints::new();
    let boot_id = BootId::from_text("01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
    points.set_boot_id(boot_id);
    for (name, at) in [("flights-0", 5), ("a.b_c-12", i64::MAX)] {
        points.set(
            name,
            RecoveryPoint {
                offset: offset(at),
                boot_id,
            },
        );
    }
    points
}

fn clean_shutdown() -> CleanShutdown {
    let partition = CleanPartition {
        log_start: offset(3),
        log_end: offset(9),
        leader_epoch: -1,
    };
    CleanShutdown {
        broker_epoch: 42,
        partitions: [("flights-0".to_owned(), partition)].into(),
    }
}

fn epochs() -> EpochHistory {
    let mut epochs = EpochHistory::new();
    epochs.assign(LeaderEpoch(2), offset(7));
    epochs
}

/// A directory with one file of every kind.
fn directory() -> MemoryIo {
    let (io, dir) = (MemoryIo::new(), Path::new(DIR));
    io.create_dir_all(dir).unwrap();
    manifest().store(&io, dir).unwrap();
    recovery_points().store(&io, dir).unwrap();
    clean_shutdown().store(&io, dir).unwrap();
    epochs().store(&io, dir).unwrap();
    log_start::store(&io, dir, offset(77)).unwrap();
    sidecar::store(&io, dir, offset(5), &ProducerState::new()).unwrap();
    let failure = FlushFailure {
        flushed_offset: offset(8),
        reason: "input/output error".to_owned(),
    };
    failure.store(&io, dir).unwrap();
    io
}

/// Whether the file of this name is whole and says what was stored.
fn comes_back(io: &MemoryIo, name: &str) -> bool {
    let dir = Path::new(DIR);
    match name {
        layout::MANIFEST => Manifest::load(io, dir).is_ok_and(|found| found == Some(manifest())),
        layout::RECOVERY_POINTS => {
            RecoveryPoints::load(io, dir).is_ok_and(|found| found == Some(recovery_points()))
        }
        layout::CLEAN_SHUTDOWN => {
            CleanShutdown::load(io, dir).is_ok_and(|found| found == Some(clean_shutdown()))
        }
        layout::LEADER_EPOCHS => EpochHistory::load(io, dir)
            .is_ok_and(|found| found.is_framed && found.history == epochs()),
        layout::LOG_START => log_start::load(io, dir).is_ok_and(|found| found == Some(offset(77))),
        layout::FLUSH_FAILURE => FlushFailure::load(io, dir).is_ok_and(|found| {
            found.is_some_and(|failure| {
                failure.flushed_offset == offset(8) && failure.reason == "input/output error"
            })
        }),
        _ => {
            sidecar::load(io, dir, offset(5)).is_ok_and(|found| found == Some(ProducerState::new()))
        }
    }
}

const NAMES: [&str; 7] = [
    layout::MANIFEST,
    layout::RECOVERY_POINTS,
    layout::CLEAN_SHUTDOWN,
    layout::LEADER_EPOCHS,
    layout::LOG_START,
    layout::FLUSH_FAILURE,
    "00000000000000000005.producers",
];

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn overwrite(io: &MemoryIo, name: &str, bytes: &[u8]) {
    let file = io.open(&path(name), OpenMode::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[std::io::IoSlice::new(bytes)], 0)
        .unwrap();
}

#[test]
fn every_kind_comes_back_and_survives_a_power_cut_once_stored() {
    let io = directory();
    for seed in 0..20 {
        // The directory's own name is the parent's to make durable.
        io.sync_dir(Path::new("/")).unwrap();
        let crashed = io.crash(seed);
        for name in NAMES {
            assert!(comes_back(&crashed, name), "{name}");
        }
    }
}

#[test]
fn no_flipped_bit_and_no_cut_passes_in_any_kind() {
    let io = directory();
    for name in NAMES {
        let good = io.contents(&path(name)).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            overwrite(&io, name, &bad);
            assert!(!comes_back(&io, name), "{name}: bit {bit}");
        }
        for length in 0..good.len() {
            overwrite(&io, name, &good[..length]);
            assert!(!comes_back(&io, name), "{name}: cut at {length}");
        }
        overwrite(&io, name, &good);
        assert!(comes_back(&io, name), "{name}");
    }
}

#[test]
fn the_bytes_of_version_1_are_fixed() {
    let io = directory();
    let hex = |name| {
        let bytes = io.contents(&path(name)).unwrap();
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(layout::LOG_START),
        "4d4c53460007000100000008199902ff000000000000004d"
    );
    assert_eq!(
        hex(layout::LEADER_EPOCHS),
        "4d4c53460002000100000010abd8678a00000001000000020000000000000007"
    );
}

#[test]
fn a_manifest_keeps_its_order_and_finds_by_base_offset() {
    let mut manifest = manifest();
    let bases: Vec<i64> = manifest
        .entries()
        .iter()
        .map(|entry| entry.meta.base_offset.get())
        .collect();
    assert_eq!(bases, [0, 10, 20]);
    assert!(manifest.get(offset(10)).unwrap().sealed);
    assert!(manifest.get(offset(11)).is_none());
    manifest.retain(|entry| entry.meta.base_offset != offset(10));
    assert!(manifest.get(offset(10)).is_none());
}

#[test]
fn other_texts_are_no_boot_id() {
    for text in ["", "0123", "01234567-89ab-cdef-0123-456789abcdeg", "é"] {
        assert_eq!(BootId::from_text(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_frame_around_any_payload_never_panics_a_decoder(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let (io, dir) = (MemoryIo::new(), Path::new(DIR));
        io.create_dir_all(dir).unwrap();
        for (kind, name) in [
            (crate::manifest::KIND, layout::MANIFEST),
            (crate::recovery_point::KIND, layout::RECOVERY_POINTS),
            (crate::clean_shutdown::KIND, layout::CLEAN_SHUTDOWN),
            (crate::epoch::KIND, layout::LEADER_EPOCHS),
            (log_start::KIND, layout::LOG_START),
            (crate::flush_failure::KIND, layout::FLUSH_FAILURE),
            (sidecar::KIND, "00000000000000000005.producers"),
        ] {
            kind.store(&io, &path(name), &payload).unwrap();
            comes_back(&io, name);
        }
    }
}
