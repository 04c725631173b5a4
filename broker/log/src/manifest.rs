//! [`Manifest`]: what the sealed segments of a partition are, with the CRC of each file.
//!
//! Batches name no topic and no partition, so continuity alone cannot tell a segment from that of
//! another partition, nor a file from an older copy of it; the manifest can. It is written when a
//! segment is sealed and at a clean close, when the active segment is in it, too, marked as such.
//!
//! ```text
//! payload: | count u32 | entries of 65 bytes | count u32 | cuts: base offset i64, size u64 |
//!          | compacted below i64 | cleaned to i64 | swaps u8, 0 or 1 | swap |       since version 2
//! entry:   | base offset i64 | size u64 | last offset i64, -1 none | largest timestamp i64 |
//!          | its offset i64 | sealed u8 | CRC-32 of .log, .index, .timeindex, .txnindex: u32 each |
//!          | bytes of .index u32 | bytes of .timeindex u32 |
//! swap:    | base offset i64 | has .txnindex u8 | count u32 | base offsets i64 of merged segments |
//! ```
//! A cut is where a truncation ended a segment whose file may still be longer: the stale batches
//! behind it are valid, and only this tells that they are gone when the next segment is gone, too.
//! What compaction did stands here, too, so that it is one write with the segments that it concerns:
//! below which offset records may be missing, up to where each key was looked at, and which segment
//! is about to take the place of others (see [`crate::compaction`]).
//! Big-endian, in order of base offset. The CRCs cover the whole files: `size` bytes of the `.log`.

use std::{collections::BTreeMap, io, path::Path};

use bytes::{Buf, BufMut};
use millstream_proto::Offset;

use crate::{
    frame::{FrameKind, LoadError},
    io::{LogFile, LogIo, OpenMode},
    layout::{FileKind, MANIFEST},
    segment_meta::SegmentMeta,
};

/// The frame of the manifest.
pub const KIND: FrameKind = FrameKind {
    id: 3,
    version: 2,
    name: "manifest",
};

/// The first version that tells of compaction.
const COMPACTION_VERSION: u16 = 2;

/// Bytes read at once when a file is summed up.
const CHECKSUM_BUFFER_BYTES: usize = 256 << 10;

/// CRC-32 (IEEE) of a segment's files; of nothing where a file is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentChecksums {
    /// Of the `.log`, [`SegmentMeta::size_bytes`] long.
    pub log: u32,
    /// Of the `.index`.
    pub offset_index: u32,
    /// Of the `.timeindex`.
    pub time_index: u32,
    /// Of the `.txnindex`.
    pub transaction_index: u32,
    /// Length of the `.index` in bytes.
    pub offset_index_bytes: u32,
    /// Length of the `.timeindex` in bytes.
    pub time_index_bytes: u32,
}

/// One segment of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestEntry {
    /// What is known of the segment.
    pub meta: SegmentMeta,
    /// CRCs of its files.
    pub checksums: SegmentChecksums,
    /// False for the active segment at a clean close, which may grow afterwards.
    pub sealed: bool,
}

impl ManifestEntry {
    /// What it means that all batches of a `.log` are valid and its CRC-32 is `found`; `None` where it
    /// is the file that was sealed.
    #[must_use]
    pub fn mismatch(&self, found: u32) -> Option<String> {
        let (size_bytes, expected) = (self.meta.size_bytes, self.checksums.log);
        (found != expected).then(|| {
            format!(
                "CRC-32 of its first {size_bytes} bytes is {found:08x}, the manifest has {expected:08x}, \
                 and every batch is valid: the file is of another partition or an older copy"
            )
        })
    }
}

/// A compacted segment that takes the place of others: whatever was begun of it is completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSwap {
    /// The compacted segment, which has an entry; it bears the name of the first that it was made of.
    pub base_offset: Offset,
    /// Whether it has a `.txnindex`.
    pub has_transactions: bool,
    /// The other segments that it was made of, which go.
    pub merged: Vec<Offset>,
}

