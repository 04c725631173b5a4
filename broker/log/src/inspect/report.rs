//! [`Report`]: what [`verify`](super::verify) found, and [`Finding`]s: each thing that is wrong.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use millstream_proto::Offset;

/// Findings kept with their text; further ones are only counted.
const FINDINGS_MAX: usize = 1000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which file.
    pub file: PathBuf,
    /// At which byte of it, where that is known.
    pub position: Option<u64>,
    /// At which record offset, where that is known.
    pub offset: Option<Offset>,
    /// What is wrong, with what was expected and found.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (offset {offset})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// What was looked at, and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Partition directories.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Whole batches read.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of `.log` files read.
    pub log_bytes: u64,
    /// Other files checked.
    pub other_files: u64,
    /// Bytes behind a segment's logical end, left by a truncation: not wrong, and never served.
    pub stale_bytes: u64,
    /// What is wrong, at most a thousand of them.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_dropped: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_dropped += 1;
        }
    }

    /// A finding about a file as a whole.
    pub(super) fn add_file(&mut self, file: &Path, reason: impl fmt::Display) {
        let file = file.to_path_buf();
        self.add(Finding {
            file,
            position: None,
            offset: None,
            reason: reason.to_string(),
        });
    }

    /// A file or directory that must be there.
    pub(super) fn add_missing(&mut self, path: &Path) {
        self.add_file(path, "it is missing");
    }

    /// A finding at a byte of a file.
    pub(super) fn add_at(&mut self, file: &Path, position: u64, reason: impl fmt::Display) {
        let (file, position) = (file.to_path_buf(), Some(position));
        self.add(Finding {
            file,
            position,
            offset: None,
            reason: reason.to_string(),
        });
    }
}

/// Why nothing can be said of a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The system failed.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing that could be checked.
    #[error("{path} holds no log: neither a data directory's files nor a partition's", path = path.display())]
    NoLog {
        /// The directory.
        path: PathBuf,
    },
}

impl InspectError {
    /// For `map_err`.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
