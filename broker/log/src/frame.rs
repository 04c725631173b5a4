//! Framed files: our own small files that carry their kind, version, length and CRC-32.
//!
//! They are replaced as a whole: written beside, fsynced, renamed over, directory fsynced. After
//! any crash the old content or the new one is there, never a mixture. A reader refuses a file of
//! another kind, of a newer version, of another length, or with a flipped bit.
//!
//! ```text
//!  0        4      6         8          12         16
//!  | "MLSF" | kind | version | length   | CRC-32   | payload (length bytes)
//!             u16    u16       u32        u32 over kind, version, length and payload
//! ```
//! Numbers are big-endian; the CRC is the IEEE polynomial (record batches use CRC-32C).

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut};

use crate::io::{LogFile, LogIo, OpenMode};

/// First bytes of every framed file.
pub const MAGIC: [u8; 4] = *b"MLSF";
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 16;
/// A file longer than this is refused before it is read.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// What a framed file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameKind {
    /// Number in the header; one per kind, never reused.
    pub id: u16,
    /// Newest version that this build reads, and the one it writes.
    pub version: u16,
    /// Name for messages.
    pub name: &'static str,
}

/// A framed file that was read: its version and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Version that the file was written in; at most the kind's.
    pub version: u16,
    /// What the writer gave.
    pub payload: Vec<u8>,
}

/// Why bytes are no frame of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Shorter than a header, or than the header says, or longer.
    #[error("{kind} has {found} bytes, expected {expected}")]
    Length {
        /// The kind asked for.
        kind: &'static str,
        /// Bytes by the header (its own size when that is cut off).
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The file does not start as a framed file does.
    #[error("{kind} does not start with MLSF")]
    Magic {
        /// The kind asked for.
        kind: &'static str,
    },
    /// A framed file, but of another kind.
    #[error("{kind} has frame kind {found}, expected {expected}")]
    Kind {
        /// The kind asked for.
        kind: &'static str,
        /// Its number.
        expected: u16,
        /// The number found.
        found: u16,
    },
    /// Written by a newer build.
    #[error("{kind} has version {found}, this build reads up to {newest}")]
    Version {
        /// The kind asked for.
        kind: &'static str,
        /// Newest version that this build reads.
        newest: u16,
        /// The version found.
        found: u16,
    },
    /// A bit is wrong somewhere.
    #[error("{kind} has CRC-32 {found:#010x}, its header says {expected:#010x}")]
    Checksum {
        /// The kind asked for.
        kind: &'static str,
        /// CRC in the header.
        expected: u32,
        /// CRC of the bytes.
        found: u32,
    },
    /// The frame is whole, but its payload does not decode.
    #[error("{kind} has a payload that does not decode: {reason}")]
    Payload {
        /// The kind asked for.
        kind: &'static str,
        /// What does not fit.
        reason: &'static str,
    },
}

/// Why a framed file cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is there and is not what it should be.
    #[error("corrupt file {path}: {source}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FrameError,
    },
    /// The system failed.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FrameKind {
    /// The error for a payload of this kind that does not decode.
    #[must_use]
    pub const fn payload_error(self, reason: &'static str) -> FrameError {
        FrameError::Payload {
            kind: self.name,
            reason,
        }
    }

    /// Frames a payload.
    ///
    /// # Errors
    /// `InvalidInput` above [`PAYLOAD_BYTES_MAX`].
    pub fn encode(self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= PAYLOAD_BYTES_MAX)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{} of {} bytes is too long", self.name, payload.len()),
                )
            })?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.put_slice(&MAGIC);
        bytes.put_u16(self.id);
        bytes.put_u16(self.version);
        bytes.put_u32(length);
        bytes.put_u32(checksum(self.id, self.version, length, payload));
        bytes.put_slice(payload);
        Ok(bytes)
    }

    /// Checks a whole file and hands out its payload.
    ///
    /// # Errors
    /// Whatever does not fit, see [`FrameError`].
    pub fn decode(self, bytes: &[u8]) -> Result<Frame, FrameError> {
        let length_error = |expected| FrameError::Length {
            kind: self.name,
            expected,
            found: bytes.len(),
        };
        let (mut header, payload) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| length_error(HEADER_BYTES))?;
        let mut magic = [0; 4];
        header.copy_to_slice(&mut magic);
        if magic != MAGIC {
            return Err(FrameError::Magic { kind: self.name });
        }
        let (id, version) = (header.get_u16(), header.get_u16());
        let (length, expected) = (header.get_u32(), header.get_u32());
        if usize::try_from(length) != Ok(payload.len()) {
            return Err(length_error(
                usize::try_from(length)
                    .unwrap_or(usize::MAX)
                    .saturating_add(HEADER_BYTES),
            ));
        }
        let found = checksum(id, version, length, payload);
        if found != expected {
            return Err(FrameError::Checksum {
                kind: self.name,
                expected,
                found,
            });
        }
        self.check(id, version)?;
        Ok(Frame {
            version,
            payload: payload.to_vec(),
        })
    }

    fn check(self, id: u16, version: u16) -> Result<(), FrameError> {
        if id != self.id {
            return Err(FrameError::Kind {
                kind: self.name,
                expected: self.id,
                found: id,
            });
        }
        if version > self.version {
            return Err(FrameError::Version {
                kind: self.name,
                newest: self.version,
                found: version,
            });
        }
        Ok(())
    }

    /// Reads a framed file; `None` when there is none.
    ///
    /// # Errors
    /// [`LoadError::Corrupt`] when it is not whole, [`LoadError::Io`] when it cannot be read.
    pub fn load(self, io: &dyn LogIo, path: &Path) -> Result<Option<Frame>, LoadError> {
        let Some(bytes) = read_file(io, path).map_err(|source| LoadError::Io {
            path: path.to_path_buf(),
            source,
        })?
        else {
            return Ok(None);
        };
        self.decode(&bytes)
            .map(Some)
            .map_err(|source| LoadError::Corrupt {
                path: path.to_path_buf(),
                source,
            })
    }

    /// Replaces a framed file durably.
    ///
    /// # Errors
    /// Whatever the system says; the old content or the new one is there.
    pub fn store(self, io: &dyn LogIo, path: &Path, payload: &[u8]) -> io::Result<()> {
        replace_file(io, path, &self.encode(payload)?)
    }
}

