//! [`CleanedSegment`]: what will take the place of one or more segments, written beside them.
//!
//! Its files end with `.cleaned` until a swap gives them their names (see [`super::swap`]); a start
//! that finds them without a swap that names them removes them.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_proto::{Offset, record::BatchHeader};

use crate::{
    frame,
    index::{SegmentIndexes, TransactionIndex},
    io::{LogFile, LogIo},
    layout::{CLEANED_SUFFIX, FileKind},
    manifest::{ManifestEntry, SegmentChecksums},
    segment_meta::SegmentMeta,
};

/// Bytes collected before they are written and the disk begins with them: what the flushes of producers
/// queue behind stays small.
const BUFFER_BYTES: usize = 256 << 10;

/// Kinds of files that a swap replaces.
pub(crate) const KINDS: [FileKind; 4] = [
    FileKind::OffsetIndex,
    FileKind::TimeIndex,
    FileKind::TransactionIndex,
    FileKind::Log,
];

/// The name of a segment's file while it is not in its place yet.
pub(crate) fn cleaned_path(kind: FileKind, dir: &Path, base_offset: Offset) -> PathBuf {
    let mut path = kind.path(dir, base_offset).into_os_string();
    path.push(CLEANED_SUFFIX);
    path.into()
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct CleanedSegment<'a> {
    io: &'a dyn LogIo,
    dir: &'a Path,
    file: Arc<dyn LogFile>,
    meta: SegmentMeta,
    indexes: SegmentIndexes,
    buffer: Vec<u8>,
    checksum: crc32fast::Hasher,
    written: u64,
}

/// A segment that is whole under its `.cleaned` names.
#[derive(Debug)]
pub(crate) struct FinishedSegment {
    pub(crate) entry: ManifestEntry,
    pub(crate) file: Arc<dyn LogFile>,
    pub(crate) indexes: SegmentIndexes,
    pub(crate) aborted: TransactionIndex,
}

impl<'a> CleanedSegment<'a> {
    /// Begins it; what a crash left under its names is removed.
    pub(crate) fn create(
        io: &'a dyn LogIo,
        dir: &'a Path,
        base_offset: Offset,
        index_interval_bytes: u64,
    ) -> io::Result<Self> {
        remove(io, dir, base_offset)?;
        let path = cleaned_path(FileKind::Log, dir, base_offset);
        Ok(Self {
            io,
            dir,
            file: frame::create_anew(io, &path)?,
            meta: SegmentMeta::empty(base_offset),
            indexes: SegmentIndexes::new(base_offset, index_interval_bytes),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            checksum: crc32fast::Hasher::new(),
            written: 0,
        })
    }

    /// Adds a batch; returns how many bytes were written for it or for those before.
    pub(crate) fn push(&mut self, batch: &[u8]) -> io::Result<u64> {
        let header = BatchHeader::decode(batch).map_err(io::Error::other)?;
        let size_bytes = u64::try_from(batch.len()).map_err(io::Error::other)?;
        self.indexes
            .add_batch(
                header.last_offset(),
                self.meta.size_bytes,
                size_bytes,
                header.max_timestamp(),
            )
            .map_err(io::Error::other)?;
        self.meta
            .add_batch(header.last_offset(), size_bytes, header.max_timestamp());
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(0);
        }
        self.write_buffer()
    }

    /// Bytes of the batches so far.
    pub(crate) const fn size_bytes(&self) -> u64 {
        self.meta.size_bytes
    }

    /// Bytes of batches that [`CleanedSegment::finish`] will write.
    pub(crate) fn unwritten_bytes(&self) -> u64 {
        u64::try_from(self.buffer.len()).unwrap_or(u64::MAX)
    }

    fn write_buffer(&mut self) -> io::Result<u64> {
        self.file
            .write_all_at(&[IoSlice::new(&self.buffer)], self.written)?;
        self.checksum.update(&self.buffer);
        let bytes = u64::try_from(self.buffer.len()).map_err(io::Error::other)?;
        self.file.begin_write_back(self.written, bytes);
        self.written += bytes;
        self.buffer.clear();
        Ok(bytes)
    }

    /// Writes the rest and the indexes, durably once the directory is synced. `aborted` are the
    /// transactions that markers in the segment abort.
    pub(crate) fn finish(mut self, aborted: TransactionIndex) -> io::Result<FinishedSegment> {
        self.write_buffer()?;
        self.file.sync_data()?;
        self.indexes.seal().map_err(io::Error::other)?;
        let offsets = self.indexes.offset.encode_from(0);
        let times = self.indexes.time.encode_from(0);
        let transactions = aborted.encode_from(0);
        self.write_index(FileKind::OffsetIndex, &offsets)?;
        self.write_index(FileKind::TimeIndex, &times)?;
        if !aborted.is_empty() {
            self.write_index(FileKind::TransactionIndex, &transactions)?;
        }
        self.indexes.note_written();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let checksums = SegmentChecksums {
            log: self.checksum.finalize(),
            offset_index: crc32fast::hash(&offsets),
            time_index: crc32fast::hash(&times),
            transaction_index: crc32fast::hash(&transactions),
            offset_index_bytes: length(&offsets)?,
            time_index_bytes: length(&times)?,
        };
        Ok(FinishedSegment {
            entry: ManifestEntry {
                meta: self.meta,
                checksums,
                sealed: true,
            },
            file: self.file,
            indexes: self.indexes,
            aborted,
        })
    }

    fn write_index(&self, kind: FileKind, bytes: &[u8]) -> io::Result<()> {
        let path = cleaned_path(kind, self.dir, self.meta.base_offset);
        let file = frame::create_anew(self.io, &path)?;
        file.write_all_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_data()
    }
}

/// Removes the files of a cleaned segment that gets no place.
pub(crate) fn remove(io: &dyn LogIo, dir: &Path, base_offset: Offset) -> io::Result<()> {
    for kind in KINDS {
        match io.remove_file(&cleaned_path(kind, dir, base_offset)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
