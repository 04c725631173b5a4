//! [`Walk`]: goes over the segments in order and decides what each of them shall be.
//!
//! Reads only. Below the recovery point it looks at headers alone; where those do not fit together
//! it goes over the segment again with every CRC, to find the batch that is wrong.

use std::{io, ops::Range, path::Path};

use millstream_proto::{
    Offset,
    record::{
        Batch, BatchHeader,
        control::{ControlRecord, EndTransactionMarker},
    },
};

use super::{
    CorruptRange, RecoveryError, RecoveryReport,
    damage::{self, Damage},
    inventory::Inventory,
    plan::PlannedSegment,
    recovered::io_error,
    scan::BatchScanner,
};
use crate::{
    epoch::EpochHistory,
    io::{LogIo, OpenMode},
    layout::FileKind,
    producer::ProducerState,
    segment_meta::SegmentMeta,
};

/// Up to this many bytes below the point from which a segment is rewritten, it is rewritten as a
/// whole instead of being split there: repeated kills do not leave a trail of small segments.
const REWRITE_WHOLE_BYTES_MAX: u64 = 1 << 20;
/// Largest control batch that is looked into.
const CONTROL_BYTES_MAX: usize = 4096;

/// What the walk goes by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Below it bad bytes are corruption and nothing is cut.
    pub(super) trusted: Offset,
    /// Whether power was lost: above `trusted` the first bad batch ends the log.
    pub(super) power_lost: bool,
    /// Below it offsets may be missing.
    pub(super) compacted_below: Offset,
    /// Whether batches must agree with the epoch history.
    pub(super) epochs_trusted: bool,
    /// From here on bytes go to new files.
    pub(super) rewrite_from: Option<Offset>,
    /// From here on nothing is kept, as its flush failed.
    pub(super) drop_from: Option<Offset>,
    /// Where the producer state at hand is from.
    pub(super) producers_from: Offset,
    pub(super) index_interval_bytes: u64,
    pub(super) now_ms: i64,
}

/// What the walk has found so far.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    /// Offset that the next batch should have.
    pub(super) next_offset: Offset,
    pub(super) epochs: EpochHistory,
    pub(super) epochs_changed: bool,
    pub(super) producers: ProducerState,
    pub(super) corrupt: Vec<CorruptRange>,
    pub(super) report: RecoveryReport,
}

impl Findings {
    /// Nothing walked yet.
    pub(super) fn new(inventory: &Inventory, report: RecoveryReport) -> Self {
        Self {
            next_offset: Offset::ZERO,
            epochs: inventory.epochs.clone(),
            epochs_changed: false,
            producers: ProducerState::new(),
            corrupt: Vec::new(),
            report,
        }
    }
}

/// Goes over the segments.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) io: &'a dyn LogIo,
    pub(super) dir: &'a Path,
    pub(super) rules: Rules,
    pub(super) found: Findings,
    pub(super) plan: Vec<PlannedSegment>,
    /// Set once the log was ended before the last byte.
    pub(super) is_cut: bool,
}

/// One `.log` to walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct WalkedFile {
    pub(super) base_offset: Offset,
    /// Where the next segment begins: what is at or above it is a stale tail.
    pub(super) next_base: Option<Offset>,
    /// Bytes of the file that count, where the manifest knows.
    pub(super) size_bytes_max: Option<u64>,
    /// Whether a truncation ended it: what is missing behind it is not.
    pub(super) is_truncated: bool,
}

/// How far a segment was walked.
enum Ended {
    /// To its end, or to where the log was cut.
    Done,
    /// Headers do not fit together: the CRCs must tell which is wrong.
    NeedsCrc,
}

