//! Identifiers as newtypes, so that two numbers of one primitive type cannot be swapped.

use std::{fmt, str::FromStr, sync::Arc};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($primitive:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $primitive);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// A broker of the cluster.
    BrokerId(i32)
}
number_id! {
    /// A partition of a topic, counted from 0.
    PartitionIndex(i32)
}
number_id! {
    /// One leadership of a partition; a later leader has a larger one. -1 is "unknown" on the wire.
    LeaderEpoch(i32)
}
number_id! {
    /// A producer with idempotence; -1 is "none" on the wire.
    ProducerId(i64)
}
number_id! {
    /// One life of a producer id; a later life fences an earlier one.
    ProducerEpoch(i16)
}

/// One life of a topic name: fences a deleted topic from its namesake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// Takes the 16 bytes of a UUID.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the UUID.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The topic that coordinators of groups keep their state in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Topics that Kafka's brokers and this one keep their own state in.
const INTERNAL_TOPICS: [&str; 3] = [OFFSETS_TOPIC, "__transaction_state", "__share_group_state"];

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// As Kafka prints and stores it in `partition.metadata`: 22 characters of unpadded base64url.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let value = u128::from_be_bytes(self.0);
        (0..22u32).try_for_each(|position| {
            // 22 digits of 6 bits are 132 bits: the value is shifted left by 4 as base64 pads it.
            let shift = 126 - 6 * i64::from(position) - 4;
            let digit = if shift >= 0 {
                value >> shift
            } else {
                value << -shift
            } & 63;
            let symbol = usize::try_from(digit)
                .ok()
                .and_then(|digit| BASE64_URL.get(digit));
            f.write_char(char::from(*symbol.unwrap_or(&b'A')))
        })
    }
}

/// The text is not the 22 characters that [`TopicId`] prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("topic id is not 22 characters of unpadded base64url")]
pub struct TopicIdError;

impl FromStr for TopicId {
    type Err = TopicIdError;

    fn from_str(text: &str) -> Result<Self, TopicIdError> {
        if text.len() != 22 {
            return Err(TopicIdError);
        }
        let mut value: u128 = 0;
        for (position, symbol) in text.bytes().enumerate() {
            let digit = BASE64_URL
                .iter()
                .position(|known| *known == symbol)
                .ok_or(TopicIdError)?;
            let digit = u128::try_from(digit).map_err(|_| TopicIdError)?;
            if position == 21 {
                if digit & 15 != 0 {
                    return Err(TopicIdError);
                }
                value = (value << 2) | (digit >> 4);
            } else {
                value = (value << 6) | digit;
            }
        }
        Ok(Self(value.to_be_bytes()))
    }
}

/// A valid topic name: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name. The offending text is not repeated, as it may be hostile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// The text is empty.
    #[error("topic name is empty")]
    Empty,
    /// The text is longer than 249 bytes.
    #[error("topic name has {found} bytes, at most {max} are allowed", max = TopicName::BYTES_MAX)]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// `.` or `..`, which are paths.
    #[error("topic name is '.' or '..'")]
    Dots,
    /// A character outside `[a-zA-Z0-9._-]`.
    #[error("topic name has {character:?} at byte {position}, allowed are a-z A-Z 0-9 . _ -")]
    Character {
        /// The first character that is not allowed.
        character: char,
        /// Its position in bytes.
        position: usize,
    },
}

impl TopicName {
    /// Kafka's limit: leaves room for `-<partition>` in a directory name of 255 bytes.
    pub const BYTES_MAX: usize = 249;

    /// Checks a text from the outside.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(TopicNameError::TooLong { found: text.len() });
        }
        if text == "." || text == ".." {
            return Err(TopicNameError::Dots);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match text.char_indices().find(|(_, c)| !allowed(*c)) {
            Some((position, character)) => Err(TopicNameError::Character {
                character,
                position,
            }),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether clients see it only when they ask for internal topics.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal(&self.0)
    }

    /// The form under which names collide: Kafka's metrics cannot tell `.` from `_`.
    #[must_use]
    pub fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }
}

/// Whether it is the name of a topic that brokers keep their own state in (Topic of Kafka 4.3). A name that merely
/// begins with underscores is a user's.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    INTERNAL_TOPICS.contains(&topic)
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A partition by topic name, as directories and logs name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Reads what a partition's directory is named: `<topic>-<partition>`, as this type prints it.
    #[must_use]
    pub fn from_directory_name(name: &str) -> Option<Self> {
        let (topic, partition) = name.rsplit_once('-')?;
        let index = partition.parse().ok().filter(|index| *index >= 0)?;
        let parsed = Self {
            topic: TopicName::new(topic).ok()?,
            partition: PartitionIndex(index),
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_prints_as_kafka_does() {
        // From partition.metadata of a topic that Kafka 4.3.1 created.
        let text = "WmneuPmDQQ2jqoUECw99yw";
        let id: TopicId = text.parse().expect("valid");
        assert_eq!(id.as_bytes()[..4], [0x5a, 0x69, 0xde, 0xb8]);
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn topic_id_refuses_other_texts() {
        for text in [
            "",
            "WmneuPmDQQ2jqoUECw99y",
            "WmneuPmDQQ2jqoUECw99y!",
            "WmneuPmDQQ2jqoUECw99yx",
        ] {
            assert_eq!(text.parse::<TopicId>(), Err(TopicIdError), "{text}");
        }
    }

    #[test]
    fn directory_names_are_partitions_only_as_they_are_printed() {
        for name in ["flights-0", "a-b-17", "__consumer_offsets-49"] {
            let parsed = TopicPartition::from_directory_name(name).expect(name);
            assert_eq!(parsed.to_string(), name);
        }
        for name in [
            "metadata",
            "a-",
            "-1",
            "a-01",
            "a-+1",
            "a-1.delete",
            "a-2147483648",
        ] {
            assert_eq!(TopicPartition::from_directory_name(name), None, "{name}");
        }
    }

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in ["a", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\0", "a\r\n", "ä", &"x".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad:?}");
        }
    }
}