/// The sealed segments of a partition, in order of base offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<ManifestEntry>,
    cuts: BTreeMap<Offset, u64>,
    compacted_below: Offset,
    cleaned_to: Offset,
    swap: Option<PendingSwap>,
}

impl Manifest {
    /// No segments.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            cuts: BTreeMap::new(),
            compacted_below: Offset::ZERO,
            cleaned_to: Offset::ZERO,
            swap: None,
        }
    }

    /// Below it compaction may have removed records.
    #[must_use]
    pub const fn compacted_below(&self) -> Offset {
        self.compacted_below
    }

    /// Below it no key has two committed records, as far as compaction could see.
    #[must_use]
    pub const fn cleaned_to(&self) -> Offset {
        self.cleaned_to
    }

    /// Notes how far compaction went through the log.
    pub const fn set_cleaned_to(&mut self, offset: Offset) {
        self.cleaned_to = offset;
    }

    /// The swap that was committed and perhaps not completed.
    #[must_use]
    pub const fn swap(&self) -> Option<&PendingSwap> {
        self.swap.as_ref()
    }

    /// Has the compacted segment `entry` take the place of the segments in `merged` and of the one
    /// with its own base offset, which ended at `end`.
    pub fn begin_swap(&mut self, entry: ManifestEntry, swap: PendingSwap, end: Offset) {
        self.retain(|entry| !swap.merged.contains(&entry.meta.base_offset));
        for base_offset in &swap.merged {
            self.cuts.remove(base_offset);
        }
        self.compacted_below = self.compacted_below.max(end);
        self.insert(entry);
        self.swap = Some(swap);
    }

    /// All files are in their places.
    pub fn end_swap(&mut self) {
        self.swap = None;
    }

    /// Has records missing anywhere below `offset`, for a log of which that is all that is known.
    pub const fn assume_compacted_below(&mut self, offset: Offset) {
        self.compacted_below = offset;
    }

    /// The log ends at `offset` now: what is appended from there on was never compacted.
    pub fn forget_compaction_from(&mut self, offset: Offset) {
        self.compacted_below = self.compacted_below.min(offset);
        self.cleaned_to = self.cleaned_to.min(offset);
    }

    /// All entries in order of base offset.
    #[must_use]
    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// The entry of the segment with this base offset.
    #[must_use]
    pub fn get(&self, base_offset: Offset) -> Option<&ManifestEntry> {
        self.entries.get(self.search(base_offset).ok()?)
    }

    /// Where a truncation ended the segment with this base offset, in bytes.
    #[must_use]
    pub fn cut(&self, base_offset: Offset) -> Option<u64> {
        self.cuts.get(&base_offset).copied()
    }

    /// Where truncations ended segments, in bytes, in order of base offset.
    pub fn cuts(&self) -> impl Iterator<Item = (Offset, u64)> + '_ {
        self.cuts.iter().map(|(base, size)| (*base, *size))
    }

    /// Notes where a truncation ends a segment.
    pub fn set_cut(&mut self, base_offset: Offset, size_bytes: u64) {
        self.cuts.insert(base_offset, size_bytes);
    }

    /// Forgets where segments with base offset `from` or above were ended, as their files are gone;
    /// returns whether there were any.
    pub fn forget_cuts_from(&mut self, from: Offset) -> bool {
        !self.cuts.split_off(&from).is_empty()
    }

    /// Bytes of the `.log` with this base offset that count, where the manifest knows: whatever
    /// follows in the file is a stale tail.
    #[must_use]
    pub fn size_bytes_max(&self, base_offset: Offset) -> Option<u64> {
        let sealed = self.get(base_offset).filter(|entry| entry.sealed);
        sealed
            .map(|entry| entry.meta.size_bytes)
            .or_else(|| self.cut(base_offset))
    }

    /// Puts an entry in, replacing one with the same base offset.
    pub fn insert(&mut self, entry: ManifestEntry) {
        self.cuts.remove(&entry.meta.base_offset);
        match self.search(entry.meta.base_offset) {
            Ok(index) => {
                if let Some(present) = self.entries.get_mut(index) {
                    *present = entry;
                }
            }
            Err(index) => self.entries.insert(index, entry),
        }
    }

    /// Keeps only entries for which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&ManifestEntry) -> bool) {
        self.entries.retain(keep);
    }

    fn search(&self, base_offset: Offset) -> Result<usize, usize> {
        self.entries
            .binary_search_by_key(&base_offset, |entry| entry.meta.base_offset)
    }

    fn payload(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.entries.len() * 65);
        bytes.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for ManifestEntry {
            meta,
            checksums,
            sealed,
        } in &self.entries
        {
            bytes.put_i64(meta.base_offset.get());
            bytes.put_u64(meta.size_bytes);
            bytes.put_i64(meta.last_offset.map_or(-1, Offset::get));
            bytes.put_i64(meta.max_timestamp_ms);
            bytes.put_i64(meta.max_timestamp_offset.get());
            bytes.put_u8(u8::from(*sealed));
            bytes.put_u32(checksums.log);
            bytes.put_u32(checksums.offset_index);
            bytes.put_u32(checksums.time_index);
            bytes.put_u32(checksums.transaction_index);
            bytes.put_u32(checksums.offset_index_bytes);
            bytes.put_u32(checksums.time_index_bytes);
        }
        bytes.put_u32(u32::try_from(self.cuts.len()).unwrap_or(u32::MAX));
        for (base_offset, size_bytes) in &self.cuts {
            bytes.put_i64(base_offset.get());
            bytes.put_u64(*size_bytes);
        }
        bytes.put_i64(self.compacted_below.get());
        bytes.put_i64(self.cleaned_to.get());
        bytes.put_u8(u8::from(self.swap.is_some()));
        if let Some(swap) = &self.swap {
            put_swap(&mut bytes, swap);
        }
        bytes
    }

    fn from_payload(mut payload: &[u8], version: u16) -> Option<Self> {
        let mut manifest = Self::new();
        for _ in 0..payload.try_get_u32().ok()? {
            let entry = decode_entry(&mut payload)?;
            let in_order = manifest
                .entries
                .last()
                .is_none_or(|last| last.meta.base_offset < entry.meta.base_offset);
            manifest.entries.push(in_order.then_some(entry)?);
        }
        for _ in 0..payload.try_get_u32().ok()? {
            let base_offset = Offset::new(payload.try_get_i64().ok()?)?;
            manifest.set_cut(base_offset, payload.try_get_u64().ok()?);
        }
        if version >= COMPACTION_VERSION {
            manifest.compacted_below = Offset::new(payload.try_get_i64().ok()?)?;
            manifest.cleaned_to = Offset::new(payload.try_get_i64().ok()?)?;
            manifest.swap = match payload.try_get_u8().ok()? {
                0 => None,
                1 => Some(decode_swap(&mut payload)?),
                _ => return None,
            };
        }
        (!payload.has_remaining()).then_some(manifest)
    }

    /// Reads the manifest of a partition; `None` when there is none.
    ///
    /// # Errors
    /// A corrupt file, whatever the system says.
    pub fn load(io: &dyn LogIo, dir: &Path) -> Result<Option<Self>, LoadError> {
        let path = dir.join(MANIFEST);
        let Some(frame) = KIND.load(io, &path)? else {
            return Ok(None);
        };
        Self::from_payload(&frame.payload, frame.version)
            .map(Some)
            .ok_or_else(|| LoadError::Corrupt {
                path,
                source: KIND.payload_error("an entry is cut off or out of order"),
            })
    }

    /// Replaces the manifest of a partition durably.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn store(&self, io: &dyn LogIo, dir: &Path) -> io::Result<()> {
        KIND.store(io, &dir.join(MANIFEST), &self.payload())
    }
}