impl Walk<'_> {
    /// Walks one file and plans its segment.
    pub(super) fn segment(&mut self, file: WalkedFile) -> Result<(), RecoveryError> {
        let path = FileKind::Log.path(self.dir, file.base_offset);
        let log = self
            .io
            .open(&path, OpenMode::Read)
            .map_err(io_error("open", &path))?;
        let length = log.len().map_err(io_error("stat", &path))?;
        let mut pass = Pass {
            path: &path,
            scanner: BatchScanner::new(&*log, length.min(file.size_bytes_max.unwrap_or(u64::MAX))),
            file,
            verify_all: false,
            unverified: None,
        };
        let before = (self.found.clone(), self.plan.len());
        if matches!(self.pass(&mut pass)?, Ended::NeedsCrc) {
            self.found = before.0;
            self.plan.truncate(before.1);
            self.is_cut = false;
            pass.verify_all = true;
            pass.unverified = None;
            self.pass(&mut pass)?;
        }
        Ok(())
    }

    fn pass(&mut self, pass: &mut Pass<'_>) -> Result<Ended, RecoveryError> {
        let base_offset = pass.file.base_offset;
        self.plan.push(PlannedSegment::walked(
            base_offset,
            Some(base_offset),
            0,
            self.rules.index_interval_bytes,
        ));
        self.found.next_offset = base_offset;
        let mut position = 0;
        while position < pass.scanner.limit() && !self.reached_next(pass) {
            let expected = self.found.next_offset;
            match self
                .judge(pass, position)
                .map_err(io_error("read", pass.path))?
            {
                Ok(header) => {
                    if let Some(reason) = self.must_drop(&header) {
                        self.cut(pass, position, reason)?;
                        return Ok(Ended::Done);
                    }
                    self.split_for_rewrite(position, expected);
                    self.take(pass, position, &header)?;
                    position += u64::try_from(header.size_bytes()).unwrap_or(u64::MAX);
                }
                Err(_) if self.needs_crc(pass, expected)? => return Ok(Ended::NeedsCrc),
                Err(reason) => match self.damage(pass, position, reason)? {
                    Some(after) => position = after,
                    None => return Ok(Ended::Done),
                },
            }
        }
        self.finish(pass, position)
    }

    fn reached_next(&self, pass: &Pass<'_>) -> bool {
        pass.file
            .next_base
            .is_some_and(|next| self.found.next_offset >= next)
    }

    /// Whether headers that do not fit together may be the fault of a batch whose CRC was not
    /// checked: all of them below the recovery point, else the one before.
    fn needs_crc(&self, pass: &mut Pass<'_>, expected: Offset) -> Result<bool, RecoveryError> {
        if pass.verify_all || expected < self.rules.trusted {
            return Ok(!pass.verify_all);
        }
        let Some((position, size_bytes, crc)) = pass.unverified else {
            return Ok(false);
        };
        let fits = pass
            .scanner
            .crc_fits(position, size_bytes, crc)
            .map_err(io_error("read", pass.path))?;
        Ok(!fits)
    }

    /// Whether the bytes at a position are the next batch; else why not.
    fn judge(&self, pass: &mut Pass<'_>, position: u64) -> io::Result<Result<BatchHeader, String>> {
        let header = match pass.scanner.header(position)? {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(reason) = self.fits(pass, position, &header) {
            return Ok(Err(reason));
        }
        let size_bytes = u64::try_from(header.size_bytes()).unwrap_or(u64::MAX);
        let must_verify = pass.verify_all || header.last_offset() >= self.rules.trusted;
        if must_verify && !pass.scanner.crc_fits(position, size_bytes, header.crc())? {
            return Ok(Err(format!(
                "crc does not fit, the header has {:#010x}",
                header.crc()
            )));
        }
        pass.unverified = (!must_verify).then_some((position, size_bytes, header.crc()));
        Ok(Ok(header))
    }

    fn fits(&self, pass: &Pass<'_>, position: u64, header: &BatchHeader) -> Result<(), String> {
        let (expected, found) = (self.found.next_offset, header.base_offset());
        let size_bytes = u64::try_from(header.size_bytes()).unwrap_or(u64::MAX);
        if position.saturating_add(size_bytes) > pass.scanner.limit() {
            return Err(format!(
                "batch of {size_bytes} bytes reaches past the file's end at {}",
                pass.scanner.limit()
            ));
        }
        if found < expected || (found > expected && found > self.rules.compacted_below) {
            return Err(format!("base offset {found}, expected {expected}"));
        }
        if let Some(next) = pass.file.next_base
            && header.last_offset() >= next
        {
            return Err(format!(
                "last offset {}, expected one below the next segment's {next}",
                header.last_offset()
            ));
        }
        if header.last_offset() == Offset::MAX {
            return Err("no offset is left after it".to_owned());
        }
        self.epoch_fits(header)?;
        let trusted = self.rules.trusted;
        if !pass.verify_all && found < trusted && header.last_offset() >= trusted {
            return Err(format!("batch reaches over the recovery point {trusted}"));
        }
        Ok(())
    }

    fn epoch_fits(&self, header: &BatchHeader) -> Result<(), String> {
        let found = header.leader_epoch();
        let expected = if self.rules.epochs_trusted {
            self.found.epochs.epoch_at(header.base_offset())
        } else {
            // An untrusted history can still not run backwards.
            self.found
                .epochs
                .latest()
                .map(|latest| latest.leader_epoch)
                .filter(|latest| {
                    found < *latest && header.base_offset() >= self.rules.compacted_below
                })
        };
        match expected {
            Some(expected) if expected != found => {
                Err(format!("leader epoch {found}, expected {expected}"))
            }
            _ => Ok(()),
        }
    }

    fn must_drop(&self, header: &BatchHeader) -> Option<String> {
        self.rules
            .drop_from
            .filter(|from| header.base_offset() >= *from)
            .map(|from| format!("a flush failed after offset {from}"))
    }

    /// Whether what is at an offset is dropped as its flush failed, be it readable or not.
    fn is_dropped(&self, offset: Offset) -> bool {
        self.rules.drop_from.is_some_and(|from| offset >= from)
    }

    /// From `rewrite_from` on bytes belong into a new file: of a segment of their own, or with the
    /// few that are before them.
    fn split_for_rewrite(&mut self, position: u64, first_offset: Offset) {
        let Some(from) = self.rules.rewrite_from else {
            return;
        };
        let Some(segment) = self.plan.last_mut() else {
            return;
        };
        if first_offset < from || segment.is_rewritten {
            return;
        }
        if position - segment.source_position <= REWRITE_WHOLE_BYTES_MAX {
            segment.is_rewritten = true;
            return;
        }
        let mut rest = PlannedSegment::walked(
            first_offset,
            segment.source,
            position,
            self.rules.index_interval_bytes,
        );
        rest.is_rewritten = true;
        self.plan.push(rest);
    }

    fn take(
        &mut self,
        pass: &mut Pass<'_>,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), RecoveryError> {
        let marker = self
            .replay(pass, position, header)
            .map_err(io_error("read", pass.path))?;
        let segment = self.plan.last_mut().expect("pass() plans one first");
        segment
            .add_batch(header)
            .map_err(|error| io_error("index", pass.path)(io::Error::other(error)))?;
        if let (Some(aborted), Some(walked)) = (marker, &mut segment.walked) {
            walked.aborted.push(aborted);
        }
        if !self.rules.epochs_trusted {
            self.found.epochs_changed |= self
                .found
                .epochs
                .assign(header.leader_epoch(), header.base_offset());
        }
        self.found.next_offset = after(header.last_offset());
        if pass.unverified.is_none() {
            self.found.report.scanned_bytes += u64::try_from(header.size_bytes()).unwrap_or(0);
        }
        Ok(())
    }

    /// Plans a segment that the manifest vouches for.
    pub(super) fn vouched(&mut self, meta: &SegmentMeta) -> Result<(), RecoveryError> {
        if meta.end_offset() > self.rules.producers_from {
            self.replay_only(meta)?;
        }
        self.plan.push(PlannedSegment::vouched(*meta));
        self.found.next_offset = meta.end_offset();
        Ok(())
    }

    /// Plans a segment whose file is another one: it stays as it is, and nothing of it is believed.
    pub(super) fn replaced(&mut self, meta: &SegmentMeta, length: u64, reason: &str) {
        let path = FileKind::Log.path(self.dir, meta.base_offset);
        let offsets = meta.base_offset..meta.end_offset();
        self.corrupt(&path, offsets, 0..length, reason.to_owned());
        self.plan.push(PlannedSegment::vouched(*meta));
    }

    /// Goes over the headers of a segment that the manifest vouches for, for the producers' sake.
    fn replay_only(&mut self, meta: &SegmentMeta) -> Result<(), RecoveryError> {
        let path = FileKind::Log.path(self.dir, meta.base_offset);
        let log = self
            .io
            .open(&path, OpenMode::Read)
            .map_err(io_error("open", &path))?;
        let end = meta.end_offset();
        let mut pass = Pass {
            path: &path,
            scanner: BatchScanner::new(&*log, meta.size_bytes),
            file: WalkedFile {
                base_offset: meta.base_offset,
                next_base: Some(end),
                size_bytes_max: None,
                is_truncated: false,
            },
            verify_all: false,
            unverified: None,
        };
        let read_error = || io_error("read", &path);
        self.found.next_offset = meta.base_offset;
        let mut position = 0;
        while position < meta.size_bytes {
            let expected = self.found.next_offset;
            match self.judge(&mut pass, position).map_err(read_error())? {
                Ok(header) => {
                    self.replay(&mut pass, position, &header)
                        .map_err(read_error())?;
                    self.found.next_offset = after(header.last_offset());
                    position += u64::try_from(header.size_bytes()).unwrap_or(u64::MAX);
                }
                Err(reason) => {
                    let damage = damage::examine(&mut pass.scanner, position, expected..end, false)
                        .map_err(read_error())?;
                    let (next, until) = match damage {
                        Damage::Corrupt { next, position } => (next, position),
                        Damage::Torn => (end, meta.size_bytes),
                    };
                    self.corrupt(&path, expected..next, position..until, reason);
                    position = until;
                }
            }
        }
        Ok(())
    }

    /// Brings the producer state forward; returns a transaction that this batch aborts.
    pub(super) fn replay(
        &mut self,
        pass: &mut Pass<'_>,
        position: u64,
        header: &BatchHeader,
    ) -> io::Result<Option<crate::index::AbortedTransaction>> {
        let base_offset = header.base_offset();
        if !header.has_producer_id() || base_offset < self.rules.producers_from {
            return Ok(None);
        }
        let now_ms = self.rules.now_ms;
        if !header.is_control() {
            self.found.producers.apply(header, base_offset, now_ms);
            return Ok(None);
        }
        Ok(marker(pass, position, header)?.and_then(|marker| {
            self.found
                .producers
                .apply_marker(header, &marker, base_offset, now_ms)
        }))
    }

    /// What becomes of bytes that are not the next batch: returns where to go on, or `None` once
    /// the log was cut there.
    fn damage(
        &mut self,
        pass: &mut Pass<'_>,
        position: u64,
        reason: String,
    ) -> Result<Option<u64>, RecoveryError> {
        let expected = self.found.next_offset;
        if self.is_dropped(expected) {
            self.cut(pass, position, reason)?;
            return Ok(None);
        }
        let is_above = expected >= self.rules.trusted;
        let is_last = pass.file.next_base.is_none();
        // Offsets of one segment span 31 bits: a base offset beyond went bad itself.
        let span_end = pass.file.base_offset.checked_add(1 << 31);
        let end = pass.file.next_base.or(span_end).unwrap_or(Offset::MAX);
        let damage = if is_above && self.rules.power_lost {
            Damage::Torn
        } else {
            damage::examine(&mut pass.scanner, position, expected..end, is_last)
                .map_err(io_error("read", pass.path))?
        };
        let (next, until) = match damage {
            Damage::Torn if is_above => {
                self.cut(pass, position, reason)?;
                return Ok(None);
            }
            Damage::Torn => (self.rules.trusted, pass.scanner.limit()),
            // Nothing readable follows, and it was flushed: it ends where the recovery point is.
            Damage::Corrupt { position, .. }
                if !is_above && position == pass.scanner.limit() && is_last =>
            {
                (self.rules.trusted, position)
            }
            Damage::Corrupt { next, position } => (next, position),
        };
        self.split_for_rewrite(position, expected);
        let segment = self.plan.last_mut().expect("pass() plans one first");
        let file = FileKind::Log.path(self.dir, segment.meta.base_offset);
        let start = segment.meta.size_bytes;
        segment.add_corrupt(until - position, next);
        let bytes = start..segment.meta.size_bytes;
        self.corrupt(&file, expected..next, bytes, reason);
        Ok(Some(until))
    }

    /// The end of a segment: is anything missing between it and the next?
    fn finish(&mut self, pass: &mut Pass<'_>, position: u64) -> Result<Ended, RecoveryError> {
        let expected = self.found.next_offset;
        let missing_to = match pass.file.next_base {
            Some(next) => next,
            None if expected < self.rules.trusted => self.rules.trusted,
            None => return Ok(Ended::Done),
        };
        let is_last = pass.file.next_base.is_none();
        if expected >= missing_to
            || (missing_to <= self.rules.compacted_below && !is_last)
            || (pass.file.is_truncated && !is_last)
        {
            return Ok(Ended::Done);
        }
        if !pass.verify_all && expected <= self.rules.trusted {
            return Ok(Ended::NeedsCrc);
        }
        let reason = format!("file ends before offset {missing_to}");
        if self.is_dropped(expected) {
            self.cut(pass, position, reason)?;
            return Ok(Ended::Done);
        }
        if expected >= self.rules.trusted && self.rules.power_lost {
            self.cut(pass, position, reason)?;
            return Ok(Ended::Done);
        }
        let segment = self.plan.last_mut().expect("pass() plans one first");
        let file = FileKind::Log.path(self.dir, segment.meta.base_offset);
        let end = segment.meta.size_bytes;
        segment.add_corrupt(0, missing_to);
        self.corrupt(&file, expected..missing_to, end..end, reason);
        Ok(Ended::Done)
    }

    pub(super) fn corrupt(
        &mut self,
        file: &Path,
        offsets: Range<Offset>,
        bytes: Range<u64>,
        reason: String,
    ) {
        self.found.next_offset = offsets.end;
        self.found.corrupt.push(CorruptRange {
            offsets,
            file: file.to_path_buf(),
            bytes,
            reason,
        });
    }

    /// Ends the log at a position, and counts what is lost with it.
    fn cut(
        &mut self,
        pass: &mut Pass<'_>,
        position: u64,
        reason: String,
    ) -> Result<(), RecoveryError> {
        self.is_cut = true;
        let limit = pass.scanner.limit();
        let valid = damage::count_readable(&mut pass.scanner, position)
            .map_err(io_error("read", pass.path))?;
        let report = &mut self.found.report;
        report.truncated_bytes += limit - position;
        report.truncated_batches += valid;
        report.truncation_reason.get_or_insert_with(|| {
            format!("{}: at byte {position}: {reason}", pass.path.display())
        });
        Ok(())
    }
}

