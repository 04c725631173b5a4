//! What the broker keeps beside the partitions: its identity and the metadata log, by checksum.
//!
//! What the records say is the broker's affair: here only the frames of its files are walked.
//!
//! ```text
//! identity              a framed file like those of partitions
//! metadata/N.log        "MILLMETA" | version u16 | kind u16 | CRC-32 of those u32 | frames
//! metadata/N.snapshot   the same
//! frame   | length u32 | CRC-32 u32 | index u64, term u64, type u16, version u16 | payload | mark |
//! ```
//! Big-endian. The CRC covers the length and everything behind it; the mark fills the frame up to a
//! multiple of 8 bytes, at least one, each byte being their number.

use std::path::Path;

use bytes::Buf;

use super::super::{InspectError, Report, dump::read};
use crate::{frame::FrameKind, io::LogIo};

/// The frame of the directory's identity, in any version.
const IDENTITY: FrameKind = FrameKind {
    id: 100,
    version: u16::MAX,
    name: "directory identity",
};
const IDENTITY_FILE: &str = "identity";
const DIRECTORY: &str = "metadata";
const MAGIC: &[u8; 8] = b"MILLMETA";
const FILE_HEADER_BYTES: usize = 16;
const FRAME_HEADER_BYTES: usize = 28;
/// Bytes of a frame's header before what the CRC covers beside the length.
const FRAME_PREFIX_BYTES: usize = 8;
const ALIGNMENT_BYTES: usize = 8;

/// Checks identity and metadata log of a data directory, where there are any.
pub(super) fn check(io: &dyn LogIo, dir: &Path, report: &mut Report) -> Result<(), InspectError> {
    let identity = dir.join(IDENTITY_FILE);
    if io.metadata(&identity).is_ok() {
        report.other_files += 1;
        if let Err(error) = IDENTITY.decode(&read(io, &identity)?) {
            report.add_file(&identity, error);
        }
    }
    let metadata = dir.join(DIRECTORY);
    if io.metadata(&metadata).is_err() {
        return Ok(());
    }
    for entry in io
        .list_dir(&metadata)
        .map_err(InspectError::at(&metadata))?
    {
        let extension = entry
            .name
            .extension()
            .and_then(|extension| extension.to_str());
        if !entry.is_dir && matches!(extension, Some("log" | "snapshot")) {
            let path = metadata.join(&entry.name);
            report.other_files += 1;
            check_file(&path, &read(io, &path)?, report);
        }
    }
    Ok(())
}

fn check_file(path: &Path, bytes: &[u8], report: &mut Report) {
    let kind = if path.extension().is_some_and(|extension| extension == "log") {
        1
    } else {
        2
    };
    let Some((header, mut rest)) = bytes.split_at_checked(FILE_HEADER_BYTES) else {
        report.add_at(path, 0, format!("it has {} bytes, no header", bytes.len()));
        return;
    };
    if !is_header(header, kind) {
        report.add_at(path, 0, "its header does not decode");
    }
    while !rest.is_empty() {
        let position = (bytes.len() - rest.len()) as u64;
        match frame_bytes(rest).and_then(|size| rest.split_at_checked(size)) {
            Some((_, next)) => rest = next,
            None => {
                let left = rest.len();
                let reason = format!("no frame with a right CRC in the last {left} bytes");
                report.add_at(path, position, reason);
                return;
            }
        }
    }
}

fn is_header(mut header: &[u8], kind: u16) -> bool {
    let expected = crc32fast::hash(header.get(..FILE_HEADER_BYTES - 4).unwrap_or_default());
    let mut magic = [0; MAGIC.len()];
    header.copy_to_slice(&mut magic);
    let _version = header.get_u16();
    magic == *MAGIC && header.get_u16() == kind && header.get_u32() == expected
}

/// Bytes of the frame at the start, if it is whole and right.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let mut fields = bytes;
    let length = fields.try_get_u32().ok()?;
    let expected = fields.try_get_u32().ok()?;
    let unmarked = FRAME_HEADER_BYTES.checked_add(usize::try_from(length).ok()?)?;
    let size = unmarked.checked_add(ALIGNMENT_BYTES - unmarked % ALIGNMENT_BYTES)?;
    let covered = bytes.get(FRAME_PREFIX_BYTES..size)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_be_bytes());
    hasher.update(covered);
    (hasher.finalize() == expected).then_some(size)
}

#[cfg(test)]
mod tests {
    //! Bytes written out by hand.

    use super::*;
    use crate::io::{MemoryIo, OpenMode};
    use std::io::IoSlice;

    fn file(kind: u16) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        for payload in [&b"first"[..], b"", b"of twenty bytes, all"] {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let mut covered = vec![3; 20];
            covered.extend_from_slice(payload);
            let mark = 8 - (FRAME_PREFIX_BYTES + covered.len()) % 8;
            covered.extend(std::iter::repeat_n(u8::try_from(mark).unwrap(), mark));
            let crc = crc32fast::hash(&[&length[..], &covered].concat());
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(&crc.to_be_bytes());
            bytes.extend_from_slice(&covered);
        }
        bytes
    }

    fn put(io: &MemoryIo, path: &str, bytes: &[u8]) {
        let file = io.open(Path::new(path), OpenMode::Create).unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
    }

    fn report(io: &MemoryIo) -> Report {
        let mut report = Report::default();
        check(io, Path::new("/data"), &mut report).unwrap();
        report
    }

    #[test]
    fn every_flipped_bit_and_cut_of_metadata_is_reported() {
        let io = MemoryIo::new();
        io.create_dir_all(Path::new("/data/metadata")).unwrap();
        assert!(report(&io).is_intact());
        let files = [
            ("/data/metadata/00000000000000000001.log", file(1)),
            ("/data/metadata/00000000000000000003.snapshot", file(2)),
            ("/data/identity", IDENTITY.encode(b"who").unwrap()),
        ];
        for (path, bytes) in &files {
            put(&io, path, bytes);
        }
        let intact = report(&io);
        assert!(intact.is_intact() && intact.other_files == 3, "{intact:?}");
        for (path, good) in &files {
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                put(&io, path, &bad);
                assert!(!report(&io).is_intact(), "{path}: bit {bit}");
            }
            put(&io, path, good);
        }
        let (path, good) = &files[0];
        let handle = io.open(Path::new(path), OpenMode::Write).unwrap();
        handle.set_len(good.len() as u64 - 1).unwrap();
        assert!(!report(&io).is_intact());
    }
}