fn put_swap(bytes: &mut Vec<u8>, swap: &PendingSwap) {
    bytes.put_i64(swap.base_offset.get());
    bytes.put_u8(u8::from(swap.has_transactions));
    bytes.put_u32(u32::try_from(swap.merged.len()).unwrap_or(u32::MAX));
    for base_offset in &swap.merged {
        bytes.put_i64(base_offset.get());
    }
}

fn decode_swap(bytes: &mut &[u8]) -> Option<PendingSwap> {
    let base_offset = Offset::new(bytes.try_get_i64().ok()?)?;
    let has_transactions = match bytes.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let count = bytes.try_get_u32().ok()?;
    let merged = (0..count).map(|_| Offset::new(bytes.try_get_i64().ok()?));
    Some(PendingSwap {
        base_offset,
        has_transactions,
        merged: merged.collect::<Option<_>>()?,
    })
}

fn decode_entry(bytes: &mut &[u8]) -> Option<ManifestEntry> {
    let offset = |bytes: &mut &[u8]| bytes.try_get_i64().ok();
    Some(ManifestEntry {
        meta: SegmentMeta {
            base_offset: Offset::new(offset(bytes)?)?,
            size_bytes: bytes.try_get_u64().ok()?,
            last_offset: Offset::new(offset(bytes)?),
            max_timestamp_ms: bytes.try_get_i64().ok()?,
            max_timestamp_offset: Offset::new(offset(bytes)?)?,
        },
        sealed: match bytes.try_get_u8().ok()? {
            0 => false,
            1 => true,
            _ => return None,
        },
        checksums: SegmentChecksums {
            log: bytes.try_get_u32().ok()?,
            offset_index: bytes.try_get_u32().ok()?,
            time_index: bytes.try_get_u32().ok()?,
            transaction_index: bytes.try_get_u32().ok()?,
            offset_index_bytes: bytes.try_get_u32().ok()?,
            time_index_bytes: bytes.try_get_u32().ok()?,
        },
    })
}

