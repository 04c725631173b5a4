//! [`Cursor`]: a position in bytes that nobody vouches for. Every step is checked, none allocates, and
//! one that fails leaves the position where it was.

use super::error::Problem;

/// What was read of some bytes, and what is left.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    left: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let problem = Problem::Truncated {
            needed: count,
            left: self.left(),
        };
        let (taken, left) = self.left.split_at_checked(count).ok_or(problem)?;
        self.left = left;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn i8(&mut self) -> Result<i8, Problem> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Problem> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Problem> {
        self.array().map(i32::from_be_bytes)
    }

    /// A length or count of two bytes; -1 is null.
    pub(super) fn length_i16(&mut self) -> Result<Option<usize>, Problem> {
        self.i16().and_then(|length| not_negative(length.into()))
    }

    /// A length or count of four bytes; -1 is null.
    pub(super) fn length_i32(&mut self) -> Result<Option<usize>, Problem> {
        self.i32().and_then(not_negative)
    }

    /// A length or count plus one as a varint; 0 is null.
    pub(super) fn length_varint(&mut self) -> Result<Option<usize>, Problem> {
        self.varint().map(|length| (length as usize).checked_sub(1))
    }

    /// An unsigned number of up to 32 bits, seven of them in a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u32, Problem> {
        let mut value = 0;
        for (index, byte) in self.left.iter().take(5).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let value = u32::try_from(value).map_err(|_| Problem::VarintTooLong)?;
                self.take(index + 1)?;
                return Ok(value);
            }
        }
        match self.left() {
            left @ ..5 => Err(Problem::Truncated {
                needed: left + 1,
                left,
            }),
            _ => Err(Problem::VarintTooLong),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let problem = Problem::Truncated {
            needed: N,
            left: self.left(),
        };
        let bytes = *self.left.first_chunk().ok_or(problem)?;
        self.take(N)?;
        Ok(bytes)
    }
}

fn not_negative(length: i32) -> Result<Option<usize>, Problem> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length)
            .map(Some)
            .map_err(|_| Problem::NegativeLength { length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u32, Problem> {
        Cursor::new(bytes).varint()
    }

    #[test]
    fn varint_ends_with_the_first_byte_without_the_high_bit() {
        assert_eq!(varint(&[0x7f, 0xff]), Ok(127));
        assert_eq!(varint(&[0xac, 0x02]), Ok(300));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(
            varint(&[0x80, 0x00]),
            Ok(0),
            "a longer form than needed is read as Kafka does"
        );
    }

    #[test]
    fn varint_beyond_32_bits_is_refused() {
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0x10]),
            Err(Problem::VarintTooLong)
        );
        assert_eq!(varint(&[0x80; 6]), Err(Problem::VarintTooLong));
    }

    #[test]
    fn step_that_fails_does_not_move() {
        let mut cursor = Cursor::new(&[0x80, 0x80]);
        let truncated = |needed| Problem::Truncated { needed, left: 2 };
        assert_eq!(cursor.varint(), Err(truncated(3)));
        assert_eq!(cursor.i32(), Err(truncated(4)));
        assert_eq!(cursor.take(usize::MAX), Err(truncated(usize::MAX)));
        assert_eq!((cursor.at(), cursor.left()), (0, 2));
    }
}
