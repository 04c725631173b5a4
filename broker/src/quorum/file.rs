//! Files of the metadata directory: which there are, how they are read whole, and why they cannot be.

use std::{
    io,
    path::{Path, PathBuf},
};

use millstream_log::{
    frame::LoadError,
    io::{LogIo, OpenMode},
};
use millstream_proto::metadata_record::{
    FileKind, FileStart, FrameError, HeaderError, WireError, file::VERSION,
};

/// End of the name of a snapshot until it is whole.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Why the metadata log cannot be opened. No data is deleted on account of any of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Committed bytes have changed.
    #[error("corrupt metadata file {path} at byte {position}: {reason}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Written by a newer build.
    #[error("{path} at byte {position}: {source}", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is newer.
        source: WireError,
    },
    /// The file as a whole has a newer layout.
    #[error("metadata file {path} has version {found}, this build reads up to {VERSION}", path = path.display())]
    NewerFile {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// Committed records are gone.
    #[error("metadata log {path} ends at index {found}, it was committed up to {committed}", path = path.display())]
    Lost {
        /// The directory.
        path: PathBuf,
        /// Index of the last record that is there.
        found: u64,
        /// Index of the last one that was committed.
        committed: u64,
    },
    /// What says how far the log was committed says nothing any more.
    #[error(transparent)]
    Witness(LoadError),
    /// A file that must be there is not.
    #[error("metadata directory {path} misses the records from index {index} on", path = path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// First index that no file holds.
        index: u64,
    },
}

impl OpenError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(super) fn corrupt(path: &Path, position: usize, reason: impl ToString) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            position: position as u64,
            reason: reason.to_string(),
        }
    }

    pub(super) fn frame(path: &Path, position: usize, error: FrameError) -> Self {
        Self::corrupt(path, position, error)
    }

    pub(super) fn wire(path: &Path, position: usize, source: WireError) -> Self {
        if source.is_newer() {
            Self::Newer {
                path: path.to_path_buf(),
                position: position as u64,
                source,
            }
        } else {
            Self::corrupt(path, position, source)
        }
    }
}

/// Path of the file that begins at (log) or holds everything up to (snapshot) `index`.
pub(super) fn path(kind: FileKind, dir: &Path, index: u64) -> PathBuf {
    dir.join(kind.name(index))
}

/// Checks the header of a file.
///
/// # Errors
/// Another file, another kind, a newer version.
pub(super) fn check_header(
    path: &Path,
    kind: FileKind,
    bytes: &[u8],
) -> Result<FileStart, OpenError> {
    kind.check_header(bytes).map_err(|error| match error {
        HeaderError::Newer { found } => OpenError::NewerFile {
            path: path.to_path_buf(),
            found,
        },
        error => OpenError::corrupt(path, 0, error),
    })
}

/// Reads a whole file.
///
/// # Errors
/// Whatever the system says.
pub(super) fn read(io: &dyn LogIo, path: &Path) -> Result<Vec<u8>, OpenError> {
    let read = || {
        let file = io.open(path, OpenMode::Read)?;
        let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    read().map_err(OpenError::io("read", path))
}

/// The files of a metadata directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// First indexes of the logs, ascending.
    pub(super) logs: Vec<u64>,
    /// Indexes of the snapshots, ascending.
    pub(super) snapshots: Vec<u64>,
    /// Temporary files that a crash left.
    pub(super) temporary: Vec<PathBuf>,
}

/// Lists a metadata directory; other files in it are left alone.
///
/// # Errors
/// [`OpenError::Missing`] where the directory itself is, whatever the system says.
pub(super) fn list(io: &dyn LogIo, dir: &Path) -> Result<Listing, OpenError> {
    let entries = io.list_dir(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing {
            path: dir.to_path_buf(),
            index: 1,
        },
        _ => OpenError::io("list", dir)(error),
    })?;
    let mut listing = Listing::default();
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        let name = entry.name.to_string_lossy();
        let stem = name.strip_suffix(TEMPORARY_SUFFIX);
        match FileKind::parse(stem.unwrap_or(&name)) {
            Some((FileKind::Log, index)) if stem.is_none() => listing.logs.push(index),
            Some((FileKind::Snapshot, index)) if stem.is_none() => listing.snapshots.push(index),
            Some((FileKind::Snapshot, _)) => listing.temporary.push(dir.join(&entry.name)),
            _ => {}
        }
    }
    listing.logs.sort_unstable();
    listing.snapshots.sort_unstable();
    Ok(listing)
}
