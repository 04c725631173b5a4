//! [`CompactionConfig`]: what a topic's configuration asks of compaction.

/// A share from 0 to 1, kept in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ratio(u32);

/// What is 1.
const WHOLE: u32 = 1_000_000;

impl Ratio {
    /// `part` of `whole`, both in the same unit; 0 of nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Self {
        let millionths = u128::from(part) * u128::from(WHOLE);
        let share = millionths
            .checked_div(u128::from(whole))
            .unwrap_or_default();
        Self(u32::try_from(share).unwrap_or(WHOLE).min(WHOLE))
    }

    /// A share in millionths; more than the whole counts as the whole.
    #[must_use]
    pub fn from_millionths(millionths: u32) -> Self {
        Self(millionths.min(WHOLE))
    }

    /// The share in millionths.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

/// Settings of one partition's compaction, under Kafka's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionConfig {
    /// A segment whose newest record is younger is left alone, and all behind it
    /// (`min.compaction.lag.ms`).
    pub min_lag_ms: u64,
    /// A pass is due once the oldest dirty record is older, whatever the ratio
    /// (`max.compaction.lag.ms`).
    pub max_lag_ms: Option<u64>,
    /// A pass is due once more than this share of what can be compacted is dirty
    /// (`min.cleanable.dirty.ratio`).
    pub dirty_ratio_min: Ratio,
    /// How long a tombstone or marker stays after the first pass that saw it
    /// (`delete.retention.ms`).
    pub delete_retention_ms: u64,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            min_lag_ms: 0,
            max_lag_ms: None,
            dirty_ratio_min: Ratio(WHOLE / 2),
            delete_retention_ms: 24 * 3600 * 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_share_of_the_whole() {
        assert_eq!(Ratio::of(1, 2), Ratio::from_millionths(500_000));
        assert_eq!(Ratio::of(0, 0), Ratio::from_millionths(0));
        assert_eq!(Ratio::of(3, 2), Ratio::of(1, 1));
        assert_eq!(Ratio::of(u64::MAX, u64::MAX), Ratio::of(1, 1));
        assert!(Ratio::of(51, 100) > CompactionConfig::default().dirty_ratio_min);
    }
}
