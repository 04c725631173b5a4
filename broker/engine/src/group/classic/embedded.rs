//! What consumers put into the metadata and the assignments of a classic group, in Kafka's own format.
//!
//! ```text
//! metadata:   version i16 | topics: strings | user data bytes?
//!             | 1+: owned: (topic string | partitions i32s) | 2+: generation i32 | 3+: rack string?
//! assignment: version i16 | assigned: (topic string | partitions i32s) | user data bytes?
//! ```
//!
//! Lists and bytes have their length as i32, strings as i16; `?` may be null, with length -1. Later
//! versions only append.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use super::{CONSUMER, ClassicGroup, Member};
use crate::group::{Assignment, ClassicJoin, PartitionId, Topics};

/// What a consumer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// Of the format.
    pub version: i16,
    /// Names of the topics that it subscribes to.
    pub topics: Vec<String>,
    /// Partitions that it holds, by topic; none before version 1.
    pub owned: Vec<(String, Vec<i32>)>,
    /// Where it runs; none before version 3.
    pub rack: Option<String>,
}

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

impl ClassicJoin {
    /// Whether it says that it holds something.
    pub(in crate::group) fn claims(&self) -> bool {
        let owned = read_owned(&self.protocols);
        owned.iter().any(|(_, partitions)| !partitions.is_empty())
    }
}

impl Member {
    /// What it said that it holds when it joined the generation, or joins the next one; the same may be
    /// there several times.
    pub(in crate::group) fn owned(&self) -> Vec<(String, Vec<i32>)> {
        read_owned(&self.protocols)
    }

    /// What it was assigned; `None` where that is in no known format.
    pub(in crate::group) fn read_assigned(&self) -> Option<Vec<(String, Vec<i32>)>> {
        if self.assignment.is_empty() {
            return Some(Vec::new());
        }
        read_assignment(&self.assignment)
    }
}

impl Said {
    /// The topics, sorted and each once.
    pub(in crate::group) fn topic_names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.topics.iter().collect();
        names.into_iter().cloned().collect()
    }
}

/// Names of the topics in a consumer's metadata; `None` where it is none.
#[must_use]
pub fn read_topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader(metadata);
    reader.version()?;
    reader.list(Reader::string)
}

/// A consumer's metadata; `None` where it is none.
#[must_use]
pub fn read_said(metadata: &[u8]) -> Option<Said> {
    let mut reader = Reader(metadata);
    let version = reader.version()?;
    let mut said = Said {
        version,
        topics: reader.list(Reader::string)?,
        ..Said::default()
    };
    reader.nullable_bytes()?;
    if version >= 1 {
        said.owned = reader.partitions()?;
    }
    if version >= 2 {
        reader.i32()?;
    }
    if version >= 3 {
        said.rack = reader.nullable_string()?;
    }
    Some(said)
}

/// What is owned as of any of the protocols: which of them a generation has is settled later.
fn read_owned(protocols: &[(String, Bytes)]) -> Vec<(String, Vec<i32>)> {
    let said = protocols.iter().filter_map(|(_, said)| read_said(said));
    said.flat_map(|said| said.owned).collect()
}

/// The partitions of an assignment, by topic; `None` where it is none.
#[must_use]
pub fn read_assignment(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let mut reader = Reader(assignment);
    reader.version()?;
    reader.partitions()
}

/// An assignment in the format of this version.
#[must_use]
pub fn write_assignment(version: i16, assignment: &Assignment, topics: &Topics) -> Bytes {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in assignment {
        if let Some((name, _)) = topics.by_id(partition.topic_id) {
            by_topic.entry(name).or_default().push(partition.partition);
        }
    }
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_i32(count(by_topic.len()));
    for (topic, partitions) in by_topic {
        bytes.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
        bytes.put_slice(topic.as_bytes());
        bytes.put_i32(count(partitions.len()));
        partitions.iter().for_each(|at| bytes.put_i32(*at));
    }
    // No user data.
    bytes.put_i32(-1);
    bytes.freeze()
}

