//! Files of the metadata directory: their names, their header, and how they are read whole.
//!
//! ```text
//! metadata/
//!   00000000000000000001.log        frames from index 1 on
//!   00000000000000004711.snapshot   everything up to index 4711
//!   00000000000000004712.log        frames after that snapshot
//!
//! header:  | "MILLMETA" | version u16 | kind u16 (1 log, 2 snapshot) | CRC-32 of those u32 |
//! ```

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut};
use millstream_log::{
    frame::LoadError,
    io::{LogIo, OpenMode},
};

use super::{frame::FrameError, wire::WireError};

/// Bytes before the first frame.
pub(super) const HEADER_BYTES: usize = 16;

/// Newest file version that this build reads, and the one it writes.
const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"MILLMETA";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Log,
    Snapshot,
}

impl FileKind {
    const fn number(self) -> u16 {
        match self {
            Self::Log => 1,
            Self::Snapshot => 2,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Snapshot => "snapshot",
        }
    }

    /// Path of the file that begins at (log) or holds everything up to (snapshot) `index`.
    pub(super) fn path(self, dir: &Path, index: u64) -> PathBuf {
        dir.join(format!("{index:020}.{}", self.extension()))
    }

    /// The header of such a file.
    pub(super) fn header(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u16(self.number());
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32(checksum);
        bytes
    }
}

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

/// What the start of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Whole,
    /// The file was created and its header never written: no frame was.
    Unwritten,
}

/// Checks the header of a file.
///
/// # Errors
/// Another file, another kind, a newer version.
pub(super) fn check_header(path: &Path, kind: FileKind, bytes: &[u8]) -> Result<Header, OpenError> {
    let is_blank = bytes.iter().all(|byte| *byte == 0);
    if bytes.len() < HEADER_BYTES || (is_blank && bytes.len() == HEADER_BYTES) {
        return Ok(Header::Unwritten);
    }
    let (mut header, _) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or_else(|| OpenError::corrupt(path, 0, "header is cut off"))?;
    let expected = crc32fast::hash(header.get(..HEADER_BYTES - 4).unwrap_or_default());
    let magic = header.split_off(..MAGIC.len()).unwrap_or_default();
    let (version, number, stored) = (header.get_u16(), header.get_u16(), header.get_u32());
    if magic != MAGIC {
        return Err(OpenError::corrupt(
            path,
            0,
            "header does not start with MILLMETA",
        ));
    }
    if stored != expected {
        let reason = format!("header has CRC-32 {stored:#010x}, its bytes have {expected:#010x}");
        return Err(OpenError::corrupt(path, 0, reason));
    }
    if version > VERSION {
        return Err(OpenError::NewerFile {
            path: path.to_path_buf(),
            found: version,
        });
    }
    if number != kind.number() {
        let reason = format!("header has kind {number}, expected {}", kind.number());
        return Err(OpenError::corrupt(path, 0, reason));
    }
    Ok(Header::Whole)
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
        let Some((stem, extension)) = name.split_once('.') else {
            continue;
        };
        let index = (stem.len() == 20).then(|| stem.parse().ok()).flatten();
        match (index, extension) {
            (Some(index), "log") => listing.logs.push(index),
            (Some(index), "snapshot") => listing.snapshots.push(index),
            (Some(_), "snapshot.tmp") => listing.temporary.push(dir.join(&entry.name)),
            _ => {}
        }
    }
    listing.logs.sort_unstable();
    listing.snapshots.sort_unstable();
    Ok(listing)
}