/// CRC-32 of the first `length` bytes of a file, read in pieces of bounded size.
///
/// # Errors
/// `UnexpectedEof` when the file is shorter; whatever the system says.
pub fn checksum_file(file: &dyn LogFile, length: u64) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHECKSUM_BUFFER_BYTES];
    let mut position = 0;
    while position < length {
        let step = usize::try_from(length - position)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let piece = buffer.get_mut(..step).expect("step is at most the length");
        file.read_exact_at(piece, position)?;
        hasher.update(piece);
        position += u64::try_from(step).map_err(io::Error::other)?;
    }
    Ok(hasher.finalize())
}

/// Sums up all files of a segment as they are on disk now.
///
/// # Errors
/// `UnexpectedEof` when the `.log` is shorter than the segment; whatever the system says.
pub fn checksum_segment(
    io: &dyn LogIo,
    dir: &Path,
    meta: &SegmentMeta,
) -> io::Result<SegmentChecksums> {
    let index = |kind: FileKind| -> io::Result<(u32, u32)> {
        match io.open(&kind.path(dir, meta.base_offset), OpenMode::Read) {
            Ok(file) => {
                let length = file.len()?;
                let bytes = u32::try_from(length).map_err(io::Error::other)?;
                Ok((checksum_file(&*file, length)?, bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, 0)),
            Err(error) => Err(error),
        }
    };
    let log = io.open(&FileKind::Log.path(dir, meta.base_offset), OpenMode::Read)?;
    let (offset_index, offset_index_bytes) = index(FileKind::OffsetIndex)?;
    let (time_index, time_index_bytes) = index(FileKind::TimeIndex)?;
    let (transaction_index, _) = index(FileKind::TransactionIndex)?;
    Ok(SegmentChecksums {
        log: checksum_file(&*log, meta.size_bytes)?,
        offset_index,
        time_index,
        transaction_index,
        offset_index_bytes,
        time_index_bytes,
    })
}
