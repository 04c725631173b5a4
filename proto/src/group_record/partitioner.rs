//! [`partition_of`]: which partition of the offsets topic a group's records are in.

use std::num::NonZeroU32;

use crate::PartitionIndex;

/// The partition for a group, of `count`: the absolute value of Java's `String.hashCode`, where that of
/// the smallest number is 0, modulo the count. The same as Kafka's, so that a log changes hands.
#[must_use]
pub fn partition_of(group_id: &str, count: NonZeroU32) -> PartitionIndex {
    let hash = java_hash(group_id);
    // The absolute value of the smallest number does not fit and is 0 in Kafka.
    let index = hash.checked_abs().unwrap_or(0).unsigned_abs() % count;
    // At most `i32::MAX`, as the absolute value is.
    PartitionIndex(index.cast_signed())
}

/// Sum of the UTF-16 units, each times 31 to the power of the number of units behind it, wrapping.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(group_id: &str, count: u32) -> i32 {
        partition_of(group_id, NonZeroU32::new(count).unwrap()).0
    }

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        // Two UTF-16 units, U+D83D and U+DE00, not four bytes.
        assert_eq!(java_hash("😀"), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn negative_hashes_count_from_zero_and_the_smallest_is_zero() {
        assert_eq!(index("hello", 50), 22);
        assert_eq!(index("polygenelubricants", 50), 0);
        assert_eq!(java_hash("consumer-group"), -1_738_392_088);
        assert_eq!(index("consumer-group", 50), 38);
        assert_eq!(index("any", 1), 0);
    }
}
