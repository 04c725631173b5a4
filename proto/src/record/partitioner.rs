//! Kafka's default partitioner for records with a key: murmur2, made positive, modulo partitions.
//!
//! Producers in every language agree on it, so records of one key meet in one partition whichever
//! client wrote them. Source: Austin Appleby's MurmurHash2, seed 0x9747b28c, as Kafka's Java
//! client uses it.

use std::num::NonZeroU32;

use crate::PartitionIndex;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// MurmurHash2 of `key`, as the signed number Kafka's Java client prints.
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    // The algorithm mixes in the length modulo 2^32.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low 32 bits are what is specified"
    )]
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let last = tail
            .iter()
            .rev()
            .fold(0, |word, byte| (word << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition of a record with this key in a topic of `partitions` partitions.
///
/// # Panics
/// Never: a topic has fewer than 2^31 partitions, and so has the remainder.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: NonZeroU32) -> PartitionIndex {
    let positive = (murmur2(key) & i32::MAX).cast_unsigned();
    PartitionIndex((positive % partitions).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_the_java_clients() {
        // The vectors of Kafka's own test of `Utils.murmur2`.
        let vectors: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key), hash, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn partitions_are_the_positive_hash_modulo_their_count() {
        let seven = NonZeroU32::new(7).unwrap();
        // -973,932,308 without its sign bit is 1,173,551,340, not its absolute value.
        assert_eq!(
            partition_for_key(b"21", seven),
            PartitionIndex(1_173_551_340 % 7)
        );
        assert_eq!(
            partition_for_key(b"abc", seven),
            PartitionIndex(479_470_107 % 7)
        );
        assert_eq!(
            partition_for_key(b"abc", NonZeroU32::MIN),
            PartitionIndex(0)
        );
    }
}
