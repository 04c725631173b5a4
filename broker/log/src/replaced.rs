//! [`reason`]: tells a segment's file that was put in the place of another from one that was damaged.
//!
//! Every batch of a segment of another partition is valid, and so is every batch of an older copy of
//! the same segment: only the CRC of the whole file in the manifest tells. Damage changes it, too, but
//! damage shows: a batch that is cut short, or does not fit its CRC, or alone among the others does
//! not fit the log. Where it shows, the batches beside it stay readable; where it does not, none is.

use std::{io, ops::ControlFlow};

use millstream_proto::{Offset, record::BatchHeader};

use crate::{
    epoch::EpochHistory,
    io::LogFile,
    manifest::{self, ManifestEntry},
    recovery::BatchScanner,
    walk::Continuity,
};

/// What is known of a segment's file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The manifest's entry of the segment.
    pub(crate) entry: &'a ManifestEntry,
    /// Which leader epoch each offset has.
    pub(crate) epochs: &'a EpochHistory,
    /// Below it offsets may be missing, as compaction removed their records.
    pub(crate) compacted_below: Offset,
}

/// Why a file is not the one that the manifest's entry was written for; `None` where it is, and where
/// damage explains the difference. Reads the whole file.
///
/// # Errors
/// What the disk says.
pub(crate) fn reason(file: &dyn LogFile, known: &Known<'_>) -> io::Result<Option<String>> {
    let (length, expected) = (file.len()?, known.entry.meta.size_bytes);
    if length >= expected {
        let found = manifest::checksum_file(file, expected)?;
        return mismatch(file, known, found);
    }
    if is_damaged(file, known)? {
        return Ok(None);
    }
    Ok(Some(format!(
        "it has {length} bytes, the manifest has {expected}, and every batch is valid: the file is of \
         another partition, an older copy, or was cut between two batches"
    )))
}

/// As [`reason`], for a file that is long enough, and whose first bytes have the CRC-32 `found`.
pub(crate) fn mismatch(
    file: &dyn LogFile,
    known: &Known<'_>,
    found: u32,
) -> io::Result<Option<String>> {
    match known.entry.mismatch(found) {
        Some(reason) if !is_damaged(file, known)? => Ok(Some(reason)),
        _ => Ok(None),
    }
}

/// Whether a batch in the file would be refused by itself. What lies behind the segment's size is read
/// only to complete a batch that begins before it, as in a longer file of another partition.
fn is_damaged(file: &dyn LogFile, known: &Known<'_>) -> io::Result<bool> {
    let limit = file.len()?;
    let mut scanner = BatchScanner::new(file, limit);
    let mut headers = Headers::new(known);
    let mut position = 0;
    while position < limit.min(known.entry.meta.size_bytes) {
        let Ok(header) = scanner.header(position)? else {
            return Ok(true);
        };
        let size_bytes = u64::try_from(header.size_bytes()).unwrap_or(u64::MAX);
        if !scanner.crc_fits(position, size_bytes, header.crc())? {
            return Ok(true);
        }
        if headers.take(&header).is_break() {
            return Ok(false);
        }
        position += size_bytes;
    }
    Ok(headers.misfits == 1 && headers.fits > 0)
}

/// How headers fit the log in the 21 bytes that no CRC covers. A flipped bit there makes a single one
/// not fit; in a file that belongs elsewhere all fit, or many do not.
struct Headers<'a> {
    known: &'a Known<'a>,
    continuity: Continuity,
    fits: u64,
    misfits: u64,
}

impl<'a> Headers<'a> {
    fn new(known: &'a Known<'a>) -> Self {
        Self {
            known,
            continuity: Continuity {
                expected: Some(known.entry.meta.base_offset),
                compacted_below: known.compacted_below,
                end: None,
            },
            fits: 0,
            misfits: 0,
        }
    }

