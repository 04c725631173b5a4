//! Opens a partition that was closed cleanly: looks at names and lengths, reads no batch.

use std::path::Path;

use super::{
    Recovered, RecoveryError, RecoveryInput, RecoveryReport, inventory::Inventory,
    recovered::io_error, segments::load_producers,
};
use crate::{
    clean_shutdown::CleanPartition,
    io::LogIo,
    layout::{CLEANED_SUFFIX, FileKind},
    segment_meta::SegmentMeta,
};

/// The partition as it was closed; `None` where its files do not agree with the marker and the
/// manifest, so that they must be looked into.
pub(super) fn open(
    io: &dyn LogIo,
    dir: &Path,
    inventory: &Inventory,
    clean: CleanPartition,
    input: &RecoveryInput,
    report: &RecoveryReport,
) -> Result<Option<Recovered>, RecoveryError> {
    let (copies, others): (Vec<_>, Vec<_>) = inventory
        .leftovers
        .iter()
        .partition(|path| path.to_string_lossy().ends_with(CLEANED_SUFFIX));
    if inventory.flush_failure.is_some() || !others.is_empty() {
        return Ok(None);
    }
    for path in copies {
        // A compaction was given up for the shutdown. What cannot be removed is found again.
        let _ = io.remove_file(path);
    }
    let segments: Vec<SegmentMeta> = inventory
        .manifest
        .entries()
        .iter()
        .map(|entry| entry.meta)
        .collect();
    if !are_whole(io, dir, inventory, &segments, clean)? {
        return Ok(None);
    }
    let mut report = report.clone();
    let (producers, from) =
        load_producers(io, dir, inventory, clean.log_end, input.now_ms, &mut report)?;
    if from != clean.log_end {
        return Ok(None);
    }
    Ok(Some(Recovered {
        topic_id: inventory.topic_id,
        segments,
        log_start: clean.log_start,
        log_end: clean.log_end,
        epochs: inventory.epochs.clone(),
        producers,
        manifest: inventory.manifest.clone(),
        corrupt: Vec::new(),
        report,
    }))
}

fn are_whole(
    io: &dyn LogIo,
    dir: &Path,
    inventory: &Inventory,
    segments: &[SegmentMeta],
    clean: CleanPartition,
) -> Result<bool, RecoveryError> {
    let same_files = inventory
        .logs
        .iter()
        .eq(segments.iter().map(|meta| &meta.base_offset));
    let continuous = segments.windows(2).all(|pair| match pair {
        [left, right] => {
            left.end_offset() == right.base_offset
                || (left.end_offset() < right.base_offset
                    && right.base_offset <= inventory.manifest.compacted_below())
        }
        _ => true,
    });
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Ok(false);
    };
    let ends_fit = last.end_offset() == clean.log_end
        && first.base_offset <= clean.log_start
        && clean.log_start <= clean.log_end;
    if !same_files || !continuous || !ends_fit {
        return Ok(false);
    }
    for meta in segments {
        let path = FileKind::Log.path(dir, meta.base_offset);
        let found = io.metadata(&path).map_err(io_error("stat", &path))?;
        // Reserved space may follow where the segment was not the active one at the close.
        let is_active = meta.base_offset == last.base_offset;
        if found.len < meta.size_bytes || (is_active && found.len != meta.size_bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}
