//! [`RecoveryInput`] and [`Recovered`]: what recovery is told, and what a live log starts from.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use millstream_proto::{Offset, TopicId};

use crate::{
    clean_shutdown::CleanPartition, config::Durability, epoch::EpochHistory, manifest::Manifest,
    producer::ProducerState, segment_meta::SegmentMeta,
};

/// How the last run ended, as far as this partition is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// The clean-shutdown marker names it: nothing is scanned.
    Clean(CleanPartition),
    /// The process died, the kernel did not: the page cache survived.
    Same,
    /// The kernel restarted: only what was on disk survived, in any order.
    Other,
    /// Not known, as the recovery points are missing or unreadable. Treated as [`Boot::Same`], which
    /// never cuts off a valid batch.
    Unknown,
}

/// What recovery is told of a partition.
#[derive(Debug, Clone)]
pub struct RecoveryInput {
    /// Everything below it was durable; [`Offset::ZERO`] when nothing is known.
    pub recovery_point: Offset,
    /// How the last run ended.
    pub boot: Boot,
    /// Whether the broker has run before in this boot of the kernel: a flush may have failed in it
    /// without leaving a marker, and the page cache would hide that. [`Boot::Same`] implies it.
    pub ran_in_this_boot: bool,
    /// Whether offsets may be missing anywhere, as compaction removed their records, where no manifest
    /// tells how far it went.
    pub compacted: bool,
    /// The topic's durability: what becomes of bytes above a failed flush.
    pub durability: Durability,
    /// `index.interval.bytes`, for indexes that are rebuilt.
    pub index_interval_bytes: u32,
    /// The broker's clock in milliseconds: when producers that are replayed count as last seen.
    pub now_ms: i64,
    /// The topic id that the directory must carry; `None` accepts any.
    pub topic_id: Option<TopicId>,
}

/// Offsets whose bytes cannot be believed: a read there answers CORRUPT_MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptRange {
    /// From the first offset that cannot be read up to the next one that can.
    pub offsets: Range<Offset>,
    /// The `.log` file.
    pub file: PathBuf,
    /// The bytes in it; empty where the file is missing or too short.
    pub bytes: Range<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What a live log starts from.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The topic id in the directory.
    pub topic_id: Option<TopicId>,
    /// All segments in order of base offset; at least one. The last one is to be appended to.
    pub segments: Vec<SegmentMeta>,
    /// First readable offset.
    pub log_start: Offset,
    /// Offset that the next record gets. All below it is flushed.
    pub log_end: Offset,
    /// Epoch history; on disk, too.
    pub epochs: EpochHistory,
    /// Producer state at the log's end.
    pub producers: ProducerState,
    /// The manifest as it is on disk.
    pub manifest: Manifest,
    /// Ranges known to be corrupt, in order. Others may be found by reads: recovery reads only
    /// above the recovery point.
    pub corrupt: Vec<CorruptRange>,
    /// What was done, for the log and for metrics.
    pub report: RecoveryReport,
}

impl Recovered {
    /// Segments before the last one that the manifest does not vouch for: recovery ended them, or
    /// found no entry. Until they are entered, no start is clean and each looks into them again.
    #[must_use]
    pub fn unlisted(&self) -> Vec<SegmentMeta> {
        let sealed = self
            .segments
            .split_last()
            .map_or(&[][..], |(_, sealed)| sealed);
        sealed
            .iter()
            .filter(|meta| {
                self.manifest
                    .get(meta.base_offset)
                    .is_none_or(|entry| entry.meta != **meta || !entry.sealed)
            })
            .copied()
            .collect()
    }
}

/// What recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes of the batches that were read whole and found valid. Of those below the recovery point only
    /// the headers are read, which do not count.
    pub scanned_bytes: u64,
    /// Bytes cut off above the recovery point.
    pub truncated_bytes: u64,
    /// Valid batches among them (pages that reached the disk out of order, or a failed flush).
    pub truncated_batches: u64,
    /// Why, with file, position and reason.
    pub truncation_reason: Option<String>,
    /// Index files written anew.
    pub rebuilt_indexes: u64,
    /// Bytes copied to new files, as a flush may have failed.
    pub rewritten_bytes: u64,
    /// Files that were damaged and not believed, with the reason.
    pub damaged_files: Vec<String>,
}

/// Why a partition cannot be recovered; it stays offline and nothing in it is changed further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The system failed.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory is of another topic.
    #[error("directory {path} has topic id {found}, expected {expected}", path = path.display())]
    TopicId {
        /// The directory.
        path: PathBuf,
        /// The topic id asked for.
        expected: TopicId,
        /// The one in `partition.metadata`.
        found: String,
    },
}

/// Says what was tried on which path when the system fails.
pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> RecoveryError {
    let path = path.to_path_buf();
    move |source| RecoveryError::Io {
        operation,
        path,
        source,
    }
}
