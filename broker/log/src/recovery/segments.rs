//! [`decide`]: which segments there shall be, from the inventory and one walk.

use std::{collections::BTreeMap, path::Path};

use millstream_proto::Offset;

use super::{
    Boot, RecoveryError, RecoveryInput, RecoveryReport,
    inventory::Inventory,
    plan::PlannedSegment,
    recovered::io_error,
    walk::{Findings, Rules, Walk, WalkedFile},
};
use crate::{
    config::Durability,
    epoch::EpochHistory,
    io::{LogIo, OpenMode},
    layout::FileKind,
    manifest::{Manifest, ManifestEntry},
    producer::{ProducerState, sidecar, snapshot},
    replaced,
};

/// What recovery will do.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) plan: Vec<PlannedSegment>,
    pub(super) found: Findings,
    pub(super) log_start: Offset,
}

/// Walks what the manifest does not vouch for and plans every segment.
pub(super) fn decide(
    io: &dyn LogIo,
    dir: &Path,
    inventory: &Inventory,
    mut found: Findings,
    input: &RecoveryInput,
) -> Result<Decided, RecoveryError> {
    let logs = own_logs(inventory);
    let log_start = expected_start(inventory, &logs);
    let unwalked = unwalked(io, dir, inventory, &logs, input)?;
    let first_walked = logs
        .iter()
        .find(|base| !unwalked.contains_key(base))
        .copied()
        .unwrap_or(Offset::MAX);
    let (producers, producers_from) = load_producers(
        io,
        dir,
        inventory,
        first_walked.min(trusted(inventory, input).max(log_start)),
        input.now_ms,
        &mut found.report,
    )?;
    found.producers = producers;
    let rules = rules(inventory, input, producers_from);
    if !rules.epochs_trusted {
        found.epochs_changed = true;
        found.epochs.truncate_from_end(first_walked);
    }
    let mut walk = Walk {
        io,
        dir,
        rules,
        found,
        plan: Vec::new(),
        is_cut: false,
    };
    walk.found.next_offset = log_start;
    walk_all(&mut walk, inventory, &logs, &unwalked)?;
    end_log(&mut walk, inventory, log_start);
    Ok(Decided {
        plan: walk.plan,
        found: walk.found,
        log_start,
    })
}

fn rules(inventory: &Inventory, input: &RecoveryInput, producers_from: Offset) -> Rules {
    let trusted = trusted(inventory, input);
    let failed = inventory
        .flush_failure
        .as_ref()
        .map(|failure| failure.flushed_offset.max(trusted));
    let is_fsync = input.durability == Durability::Fsync;
    let same_boot = match input.boot {
        Boot::Same | Boot::Unknown => true,
        Boot::Other => input.ran_in_this_boot,
        Boot::Clean(_) => false,
    };
    Rules {
        trusted,
        power_lost: input.boot == Boot::Other,
        compacted_below: inventory.manifest.compacted_below(),
        epochs_trusted: inventory.epochs_trusted,
        rewrite_from: match failed {
            Some(failed) => (!is_fsync).then_some(failed),
            None => same_boot.then_some(trusted),
        },
        drop_from: failed.filter(|_| is_fsync),
        producers_from,
        index_interval_bytes: u64::from(input.index_interval_bytes),
        now_ms: input.now_ms,
    }
}

/// Below it everything was flushed.
fn trusted(inventory: &Inventory, input: &RecoveryInput) -> Offset {
    let known = match input.boot {
        Boot::Clean(clean) => clean.log_end,
        Boot::Same | Boot::Other | Boot::Unknown => input.recovery_point,
    };
    known.max(sealed_end(&inventory.manifest))
}

/// A segment is entered as sealed only after its fdatasync, and after those before it.
fn sealed_end(manifest: &Manifest) -> Offset {
    manifest
        .entries()
        .iter()
        .filter(|entry| entry.sealed)
        .map(|entry| entry.meta.end_offset())
        .max()
        .unwrap_or(Offset::ZERO)
}

/// The `.log` files that hold readable offsets.
fn own_logs(inventory: &Inventory) -> Vec<Offset> {
    let own: Vec<Offset> = inventory
        .logs
        .difference(&inventory.foreign)
        .copied()
        .collect();
    let log_start = inventory.log_start.unwrap_or(Offset::ZERO);
    let first_needed = own
        .partition_point(|base| *base <= log_start)
        .saturating_sub(1);
    own.into_iter().skip(first_needed).collect()
}

