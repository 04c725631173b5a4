//! [`Target`]: what a path given to inspection is.

use std::path::{Path, PathBuf};

use millstream_proto::{Offset, TopicPartition};

use super::InspectError;
use crate::{
    io::LogIo,
    layout::{
        CLEAN_SHUTDOWN, FileKind, IDENTITY, METADATA, METADATA_WITNESS, PARTITION_METADATA,
        RECOVERY_POINTS,
    },
};

/// What of ours stands beside partitions.
const OURS: [&str; 5] = [
    IDENTITY,
    METADATA,
    METADATA_WITNESS,
    RECOVERY_POINTS,
    CLEAN_SHUTDOWN,
];
/// What of Kafka's does.
const KAFKAS: [&str; 5] = [
    "meta.properties",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
    "cleaner-offset-checkpoint",
];

/// Who wrote a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Millstream, which always leaves certain files.
    Millstream,
    /// Kafka.
    Kafka,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A data directory: who wrote it, and its partitions' directories, in order of name.
    DataDirectory(Writer, Vec<PathBuf>),
    /// A partition's directory.
    Partition,
    /// A file of a segment.
    SegmentFile(FileKind, Offset),
    /// Any other file.
    File,
}

impl Target {
    /// Looks at a path.
    ///
    /// # Errors
    /// [`InspectError::NoLog`] for a directory without anything of a log, whatever the system says.
    pub fn at(io: &dyn LogIo, path: &Path) -> Result<Self, InspectError> {
        let name = Path::new(path.file_name().unwrap_or_default());
        if !io.metadata(path).map_err(InspectError::at(path))?.is_dir {
            return Ok(match FileKind::parse(name) {
                Some((kind, offset)) => Self::SegmentFile(kind, offset),
                None => Self::File,
            });
        }
        let entries = io.list_dir(path).map_err(InspectError::at(path))?;
        let of_partition =
            |name: &Path| FileKind::parse(name).is_some() || name == Path::new(PARTITION_METADATA);
        let holds_segment = entries
            .iter()
            .any(|entry| !entry.is_dir && of_partition(&entry.name));
        if holds_segment || is_partition(name) {
            return Ok(Self::Partition);
        }
        let is_among = |names: &[&str]| {
            let mut found = entries.iter().filter_map(|entry| entry.name.to_str());
            found.any(|name| names.contains(&name))
        };
        let (ours, kafkas) = (is_among(&OURS), is_among(&KAFKAS));
        let partitions: Vec<_> = entries
            .iter()
            .filter(|entry| entry.is_dir && is_partition(&entry.name))
            .map(|entry| path.join(&entry.name))
            .collect();
        if !ours && !kafkas && partitions.is_empty() {
            return Err(InspectError::NoLog {
                path: path.to_path_buf(),
            });
        }
        let writer = match kafkas && !ours {
            true => Writer::Kafka,
            false => Writer::Millstream,
        };
        Ok(Self::DataDirectory(writer, partitions))
    }
}

fn is_partition(name: &Path) -> bool {
    name.to_str()
        .and_then(TopicPartition::from_directory_name)
        .is_some()
}

/// The files of a partition's directory that are named by an offset, in order of offset and kind.
///
/// # Errors
/// Whatever the system says.
pub fn partition_files(
    io: &dyn LogIo,
    dir: &Path,
) -> Result<Vec<(FileKind, Offset)>, InspectError> {
    let entries = io.list_dir(dir).map_err(InspectError::at(dir))?;
    let mut files: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| FileKind::parse(&entry.name))
        .collect();
    files.sort_unstable_by_key(|(kind, offset)| (*offset, *kind));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{MemoryIo, OpenMode};

    fn target(names: &[&str]) -> Result<Target, InspectError> {
        let (io, dir) = (MemoryIo::new(), Path::new("/dir"));
        io.create_dir_all(dir).unwrap();
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => io.create_dir_all(&dir.join(name)).unwrap(),
                None => drop(io.open(&dir.join(name), OpenMode::CreateNew).unwrap()),
            }
        }
        Target::at(&io, dir)
    }

    #[test]
    fn a_directory_is_a_partitions_or_a_data_directory_of_ours_or_kafkas_or_nothing() {
        let ours = |names: &[&str]| {
            let found = target(names).unwrap();
            matches!(found, Target::DataDirectory(Writer::Millstream, _))
        };
        assert!(ours(&["identity"]) && ours(&["metadata/"]) && ours(&["a-0/"]));
        assert!(ours(&["recovery-points", "meta.properties"]));
        let kafkas = target(&["meta.properties", "a-0/", "dump/"]).unwrap();
        let partitions = vec![PathBuf::from("/dir/a-0")];
        assert_eq!(kafkas, Target::DataDirectory(Writer::Kafka, partitions));
        let segment = target(&["00000000000000000000.log"]).unwrap();
        assert_eq!(segment, Target::Partition);
        for nothing in [&[][..], &["hosts", "passwd", "init.d/"]] {
            let error = target(nothing).unwrap_err();
            assert!(matches!(error, InspectError::NoLog { .. }), "{error}");
        }
    }

    #[test]
    fn directories_of_partitions_are_known_by_name() {
        for name in ["a-0", "__consumer_offsets-49", "a-b-7"] {
            assert!(is_partition(Path::new(name)), "{name}");
        }
        for name in ["dump", "a-", "-0", "a-0.deleted", "a-x"] {
            assert!(!is_partition(Path::new(name)), "{name}");
        }
    }
}
