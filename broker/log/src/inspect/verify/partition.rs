//! [`PartitionCheck`]: a partition's directory, segment after segment.

use std::path::Path;

use millstream_proto::Offset;

use super::{
    super::{
        Compaction, Dump, InspectError, Report,
        dump::{check_decodes, read},
        partition_files,
    },
    VerifyOptions,
    producers::SnapshotCheck,
    segment::SegmentCheck,
    transactions::Replay,
};
use crate::{
    clean_shutdown::CleanPartition,
    epoch::EpochHistory,
    io::LogIo,
    layout::{
        FLUSH_FAILURE, FileKind, LEADER_EPOCH_CHECKPOINT, LEADER_EPOCHS, LOG_START, MANIFEST,
        PARTITION_METADATA,
    },
    manifest::Manifest,
    producer::ProducerState,
};

/// Where a partition's log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// The next record gets this offset.
    At(Offset),
    /// There is no log.
    NoSegment,
    /// Its files are not in their places yet.
    Unknown,
}

/// A partition's directory while it is checked.
pub(super) struct PartitionCheck<'a> {
    pub(super) io: &'a dyn LogIo,
    pub(super) dir: &'a Path,
    pub(super) options: VerifyOptions,
    pub(super) report: &'a mut Report,
    pub(super) compaction: Compaction,
    /// `None` where there is none that can be believed.
    pub(super) epochs: Option<EpochHistory>,
    /// Offset that the next batch should have.
    pub(super) next: Offset,
    pub(super) replay: Replay,
    /// First readable offset, by the file that says so; 0 without one.
    pub(super) log_start: Offset,
    snapshots: Option<SnapshotCheck<'a>>,
    /// How the partition was closed: then everything of it is there, and nothing was appended since.
    pub(super) closed: Option<CleanPartition>,
    pub(super) manifest: Manifest,
    pub(super) files: Vec<(FileKind, Offset)>,
}

impl<'a> PartitionCheck<'a> {
    pub(super) fn new(
        io: &'a dyn LogIo,
        dir: &'a Path,
        options: VerifyOptions,
        closed: Option<CleanPartition>,
        report: &'a mut Report,
    ) -> Result<Self, InspectError> {
        let assumed = match options.assume_compacted {
            true => Compaction::Anywhere,
            false => Compaction::None,
        };
        let compaction = Compaction::load(io, dir, report)?.unwrap_or(assumed);
        Ok(Self {
            io,
            dir,
            options,
            compaction,
            epochs: None,
            next: Offset::ZERO,
            replay: Replay::new(None, compaction),
            log_start: Offset::ZERO,
            snapshots: None,
            closed,
            manifest: Manifest::new(),
            files: partition_files(io, dir)?,
            report,
        })
    }

    /// Checks everything in the directory; returns the log's end.
    pub(super) fn run(mut self) -> Result<LogEnd, InspectError> {
        self.report.partitions += 1;
        self.load_metadata()?;
        if let Some(swap) = self.manifest.swap() {
            let reason = format!(
                "compacted segment {} is not in its place yet, the next start puts it there",
                swap.base_offset
            );
            self.report.add_file(&self.dir.join(MANIFEST), reason);
            return Ok(LogEnd::Unknown);
        }
        let segments = self.segments();
        self.report_orphans(&segments);
        self.report_missing_files(&segments);
        let Some(first) = segments.first().copied() else {
            return Ok(LogEnd::NoSegment);
        };
        self.start_replay(first)?;
        let snapshots = SnapshotCheck::new(self.io, self.dir, &self.files, self.compaction);
        self.snapshots = Some(snapshots);
        let ends = segments.iter().skip(1).copied().map(Some).chain([None]);
        for (base_offset, end_max) in segments.iter().copied().zip(ends) {
            self.check_segment(base_offset, end_max)?;
        }
        if let Some(snapshots) = self.snapshots.take() {
            snapshots.finish(self.next, &self.replay, self.report)?;
        }
        self.replay.finish(self.report);
        self.check_epochs_end();
        Ok(LogEnd::At(self.next))
    }

    /// Checks one segment alone.
    pub(super) fn run_segment(mut self, base_offset: Offset) -> Result<(), InspectError> {
        self.load_metadata()?;
        self.start_replay(base_offset)?;
        let segments = self.segments();
        let end_max = segments.into_iter().find(|other| *other > base_offset);
        self.check_segment(base_offset, end_max)?;
        self.replay.finish(self.report);
        Ok(())
    }

    /// Base offsets of the segments in order.
    fn segments(&self) -> Vec<Offset> {
        let logs = self.files.iter().filter(|(kind, _)| *kind == FileKind::Log);
        logs.map(|(_, base_offset)| *base_offset).collect()
    }

