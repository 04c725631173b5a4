//! [`SegmentCheck`]: one segment, batch by batch.

use std::path::{Path, PathBuf};

use millstream_proto::Offset;

use super::{
    super::{Finding, InspectError, LogScan, ScanError, ScannedBatch, dump::read},
    indexes::{OffsetCheck, TimeCheck},
    partition::PartitionCheck,
};
use crate::{
    index::{IndexError, OffsetIndex, TimeIndex, TransactionIndex},
    layout::FileKind,
    segment_meta::SegmentMeta,
};

/// Bytes that the records of one batch may decompress to, at most as many as one may hold.
const RECORD_BYTES_MAX: usize = i32::MAX as usize;

/// One segment while it is read.
pub(super) struct SegmentCheck {
    path: PathBuf,
    /// Base offset of the next segment.
    end_max: Option<Offset>,
    /// Where the manifest says the segment ends, in bytes.
    logical_end: Option<u64>,
    offset_index: Option<OffsetCheck>,
    time_index: Option<TimeCheck>,
    meta: SegmentMeta,
}

impl SegmentCheck {
    /// Opens the indexes of a segment; those that do not decode are reported.
    pub(super) fn open(
        check: &mut PartitionCheck<'_>,
        base_offset: Offset,
        end_max: Option<Offset>,
        logical_end: Option<u64>,
    ) -> Result<Self, InspectError> {
        let path = |kind: FileKind| kind.path(check.dir, base_offset);
        let (offset_path, time_path) = (path(FileKind::OffsetIndex), path(FileKind::TimeIndex));
        let log_path = path(FileKind::Log);
        let decode = |bytes: &[u8]| OffsetIndex::decode(base_offset, bytes);
        let offset_index = check.open_index(&offset_path, decode)?;
        let decode = |bytes: &[u8]| TimeIndex::decode(base_offset, bytes);
        let time_index = check.open_index(&time_path, decode)?;
        Ok(Self {
            path: log_path,
            end_max,
            logical_end,
            offset_index: offset_index.map(|index| OffsetCheck::new(offset_path, &index)),
            time_index: time_index.map(|index| TimeCheck::new(time_path, &index)),
            meta: SegmentMeta::empty(base_offset),
        })
    }

    /// Reads the segment to its end and returns what it found of it.
    pub(super) fn run(
        mut self,
        check: &mut PartitionCheck<'_>,
    ) -> Result<SegmentMeta, InspectError> {
        check.report.segments += 1;
        let base_offset = self.meta.base_offset;
        let mut scan = LogScan::open(check.io, &self.path)?;
        loop {
            let position = scan.position();
            if self.ends_at(position, check) {
                check.report.stale_bytes += scan.end() - position;
                break;
            }
            match scan.next() {
                None => break,
                Some(Ok(batch)) if self.is_stale(&batch, check) => {
                    check.report.stale_bytes += scan.end() - position;
                    break;
                }
                Some(Ok(batch)) => self.see(&batch, check)?,
                Some(Err(ScanError::Io(source))) => {
                    return Err(InspectError::at(&self.path)(source));
                }
                Some(Err(error @ ScanError::Batch(_))) => {
                    let rest = scan.end() - position;
                    let reason = format!("{error}; the last {rest} bytes were not read further");
                    check.report.add_at(&self.path, position, reason);
                    check.replay.is_complete = false;
                    break;
                }
            }
        }
        check.report.log_bytes += self.meta.size_bytes;
        self.finish(check, base_offset)
    }

    /// Whether the manifest says that the segment ends here although bytes follow.
    fn ends_at(&self, position: u64, check: &PartitionCheck<'_>) -> bool {
        self.logical_end == Some(position) && self.end_max == Some(check.next)
    }

    /// Whether the batch is left over from a truncation: the segment is complete without it.
    fn is_stale(&self, batch: &ScannedBatch, check: &PartitionCheck<'_>) -> bool {
        self.end_max == Some(check.next) && batch.base_offset() == check.next
    }