fn expected_start(inventory: &Inventory, logs: &[Offset]) -> Offset {
    let first_log = logs.first().copied();
    let first_sealed = inventory
        .manifest
        .entries()
        .iter()
        .map(|entry| entry.meta.base_offset)
        .find(|base| {
            inventory.logs.contains(base) || inventory.log_start.is_none_or(|start| start <= *base)
        });
    let first = match (first_log, first_sealed) {
        (Some(log), Some(sealed)) => log.min(sealed),
        (log, sealed) => log.or(sealed).unwrap_or(Offset::ZERO),
    };
    inventory.log_start.unwrap_or(first)
}

/// What is decided about a segment by its manifest entry alone.
#[derive(Debug)]
enum Unwalked {
    /// Sealed, and as long as it should be.
    Vouched,
    /// Its file, of this length, is another one.
    Replaced { length: u64, reason: String },
}

/// The segments whose batches decide nothing, by base offset. A file that is shorter than the sealed
/// one, and the active one of a clean stop, may be of another partition: then it is refused whole, and
/// walked otherwise.
fn unwalked(
    io: &dyn LogIo,
    dir: &Path,
    inventory: &Inventory,
    logs: &[Offset],
    input: &RecoveryInput,
) -> Result<BTreeMap<Offset, Unwalked>, RecoveryError> {
    let mut unwalked = BTreeMap::new();
    let is_final = |entry: &&ManifestEntry| entry.sealed || matches!(input.boot, Boot::Clean(_));
    let next_bases = logs.iter().skip(1).map(Some).chain([None]);
    for (base, next) in logs.iter().zip(next_bases) {
        let Some(entry) = inventory.manifest.get(*base).filter(is_final) else {
            continue;
        };
        let end = entry.meta.end_offset();
        if let Some(next) = next {
            let missing_follows = inventory.manifest.get(end).is_some() && end < *next;
            if end != *next
                && !missing_follows
                && !(end < *next && *next <= inventory.manifest.compacted_below())
            {
                continue;
            }
        }
        let path = FileKind::Log.path(dir, *base);
        let length = io.metadata(&path).map_err(io_error("stat", &path))?.len;
        if entry.sealed && length >= entry.meta.size_bytes {
            unwalked.insert(*base, Unwalked::Vouched);
        } else if let Some(reason) = replaced_reason(io, &path, inventory, entry)? {
            unwalked.insert(*base, Unwalked::Replaced { length, reason });
        }
    }
    Ok(unwalked)
}

fn replaced_reason(
    io: &dyn LogIo,
    path: &Path,
    inventory: &Inventory,
    entry: &ManifestEntry,
) -> Result<Option<String>, RecoveryError> {
    let unknown = EpochHistory::default();
    let known = replaced::Known {
        entry,
        epochs: match inventory.epochs_trusted {
            true => &inventory.epochs,
            false => &unknown,
        },
        compacted_below: inventory.manifest.compacted_below(),
    };
    io.open(path, OpenMode::Read)
        .and_then(|file| replaced::reason(&*file, &known))
        .map_err(io_error("read", path))
}

fn walk_all(
    walk: &mut Walk<'_>,
    inventory: &Inventory,
    logs: &[Offset],
    unwalked: &BTreeMap<Offset, Unwalked>,
) -> Result<(), RecoveryError> {
    for (index, base) in logs.iter().enumerate() {
        let is_gap = *base > walk.found.next_offset;
        if is_gap && !(*base <= walk.rules.compacted_below && index > 0) {
            let expected = walk.found.next_offset;
            let before = index.checked_sub(1).and_then(|before| logs.get(before));
            if before.is_some_and(|before| inventory.manifest.cut(*before).is_some()) {
                walk.is_cut = true;
                walk.found
                    .report
                    .truncation_reason
                    .get_or_insert_with(|| format!("truncation to {expected} was interrupted"));
                return Ok(());
            }
            if walk.rules.power_lost && expected >= walk.rules.trusted {
                walk.is_cut = true;
                walk.found
                    .report
                    .truncation_reason
                    .get_or_insert_with(|| format!("segment {expected} is missing"));
                return Ok(());
            }
            let path = FileKind::Log.path(walk.dir, expected);
            walk.corrupt(
                &path,
                expected..*base,
                0..0,
                "segment is missing".to_owned(),
            );
        }
        match (inventory.manifest.get(*base), unwalked.get(base)) {
            (Some(entry), Some(Unwalked::Vouched)) => walk.vouched(&entry.meta)?,
            (Some(entry), Some(Unwalked::Replaced { length, reason })) => {
                walk.replaced(&entry.meta, *length, reason);
            }
            _ => walk.segment(WalkedFile {
                base_offset: *base,
                next_base: logs.get(index + 1).copied(),
                size_bytes_max: inventory.manifest.size_bytes_max(*base),
                is_truncated: inventory.manifest.cut(*base).is_some(),
            })?,
        }
        if walk.is_cut {
            return Ok(());
        }
    }
    Ok(())
}

