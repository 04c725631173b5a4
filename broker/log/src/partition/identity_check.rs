//! Checks that a segment's file is the one its manifest entry was written for, before it is read.
//!
//! The CRC of the whole file tells ([`crate::replaced`]). It is compared once per start, when a read
//! first reaches the segment's file, so a start costs nothing; what this process wrote is not
//! compared at all.

use std::{
    ops::Range,
    sync::{Arc, MutexGuard, PoisonError},
};

use crate::{
    error::StorageError,
    manifest::{self, ManifestEntry},
    replaced,
    segment::{Segment, Source},
};

use super::{PartitionLog, view::View};

/// Bytes of a map that are summed up at once.
const PIECE_BYTES: u64 = 1 << 20;

impl PartitionLog {
    /// Refuses a segment whose file is intact but not the one that was sealed. A file that differs
    /// because a batch in it is damaged is let through: that batch is refused when it is read, and the
    /// others stay readable.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] at position 0; what the disk says.
    pub(super) fn check_identity(
        &self,
        segment: &Arc<Segment>,
        source: &Source,
        view: &View,
    ) -> Result<(), StorageError> {
        let _turn = match segment.identity() {
            Some(known) => return refuse(segment, known),
            None => wait_turn(segment),
        };
        if let Some(known) = segment.identity() {
            return refuse(segment, known);
        }
        let entry = self.manifest().get(segment.base_offset()).copied();
        let found = match entry {
            Some(entry) if entry.meta.size_bytes <= segment.size_bytes() => {
                self.foreign(segment, source, view, &entry)?
            }
            _ => None,
        };
        if let Some(reason) = &found {
            tracing::error!(file = %segment.log_path().display(), reason, "segment is refused");
        }
        refuse(segment, segment.set_identity(found))
    }

    /// Why the file is not the one of the manifest; `None` when it is, or when damage explains it.
    fn foreign(
        &self,
        segment: &Arc<Segment>,
        source: &Source,
        view: &View,
        entry: &ManifestEntry,
    ) -> Result<Option<String>, StorageError> {
        let found = checksum(segment, source, entry.meta.size_bytes)?;
        if found == entry.checksums.log {
            return Ok(None);
        }
        let known = replaced::Known {
            entry,
            epochs: &view.epochs,
            compacted_below: view.compacted_below,
        };
        segment
            .open_file()
            .and_then(|file| replaced::mismatch(&*file, &known, found))
            .map_err(|error| self.read_failed(&segment.log_path(), error))
    }
}

fn refuse(segment: &Segment, known: &Option<String>) -> Result<(), StorageError> {
    match known {
        None => Ok(()),
        Some(reason) => Err(StorageError::Corrupt {
            file: segment.log_path(),
            position: 0,
            reason: reason.clone(),
        }),
    }
}

/// One reader checks a segment, others wait for what it finds.
fn wait_turn(segment: &Segment) -> MutexGuard<'_, ()> {
    segment
        .identity_turn()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// CRC-32 of the segment's first bytes.
fn checksum(segment: &Segment, source: &Source, size_bytes: u64) -> Result<u32, StorageError> {
    let path = segment.log_path();
    let map = match source {
        Source::Map(map) => map,
        Source::File(file) => {
            return manifest::checksum_file(&**file, size_bytes)
                .map_err(|error| StorageError::io("read", &path, error));
        }
    };
    let mut hasher = crc32fast::Hasher::new();
    let mut position = 0;
    while position < size_bytes {
        let end = size_bytes.min(position + PIECE_BYTES);
        map.read(in_memory(position..end), |bytes| hasher.update(bytes))
            .map_err(|fault| StorageError::Corrupt {
                file: path.clone(),
                position,
                reason: fault.to_string(),
            })?;
        position = end;
    }
    Ok(hasher.finalize())
}

fn in_memory(range: Range<u64>) -> Range<usize> {
    let index = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    index(range.start)..index(range.end)
}