    fn see(
        &mut self,
        batch: &ScannedBatch,
        check: &mut PartitionCheck<'_>,
    ) -> Result<(), InspectError> {
        let mut problems = Vec::new();
        problems.extend(self.place_problem(batch, check));
        problems.extend(check.epoch_problem(batch));
        match &batch.crc {
            Err(error) => {
                problems.push(error.to_string());
                check.replay.is_complete = false;
            }
            Ok(()) => {
                problems.extend(count_problem(batch, check));
                check.reach_snapshots(batch.base_offset())?;
                problems.extend(check.replay.see(batch).err());
            }
        }
        for reason in problems {
            check.report.add(Finding {
                file: self.path.clone(),
                position: Some(batch.position),
                offset: Some(batch.base_offset()),
                reason,
            });
        }
        if let Some(index) = &mut self.offset_index {
            index.see(batch, check.report);
        }
        if let Some(index) = &mut self.time_index {
            index.see(batch, check.report);
        }
        let size = batch.size_bytes() as u64;
        self.meta
            .add_batch(batch.last_offset(), size, batch.max_timestamp());
        check.report.batches += 1;
        check.report.records += u64::from(batch.record_count());
        if let Some(next) = batch.last_offset().checked_add(1) {
            check.next = next.max(check.next);
        }
        Ok(())
    }

    /// Whether the batch follows the one before and stays before the next segment.
    fn place_problem(&self, batch: &ScannedBatch, check: &PartitionCheck<'_>) -> Option<String> {
        let (base, next) = (batch.base_offset(), check.next);
        let follows = base == next || (base > next && check.compaction.allows_gap_before(base));
        if !follows {
            return Some(format!("batch has base offset {base}, expected {next}"));
        }
        let end_max = self
            .end_max
            .filter(|end_max| batch.last_offset() >= *end_max)?;
        let last = batch.last_offset();
        Some(format!(
            "batch ends with offset {last}, the next segment starts at {end_max}"
        ))
    }

    fn finish(
        self,
        check: &mut PartitionCheck<'_>,
        base_offset: Offset,
    ) -> Result<SegmentMeta, InspectError> {
        if let Some(index) = self.offset_index {
            index.finish(check.report);
        }
        if let Some(index) = self.time_index {
            index.finish(check.report);
        }
        let path = FileKind::TransactionIndex.path(check.dir, base_offset);
        let transactions = check.open_index(&path, TransactionIndex::decode)?;
        check
            .replay
            .check_index(&path, transactions.as_ref(), check.report);
        Ok(self.meta)
    }
}

impl PartitionCheck<'_> {
    /// Decodes an index; `None` where it is missing, and where it is broken, which is reported.
    fn open_index<T>(
        &mut self,
        path: &Path,
        decode: impl FnOnce(&[u8]) -> Result<T, IndexError>,
    ) -> Result<Option<T>, InspectError> {
        if self.io.metadata(path).is_err() {
            return Ok(None);
        }
        self.report.other_files += 1;
        match decode(&read(self.io, path)?) {
            Ok(index) => Ok(Some(index)),
            Err(error) => {
                self.report.add_file(path, error);
                Ok(None)
            }
        }
    }

    /// Whether the batch carries the leader epoch that the history has for its offset.
    fn epoch_problem(&self, batch: &ScannedBatch) -> Option<String> {
        let history = self.epochs.as_ref()?;
        let expected = history
            .epoch_at(batch.base_offset())
            .map_or(-1, |epoch| epoch.0);
        let found = batch.leader_epoch().0;
        (found != expected)
            .then(|| format!("batch has leader epoch {found}, the history has {expected}"))
    }
}

/// Whether the batch holds the records that its header says.
fn count_problem(batch: &ScannedBatch, check: &PartitionCheck<'_>) -> Option<String> {
    let (found, delta) = (batch.record_count(), batch.last_offset_delta());
    let may_lack = check.compaction.covers(batch.last_offset());
    let fits = match u64::from(delta) + 1 {
        all if may_lack => u64::from(found) <= all,
        all => u64::from(found) == all,
    };
    if !fits {
        return Some(format!("batch has {found} records for {delta} + 1 offsets"));
    }
    if !check.options.decode_records {
        return None;
    }
    let mut records = match batch.scan(RECORD_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => return Some(error.to_string()),
    };
    let mut expected = batch.base_offset().get();
    loop {
        match records.start() {
            Err(error) => return Some(error.to_string()),
            Ok(Some(record)) if !may_lack && record.offset.get() != expected => {
                return Some(format!(
                    "record has offset {}, expected {expected}",
                    record.offset
                ));
            }
            Ok(Some(_)) => expected += 1,
            Ok(None) => return None,
        }
    }
}
