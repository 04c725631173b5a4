//! Rolling to a new segment, and reserving blocks in the active one.

use std::{io, sync::Arc};

use millstream_proto::Offset;

use crate::{
    config::LogConfig,
    error::StorageError,
    hooks,
    index::AbortedTransaction,
    io::{LogFile, OpenMode},
    layout::FileKind,
    reserve::is_full_error,
    segment::Segment,
};

use super::{
    PartitionLog,
    append::Origin,
    checkpoint::Sealing,
    writer::{OpenWriter, WriterGuard},
};

/// First reservation of blocks; later ones double up to the largest.
const ALLOCATION_BYTES_MIN: u64 = 64 << 10;
/// Largest reservation beyond the published bytes.
const ALLOCATION_BYTES_MAX: u64 = 16 << 20;
/// Largest segment: positions and relative offsets in its indexes have 31 bits.
const SEGMENT_SPAN_MAX: u64 = i32::MAX.unsigned_abs() as u64;
/// Sealed segments that may wait for the background thread before it is woken.
const SEALING_MAX: usize = 4;

impl OpenWriter {
    /// Whether a batch needs a new segment. An empty one takes any batch.
    pub(super) fn must_roll(
        &self,
        config: &LogConfig,
        size_bytes: u64,
        last_offset: Offset,
        now_ms: i64,
    ) -> bool {
        let active = self.active.meta();
        if active.size_bytes == 0 {
            return false;
        }
        let span = last_offset.get().abs_diff(active.base_offset.get());
        active.size_bytes + size_bytes > u64::from(config.segment_bytes).min(SEGMENT_SPAN_MAX)
            || span > SEGMENT_SPAN_MAX
            || self.is_due(config, now_ms)
    }

    /// Whether the active segment is older than `segment.ms` (or, compacted, `max.compaction.lag.ms`), by the broker's clock: record
    /// timestamps may lie years back.
    pub(super) fn is_due(&self, config: &LogConfig, now_ms: i64) -> bool {
        self.active.size_bytes() > 0
            && self.active_since_ms.is_some_and(|since_ms| {
                u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0) >= config.roll_ms()
            })
    }
}

impl PartitionLog {
    /// Rolls the active segment when `segment.ms` says so. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn roll_if_due(&self, now_ms: i64) -> Result<bool, StorageError> {
        if !self.view().is_opened() {
            return Ok(false);
        }
        let config = self.config();
        let mut writer = self.writer()?;
        writer.active_since_ms.get_or_insert(now_ms);
        if !writer.is_due(&config, now_ms) {
            return Ok(false);
        }
        self.roll(&mut writer)?;
        Ok(true)
    }

    /// Seals the active segment and goes on with a new, empty one at the log's end.
    pub(super) fn roll(&self, writer: &mut WriterGuard<'_>) -> Result<(), StorageError> {
        let base_offset = self.positions().log_end;
        let old = Arc::clone(&writer.active);
        let new = self.create_segment(base_offset)?;
        hooks::reached(hooks::Phase::Roll);
        if let Err(error) = old.seal_indexes().and_then(|()| old.release_reserved()) {
            new.remove_files();
            return Err(self.write_failed("seal", &old.log_path(), error));
        }
        let checksum = writer.checksum.take().map(crc32fast::Hasher::finalize);
        let producers = Arc::new(writer.producers.clone());
        let waiting = self.seal_later(Sealing {
            segment: old,
            checksum,
            end_offset: base_offset,
            producers,
        });
        if waiting > SEALING_MAX {
            self.directory.background.wake();
        }
        writer.switch_to(Arc::clone(&new));
        self.flush.directory_changed();
        self.publish(|view| {
            let mut segments = view.segments.as_ref().clone();
            segments.push(new);
            view.segments = Arc::new(segments);
        });
        Ok(())
    }

    pub(super) fn create_segment(&self, base_offset: Offset) -> Result<Arc<Segment>, StorageError> {
        Segment::create(&self.segment_deps(), base_offset).map_err(|error| {
            let path = FileKind::Log.path(&self.path, base_offset);
            self.write_failed("create", &path, error)
        })
    }

    /// Reserves blocks up to `end` and somewhat beyond, so that a full disk is known before anything
    /// is written.
    pub(super) fn allocate(
        &self,
        writer: &mut WriterGuard<'_>,
        file: &dyn LogFile,
        config: &LogConfig,
        end: u64,
        origin: Origin,
    ) -> Result<(), StorageError> {
        let segment_bytes = u64::from(config.segment_bytes);
        let step = (writer.allocation_step * 2).clamp(ALLOCATION_BYTES_MIN, ALLOCATION_BYTES_MAX);
        let wanted = if config.preallocate {
            segment_bytes
        } else {
            (end.saturating_add(step)).min(segment_bytes)
        }
        .max(end);
        let path = writer.active.log_path();
        match self.reserve_blocks(file, wanted, end, origin) {
            Ok(allocated_bytes) => {
                writer.allocated_bytes = allocated_bytes;
                writer.allocation_step = step;
                Ok(())
            }
            Err(error) => Err(self.write_failed("reserve blocks in", &path, error)),
        }
    }

    fn reserve_blocks(
        &self,
        file: &dyn LogFile,
        wanted: u64,
        end: u64,
        origin: Origin,
    ) -> io::Result<u64> {
        match file.allocate(wanted) {
            Ok(()) => Ok(wanted),
            // The file system cannot reserve: a full disk then shows in the write itself.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(u64::MAX),
            Err(error) if is_full_error(&error) => {
                match origin {
                    Origin::Client => file.allocate(end)?,
                    Origin::Coordinator => self.directory.with_reserve(|| file.allocate(end))?,
                }
                Ok(end)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds an aborted transaction to the active segment's index and its file.
    pub(super) fn index_aborted(
        &self,
        segment: &Arc<Segment>,
        aborted: AbortedTransaction,
    ) -> Result<(), StorageError> {
        let path = segment.path_of(FileKind::TransactionIndex);
        let entry = segment
            .with_transactions(|index| {
                let position = index.len();
                index
                    .push(aborted)
                    .map(|()| (position, index.encode_from(position)))
            })
            .and_then(|pushed| pushed.map_err(io::Error::other));
        let written = entry.and_then(|(position, bytes)| {
            let entry_bytes = crate::index::TransactionIndex::ENTRY_BYTES;
            let start = u64::try_from(position * entry_bytes).map_err(io::Error::other)?;
            self.directory.with_reserve(|| {
                let file = self.directory.io().open(&path, OpenMode::Create)?;
                file.write_all_at(&[io::IoSlice::new(&bytes)], start)
            })
        });
        written.map_err(|error| self.write_failed("write", &path, error))
    }
}
