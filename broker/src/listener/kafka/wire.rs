//! Values of requests and answers as the services have them, and values of answers written by hand.

use bytes::{BufMut, BytesMut};
use kafka_protocol::protocol::StrBytes;
use millstream_proto::LeaderEpoch;

use crate::service::{ServiceError, fetch::Isolation};

/// What a refusal says, and what to do about it.
pub(super) fn error_message(error: &ServiceError) -> Option<StrBytes> {
    let ServiceError { message, hint, .. } = error;
    let text = match hint.is_empty() {
        true => message.clone(),
        false => format!("{message} ({hint})"),
    };
    Some(StrBytes::from_string(text))
}

/// How far a reader sees.
pub(super) const fn isolation(level: i8) -> Isolation {
    match level {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    }
}

/// The leader epoch that a client knows; -1 for none.
pub(super) fn leader_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// Writes values.
pub(super) trait Put {
    /// The number of elements of an array, or the length of bytes.
    fn put_count(&mut self, count: usize, is_flexible: bool);
    /// A text.
    fn put_text(&mut self, text: &[u8], is_flexible: bool);
    /// No tagged fields.
    fn put_no_tags(&mut self, is_flexible: bool);
}

impl Put for BytesMut {
    fn put_count(&mut self, count: usize, is_flexible: bool) {
        if is_flexible {
            put_varint(self, count.saturating_add(1));
        } else {
            self.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    fn put_text(&mut self, text: &[u8], is_flexible: bool) {
        if is_flexible {
            put_varint(self, text.len().saturating_add(1));
        } else {
            self.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        }
        self.put_slice(text);
    }

    fn put_no_tags(&mut self, is_flexible: bool) {
        if is_flexible {
            self.put_u8(0);
        }
    }
}

fn put_varint(target: &mut BytesMut, value: usize) {
    let mut value = u32::try_from(value).unwrap_or(u32::MAX);
    while value >= 0x80 {
        target.put_u8(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    target.put_u8(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::{Encoder as _, types};

    use super::*;

    /// What the crate writes.
    fn encoded(encode: impl FnOnce(&mut BytesMut) -> anyhow::Result<()>) -> BytesMut {
        let mut bytes = BytesMut::new();
        encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn texts_and_counts_are_written_as_by_the_oracle() {
        for length in [0, 1, 126, 127, 128, 16_382, 16_383, 20_000] {
            let text = "x".repeat(length);
            for is_flexible in [false, true] {
                let mut written = BytesMut::new();
                written.put_text(text.as_bytes(), is_flexible);
                let expected = encoded(|bytes| match is_flexible {
                    true => types::CompactString.encode(bytes, &*text),
                    false => types::String.encode(bytes, &*text),
                });
                assert_eq!(written, expected, "{length}");

                let mut written = BytesMut::new();
                written.put_count(length, is_flexible);
                let elements = vec![0_i8; length];
                let expected = encoded(|bytes| match is_flexible {
                    true => types::CompactArray(types::Int8).encode(bytes, &elements),
                    false => types::Array(types::Int8).encode(bytes, &elements),
                });
                assert_eq!(written, expected[..expected.len() - length], "{length}");
            }
        }
    }
}
