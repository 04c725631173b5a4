//! [`View`]: what a partition publishes to its readers, and the order of its positions.

use std::sync::Arc;

use millstream_proto::Offset;

use crate::{epoch::EpochHistory, recovery::CorruptRange, segment::Segment};

/// Published positions, taken together. Exclusive ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// First readable offset.
    pub log_start: Offset,
    /// First offset on this broker's disk; `log_start` may be lower once segments are tiered.
    pub local_log_start: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// End of what a flush covers.
    pub flushed: Offset,
    /// Durable; below it a bad batch is corruption.
    pub recovery_point: Offset,
    /// First offset of the earliest transaction that is open or whose marker the high watermark has
    /// not passed.
    pub first_unstable: Option<Offset>,
    /// Counts truncations: what was read under another count may be gone.
    pub truncations: u64,
}

impl Positions {
    /// All positions of a log without records that starts at an offset.
    #[must_use]
    pub const fn starting_at(offset: Offset) -> Self {
        Self {
            log_start: offset,
            local_log_start: offset,
            log_end: offset,
            flushed: offset,
            recovery_point: offset,
            first_unstable: None,
            truncations: 0,
        }
    }

    /// Exclusive end for read_committed below the given high watermark.
    #[must_use]
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.first_unstable
            .map_or(high_watermark, |unstable| unstable.min(high_watermark))
    }

    /// # Panics
    /// When the positions are not in the order that they always have.
    pub(super) fn assert_in_order(&self) {
        assert!(
            self.log_start <= self.log_end,
            "log start beyond log end: {self:?}"
        );
        assert!(
            self.flushed <= self.log_end,
            "flushed beyond log end: {self:?}"
        );
        assert!(
            self.recovery_point <= self.flushed,
            "recovery point beyond flushed: {self:?}"
        );
        assert!(
            self.first_unstable.is_none_or(|first| first < self.log_end),
            "open transaction beyond log end: {self:?}"
        );
    }
}

/// What readers see: replaced as a whole or in part under a short lock.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) positions: Positions,
    /// In order of base offset; the last one is active. Empty until the partition is first used.
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
    pub(super) epochs: Arc<EpochHistory>,
    /// Below it compaction may have removed records.
    pub(super) compacted_below: Offset,
    /// Ranges that recovery found corrupt.
    pub(super) corrupt: Arc<[CorruptRange]>,
}

impl View {
    pub(super) fn unopened(positions: Positions) -> Self {
        Self {
            positions,
            segments: Arc::default(),
            epochs: Arc::default(),
            compacted_below: Offset::ZERO,
            corrupt: Arc::new([]),
        }
    }

    pub(super) fn is_opened(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Index of the segment that contains the offset or would; `None` below the first.
    pub(super) fn segment_index(&self, offset: Offset) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.base_offset() <= offset)
            .checked_sub(1)
    }
}
