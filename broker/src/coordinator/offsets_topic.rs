//! The topic that groups and their offsets are kept in: its name, and how it comes into being.

use std::{num::NonZeroU32, sync::Arc};

pub use millstream_proto::OFFSETS_TOPIC;
use millstream_proto::{BrokerId, PartitionIndex, TopicId, TopicName};

use super::CoordinatorError;
use crate::{
    quorum::{
        Committed, ImageError, MetadataQuorum, MetadataRecord, PartitionRegistration, ProposeError,
        TopicCreated, TopicImage,
    },
    uuid,
};

/// What nothing may change, the broker's defaults for topics included: records are kept by key, are on
/// the disk before anybody hears of them, as they were written; more replicas in sync than there are
/// would refuse every commit.
const FIXED_CONFIGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("compression.type", "producer"),
    ("message.timestamp.type", "CreateTime"),
    ("millstream.durability", "fsync"),
    ("min.insync.replicas", "1"),
];

/// Segments are small, as only closed ones are compacted (`offsets.topic.segment.bytes`).
const SEGMENT_BYTES: (&str, &str) = ("segment.bytes", "104857600");

/// The value of a config of the topic that nobody may change; `None` for the others.
#[must_use]
pub fn fixed_config(key: &str) -> Option<&'static str> {
    let mut fixed = FIXED_CONFIGS.into_iter();
    fixed.find_map(|(name, value)| (name == key).then_some(value))
}

/// The configs that the topic is created with.
fn configs() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIXED_CONFIGS.into_iter().chain([SEGMENT_BYTES])
}

/// Its name as topics are named.
fn name() -> TopicName {
    TopicName::new(OFFSETS_TOPIC).expect("letters and underscores make a name")
}

/// The topic, where there is one.
pub(super) fn find(quorum: &dyn MetadataQuorum) -> Option<Arc<TopicImage>> {
    quorum.image().topic(&name()).map(Arc::clone)
}

/// Creates the topic with `partitions` partitions on a broker; `None` where it exists by now.
pub(super) async fn create(
    quorum: &dyn MetadataQuorum,
    broker: BrokerId,
    partitions: u32,
) -> Result<Option<Committed>, CoordinatorError> {
    let indexes = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
    let registration = |index| PartitionRegistration::sole(PartitionIndex(index), broker);
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let record = MetadataRecord::TopicCreated(TopicCreated {
        name: name(),
        topic_id: TopicId::from_bytes(uuid::random()),
        partitions: indexes.map(registration).collect(),
        configs: configs().map(text).collect(),
    });
    match quorum.propose(vec![record]).await {
        Ok(committed) => Ok(Some(committed)),
        Err(ProposeError::Refused(ImageError::TopicExists { .. })) => Ok(None),
        Err(error) => Err(CoordinatorError::Topic {
            topic: OFFSETS_TOPIC,
            error,
        }),
    }
}

/// Partitions of the topic, by which groups find theirs.
pub(super) fn partition_count(partitions: usize) -> NonZeroU32 {
    let count = u32::try_from(partitions).ok().and_then(NonZeroU32::new);
    count.unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::TopicConfig;

    #[test]
    fn its_configs_are_ones_that_topics_have() {
        let config = TopicConfig::default()
            .with_overrides(configs())
            .expect("valid");
        assert!(config.cleanup_policy.compact && !config.cleanup_policy.delete);
        assert_eq!(config.segment_bytes, 100 << 20);
        assert!(name().is_internal());
    }
}
