//! Names of the files in a partition's directory, and nothing else.
//!
//! ```text
//! <data_dir>/<topic>-<partition>/
//!   00000000000000000000.log         record batches v2, back to back
//!   00000000000000000000.index       offset index        .timeindex   time index
//!   00000000000000000000.txnindex    aborted transactions (only where there are any)
//!   00000000000000000042.snapshot    producer state at offset 42, Kafka's schema
//!   00000000000000000042.producers   the same with five batches a producer, framed
//!   leader-epoch-checkpoint          epoch history, Kafka's text    leader-epochs   the same, framed
//!   partition.metadata               topic id            manifest      sealed segments, framed
//!   log-start                        log start offset    flush-failure after a failed flush
//! ```

use std::path::{Path, PathBuf};

use millstream_proto::Offset;

/// Epoch history in Kafka's text format.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// Epoch history, framed; the authority where both exist.
pub const LEADER_EPOCHS: &str = "leader-epochs";
/// Topic id, Kafka's text format.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Sealed segments, framed.
pub const MANIFEST: &str = "manifest";
/// Log start offset, framed.
pub const LOG_START: &str = "log-start";
/// Marker of a failed flush, framed.
pub const FLUSH_FAILURE: &str = "flush-failure";
/// Who a data directory belongs to, framed; beside the partitions' directories.
pub const IDENTITY: &str = "identity";
/// Directory of the metadata log; beside the partitions' directories.
pub const METADATA: &str = "metadata";
/// Recovery points of a data directory, framed; beside the partitions' directories.
pub const RECOVERY_POINTS: &str = "recovery-points";
/// Marker of a clean shutdown, framed; beside the partitions' directories.
pub const CLEAN_SHUTDOWN: &str = "clean-shutdown";

/// How far the metadata log was committed; beside the metadata directory.
pub const METADATA_WITNESS: &str = "metadata-witness";

/// Suffix of a file that is on its way out; removed at the next start where a crash left it.
pub const DELETED_SUFFIX: &str = ".deleted";

/// Suffix of a compacted segment's files until they take their places; removed at a start that finds
/// no swap that names them.
pub const CLEANED_SUFFIX: &str = ".cleaned";

/// Files that are named by an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `.log`: record batches.
    Log,
    /// `.index`: offset index.
    OffsetIndex,
    /// `.timeindex`: time index.
    TimeIndex,
    /// `.txnindex`: aborted transactions.
    TransactionIndex,
    /// `.snapshot`: producer state in Kafka's schema.
    Snapshot,
    /// `.producers`: producer state with five batches a producer, framed.
    Producers,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TransactionIndex,
        Self::Snapshot,
        Self::Producers,
    ];

    /// What follows the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::OffsetIndex => "index",
            Self::TimeIndex => "timeindex",
            Self::TransactionIndex => "txnindex",
            Self::Snapshot => "snapshot",
            Self::Producers => "producers",
        }
    }

    /// Path of the file of this kind at an offset.
    #[must_use]
    pub fn path(self, dir: &Path, offset: Offset) -> PathBuf {
        dir.join(format!("{:020}.{}", offset.get(), self.extension()))
    }

    /// Kind and offset of a file name; `None` for every other name.
    #[must_use]
    pub fn parse(name: &Path) -> Option<(Self, Offset)> {
        let (digits, extension) = name.to_str()?.split_once('.')?;
        let kind = Self::ALL
            .into_iter()
            .find(|kind| kind.extension() == extension)?;
        if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let offset = Offset::new(digits.parse().ok()?)?;
        Some((kind, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_twenty_digits_and_parse_back() {
        let offset = Offset::new(4_711).expect("positive");
        for kind in FileKind::ALL {
            let path = kind.path(Path::new("d"), offset);
            let name = path.file_name().map(Path::new).expect("named");
            assert_eq!(FileKind::parse(name), Some((kind, offset)));
        }
        assert_eq!(
            FileKind::Log.path(Path::new("d"), offset),
            Path::new("d/00000000000000004711.log")
        );
    }

    #[test]
    fn other_names_are_no_segment_files() {
        for name in [
            "0.log",
            "00000000000000004711.txt",
            "99999999999999999999.log",
            "-0000000000000000001.log",
            "00000000000000004711.log.deleted",
            "manifest",
        ] {
            assert_eq!(FileKind::parse(Path::new(name)), None, "{name}");
        }
    }
}
