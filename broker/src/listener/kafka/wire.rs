//! Values of the wire: read from bytes that may be anything, and written.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use millstream_proto::{LeaderEpoch, TopicId};

use crate::service::{ServiceError, fetch::Isolation};

/// Length of a topic id.
const TOPIC_ID_BYTES: usize = 16;
/// Bytes of the longest unsigned varint of 32 bits.
const VARINT_BYTES_MAX: u32 = 5;

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

/// Reads values one after the other; `None` where the bytes end, or are none of the kind.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    bytes: Bytes,
    is_flexible: bool,
}

impl Cursor {
    /// Reads `bytes` of a message with tagged fields and compact lengths, or without.
    pub(super) const fn new(bytes: Bytes, is_flexible: bool) -> Self {
        Self { bytes, is_flexible }
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.bytes.try_get_i16().ok()
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.bytes.try_get_i32().ok()
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.bytes.len()).then(|| self.bytes.split_to(length))
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for at in 0..VARINT_BYTES_MAX {
            let byte = u64::from(self.bytes.try_get_u8().ok()?);
            value |= (byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// A length that may be missing.
    fn length(&mut self, fixed: impl FnOnce(&mut Self) -> Option<i32>) -> Option<Option<usize>> {
        if self.is_flexible {
            let length = self.varint()?;
            return Some(
                length
                    .checked_sub(1)
                    .and_then(|length| length.try_into().ok()),
            );
        }
        match fixed(self)? {
            -1 => Some(None),
            length => Some(Some(usize::try_from(length).ok()?)),
        }
    }

    /// The number of elements of an array, which may be missing. Each takes a byte at least.
    pub(super) fn count(&mut self) -> Option<Option<usize>> {
        let count = self.length(Self::i32)?;
        (count.unwrap_or(0) <= self.bytes.len()).then_some(count)
    }

    /// A text, which may be missing.
    pub(super) fn text(&mut self) -> Option<Option<Bytes>> {
        let length = self.length(|cursor| cursor.i16().map(i32::from))?;
        match length {
            Some(length) => self.take(length).map(Some),
            None => Some(None),
        }
    }

    /// Record batches, which may be missing.
    pub(super) fn records(&mut self) -> Option<Option<Bytes>> {
        match self.length(Self::i32)? {
            Some(length) => self.take(length).map(Some),
            None => Some(None),
        }
    }

    pub(super) fn topic_id(&mut self) -> Option<TopicId> {
        let bytes = self.take(TOPIC_ID_BYTES)?;
        Some(TopicId::from_bytes(bytes.as_ref().try_into().ok()?))
    }

    /// Passes over tagged fields, of which none is known here.
    pub(super) fn tagged_fields(&mut self) -> Option<()> {
        if !self.is_flexible {
            return Some(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(usize::try_from(length).ok()?)?;
        }
        Some(())
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }
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

    fn cursor(bytes: &[u8], is_flexible: bool) -> Cursor {
        Cursor::new(Bytes::copy_from_slice(bytes), is_flexible)
    }

    #[test]
    fn what_is_written_is_read() {
        for is_flexible in [false, true] {
            for length in [0, 1, 127, 128, 20_000] {
                let text = vec![b'x'; length];
                let mut written = BytesMut::new();
                written.put_text(&text, is_flexible);
                written.put_count(length, is_flexible);
                written.put_slice(&text);
                written.put_no_tags(is_flexible);
                let mut read = cursor(&written, is_flexible);
                assert_eq!(read.text(), Some(Some(Bytes::from(text.clone()))));
                assert_eq!(read.records(), Some(Some(Bytes::from(text))));
                assert_eq!(read.tagged_fields(), Some(()));
                assert!(read.is_at_end());
            }
        }
    }

    #[test]
    fn lengths_beyond_the_bytes_are_refused() {
        assert_eq!(cursor(&[0x7f, 0xff, 0xff, 0xff], false).count(), None);
        assert_eq!(cursor(&[0xff, 0xff, 0xff, 0xfe], false).count(), None);
        assert_eq!(cursor(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).count(), None);
        assert_eq!(cursor(&[0xff; 6], true).count(), None);
        assert_eq!(cursor(&[0, 9, b'x'], false).text(), None);
        assert_eq!(cursor(&[10, b'x'], true).text(), None);
        assert_eq!(cursor(&[0xff, 0xff], false).text(), Some(None));
        assert_eq!(cursor(&[0], true).text(), Some(None));
        assert_eq!(cursor(&[1, 0, 9], true).tagged_fields(), None);
    }
}
