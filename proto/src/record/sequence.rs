//! [`sequence_after`]: arithmetic of producer sequences, which wrap.

/// The sequence `count` records after `sequence`: after `i32::MAX` comes 0. Both are at least 0.
#[must_use]
pub fn sequence_after(sequence: i32, count: u32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1);
    i32::try_from(sum).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(7, 5), 12);
        assert_eq!(sequence_after(i32::MAX, 0), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 2, 5), 2);
    }
}
