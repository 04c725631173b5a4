//! Files of a data directory.

use std::{fs, path::Path};

use millstream_log::{
    clean_shutdown::{self, CleanShutdown},
    epoch::{self, EpochHistory},
    flush_failure::{self, FlushFailure},
    frame::FrameKind,
    identity,
    index::{OffsetIndex, TimeIndex, TransactionIndex},
    inspect::LogScan,
    io::DiskIo,
    layout, log_start,
    manifest::{self, Manifest},
    metadata_witness::MetadataWitness,
    producer::{sidecar, snapshot},
    recovery_point::{self, RecoveryPoints},
};
use millstream_proto::Offset;

/// When producers count as last seen.
const NOW_MS: i64 = 1_000_000;

/// An index, as each of the three kinds.
pub(crate) fn index(input: &[u8]) {
    let base = Offset::ZERO;
    if let Ok(index) = OffsetIndex::decode(base, input) {
        let _ = index.lookup(base);
    }
    if let Ok(index) = TimeIndex::decode(base, input) {
        let _ = index.lookup(NOW_MS);
    }
    if let Ok(index) = TransactionIndex::decode(input) {
        let _ = index.encode_from(0);
    }
}

/// Kafka's snapshot of producers as it stands, then a body of one with a right CRC; ours beside it.
pub(crate) fn producer_snapshot(input: &[u8]) {
    let _ = snapshot::decode(input, NOW_MS);
    let version = 1_i16.to_be_bytes();
    let crc = crc32c::crc32c(input).to_be_bytes();
    let _ = snapshot::decode(&[&version[..], &crc, input].concat(), NOW_MS);
    // A payload says which offset it is of.
    let offset = input.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
    if let Some(offset) = offset.and_then(Offset::new) {
        let _ = sidecar::decode(input, offset);
    }
}

/// A file that is read as a whole: its name, its frame where it has one, and who reads it.
type File = (&'static str, Option<FrameKind>, fn(&DiskIo, &Path));

const LOG: &str = "00000000000000000000.log";

const FILES: [File; 10] = [
    (
        layout::CLEAN_SHUTDOWN,
        Some(clean_shutdown::KIND),
        |io, dir| {
            let _ = CleanShutdown::load(io, dir);
        },
    ),
    (layout::LEADER_EPOCHS, Some(epoch::KIND), |io, dir| {
        let _ = EpochHistory::load(io, dir);
    }),
    (layout::LEADER_EPOCH_CHECKPOINT, None, |io, dir| {
        let _ = EpochHistory::load(io, dir);
    }),
    (
        layout::FLUSH_FAILURE,
        Some(flush_failure::KIND),
        |io, dir| {
            let _ = FlushFailure::load(io, dir);
        },
    ),
    (layout::LOG_START, Some(log_start::KIND), |io, dir| {
        let _ = log_start::load(io, dir);
    }),
    (layout::PARTITION_METADATA, None, |io, dir| {
        let _ = identity::load(io, dir);
    }),
    (layout::MANIFEST, Some(manifest::KIND), |io, dir| {
        let _ = Manifest::load(io, dir);
    }),
    (layout::METADATA_WITNESS, None, |io, dir| {
        let _ = MetadataWitness::load(io, dir);
    }),
    (
        layout::RECOVERY_POINTS,
        Some(recovery_point::KIND),
        |io, dir| {
            let _ = RecoveryPoints::load(io, dir);
        },
    ),
    (LOG, None, |io, dir| {
        if let Ok(scan) = LogScan::open(io, &dir.join(LOG)) {
            scan.for_each(drop);
        }
    }),
];

/// The number of a file, whose payload follows: in a frame where the file has one, and as it stands.
pub(crate) fn log_file(input: &[u8]) {
    let Some((number, payload)) = input.split_first() else {
        return;
    };
    let Some((name, kind, read)) = FILES.get(usize::from(*number)) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let framed = kind.map(|kind| kind.encode(payload).expect("a small payload"));
    for bytes in framed.iter().map(Vec::as_slice).chain([payload]) {
        fs::write(dir.path().join(name), bytes).expect("room for a small file");
        read(&DiskIo, dir.path());
    }
}
