//! [`Offset`]: the position of a record in a partition, with checked arithmetic.

use std::fmt;

/// Position of a record in its partition: 0 for the first ever written, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(i64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);
    /// The largest offset.
    pub const MAX: Self = Self(i64::MAX);

    /// Takes an offset from the wire or the disk; `None` when it is negative.
    #[must_use]
    pub const fn new(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(Self(value)) }
    }

    /// The number itself, never negative.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This offset plus `count` records; `None` past [`Offset::MAX`].
    #[must_use]
    pub const fn checked_add(self, count: u32) -> Option<Self> {
        match self.0.checked_add(count as i64) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Records from `earlier` up to this offset; `None` when `earlier` is later or 2^32 or more away.
    #[must_use]
    pub fn distance_from(self, earlier: Self) -> Option<u32> {
        self.0
            .checked_sub(earlier.0)
            .and_then(|distance| u32::try_from(distance).ok())
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_are_no_offsets() {
        assert_eq!(Offset::new(-1), None);
        assert_eq!(Offset::new(0), Some(Offset::ZERO));
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(Offset::MAX.checked_add(1), None);
        assert_eq!(Offset::ZERO.distance_from(Offset(1)), None);
        assert_eq!(Offset(7).distance_from(Offset(2)), Some(5));
    }
}