/// The partitions, without those of topics that are no more.
#[must_use]
pub fn find(partitions: &[(String, Vec<i32>)], topics: &Topics) -> Assignment {
    let mut found = Assignment::new();
    for (name, partitions) in partitions {
        let Some(topic) = topics.get(name) else {
            continue;
        };
        let existing = partitions
            .iter()
            .filter(|at| (0..topic.partitions()).contains(*at));
        found.extend(existing.map(|at| PartitionId::new(topic.id, *at)));
    }
    found
}

fn count(items: usize) -> i32 {
    i32::try_from(items).unwrap_or(i32::MAX)
}

/// Takes fields off bytes that anybody may have sent.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn version(&mut self) -> Option<i16> {
        self.i16().filter(|version| *version >= 0)
    }

    fn bytes(&mut self, length: impl TryInto<usize>) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length.try_into().ok()?)?;
        self.0 = rest;
        Some(head)
    }

    fn string(&mut self) -> Option<String> {
        let length = self.i16()?;
        let text = std::str::from_utf8(self.bytes(length)?).ok()?;
        Some(text.to_owned())
    }

    /// `Some(None)` for null.
    fn nullable_string(&mut self) -> Option<Option<String>> {
        let length = self.i16()?;
        if length < 0 {
            return Some(None);
        }
        let text = std::str::from_utf8(self.bytes(length)?).ok()?;
        Some(Some(text.to_owned()))
    }

    fn nullable_bytes(&mut self) -> Option<&'a [u8]> {
        match self.i32()? {
            length if length < 0 => Some(&[]),
            length => self.bytes(length),
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Not reserved: the count is anybody's.
        let mut items = Vec::new();
        for _ in 0..usize::try_from(self.i32()?).ok()? {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn partitions(&mut self) -> Option<Vec<(String, Vec<i32>)>> {
        self.list(|reader| Some((reader.string()?, reader.list(Self::i32)?)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millstream_proto::TopicId;

    use super::*;
    use crate::group::Topic;

    /// Version 3: topics a and bc, no user data, owns a-1, generation 7, rack r.
    const METADATA: &[u8] = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\
        \0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x01\0\0\0\x07\0\x01r";

    #[test]
    fn topics_owned_partitions_and_rack_are_found() {
        let said = read_said(METADATA).expect("a consumer's");
        let expected = Said {
            version: 3,
            topics: vec!["a".to_owned(), "bc".to_owned()],
            owned: vec![("a".to_owned(), vec![1])],
            rack: Some("r".to_owned()),
        };
        assert_eq!(said, expected);
        assert_eq!(read_topics(METADATA), Some(expected.topics));
        assert_eq!(read_topics(b"\0\0\0\0\0\0"), Some(Vec::new()));
        let of_version_0 = read_said(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x02xy");
        assert_eq!(of_version_0.expect("a consumer's").topics, ["a"]);
    }

    #[test]
    fn what_is_no_metadata_is_none() {
        for cut in 0..METADATA.len() {
            assert_eq!(read_said(&METADATA[..cut]), None, "{cut} bytes");
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

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        let id = TopicId::from_bytes([1; 16]);
        let topics = Topics::new(1, [(Arc::from("a"), Topic::without_racks(id, 3))]);
        let gone = PartitionId::new(TopicId::from_bytes([2; 16]), 0);
        let held = [PartitionId::new(id, 0), PartitionId::new(id, 2)];
        let all: Assignment = held.into_iter().chain([gone]).collect();
        let written = write_assignment(1, &all, &topics);
        assert_eq!(
            &*written,
            b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff"
        );
        let read = read_assignment(&written).expect("partitions");
        assert_eq!(find(&read, &topics), held.into_iter().collect());
        assert_eq!(
            find(&[("a".to_owned(), vec![-1, 3])], &topics),
            Assignment::new()
        );
    }
}