    /// Counts a batch whose CRC fits; breaks where nothing that follows can tell more.
    fn take(&mut self, header: &BatchHeader) -> ControlFlow<()> {
        let expected = self.continuity.expected;
        let epoch = self.known.epochs.epoch_at(header.base_offset());
        if self.continuity.check(header, epoch).is_ok() {
            self.fits += 1;
            return ControlFlow::Continue(());
        }
        self.misfits += 1;
        if self.misfits > 1 {
            return ControlFlow::Break(());
        }
        // How many offsets a batch takes is covered by its CRC, where they begin is not.
        let span = header.last_offset().get() - header.base_offset().get() + 1;
        self.continuity.expected =
            expected.and_then(|base| base.checked_add(u32::try_from(span).ok()?));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, path::Path, sync::Arc};

    use millstream_proto::{
        LeaderEpoch,
        record::{BatchBuilder, BatchOptions},
    };

    use super::*;
    use crate::{
        io::{LogIo as _, MemoryIo, OpenMode},
        manifest::SegmentChecksums,
        segment_meta::SegmentMeta,
    };

    fn offset(at: i64) -> Offset {
        Offset::new(at).unwrap()
    }

    /// Batches of two records each.
    fn batches(offsets: std::ops::Range<i64>, value: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for base in offsets.step_by(2) {
            let mut builder = BatchBuilder::new(BatchOptions {
                base_offset: offset(base),
                leader_epoch: LeaderEpoch(0),
                ..BatchOptions::default()
            });
            for _ in 0..2 {
                builder
                    .append(1_000, None, Some(value.as_bytes()), &[])
                    .unwrap();
            }
            bytes.extend_from_slice(&builder.finish().unwrap());
        }
        bytes
    }

    fn file(bytes: &[u8]) -> Arc<dyn LogFile> {
        let io = MemoryIo::new();
        let file = io
            .open(Path::new("/segment.log"), OpenMode::Create)
            .unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
        file
    }

    /// What is said of `found` in the place of `sealed`, whose offsets are 0 to 20.
    fn said(sealed: &[u8], found: &[u8]) -> Option<String> {
        let entry = ManifestEntry {
            meta: SegmentMeta {
                size_bytes: sealed.len().try_into().unwrap(),
                last_offset: Some(offset(19)),
                ..SegmentMeta::empty(Offset::ZERO)
            },
            checksums: SegmentChecksums {
                log: crc32fast::hash(sealed),
                ..SegmentChecksums::default()
            },
            sealed: true,
        };
        let mut epochs = EpochHistory::default();
        epochs.assign(LeaderEpoch(0), Offset::ZERO);
        let known = Known {
            entry: &entry,
            epochs: &epochs,
            compacted_below: Offset::ZERO,
        };
        reason(&*file(found), &known).unwrap()
    }

    #[test]
    fn files_of_any_length_that_belong_elsewhere_are_refused() {
        let ours = batches(0..20, "ours");
        assert_eq!(said(&ours, &ours), None);
        for (case, theirs) in [
            ("equal length", batches(0..20, "else")),
            ("longer batches", batches(0..20, "of another")),
            ("shorter batches", batches(0..20, "x")),
            ("older copy", batches(0..16, "ours")),
            ("more batches", batches(0..40, "else")),
            ("other offsets", batches(20..40, "ours")),
        ] {
            assert!(said(&ours, &theirs).is_some(), "{case}");
        }
    }

    #[test]
    fn a_longer_file_that_begins_with_the_sealed_one_is_believed() {
        let ours = batches(0..20, "ours");
        assert_eq!(said(&ours, &[&ours[..], &[0; 100]].concat()), None);
    }

    #[test]
    fn every_damaged_byte_explains_the_difference() {
        let ours = batches(0..20, "ours");
        for at in 0..ours.len() {
            let mut damaged = ours.clone();
            damaged[at] ^= 1;
            assert_eq!(said(&ours, &damaged), None, "byte {at}");
        }
        for cut in 1..20 {
            assert_eq!(
                said(&ours, &ours[..ours.len() - cut]),
                None,
                "{cut} bytes cut"
            );
        }
    }
}
