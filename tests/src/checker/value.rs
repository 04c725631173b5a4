//! Values that say who they are: unique, of varying length, and checkable to the last byte.

use std::{fmt, iter};

/// Names one value. Unique within a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u64);

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of the id in front of the filling: 16 hexadecimal digits.
const ID_BYTES: usize = 16;
/// Filling of the shortest value.
const FILLING_BYTES_MIN: usize = 40;
/// Lengths vary by up to this.
const FILLING_BYTES_VARY: u64 = 100;

/// The bytes of a value.
#[must_use]
pub fn encode(id: ValueId) -> Vec<u8> {
    let mut out = format!("{:016x}", id.0).into_bytes();
    let vary = usize::try_from(mix(id.0) % FILLING_BYTES_VARY).unwrap_or(0);
    out.extend(filling(id).take(FILLING_BYTES_MIN + vary));
    out
}

/// The id of a value whose every byte is right; `None` for bytes that no one wrote.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<ValueId> {
    let digits = std::str::from_utf8(bytes.get(..ID_BYTES)?).ok()?;
    let id = ValueId(u64::from_str_radix(digits, 16).ok()?);
    (encode(id) == bytes).then_some(id)
}

fn filling(id: ValueId) -> impl Iterator<Item = u8> {
    let mut state = id.0;
    iter::repeat_with(move || {
        state = mix(state);
        state.to_le_bytes()
    })
    .flatten()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
