//! Snapshots: the records that rebuild an image, in one file that replaces the log before it.
//!
//! Written beside, synced, renamed, directory synced; so a file under the final name is whole, and
//! anything wrong with it is damage.

use std::path::Path;

use millstream_log::io::{LogIo, OpenMode};
use millstream_proto::metadata_record::{
    Entry, FileKind, FileStart, entry, file::HEADER_BYTES, frame,
};

use super::{
    file::{self, OpenError},
    image::MetadataImage,
};

/// Records per frame: keeps a frame far below its largest size.
const RECORDS_PER_FRAME: usize = 256;

/// The bytes of an image's snapshot.
///
/// # Errors
/// The size in bytes of a group of records that fits in no frame.
pub(super) fn encode(image: &MetadataImage) -> Result<Vec<u8>, usize> {
    let records = image.to_records();
    let mut bytes = FileKind::Snapshot.header();
    for group in records.chunks(RECORDS_PER_FRAME) {
        bytes.extend(entry::encode(image.index(), image.term(), group)?);
    }
    let end = entry::encode_snapshot_end(image.index(), image.term(), records.len() as u64);
    bytes.extend(end);
    Ok(bytes)
}

/// Writes a snapshot durably under its final name.
///
/// # Errors
/// Whatever the system says; the snapshots before are as they were.
pub(super) fn store(io: &dyn LogIo, dir: &Path, index: u64, bytes: &[u8]) -> std::io::Result<()> {
    let path = file::path(FileKind::Snapshot, dir, index);
    let temporary = path.with_extension("snapshot.tmp");
    let file = io.open(&temporary, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&[std::io::IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    io.rename(&temporary, &path)?;
    io.sync_dir(dir)
}

/// Loads the snapshot of that index.
///
/// # Errors
/// [`OpenError::Corrupt`], [`OpenError::Newer`], whatever the system says.
pub(super) fn load(io: &dyn LogIo, dir: &Path, index: u64) -> Result<MetadataImage, OpenError> {
    let path = file::path(FileKind::Snapshot, dir, index);
    let bytes = file::read(io, &path)?;
    if file::check_header(&path, FileKind::Snapshot, &bytes)? == FileStart::Unwritten {
        return Err(OpenError::corrupt(&path, 0, "header is missing"));
    }
    decode(&path, index, &bytes)
}

fn decode(path: &Path, index: u64, bytes: &[u8]) -> Result<MetadataImage, OpenError> {
    let mut image = MetadataImage::default();
    let mut position = HEADER_BYTES;
    let mut count = 0;
    loop {
        let rest = bytes.get(position..).unwrap_or_default();
        let (frame, size) =
            frame::decode(rest).map_err(|error| OpenError::frame(path, position, error))?;
        if frame.index != index {
            let reason = format!("frame has index {}, expected {index}", frame.index);
            return Err(OpenError::corrupt(path, position, reason));
        }
        let entry = entry::decode(&frame).map_err(|e| OpenError::wire(path, position, e))?;
        match entry {
            Entry::Records(records) => {
                count += records.len() as u64;
                records
                    .iter()
                    .try_for_each(|record| image.apply(record))
                    .map_err(|error| OpenError::corrupt(path, position, error))?;
            }
            Entry::SnapshotEnd { records } if records == count && size == rest.len() => {
                image.advance_to(index, frame.term);
                return Ok(image);
            }
            Entry::SnapshotEnd { records } => {
                let reason = format!("snapshot ends after {count} records, expected {records}");
                return Err(OpenError::corrupt(path, position, reason));
            }
        }
        position += size;
    }
}
