//! Variable-length integers of records: base 128, least significant group first, zigzag for the sign.
//!
//! Reading refuses numbers that do not fit; groups that encode leading zeros are accepted, as Kafka does.

use bytes::BufMut;

/// Bytes of the longest 32-bit number.
pub(super) const VARINT_BYTES_MAX: usize = 5;
/// Bytes of the longest 64-bit number.
pub(super) const VARLONG_BYTES_MAX: usize = 10;

/// The bytes end inside a number, or the number does not fit its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VarintError {
    /// More bytes are needed.
    Truncated,
    /// More groups or bits than the type has.
    Overflow,
}

/// Reads a zigzag 32-bit number and moves `bytes` behind it.
pub(super) fn read_i32(bytes: &mut &[u8]) -> Result<i32, VarintError> {
    let raw = read_unsigned(bytes, VARINT_BYTES_MAX)?;
    let raw = u32::try_from(raw).map_err(|_| VarintError::Overflow)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zigzag 64-bit number and moves `bytes` behind it.
pub(super) fn read_i64(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    let raw = read_unsigned(bytes, VARLONG_BYTES_MAX)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn read_unsigned(bytes: &mut &[u8], groups_max: usize) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for group in 0..groups_max {
        let (byte, rest) = bytes.split_first().ok_or(VarintError::Truncated)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * group;
        if shift == 63 && bits > 1 {
            return Err(VarintError::Overflow);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(VarintError::Overflow)
}

/// Writes a zigzag 32-bit number.
pub(super) fn write_i32(out: &mut impl BufMut, value: i32) {
    write_i64(out, i64::from(value));
}

/// Writes a zigzag 64-bit number. A number that fits 32 bits has the same bytes in both widths.
pub(super) fn write_i64(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest > 0x7f {
        out.put_u8(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.put_u8(low_bits(rest));
}

/// Bytes that [`write_i64`] writes.
pub(super) fn bytes_of(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    // At most 64 bits in groups of 7: at most 10.
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        write_i64(&mut out, value);
        out
    }

    #[test]
    fn known_encodings() {
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(1), [2]);
        assert_eq!(written(63), [126]);
        assert_eq!(written(-64), [127]);
        assert_eq!(written(64), [0x80, 1]);
        assert_eq!(written(i64::from(i32::MAX)), [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::MIN).len(), 10);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let too_wide = written(i64::from(i32::MAX) + 1);
        assert_eq!(
            read_i32(&mut too_wide.as_slice()),
            Err(VarintError::Overflow)
        );
        assert_eq!(
            read_i32(&mut [0x80; 6].as_slice()),
            Err(VarintError::Overflow)
        );
        assert_eq!(
            read_i64(&mut [0xff; 11].as_slice()),
            Err(VarintError::Overflow)
        );
        let eleven_bits = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(
            read_i64(&mut eleven_bits.as_slice()),
            Err(VarintError::Overflow)
        );
        assert_eq!(
            read_i64(&mut [0x80].as_slice()),
            Err(VarintError::Truncated)
        );
    }

    proptest! {
        #[test]
        fn round_trips(value: i64, narrow: i32) {
            let bytes = written(value);
            prop_assert_eq!(bytes.len(), bytes_of(value));
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_i64(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read_i32(&mut written(i64::from(narrow)).as_slice()), Ok(narrow));
        }
    }
}
