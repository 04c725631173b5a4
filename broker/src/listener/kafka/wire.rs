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
    use super::*;

    fn written(put: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut target = BytesMut::new();
        put(&mut target);
        target.to_vec()
    }

    #[test]
    fn lengths_have_a_fixed_size_or_are_varints_of_one_more() {
        assert_eq!(written(|to| to.put_text(b"ab", false)), b"\0\x02ab");
        assert_eq!(written(|to| to.put_text(b"ab", true)), b"\x03ab");
        assert_eq!(written(|to| to.put_count(2, false)), [0, 0, 0, 2]);
        assert_eq!(written(|to| to.put_count(126, true)), [127]);
        assert_eq!(written(|to| to.put_count(127, true)), [0x80, 1]);
        assert_eq!(written(|to| to.put_count(20_000, true)), [0xa1, 0x9c, 1]);
    }

    #[test]
    fn only_flexible_structs_say_that_they_have_no_tagged_fields() {
        assert_eq!(written(|to| to.put_no_tags(true)), [0]);
        assert!(written(|to| to.put_no_tags(false)).is_empty());
    }
}
