//! [`PlannedSegment`]: one segment as it shall be after recovery, and where its bytes are now.

use millstream_proto::{Offset, record::BatchHeader};

use crate::{
    index::{AbortedTransaction, IndexError, SegmentIndexes},
    segment_meta::SegmentMeta,
};

/// One segment as it shall be, and where its bytes are now.
#[derive(Debug)]
pub(super) struct PlannedSegment {
    pub(super) meta: SegmentMeta,
    /// Base offset of the `.log` that holds its bytes; `None` where a new, empty one is to be made.
    pub(super) source: Option<Offset>,
    /// Where in that file its bytes start.
    pub(super) source_position: u64,
    /// What the walk found, for the index files; `None` for a segment that the manifest vouches for.
    pub(super) walked: Option<WalkedIndexes>,
    /// Whether its bytes go to a new file.
    pub(super) is_rewritten: bool,
}

/// Indexes as the walk rebuilt them.
#[derive(Debug)]
pub(super) struct WalkedIndexes {
    pub(super) sparse: SegmentIndexes,
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl PlannedSegment {
    /// A segment that the manifest vouches for.
    pub(super) const fn vouched(meta: SegmentMeta) -> Self {
        Self {
            meta,
            source: Some(meta.base_offset),
            source_position: 0,
            walked: None,
            is_rewritten: false,
        }
    }

    /// A segment whose bytes start at a position of a `.log`, none taken yet.
    pub(super) const fn walked(
        base_offset: Offset,
        source: Option<Offset>,
        source_position: u64,
        index_interval_bytes: u64,
    ) -> Self {
        Self {
            meta: SegmentMeta::empty(base_offset),
            source,
            source_position,
            walked: Some(WalkedIndexes {
                sparse: SegmentIndexes::new(base_offset, index_interval_bytes),
                aborted: Vec::new(),
            }),
            is_rewritten: source.is_none(),
        }
    }

    /// Takes the batch at the end of what was taken so far.
    pub(super) fn add_batch(&mut self, header: &BatchHeader) -> Result<(), IndexError> {
        let size_bytes = u64::try_from(header.size_bytes()).unwrap_or(u64::MAX);
        if let Some(walked) = &mut self.walked {
            walked.sparse.add_batch(
                header.last_offset(),
                self.meta.size_bytes,
                size_bytes,
                header.max_timestamp(),
            )?;
        }
        self.meta
            .add_batch(header.last_offset(), size_bytes, header.max_timestamp());
        Ok(())
    }

    /// Takes bytes that are no batches but stay, up to offset `end`.
    pub(super) fn add_corrupt(&mut self, size_bytes: u64, end: Offset) {
        if let Some(walked) = &mut self.walked {
            walked.sparse.skip(size_bytes);
        }
        self.meta.size_bytes += size_bytes;
        if end > self.meta.base_offset {
            self.meta.last_offset = Offset::new(end.get() - 1);
        }
    }
}
