//! The manifest against the segments' files, and what is missing by it.
//!
//! A sealed segment has both indexes. After a clean stop the active one has an entry and them, too, and the
//! files of the partition as a whole are there, with the producer state at the log's end in both forms. The
//! states at the ends of sealed segments may be missing: a start that seals what a kill left writes none.

use millstream_proto::Offset;

use super::{super::InspectError, partition::PartitionCheck};
use crate::{
    layout::{
        FileKind, LEADER_EPOCH_CHECKPOINT, LEADER_EPOCHS, LOG_START, MANIFEST, PARTITION_METADATA,
    },
    manifest::{ManifestEntry, SegmentChecksums, checksum_segment},
    segment_meta::{NO_TIMESTAMP, SegmentMeta},
};

/// The files of a segment, each with its CRC-32.
fn summed(checksums: &SegmentChecksums) -> [(FileKind, u32); 4] {
    [
        (FileKind::Log, checksums.log),
        (FileKind::OffsetIndex, checksums.offset_index),
        (FileKind::TimeIndex, checksums.time_index),
        (FileKind::TransactionIndex, checksums.transaction_index),
    ]
}

impl PartitionCheck<'_> {
    /// Reports what the manifest and a clean stop say must be there.
    pub(super) fn report_missing_files(&mut self, segments: &[Offset]) {
        for entry in self.manifest.entries().to_vec() {
            self.report_missing_segment(&entry, segments);
        }
        let Some(closed) = self.closed else { return };
        for base_offset in segments {
            if self.manifest.get(*base_offset).is_none() && self.is_there(MANIFEST) {
                let reason = format!("segment {base_offset} was closed and is not in it");
                self.report.add_file(&self.dir.join(MANIFEST), reason);
            }
        }
        self.report_unless_there(&[MANIFEST, PARTITION_METADATA]);
        if closed.leader_epoch >= 0 {
            self.report_unless_there(&[LEADER_EPOCHS, LEADER_EPOCH_CHECKPOINT]);
        }
        if segments
            .first()
            .is_some_and(|first| *first < closed.log_start)
        {
            self.report_unless_there(&[LOG_START]);
        }
        for kind in [FileKind::Snapshot, FileKind::Producers] {
            if !self.files.contains(&(kind, closed.log_end)) {
                self.report
                    .add_missing(&kind.path(self.dir, closed.log_end));
            }
        }
    }

    fn report_missing_segment(&mut self, entry: &ManifestEntry, segments: &[Offset]) {
        let base_offset = entry.meta.base_offset;
        // Where the log starts behind it, retention removed it.
        let is_readable = entry.meta.end_offset() > self.log_start;
        if is_readable && segments.binary_search(&base_offset).is_err() {
            let reason = format!("segment {base_offset} has no .log");
            self.report.add_file(&self.dir.join(MANIFEST), reason);
        }
    }

    fn report_unless_there(&mut self, names: &[&str]) {
        for name in names {
            if !self.is_there(name) {
                self.report.add_missing(&self.dir.join(name));
            }
        }
    }

    fn is_there(&self, name: &str) -> bool {
        self.io.metadata(&self.dir.join(name)).is_ok()
    }

    /// Compares a segment with its entry in the manifest.
    pub(super) fn check_manifest(
        &mut self,
        entry: &ManifestEntry,
        found: &SegmentMeta,
    ) -> Result<(), InspectError> {
        if let Some(difference) = meta_difference(&entry.meta, found) {
            let reason = format!("segment {} {difference}", found.base_offset);
            self.report.add_file(&self.dir.join(MANIFEST), reason);
        }
        match checksum_segment(self.io, self.dir, &entry.meta) {
            Ok(found) => self.check_sums(entry, &found),
            // A shorter file was reported as such.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(source) => return Err(InspectError::at(self.dir)(source)),
        }
        Ok(())
    }

    fn check_sums(&mut self, entry: &ManifestEntry, found: &SegmentChecksums) {
        let base_offset = entry.meta.base_offset;
        for ((kind, expected), (_, found)) in
            summed(&entry.checksums).into_iter().zip(summed(found))
        {
            let path = kind.path(self.dir, base_offset);
            // Only transactions have an index that need not be there; the sum of nothing is 0.
            let may_be_missing = kind == FileKind::TransactionIndex && expected == 0;
            if !self.files.contains(&(kind, base_offset)) {
                if !may_be_missing {
                    self.report.add_missing(&path);
                }
            } else if found != expected {
                let reason = format!("it has CRC-32 {found:08x}, the manifest has {expected:08x}");
                self.report.add_file(&path, reason);
            }
        }
    }
}

/// What the manifest says of a segment otherwise than its files do.
fn meta_difference(expected: &SegmentMeta, found: &SegmentMeta) -> Option<String> {
    let mut parts = Vec::new();
    if found.size_bytes != expected.size_bytes {
        let (found, expected) = (found.size_bytes, expected.size_bytes);
        parts.push(format!("has {found} bytes, the manifest has {expected}"));
    }
    if found.last_offset != expected.last_offset {
        let (found, expected) = (offset_text(found), offset_text(expected));
        parts.push(format!(
            "ends with {found}, by the manifest with {expected}"
        ));
    }
    let largest = |meta: &SegmentMeta| (meta.max_timestamp_ms, meta.max_timestamp_offset);
    if largest(found) != largest(expected) {
        let (found, expected) = (timestamp_text(found), timestamp_text(expected));
        parts.push(format!("has {found}, by the manifest {expected}"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn offset_text(meta: &SegmentMeta) -> String {
    meta.last_offset
        .map_or_else(|| "no record".to_owned(), |last| format!("offset {last}"))
}

fn timestamp_text(meta: &SegmentMeta) -> String {
    match meta.max_timestamp_ms {
        NO_TIMESTAMP => "no timestamp".to_owned(),
        timestamp => format!(
            "the largest timestamp {timestamp} at offset {}",
            meta.max_timestamp_offset
        ),
    }
}
