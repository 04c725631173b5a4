//! A partition's directory in memory, written by hand.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
};

use millstream_proto::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId,
    record::{BatchBuilder, BatchHeader, BatchOptions, ProducerIdentity},
};

use crate::{
    config::Durability,
    epoch::EpochHistory,
    io::{LogIo, MemoryIo, OpenMode},
    layout::FileKind,
    manifest::{self, Manifest, ManifestEntry},
    recovery::{BatchScanner, Boot, Recovered, RecoveryInput, recover_partition},
    segment_meta::SegmentMeta,
};

pub(super) const DIR: &str = "/data/flights-0";

pub(super) fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// One batch of `count` records; its bytes depend on its offset.
pub(super) fn batch(base: i64, count: i64) -> Vec<u8> {
    build(base, count, None)
}

pub(super) fn idempotent_batch(base: i64, count: i64, sequence: i32) -> Vec<u8> {
    build(
        base,
        count,
        Some(ProducerIdentity {
            id: ProducerId(7),
            epoch: ProducerEpoch(0),
            base_sequence: sequence,
        }),
    )
}

fn build(base: i64, count: i64, producer: Option<ProducerIdentity>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: offset(base),
        leader_epoch: LeaderEpoch(0),
        producer,
        ..BatchOptions::default()
    });
    for record in 0..count {
        let value = format!("value {} of a batch that starts at {base}", base + record);
        builder
            .append(1_000 + base + record, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.finish().unwrap().to_vec()
}

/// Batches of `count` records from `base` up to `end`.
pub(super) fn batches(base: i64, end: i64, count: i64) -> Vec<Vec<u8>> {
    (base..end)
        .step_by(usize::try_from(count).unwrap())
        .map(|base| batch(base, count))
        .collect()
}

#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) io: MemoryIo,
}

impl Partition {
    /// A directory with an epoch history, everything durable.
    pub(super) fn new() -> Self {
        let partition = Self {
            io: MemoryIo::new(),
        };
        partition.io.create_dir_all(Path::new(DIR)).unwrap();
        let mut epochs = EpochHistory::new();
        epochs.assign(LeaderEpoch(0), Offset::ZERO);
        epochs.store(&partition.io, Path::new(DIR)).unwrap();
        for dir in ["/", "/data"] {
            partition.io.sync_dir(Path::new(dir)).unwrap();
        }
        partition
    }

    pub(super) fn path(kind: FileKind, base: i64) -> PathBuf {
        kind.path(Path::new(DIR), offset(base))
    }

    pub(super) fn write(&self, path: &Path, bytes: &[u8]) {
        let file = self.io.open(path, OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
        file.sync_data().unwrap();
        self.io.sync_dir(Path::new(DIR)).unwrap();
    }

    /// Writes a `.log`, durable.
    pub(super) fn log(&self, base: i64, bytes: &[u8]) {
        self.write(&Self::path(FileKind::Log, base), bytes);
    }

    /// Appends to a `.log` without flushing.
    pub(super) fn append_unflushed(&self, base: i64, bytes: &[u8]) {
        let file = self
            .io
            .open(&Self::path(FileKind::Log, base), OpenMode::Write)
            .unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], file.len().unwrap())
            .unwrap();
    }

    /// Writes a sealed segment with its manifest entry, durable.
    pub(super) fn sealed(&self, base: i64, batches: &[Vec<u8>]) {
        self.log(base, &batches.concat());
        let mut meta = SegmentMeta::empty(offset(base));
        for bytes in batches {
            let header = BatchHeader::decode(bytes).unwrap();
            meta.add_batch(
                header.last_offset(),
                u64::try_from(bytes.len()).unwrap(),
                header.max_timestamp(),
            );
        }
        let dir = Path::new(DIR);
        let mut manifest = Manifest::load(&self.io, dir).unwrap().unwrap_or_default();
        manifest.insert(ManifestEntry {
            meta,
            checksums: manifest::checksum_segment(&self.io, dir, &meta).unwrap(),
            sealed: true,
        });
        manifest.store(&self.io, dir).unwrap();
    }

    pub(super) fn recover(&self, recovery_point: i64, boot: Boot) -> Recovered {
        self.recover_with(&input(recovery_point, boot))
    }

    pub(super) fn recover_with(&self, input: &RecoveryInput) -> Recovered {
        recover_partition(&self.io, Path::new(DIR), input).unwrap()
    }

    /// The file system after a power cut.
    pub(super) fn crash(&self, seed: u64) -> Self {
        Self {
            io: self.io.crash(seed),
        }
    }

    /// An independent copy, as it is.
    pub(super) fn fork(&self) -> Self {
        Self { io: self.io.fork() }
    }
}

pub(super) fn input(recovery_point: i64, boot: Boot) -> RecoveryInput {
    RecoveryInput {
        recovery_point: offset(recovery_point),
        boot,
        ran_in_this_boot: false,
        compacted: false,
        durability: Durability::Fsync,
        index_interval_bytes: 256,
        now_ms: 5_000,
        topic_id: None,
    }
}

/// What a reader gets after recovery: every batch of every segment that checks, in order.
pub(super) fn readable(io: &dyn LogIo, recovered: &Recovered) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for meta in &recovered.segments {
        let path = FileKind::Log.path(Path::new(DIR), meta.base_offset);
        let Ok(file) = io.open(&path, OpenMode::Read) else {
            continue;
        };
        let limit = meta.size_bytes.min(file.len().unwrap());
        let mut scanner = BatchScanner::new(&*file, limit);
        let mut position = 0;
        let ahead = offset(0)..Offset::MAX;
        while let Some((at, header)) =
            crate::recovery::next_readable(&mut scanner, position, &ahead).unwrap()
        {
            let mut bytes = vec![0; header.size_bytes()];
            file.read_exact_at(&mut bytes, at).unwrap();
            position = at + u64::try_from(bytes.len()).unwrap();
            let is_corrupt = recovered
                .corrupt
                .iter()
                .any(|range| range.file == path && range.bytes.contains(&at));
            if !is_corrupt {
                found.push(bytes);
            }
        }
    }
    found
}

/// The positions agree with each other and with the segments.
pub(super) fn assert_consistent(recovered: &Recovered) {
    assert!(recovered.log_start <= recovered.log_end);
    let last = recovered.segments.last().unwrap();
    assert_eq!(last.end_offset(), recovered.log_end);
    for pair in recovered.segments.windows(2) {
        assert!(pair[0].end_offset() <= pair[1].base_offset);
    }
}
