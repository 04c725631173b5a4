//! What consumers in a classic group subscribe to: the head of their metadata, which is the same in all
//! versions of the format (KIP-429 and later only append).
//!
//! ```text
//! version i16 | topics: count i32, then each: length i16, UTF-8 | what later versions add
//! ```

use std::collections::BTreeSet;

use super::{CONSUMER, ClassicGroup};

impl ClassicGroup {
    /// Whether a member may subscribe to the topic: one does, or it is not known what they subscribe
    /// to.
    pub(in crate::group) fn may_subscribe(&self, topic: &str) -> bool {
        let topics = self.subscribed_topics();
        topics.is_none_or(|topics| topics.contains(topic))
    }

    /// Whether its members are consumers, as far as is known.
    pub(in crate::group) fn has_consumers(&self) -> bool {
        &*self.protocol_type == CONSUMER
    }

    /// Names of all topics that members subscribe to; `None` where that is not known: they are no
    /// consumers, have no generation yet, or said something that is no subscription.
    pub(in crate::group) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.has_consumers() {
            return None;
        }
        let protocol = self.protocol.as_deref();
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol?)?;
            topics.extend(read_topics(metadata)?);
        }
        Some(topics)
    }
}

/// Names of the topics in a consumer's metadata; `None` where it is none.
pub(in crate::group) fn read_topics(metadata: &[u8]) -> Option<Vec<String>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, behind) = behind.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = behind;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 3 of two topics, with what it has behind them.
    const METADATA: &[u8] =
        b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\xff\xff";

    #[test]
    fn topics_are_found_whatever_follows() {
        let topics = read_topics(METADATA).expect("a subscription");
        assert_eq!(topics, ["a", "bc"]);
        assert_eq!(read_topics(b"\0\0\0\0\0\0"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_subscription_is_none() {
        for cut in 0..13 {
            assert_eq!(read_topics(&METADATA[..cut]), None, "{cut} bytes");
        }
        let hostile: [&[u8]; 4] = [
            b"\xff\xff\0\0\0\0",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ];
        for bytes in hostile {
            assert_eq!(read_topics(bytes), None, "{bytes:?}");
        }
    }
}
