//! Files of the metadata log: their names and what they start with.
//!
//! ```text
//! metadata/
//!   00000000000000000001.log        frames from index 1 on
//!   00000000000000004711.snapshot   everything up to index 4711
//!   00000000000000004712.log        frames after that snapshot
//!
//! header:  | "MILLMETA" | version u16 | kind u16 (1 log, 2 snapshot) | CRC-32 of those u32 |
//! ```

use bytes::{Buf, BufMut};

/// Bytes before the first frame.
pub const HEADER_BYTES: usize = 16;

/// Newest file version that this build reads, and the one it writes.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"MILLMETA";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Frames from the index in its name on.
    Log,
    /// The records that make up everything to the index in its name.
    Snapshot,
}

/// What the start of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStart {
    /// Frames may follow.
    Whole,
    /// The file was created and its header never written: no frame was.
    Unwritten,
}

/// Why bytes are no header of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file does not start as one of the metadata log does.
    #[error("header does not start with MILLMETA")]
    Magic,
    /// A bit is wrong somewhere.
    #[error("header has CRC-32 {found:#010x}, its bytes have {expected:#010x}")]
    Checksum {
        /// CRC of the bytes.
        expected: u32,
        /// CRC in the header.
        found: u32,
    },
    /// The file as a whole has a newer layout.
    #[error("header has version {found}, this build reads up to {VERSION}")]
    Newer {
        /// Its version.
        found: u16,
    },
    /// A file of the other kind.
    #[error("header has kind {found}, expected {expected}")]
    Kind {
        /// Number of the kind asked for.
        expected: u16,
        /// The number found.
        found: u16,
    },
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

    /// Name of the file that begins at (log) or holds everything up to (snapshot) `index`.
    #[must_use]
    pub fn name(self, index: u64) -> String {
        format!("{index:020}.{}", self.extension())
    }

    /// Kind and index of a file's name; `None` for every other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<(Self, u64)> {
        let (digits, extension) = name.split_once('.')?;
        let kind = [Self::Log, Self::Snapshot]
            .into_iter()
            .find(|kind| kind.extension() == extension)?;
        let is_index = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        let index = is_index.then(|| digits.parse().ok()).flatten()?;
        Some((kind, index))
    }

    /// The header of such a file.
    #[must_use]
    pub fn header(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u16(self.number());
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32(checksum);
        bytes
    }

    /// Checks the header at the start of a whole file.
    ///
    /// # Errors
    /// Another file, another kind, a newer version.
    pub fn check_header(self, bytes: &[u8]) -> Result<FileStart, HeaderError> {
        let is_blank = bytes.iter().all(|byte| *byte == 0);
        let Some(mut header) = bytes
            .get(..HEADER_BYTES)
            .filter(|_| !(is_blank && bytes.len() == HEADER_BYTES))
        else {
            return Ok(FileStart::Unwritten);
        };
        let expected = crc32fast::hash(header.get(..HEADER_BYTES - 4).unwrap_or_default());
        let magic = header.split_off(..MAGIC.len()).unwrap_or_default();
        let (version, number, found) = (header.get_u16(), header.get_u16(), header.get_u32());
        if magic != MAGIC {
            return Err(HeaderError::Magic);
        }
        if found != expected {
            return Err(HeaderError::Checksum { expected, found });
        }
        if version > VERSION {
            return Err(HeaderError::Newer { found: version });
        }
        if number != self.number() {
            return Err(HeaderError::Kind {
                expected: self.number(),
                found: number,
            });
        }
        Ok(FileStart::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_do_not() {
        for kind in [FileKind::Log, FileKind::Snapshot] {
            assert_eq!(FileKind::parse(&kind.name(4_711)), Some((kind, 4_711)));
        }
        for name in [
            "1.log",
            "00000000000000000001.snapshot.tmp",
            "99999999999999999999.log",
            "+0000000000000000001.log",
            "00000000000000000001",
        ] {
            assert_eq!(FileKind::parse(name), None, "{name}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let good = FileKind::Log.header();
        assert_eq!(FileKind::Log.check_header(&good), Ok(FileStart::Whole));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FileKind::Log.check_header(&bad).is_err(), "bit {bit}");
        }
        let other = FileKind::Snapshot.check_header(&good);
        assert_eq!(
            other,
            Err(HeaderError::Kind {
                expected: 2,
                found: 1
            })
        );
    }

    #[test]
    fn a_file_whose_header_was_never_written_is_told_from_a_damaged_one() {
        for length in 0..HEADER_BYTES {
            let cut = &FileKind::Log.header()[..length];
            assert_eq!(FileKind::Log.check_header(cut), Ok(FileStart::Unwritten));
        }
        let blank = [0; HEADER_BYTES];
        assert_eq!(FileKind::Log.check_header(&blank), Ok(FileStart::Unwritten));
        let longer = [0; HEADER_BYTES + 1];
        assert_eq!(FileKind::Log.check_header(&longer), Err(HeaderError::Magic));
    }
}
