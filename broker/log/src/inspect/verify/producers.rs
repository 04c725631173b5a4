//! Producer snapshots and sidecars against the state that replay gives at their offset.
//!
//! A producer may be missing from a snapshot (it expired) and, where the log does not go back far
//! enough or was compacted, from the replay.

use std::{collections::VecDeque, fmt, path::Path};

use millstream_proto::Offset;

use super::{
    super::{Compaction, Dump, InspectError, ProducerRow, Report, dump::check_decodes},
    transactions::Replay,
};
use crate::{
    io::LogIo,
    layout::FileKind,
    producer::{BatchMetadata, ProducerEntry},
};

/// Snapshots of a partition that wait for replay to reach their offset.
pub(super) struct SnapshotCheck<'a> {
    io: &'a dyn LogIo,
    dir: &'a Path,
    waiting: VecDeque<(FileKind, Offset)>,
    compaction: Compaction,
}

impl<'a> SnapshotCheck<'a> {
    pub(super) fn new(
        io: &'a dyn LogIo,
        dir: &'a Path,
        files: &[(FileKind, Offset)],
        compaction: Compaction,
    ) -> Self {
        let is_snapshot = |kind: FileKind| matches!(kind, FileKind::Snapshot | FileKind::Producers);
        let waiting = files
            .iter()
            .copied()
            .filter(|(kind, _)| is_snapshot(*kind))
            .collect();
        Self {
            io,
            dir,
            waiting,
            compaction,
        }
    }

    /// Checks the snapshots whose offset is at most `next`, before the batch that starts there.
    pub(super) fn reach(
        &mut self,
        next: Offset,
        replay: &Replay,
        report: &mut Report,
    ) -> Result<(), InspectError> {
        while let Some((kind, offset)) = self.waiting.pop_front_if(|(_, offset)| *offset <= next) {
            let path = kind.path(self.dir, offset);
            if let Some(Dump::Producers(rows)) = check_decodes(self.io, &path, report)? {
                for row in &rows {
                    if let Some(reason) = self.problem(row, offset, replay) {
                        report.add_file(&path, format!("producer {}: {reason}", row.producer_id));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports the snapshots above the log's end.
    pub(super) fn finish(
        mut self,
        log_end: Offset,
        replay: &Replay,
        report: &mut Report,
    ) -> Result<(), InspectError> {
        self.reach(log_end, replay, report)?;
        for (kind, offset) in self.waiting {
            let path = kind.path(self.dir, offset);
            report.add_file(
                &path,
                format!("it is of offset {offset}, the log ends at {log_end}"),
            );
        }
        Ok(())
    }

    /// As [`difference`], where compaction removed batches below some offset: only those above it can
    /// be compared, and a transaction that began below may have lost its first records.
    fn difference_above(
        &self,
        found: &ProducerEntry,
        replayed: Option<&ProducerEntry>,
    ) -> Option<String> {
        let above = |entry: &ProducerEntry| -> Vec<BatchMetadata> {
            let batches = entry.batches().iter().copied();
            batches
                .filter(|batch| !self.compaction.covers(batch.last_offset))
                .collect()
        };
        let of_found = above(found);
        let Some(replayed) = replayed else {
            return (!of_found.is_empty())
                .then(|| "its batches are not in the log below that offset".to_owned());
        };
        let mut of_log = above(replayed);
        let more = of_log.len().saturating_sub(of_found.len());
        of_log.drain(..more);
        if !of_found
            .iter()
            .map(of_batch)
            .eq(of_log.iter().map(of_batch))
        {
            return differs("last batches", in_words(&of_found), in_words(&of_log));
        }
        let first = |entry: &ProducerEntry| {
            let first = entry.transaction_first_offset;
            first.filter(|first| !self.compaction.covers(*first))
        };
        match (first(found), first(replayed)) {
            (Some(found), expected) if expected != Some(found) => {
                differs("open transaction", found, or_none(expected))
            }
            _ => None,
        }
    }

    fn problem(&self, row: &ProducerRow, offset: Offset, replay: &Replay) -> Option<String> {
        if !replay.is_complete {
            return None;
        }
        let is_below = |last: Offset| last < offset;
        if !row
            .entry
            .batches()
            .iter()
            .all(|batch| is_below(batch.last_offset))
        {
            return Some(format!("its last batch is not below offset {offset}"));
        }
        let before = Offset::new(offset.get() - 1).unwrap_or(Offset::ZERO);
        if self.compaction.covers(before) {
            return None;
        }
        let replayed = replay.state.get(row.producer_id);
        if self.compaction.covers(Offset::ZERO) {
            return self.difference_above(&row.entry, replayed);
        }
        match replayed {
            None => Some("it wrote nothing below that offset".to_owned()),
            Some(replayed) => difference(&row.entry, replayed),
        }
    }
}

/// Last sequence, last offset and offsets of a batch. A Kafka snapshot has no timestamp of the batch
/// beside that of the producer.
fn of_batch(batch: &BatchMetadata) -> (i32, Offset, u32) {
    (batch.last_sequence, batch.last_offset, batch.offset_delta)
}

fn differs(what: &str, found: impl fmt::Display, expected: impl fmt::Display) -> Option<String> {
    Some(format!("{what}: {found}, by the log {expected}"))
}

fn or_none(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn in_words(batches: &[BatchMetadata]) -> String {
    let in_words = |batch: &BatchMetadata| {
        let (first, last) = (batch.base_sequence(), batch.last_sequence);
        format!(
            "sequences {first} to {last} up to offset {}",
            batch.last_offset
        )
    };
    let all: Vec<_> = batches.iter().map(in_words).collect();
    or_none((!all.is_empty()).then(|| all.join(" and ")))
}

/// What a snapshot says otherwise than the log does. The snapshot may hold fewer batches.
fn difference(found: &ProducerEntry, expected: &ProducerEntry) -> Option<String> {
    if found.epoch != expected.epoch {
        return differs("epoch", found.epoch, expected.epoch);
    }
    if found.coordinator_epoch != expected.coordinator_epoch {
        let (found, expected) = (found.coordinator_epoch, expected.coordinator_epoch);
        return differs("coordinator epoch", found, expected);
    }
    if found.transaction_first_offset != expected.transaction_first_offset {
        let first = |entry: &ProducerEntry| or_none(entry.transaction_first_offset);
        return differs("open transaction", first(found), first(expected));
    }
    if found.last_timestamp_ms != expected.last_timestamp_ms {
        let (found, expected) = (found.last_timestamp_ms, expected.last_timestamp_ms);
        return differs("last timestamp", found, expected);
    }
    let found_last = found.batches().iter().rev();
    let expected_last = expected.batches().iter().rev();
    if !found_last
        .map(of_batch)
        .eq(expected_last.map(of_batch).take(found.batches().len()))
        || found.batches().is_empty() != expected.batches().is_empty()
    {
        return differs(
            "last batches",
            in_words(found.batches()),
            in_words(expected.batches()),
        );
    }
    None
}
