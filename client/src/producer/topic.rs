//! [`TopicState`]: a topic as a producer knows it, with a queue for each of its partitions.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use millstream_proto::record::partitioner::partition_for_key;

use super::{accumulator::PartitionQueue, partitioner::StickyPartition, record::Record};
use crate::{
    connection::TopicMetadata,
    error::{Error, Result},
};

/// A topic as a producer knows it.
#[derive(Debug)]
pub(crate) struct TopicState {
    metadata: RwLock<Arc<TopicMetadata>>,
    /// By partition; grows with the topic.
    queues: RwLock<Vec<Arc<PartitionQueue>>>,
    sticky: Mutex<StickyPartition>,
}

impl TopicState {
    pub(crate) fn new(metadata: Arc<TopicMetadata>, queue_ids: &AtomicU64) -> Self {
        let topic = Self {
            metadata: RwLock::new(Arc::clone(&metadata)),
            queues: RwLock::default(),
            sticky: Mutex::default(),
        };
        topic.update(metadata, queue_ids);
        topic
    }

    /// What is known of the topic.
    pub(crate) fn metadata(&self) -> Arc<TopicMetadata> {
        Arc::clone(&self.metadata.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what a broker said, and adds queues for partitions that are new.
    pub(crate) fn update(&self, metadata: Arc<TopicMetadata>, queue_ids: &AtomicU64) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let known = i32::try_from(queues.len()).unwrap_or(i32::MAX);
        for partition in known..metadata.partition_count() {
            let queue_id = queue_ids.fetch_add(1, Ordering::Relaxed);
            queues.push(Arc::new(PartitionQueue::new(queue_id, partition)));
        }
        *self
            .metadata
            .write()
            .unwrap_or_else(PoisonError::into_inner) = metadata;
    }

    /// The queue of a record of `bytes`: of the partition it names, else of its key's, else of the
    /// sticky one.
    pub(crate) fn queue_of(
        &self,
        record: &Record,
        bytes: usize,
        batch_bytes: usize,
    ) -> Result<Arc<PartitionQueue>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => usize::try_from(partition).ok(),
            (None, Some(key)) => u32::try_from(queues.len())
                .ok()
                .and_then(NonZeroU32::new)
                .and_then(|count| usize::try_from(partition_for_key(key, count).0).ok()),
            (None, None) => {
                let mut sticky = self.sticky.lock().unwrap_or_else(PoisonError::into_inner);
                let queued = || queues.iter().map(|queue| queue.queued_bytes()).collect();
                Some(sticky.next(bytes, batch_bytes, || (queued(), rand::random())))
            }
        };
        let queue = partition.and_then(|partition| queues.get(partition));
        queue
            .map(Arc::clone)
            .ok_or_else(|| Error::UnknownPartition {
                topic: record.topic().to_owned(),
                partition: record.partition.unwrap_or(0),
                partitions: i32::try_from(queues.len()).unwrap_or(i32::MAX),
            })
    }

    /// The queues of all partitions.
    pub(crate) fn queues(&self) -> Vec<Arc<PartitionQueue>> {
        self.queues
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