/// One go over one file.
pub(super) struct Pass<'a> {
    pub(super) path: &'a Path,
    pub(super) scanner: BatchScanner<'a>,
    pub(super) file: WalkedFile,
    /// Whether CRCs are checked below the recovery point, too.
    pub(super) verify_all: bool,
    /// Position, size and CRC of the batch before, where its CRC was not checked.
    pub(super) unverified: Option<(u64, u64, u32)>,
}

fn marker(
    pass: &mut Pass<'_>,
    position: u64,
    header: &BatchHeader,
) -> io::Result<Option<EndTransactionMarker>> {
    if header.size_bytes() > CONTROL_BYTES_MAX {
        return Ok(None);
    }
    let bytes = pass.scanner.bytes(position, header.size_bytes())?;
    let record = Batch::parse(bytes::Bytes::copy_from_slice(bytes))
        .ok()
        .and_then(|batch| batch.records(CONTROL_BYTES_MAX).ok())
        .and_then(|mut records| records.next())
        .and_then(Result::ok);
    Ok(match record.as_ref().map(ControlRecord::decode) {
        Some(Ok(ControlRecord::EndTransaction(marker))) => Some(marker),
        _ => None,
    })
}

/// The offset after one that is not the largest.
pub(super) fn after(offset: Offset) -> Offset {
    offset.checked_add(1).unwrap_or(Offset::MAX)
}
