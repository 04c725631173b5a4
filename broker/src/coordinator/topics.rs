//! [`TopicsView`]: the metadata image as the engine takes it, made when a coordinator needs it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use millstream_engine::group::{Topic, Topics};

use crate::quorum::{MetadataDelta, MetadataImage, MetadataRecord, PartitionImage, TopicImage};

/// Names of topics.
type Names = Arc<[Arc<str>]>;

/// All topics, at the version that is the image's index. Starts without any.
#[derive(Debug, Default)]
pub(super) struct TopicsView {
    current: ArcSwap<Topics>,
    /// Held while a newer one is made, so that it is made once.
    making: Mutex<()>,
    /// The last answer of [`TopicsView::deleted_since`], as all coordinators ask for the same.
    deleted: Mutex<Option<Deleted>>,
}

#[derive(Debug)]
struct Deleted {
    from: i64,
    to: i64,
    names: Names,
}

impl TopicsView {
    /// The topics as they were taken last.
    pub(super) fn current(&self) -> Arc<Topics> {
        self.current.load_full()
    }

    /// The topics of an image, or later ones where they were taken already.
    pub(super) fn take(&self, image: &MetadataImage) -> Arc<Topics> {
        let version = version(image);
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if current.version() >= version {
            return current;
        }
        let topics = Arc::new(of_image(image));
        self.current.store(Arc::clone(&topics));
        topics
    }

    /// Names of topics in `before` whose id is not in `now`.
    pub(super) fn deleted_since(&self, before: &Topics, now: &Topics) -> Names {
        let mut last = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && (last.from, last.to) == (before.version(), now.version())
        {
            return Arc::clone(&last.names);
        }
        let gone = before
            .iter()
            .filter(|(_, topic)| now.by_id(topic.id).is_none());
        let names: Names = gone.map(|(name, _)| Arc::clone(name)).collect();
        *last = Some(Deleted {
            from: before.version(),
            to: now.version(),
            names: Arc::clone(&names),
        });
        names
    }
}

/// Whether a change may be seen in [`Topics`].
pub(super) fn is_relevant(delta: &MetadataDelta) -> bool {
    delta.records.iter().any(|record| match record {
        MetadataRecord::TopicCreated(_)
        | MetadataRecord::PartitionsAdded(_)
        | MetadataRecord::TopicDeleted(_)
        | MetadataRecord::BrokerRegistered(_) => true,
        MetadataRecord::TopicConfigChanged(_)
        | MetadataRecord::TopicDefaultsChanged(_)
        | MetadataRecord::ProducerIdsAllocated(_) => false,
    })
}

fn version(image: &MetadataImage) -> i64 {
    i64::try_from(image.index()).unwrap_or(i64::MAX)
}

fn of_image(image: &MetadataImage) -> Topics {
    let topics = image.topics().map(|topic| {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        (name, of_topic(topic, image))
    });
    Topics::new(version(image), topics)
}

fn of_topic(topic: &TopicImage, image: &MetadataImage) -> Topic {
    let racks = |partition| racks(partition, image);
    Topic {
        id: topic.topic_id,
        partition_racks: topic.partitions.iter().map(racks).collect(),
    }
}

fn racks(partition: &PartitionImage, image: &MetadataImage) -> Vec<Arc<str>> {
    let brokers = partition.replicas.iter();
    let racks = brokers.filter_map(|id| Some(image.broker(*id)?.rack.as_str()));
    let mut racks: Vec<Arc<str>> = racks
        .filter(|rack| !rack.is_empty())
        .map(Arc::from)
        .collect();
    racks.sort_unstable();
    racks.dedup();
    racks
}

#[cfg(test)]
mod tests {
    use millstream_proto::{BrokerId, PartitionIndex, TopicId, TopicName};

    use super::*;
    use crate::quorum::{BrokerRegistered, PartitionRegistration, TopicCreated, TopicDeleted};

    fn id(byte: u8) -> TopicId {
        TopicId::from_bytes([byte; 16])
    }

    fn created(name: &str, byte: u8) -> MetadataRecord {
        let partition = PartitionRegistration::sole(PartitionIndex(0), BrokerId(1));
        MetadataRecord::TopicCreated(TopicCreated {
            name: TopicName::new(name).expect("valid"),
            topic_id: id(byte),
            partitions: vec![partition],
            configs: Default::default(),
        })
    }

    fn registered(rack: &str) -> MetadataRecord {
        MetadataRecord::BrokerRegistered(BrokerRegistered {
            broker_id: BrokerId(1),
            broker_epoch: 1,
            directory_id: [0; 16],
            host: "localhost".into(),
            port: 1,
            rack: rack.into(),
            version: String::new(),
        })
    }

    fn apply(image: &mut MetadataImage, records: &[MetadataRecord]) {
        image.apply_all(records).expect("fits");
        image.advance_to(image.index() + 1, 1);
    }

    #[test]
    fn topics_have_the_racks_of_their_replicas_and_the_index_as_version() {
        let mut image = MetadataImage::default();
        apply(&mut image, &[registered("r1"), created("a", 1)]);
        let topics = TopicsView::default().take(&image);
        let topic = topics.get("a").expect("there");
        assert_eq!(topics.version(), 1);
        assert_eq!(topic.id, id(1));
        assert_eq!(topic.partition_racks, [vec![Arc::from("r1")]]);
    }

    #[test]
    fn a_topic_created_anew_counts_as_deleted() {
        let (view, mut image) = (TopicsView::default(), MetadataImage::default());
        let create = [registered(""), created("a", 1), created("b", 2)];
        apply(&mut image, &create);
        let before = view.take(&image);
        let delete = MetadataRecord::TopicDeleted(TopicDeleted { topic_id: id(1) });
        apply(&mut image, &[delete, created("a", 3)]);
        let now = view.take(&image);
        assert_eq!(*view.deleted_since(&before, &now), [Arc::from("a")]);
        assert_eq!(*view.deleted_since(&before, &now), [Arc::from("a")]);
        assert!(view.deleted_since(&now, &now).is_empty());
    }

    #[test]
    fn an_earlier_image_changes_nothing() {
        let (view, mut image) = (TopicsView::default(), MetadataImage::default());
        apply(&mut image, &[registered("")]);
        let earlier = image.clone();
        apply(&mut image, &[created("a", 1)]);
        view.take(&image);
        assert_eq!(view.take(&earlier).version(), 2);
    }
}