/// Decides about the end: a log that ends in bytes that cannot be believed, or in a file whose flush
/// failed, goes on in a new segment.
fn end_log(walk: &mut Walk<'_>, inventory: &Inventory, log_start: Offset) {
    let (expected, trusted) = (walk.found.next_offset, walk.rules.trusted);
    if expected < trusted {
        let path = FileKind::Log.path(walk.dir, expected);
        walk.corrupt(
            &path,
            expected..trusted,
            0..0,
            "segment is missing".to_owned(),
        );
    }
    let end = walk.found.next_offset;
    if end < log_start {
        // delete_records passed what was never flushed: nothing below it is wanted.
        walk.plan.clear();
        walk.found.corrupt.clear();
        walk.found.next_offset = log_start;
    }
    let end = walk.found.next_offset;
    let ends_corrupt = walk
        .found
        .corrupt
        .last()
        .is_some_and(|range| range.offsets.end == end);
    // What was sealed is not appended to: what is behind it in its file may be stale.
    let ends_sealed = walk
        .plan
        .last()
        .is_some_and(|segment| segment.walked.is_none());
    let is_suspect = inventory.flush_failure.is_some()
        && walk.plan.last().is_none_or(|segment| !segment.is_rewritten);
    let interval = walk.rules.index_interval_bytes;
    // A split, or a file above a cut, that got nothing.
    while walk.plan.len() > 1
        && walk.plan.last().is_some_and(|segment| {
            segment.meta.size_bytes == 0 && segment.meta.base_offset == end && segment.is_rewritten
        })
    {
        walk.plan.pop();
    }
    let is_empty_at_end = walk
        .plan
        .last()
        .is_some_and(|segment| segment.meta.base_offset == end);
    if walk.plan.is_empty() || ends_corrupt || ends_sealed || is_suspect {
        if is_empty_at_end {
            walk.plan.pop();
        }
        walk.plan
            .push(PlannedSegment::walked(end, None, 0, interval));
    }
}

/// The newest producer state at or below an offset, and its own offset; of nobody from offset 0
/// where there is none that can be believed.
pub(super) fn load_producers(
    io: &dyn LogIo,
    dir: &Path,
    inventory: &Inventory,
    at_most: Offset,
    now_ms: i64,
    report: &mut RecoveryReport,
) -> Result<(ProducerState, Offset), RecoveryError> {
    let mut candidates: Vec<(Offset, FileKind)> = inventory
        .producer_files
        .iter()
        .filter(|(offset, _)| *offset <= at_most)
        .copied()
        .collect();
    candidates.sort_unstable_by_key(|(offset, kind)| (*offset, *kind == FileKind::Producers));
    for (offset, kind) in candidates.into_iter().rev() {
        let path = kind.path(dir, offset);
        let loaded = match kind {
            FileKind::Producers => match sidecar::load(io, dir, offset) {
                Err(crate::frame::LoadError::Io { source, .. }) => {
                    return Err(io_error("read", &path)(source));
                }
                other => other.map_err(|error| error.to_string()),
            },
            _ => match snapshot::load(io, &path, now_ms) {
                Err(snapshot::SnapshotLoadError::Io { source, .. }) => {
                    return Err(io_error("read", &path)(source));
                }
                other => other.map_err(|error| error.to_string()),
            },
        };
        match loaded {
            Ok(Some(state)) => return Ok((state, offset)),
            Ok(None) => {}
            Err(damage) => report.damaged_files.push(damage),
        }
    }
    Ok((ProducerState::new(), Offset::ZERO))
}
