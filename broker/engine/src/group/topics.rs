//! [`Topics`]: the part of the metadata image that a group coordinator needs, as a value.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::TopicId;

/// A topic as assignors see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Which life of the name.
    pub id: TopicId,
    /// One entry a partition: the racks of its replicas, sorted; empty where none is known.
    pub partition_racks: Vec<Vec<Arc<str>>>,
}

impl Topic {
    /// A topic whose replicas have no racks.
    #[must_use]
    pub fn without_racks(id: TopicId, partitions: usize) -> Self {
        Self {
            id,
            partition_racks: vec![Vec::new(); partitions],
        }
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        i32::try_from(self.partition_racks.len()).unwrap_or(i32::MAX)
    }
}

/// All topics at one version of the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    version: i64,
    by_name: BTreeMap<Arc<str>, Topic>,
    names: BTreeMap<TopicId, Arc<str>>,
}

impl Topics {
    /// The topics at a version; a later version has a larger number.
    #[must_use]
    pub fn new(version: i64, topics: impl IntoIterator<Item = (Arc<str>, Topic)>) -> Self {
        let by_name: BTreeMap<Arc<str>, Topic> = topics.into_iter().collect();
        let names = by_name
            .iter()
            .map(|(name, topic)| (topic.id, Arc::clone(name)))
            .collect();
        Self {
            version,
            by_name,
            names,
        }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The topic of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// The name as this value keeps it, where there is a topic of that name.
    pub(super) fn get_key(&self, name: &str) -> Option<&Arc<str>> {
        self.by_name.get_key_value(name).map(|(name, _)| name)
    }

    /// The topic of an id, with its name.
    #[must_use]
    pub fn by_id(&self, id: TopicId) -> Option<(&Arc<str>, &Topic)> {
        let name = self.names.get(&id)?;
        self.by_name.get_key_value(name)
    }

    /// Every topic, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Topic)> {
        self.by_name.iter()
    }

    /// A number that differs where any of the topics differs in id, partitions or racks, or begins or
    /// ceases to exist. It is kept in a group's record, so it may not change between releases: FNV-1a,
    /// 64 bits. Never 0, which means "not computed".
    pub(super) fn hash<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> i64 {
        let mut hash = Fnv::new();
        for name in names {
            let Some(topic) = self.get(name) else {
                continue;
            };
            hash.text(name);
            hash.bytes(topic.id.as_bytes());
            hash.bytes(&topic.partitions().to_be_bytes());
            for racks in &topic.partition_racks {
                racks.iter().for_each(|rack| hash.text(rack));
                hash.bytes(&[0]);
            }
        }
        match i64::from_be_bytes(hash.0.to_be_bytes()) {
            0 => 1,
            other => other,
        }
    }
}

struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Ended by a byte that no text contains, so that two texts never look like one.
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0xff]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(partitions: usize, rack: &str) -> Topics {
        let mut topic = Topic::without_racks(TopicId::from_bytes([1; 16]), partitions);
        topic.partition_racks[0] = vec![Arc::from(rack)];
        Topics::new(1, [(Arc::from("a"), topic)])
    }

    #[test]
    fn the_hash_sees_partitions_racks_and_existence() {
        let names = ["a", "b"];
        let hashes = [
            topics(1, "x").hash(names),
            topics(2, "x").hash(names),
            topics(1, "y").hash(names),
            Topics::default().hash(names),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{hashes:?}");
        }
        assert_eq!(topics(1, "x").hash(names), hashes[0]);
    }

    #[test]
    fn the_hash_is_the_one_of_earlier_releases() {
        assert_eq!(Topics::default().hash([]), -3_750_763_034_362_895_579);
    }

    #[test]
    fn a_topic_is_found_by_name_and_by_id() {
        let topics = topics(3, "x");
        let (name, topic) = topics.by_id(TopicId::from_bytes([1; 16])).expect("there");
        assert_eq!((&**name, topic.partitions()), ("a", 3));
        assert_eq!(topics.get("a"), Some(topic));
        assert_eq!(topics.by_id(TopicId::from_bytes([2; 16])), None);
    }
}
