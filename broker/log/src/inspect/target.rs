//! [`Target`]: what a path given to inspection is.

use std::path::{Path, PathBuf};

use millstream_proto::{Offset, TopicPartition};

use super::InspectError;
use crate::{
    io::LogIo,
    layout::{FileKind, PARTITION_METADATA},
};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A data directory; its partitions' directories, in order of name.
    DataDirectory(Vec<PathBuf>),
    /// A partition's directory.
    Partition,
    /// A file of a segment.
    SegmentFile(FileKind, Offset),
    /// Any other file.
    File,
}

impl Target {
    /// Looks at a path. A directory that is no partition's counts as a data directory.
    ///
    /// # Errors
    /// Whatever the system says.
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
        if entries
            .iter()
            .any(|entry| !entry.is_dir && of_partition(&entry.name))
        {
            return Ok(Self::Partition);
        }
        let partitions = entries
            .into_iter()
            .filter(|entry| entry.is_dir && is_partition(&entry.name));
        Ok(Self::DataDirectory(
            partitions.map(|entry| path.join(entry.name)).collect(),
        ))
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
