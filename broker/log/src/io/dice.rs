//! [`Dice`]: seeded randomness for faults and crashes; the same seed gives the same throws.

/// A SplitMix64 generator (Steele, Lea, Flood 2014): small, and good enough to choose what breaks.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) const fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// A number below `end`, which must not be 0 (then 0).
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// True once in `1_000_000 / parts_per_million` throws.
    pub(super) const fn chance(&mut self, parts_per_million: u32) -> bool {
        self.below(1_000_000) < parts_per_million as u64
    }
}