fn checksum(id: u16, version: u16, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_be_bytes());
    hasher.update(&version.to_be_bytes());
    hasher.update(&length.to_be_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Reads a small file as a whole; `None` when there is none.
///
/// # Errors
/// `InvalidData` for a file longer than [`PAYLOAD_BYTES_MAX`], whatever the system says.
pub fn read_file(io: &dyn LogIo, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match io.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX + HEADER_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{length} bytes are more than a file of this kind may have"),
        ));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Replaces a small file durably: write beside, fsync, rename, fsync of the directory.
///
/// # Errors
/// Whatever the system says; the old content or the new one is there.
pub fn replace_file(io: &dyn LogIo, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file_pausing(io, path, bytes, || {})
}

/// [`replace_file`] with a call between the write and the rename: where a test has the process die.
///
/// # Errors
/// As [`replace_file`].
pub(crate) fn replace_file_pausing(
    io: &dyn LogIo,
    path: &Path,
    bytes: &[u8],
    written: impl FnOnce(),
) -> io::Result<()> {
    let beside = beside(path);
    let file = create_anew(io, &beside)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    drop(file);
    written();
    io.rename(&beside, path)?;
    io.sync_dir(parent(path))
}

/// Creates a file; one that a crash left is replaced, never written to: what of it failed to be
/// flushed must not mix with the new content.
pub(crate) fn create_anew(io: &dyn LogIo, path: &Path) -> io::Result<Arc<dyn LogFile>> {
    match io.open(path, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            io.remove_file(path)?;
            io.open(path, OpenMode::CreateNew)
        }
        other => other,
    }
}

/// Removes a file durably; no error when there is none. The directory is synced in that case, too: a
/// process that was killed between the two steps has removed the name, and not for good.
///
/// # Errors
/// Whatever the system says.
pub fn remove_file(io: &dyn LogIo, path: &Path) -> io::Result<()> {
    match io.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => io.sync_dir(parent(path)),
    }
}

/// Suffix of the file that a replacement is written to; left over only by a crash.
pub const BESIDE_SUFFIX: &str = ".new";

/// Path of the file that a replacement is written to.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BESIDE_SUFFIX);
    PathBuf::from(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FrameKind = FrameKind {
        id: 99,
        version: 2,
        name: "test frame",
    };

    #[test]
    fn frames_come_back() {
        for payload in [&b""[..], b"x", &[7; 5000]] {
            let frame = KIND.decode(&KIND.encode(payload).unwrap()).unwrap();
            assert_eq!((frame.version, frame.payload.as_slice()), (2, payload));
        }
    }

    #[test]
    fn layout_is_as_drawn() {
        let bytes = KIND.encode(b"abc").unwrap();
        assert_eq!(bytes[..12], *b"MLSF\0\x63\0\x02\0\0\0\x03");
        let crc = crc32fast::hash(&[&bytes[4..12], b"abc"].concat());
        assert_eq!(bytes[12..16], crc.to_be_bytes());
        assert_eq!(&bytes[16..], b"abc");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = KIND.encode(b"payload").unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(KIND.decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_and_every_tail_is_seen() {
        let good = KIND.encode(b"payload").unwrap();
        for length in 0..good.len() {
            assert!(KIND.decode(&good[..length]).is_err(), "cut at {length}");
        }
        assert!(KIND.decode(&[&good[..], b"\0"].concat()).is_err());
    }

    #[test]
    fn other_kinds_and_newer_versions_are_refused_by_name() {
        let other = FrameKind { id: 98, ..KIND };
        let error = other.decode(&KIND.encode(b"").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "test frame has frame kind 99, expected 98"
        );
        let older = FrameKind { version: 1, ..KIND };
        let error = older.decode(&KIND.encode(b"").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "test frame has version 2, this build reads up to 1"
        );
        assert!(KIND.decode(&older.encode(b"").unwrap()).is_ok());
    }
}