    fn report_orphans(&mut self, segments: &[Offset]) {
        for (kind, offset) in &self.files {
            let belongs = matches!(kind, FileKind::Snapshot | FileKind::Producers)
                || segments.binary_search(offset).is_ok();
            if !belongs {
                self.report
                    .add_file(&kind.path(self.dir, *offset), "its segment has no .log");
            }
        }
    }

    fn load_metadata(&mut self) -> Result<(), InspectError> {
        for name in [PARTITION_METADATA, FLUSH_FAILURE] {
            self.check_file(name)?;
        }
        if let Some(Dump::LogStart(log_start)) = self.check_file(LOG_START)? {
            self.log_start = log_start;
        }
        if let Some(Dump::EpochHistory(history)) = self.check_file(LEADER_EPOCHS)? {
            self.epochs = Some(history);
        }
        self.check_epochs_text()?;
        if let Some(Dump::Manifest(manifest)) = self.check_file(MANIFEST)? {
            if manifest.compacted_below() > Offset::ZERO {
                self.compaction = Compaction::Below(manifest.compacted_below());
            }
            self.manifest = manifest;
        }
        Ok(())
    }

    /// Kafka's text of the epoch history: believed where it is alone, else equal to the framed one.
    fn check_epochs_text(&mut self) -> Result<(), InspectError> {
        let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
        if self.io.metadata(&path).is_err() {
            return Ok(());
        }
        self.report.other_files += 1;
        let text = String::from_utf8(read(self.io, &path)?).unwrap_or_default();
        match EpochHistory::from_text(&text) {
            Err(error) => self.report.add_file(&path, error),
            Ok(history) => match &self.epochs {
                None => self.epochs = Some(history),
                Some(framed) if *framed == history => {}
                Some(_) => self.report.add_file(&path, "it differs from leader-epochs"),
            },
        }
        Ok(())
    }

    fn check_file(&mut self, name: &str) -> Result<Option<Dump>, InspectError> {
        let path = self.dir.join(name);
        if self.io.metadata(&path).is_err() {
            return Ok(None);
        }
        check_decodes(self.io, &path, self.report)
    }

    /// Producer state at the first offset that is read: nothing at 0, else from a snapshot.
    fn start_replay(&mut self, first: Offset) -> Result<(), InspectError> {
        self.next = first;
        let mut state = (first == Offset::ZERO).then(ProducerState::new);
        for kind in [FileKind::Producers, FileKind::Snapshot] {
            let path = kind.path(self.dir, first);
            if state.is_some() || self.io.metadata(&path).is_err() {
                continue;
            }
            // Broken ones are reported when replay reaches them.
            let mut ignored = Report::default();
            if let Some(Dump::Producers(rows)) = check_decodes(self.io, &path, &mut ignored)? {
                let state = state.get_or_insert_default();
                for row in rows {
                    state.insert(row.producer_id, row.entry);
                }
            }
        }
        self.replay = Replay::new(state, self.compaction);
        Ok(())
    }

    fn check_segment(
        &mut self,
        base_offset: Offset,
        end_max: Option<Offset>,
    ) -> Result<(), InspectError> {
        self.meet_segment(base_offset);
        let entry = self
            .manifest
            .get(base_offset)
            .copied()
            .filter(|entry| entry.sealed || self.closed.is_some());
        let logical_end = entry.map(|entry| entry.meta.size_bytes);
        let meta = SegmentCheck::open(self, base_offset, end_max, logical_end)?.run(self)?;
        match entry {
            Some(entry) => self.check_manifest(&entry, &meta),
            None => Ok(()),
        }
    }

    /// A segment starts where the one before ends; its base offset is in its name alone.
    fn meet_segment(&mut self, base_offset: Offset) {
        let follows = base_offset == self.next
            || (base_offset > self.next && self.compaction.allows_gap_before(base_offset));
        if !follows {
            let reason = format!("segment starts at {base_offset}, expected {}", self.next);
            self.report
                .add_file(&FileKind::Log.path(self.dir, base_offset), reason);
            self.replay.is_complete &= base_offset <= self.next;
        }
        self.next = self.next.max(base_offset);
    }

    pub(super) fn reach_snapshots(&mut self, next: Offset) -> Result<(), InspectError> {
        match &mut self.snapshots {
            Some(snapshots) => snapshots.reach(next, &self.replay, self.report),
            None => Ok(()),
        }
    }

    /// A leadership without a record is in no history.
    fn check_epochs_end(&mut self) {
        let latest = self.epochs.as_ref().and_then(EpochHistory::latest);
        let Some(latest) = latest.filter(|latest| latest.start_offset > self.next) else {
            return;
        };
        let reason = format!(
            "leader epoch {} starts at offset {}, the log ends at {}",
            latest.leader_epoch, latest.start_offset, self.next
        );
        self.report.add_file(&self.dir.join(LEADER_EPOCHS), reason);
    }
}
