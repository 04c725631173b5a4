//! [`SegmentIndexes`]: the offset and time index of one segment as batches are appended.
//!
//! One rule for the live log, for recovery and for offline repair: a batch gets an entry once more
//! than `interval_bytes` were appended since the entry before. So indexes rebuilt from a `.log`
//! equal those written beside it.

use std::{
    io::{self, IoSlice},
    path::Path,
};

use millstream_proto::Offset;

use super::{IndexError, OffsetIndex, TimeIndex};
use crate::{
    frame,
    io::{LogFile, LogIo},
    layout::FileKind,
    segment_meta::{NO_TIMESTAMP, SegmentMeta},
};

/// Offset and time index of one segment, with what was not yet written to their files.
#[derive(Debug, Clone)]
pub struct SegmentIndexes {
    /// Offset index.
    pub offset: OffsetIndex,
    /// Time index.
    pub time: TimeIndex,
    interval_bytes: u64,
    bytes_since_entry: u64,
    max_timestamp_ms: i64,
    max_timestamp_offset: Offset,
    offset_written: usize,
    time_written: usize,
}

impl SegmentIndexes {
    /// Indexes of a segment without batches.
    #[must_use]
    pub const fn new(base_offset: Offset, interval_bytes: u64) -> Self {
        Self {
            offset: OffsetIndex::new(base_offset),
            time: TimeIndex::new(base_offset),
            interval_bytes,
            bytes_since_entry: 0,
            max_timestamp_ms: NO_TIMESTAMP,
            max_timestamp_offset: base_offset,
            offset_written: 0,
            time_written: 0,
        }
    }

    /// Reads both files of a segment, to go on appending to it or to look up in it. Entries past
    /// the segment's end are dropped; a missing file counts as an empty index.
    ///
    /// # Errors
    /// `InvalidData` when a file does not decode (rebuild it then), whatever the system says.
    pub fn load(
        io: &dyn LogIo,
        dir: &Path,
        meta: &SegmentMeta,
        interval_bytes: u64,
    ) -> io::Result<Self> {
        let read = |kind: FileKind| {
            frame::read_file(io, &kind.path(dir, meta.base_offset)).map(Option::unwrap_or_default)
        };
        let invalid = |error: IndexError| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut offset = OffsetIndex::decode(meta.base_offset, &read(FileKind::OffsetIndex)?)
            .map_err(invalid)?;
        let mut time =
            TimeIndex::decode(meta.base_offset, &read(FileKind::TimeIndex)?).map_err(invalid)?;
        let (offset_written, time_written) = (offset.len(), time.len());
        offset.truncate(meta.size_bytes);
        time.truncate(meta.end_offset());
        let indexed = offset.last().map_or(0, |entry| u64::from(entry.position));
        Ok(Self {
            offset_written: offset_written.min(offset.len()),
            time_written: time_written.min(time.len()),
            offset,
            time,
            interval_bytes,
            bytes_since_entry: meta.size_bytes.saturating_sub(indexed),
            max_timestamp_ms: meta.max_timestamp_ms,
            max_timestamp_offset: meta.max_timestamp_offset,
        })
    }

    /// Takes a batch into account that starts at `position`.
    ///
    /// # Errors
    /// When the batch does not come after those before it; the indexes are unchanged then.
    pub fn add_batch(
        &mut self,
        last_offset: Offset,
        position: u64,
        size_bytes: u64,
        max_timestamp_ms: i64,
    ) -> Result<(), IndexError> {
        if max_timestamp_ms > self.max_timestamp_ms {
            self.max_timestamp_ms = max_timestamp_ms;
            self.max_timestamp_offset = last_offset;
        }
        if self.bytes_since_entry > self.interval_bytes {
            self.offset.push(last_offset, position)?;
            self.add_time_entry()?;
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += size_bytes;
        Ok(())
    }

    /// Takes bytes into account that hold no readable batch but stay in the file.
    pub const fn skip(&mut self, size_bytes: u64) {
        self.bytes_since_entry += size_bytes;
    }

    /// Adds the time entry that a segment gets when it is sealed or the log is closed.
    ///
    /// # Errors
    /// When batches went backwards.
    pub fn seal(&mut self) -> Result<(), IndexError> {
        self.add_time_entry()
    }

    fn add_time_entry(&mut self) -> Result<(), IndexError> {
        if self.max_timestamp_ms != NO_TIMESTAMP {
            self.time
                .push(self.max_timestamp_ms, self.max_timestamp_offset)?;
        }
        Ok(())
    }

    /// How many entries of one of the files wait for [`Self::write_pending`].
    #[must_use]
    pub fn pending(&self) -> usize {
        let offsets = self.offset.len().saturating_sub(self.offset_written);
        offsets.max(self.time.len().saturating_sub(self.time_written))
    }

    /// Says that both files hold what is in memory.
    pub fn note_written(&mut self) {
        self.offset_written = self.offset.len();
        self.time_written = self.time.len();
    }

    /// Appends the entries that are not yet in the files.
    ///
    /// # Errors
    /// Whatever the system says; the entries stay pending.
    pub fn write_pending(
        &mut self,
        offset_file: &dyn LogFile,
        time_file: &dyn LogFile,
    ) -> io::Result<()> {
        append(
            offset_file,
            &self.offset.encode_from(self.offset_written),
            self.offset_written * OffsetIndex::ENTRY_BYTES,
        )?;
        self.offset_written = self.offset.len();
        append(
            time_file,
            &self.time.encode_from(self.time_written),
            self.time_written * TimeIndex::ENTRY_BYTES,
        )?;
        self.time_written = self.time.len();
        Ok(())
    }

    /// Replaces both files by what is in memory, for instance after a rebuild or a truncation.
    /// Hints need no fsync.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn rewrite(
        &mut self,
        offset_file: &dyn LogFile,
        time_file: &dyn LogFile,
    ) -> io::Result<()> {
        offset_file.set_len(0)?;
        time_file.set_len(0)?;
        self.offset_written = 0;
        self.time_written = 0;
        self.write_pending(offset_file, time_file)
    }
}

fn append(file: &dyn LogFile, bytes: &[u8], position: usize) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let position = u64::try_from(position).map_err(io::Error::other)?;
    file.write_all_at(&[IoSlice::new(bytes)], position)
}
