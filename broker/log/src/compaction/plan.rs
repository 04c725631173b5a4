//! [`Compactable`]: what of a log can be compacted, whether it is time to, and in which groups. Pure.

use millstream_proto::Offset;

use super::{CompactionConfig, Ratio};
use crate::segment_meta::{NO_TIMESTAMP, SegmentMeta};

/// Offsets and bytes of one segment span at most this: its indexes have 31 bits for them.
const SPAN_MAX: u64 = i32::MAX.unsigned_abs() as u64;
/// Segments that are merged into one at once: each holds a file open meanwhile...
const MERGED_MAX: usize = 64;
/// ...and so many times as many may be open, as others need some, too.
const OPEN_PER_MERGED: usize = 8;

/// What of a log can be compacted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compactable {
    /// Where the dirty part begins.
    pub first_dirty: Offset,
    /// Where it ends.
    pub end: Offset,
    /// Bytes of the segments before it.
    pub clean_bytes: u64,
    /// Bytes of its segments.
    pub dirty_bytes: u64,
    /// Whether its oldest record is older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Compactable {
    /// The dirty share of what can be compacted.
    #[must_use]
    pub fn dirty_ratio(&self) -> Ratio {
        Ratio::of(self.dirty_bytes, self.clean_bytes + self.dirty_bytes)
    }

    /// Whether a pass is worth its while.
    #[must_use]
    pub fn is_due(&self, config: &CompactionConfig) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.dirty_ratio() > config.dirty_ratio_min)
    }
}

/// How many of the sealed segments, the oldest first, may be compacted: wholly below `end_max`, and
/// none from the first on whose newest record is younger than the lag.
pub(crate) fn count_compactable(
    sealed: &[SegmentMeta],
    config: &CompactionConfig,
    now_ms: i64,
    end_max: Offset,
) -> usize {
    let is_compactable = |meta: &&SegmentMeta| {
        let is_young = config.min_lag_ms > 0
            && meta.max_timestamp_ms != NO_TIMESTAMP
            && is_younger(meta.max_timestamp_ms, now_ms, config.min_lag_ms);
        meta.end_offset() <= end_max && !is_young
    };
    sealed.iter().take_while(is_compactable).count()
}

/// Whether a record of that time is younger than so many milliseconds, or from the future.
pub(crate) fn is_younger(timestamp_ms: i64, now_ms: i64, age_ms: u64) -> bool {
    match u64::try_from(now_ms.saturating_sub(timestamp_ms)) {
        Ok(age) => age < age_ms,
        Err(_) => true,
    }
}

/// How many segments are merged into one at most, where so many may be open.
pub(crate) fn merged_max(open_segments_max: usize) -> usize {
    (open_segments_max / OPEN_PER_MERGED).clamp(1, MERGED_MAX)
}

/// How many segments go into each copy: in order, as many as fit one segment for certain.
pub(crate) fn group(segments: &[SegmentMeta], segment_bytes: u32, merged_max: usize) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::new();
    let mut open: Option<(Offset, u64)> = None;
    for meta in segments {
        let fits = open.is_some_and(|(base_offset, bytes)| {
            let last = meta.last_offset.unwrap_or(meta.base_offset);
            bytes + meta.size_bytes <= u64::from(segment_bytes)
                && last.get().abs_diff(base_offset.get()) <= SPAN_MAX
        });
        match (groups.last_mut(), &mut open) {
            (Some(count), Some((_, bytes))) if fits && *count < merged_max => {
                *count += 1;
                *bytes += meta.size_bytes;
            }
            _ => {
                groups.push(1);
                open = Some((meta.base_offset, meta.size_bytes));
            }
        }
    }
    groups
}

/// Bytes that the next batch of a copy may have so that all behind it still fit.
pub(crate) const fn room(copied_bytes: u64, source_left: u64) -> u64 {
    SPAN_MAX.saturating_sub(copied_bytes.saturating_add(source_left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, end: i64, size_bytes: u64, max_timestamp_ms: i64) -> SegmentMeta {
        let mut meta = SegmentMeta::empty(Offset::new(base).unwrap());
        let last = Offset::new(end - 1).unwrap();
        meta.add_batch(last, size_bytes, max_timestamp_ms);
        meta
    }

    #[test]
    fn nothing_at_or_above_the_last_stable_offset_is_compacted() {
        let config = CompactionConfig::default();
        let sealed = [segment(0, 10, 1, 5), segment(10, 20, 1, 5)];
        let count = |end| count_compactable(&sealed, &config, 1_000, Offset::new(end).unwrap());
        assert_eq!([count(9), count(10), count(19), count(20)], [0, 1, 1, 2]);
    }

    #[test]
    fn a_segment_with_a_young_record_ends_what_is_compacted() {
        let config = CompactionConfig {
            min_lag_ms: 100,
            ..CompactionConfig::default()
        };
        let sealed = [
            segment(0, 10, 1, 700),
            segment(10, 20, 1, 901),
            segment(20, 30, 1, 100),
        ];
        let count = |now_ms| count_compactable(&sealed, &config, now_ms, Offset::MAX);
        assert_eq!(
            [count(799), count(800), count(1_000), count(1_001)],
            [0, 1, 1, 3]
        );
    }

    #[test]
    fn a_pass_is_due_by_ratio_or_by_age() {
        let config = CompactionConfig::default();
        let part = |clean_bytes, dirty_bytes, is_overdue| Compactable {
            clean_bytes,
            dirty_bytes,
            is_overdue,
            ..Compactable::default()
        };
        assert!(part(49, 51, false).is_due(&config));
        assert!(!part(50, 50, false).is_due(&config));
        assert!(part(99, 1, true).is_due(&config));
        assert!(!part(99, 0, true).is_due(&config));
    }

    #[test]
    fn groups_fit_a_segment_in_bytes_and_offsets() {
        let tiny = |index: i64| segment(index * 10, index * 10 + 10, 40, 0);
        let segments: Vec<_> = (0..5).map(tiny).collect();
        assert_eq!(group(&segments, 100, 64), [2, 2, 1]);
        assert_eq!(group(&segments, 10, 64), [1, 1, 1, 1, 1]);
        let far = i64::from(i32::MAX) + 100;
        let spread = [
            segment(0, 10, 1, 0),
            segment(10, 20, 1, 0),
            segment(far, far + 1, 1, 0),
        ];
        assert_eq!(group(&spread, 100, 64), [2, 1]);
        let many: Vec<_> = (0..200).map(tiny).collect();
        assert_eq!(group(&many, u32::MAX, 90), [90, 90, 20]);
        assert_eq!(group(&[], 100, 64), Vec::<usize>::new());
        assert_eq!([4096, 80, 3].map(merged_max), [64, 10, 1]);
    }

    #[test]
    fn a_copy_has_room_for_what_is_not_copied_yet() {
        let span = u64::from(i32::MAX.unsigned_abs());
        assert_eq!(room(0, 0), span);
        assert_eq!(room(span - 10, 7), 3);
        assert_eq!(room(span - 10, 11), 0);
        assert_eq!(room(u64::MAX, u64::MAX), 0);
    }
}
