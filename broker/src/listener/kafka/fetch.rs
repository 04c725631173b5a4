//! Fetch: whole batches of many partitions, after waiting for enough of them.
//!
//! Partitions are read once, in the order asked for. Where that is too little, those without data park,
//! and only one that moves is read again.

mod response;

use std::{sync::Arc, time::Duration};

use kafka_protocol::messages::{FetchRequest, fetch_request::FetchPartition};
use millstream_proto::{PartitionIndex, TopicId};
use tokio::time::Instant;

use super::{
    client::Client,
    dispatch::{Asked, Begun, Closing},
    wire,
};
use crate::service::{
    ServiceError,
    fetch::{FetchRefusal, FetchStart, Fetched, Isolation, PartitionReader, Wakeups},
    offsets::checked_offset,
};

/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;

/// One partition of a request.
#[derive(Debug)]
struct Slot {
    /// Its number in the request.
    index: i32,
    /// Bytes wanted of it.
    bytes_max: usize,
    reader: Option<PartitionReader>,
    /// What was read last.
    read: Result<Fetched, FetchRefusal>,
}

/// The partitions of one topic.
#[derive(Debug)]
struct Topic {
    name: kafka_protocol::messages::TopicName,
    id: uuid::Uuid,
    slots: Vec<Slot>,
}

/// Reads, and waits where there is too little.
///
/// # Errors
/// A message that is none.
pub(super) fn begin(mut asked: Asked) -> Result<Begun, Closing> {
    let request: FetchRequest = asked.decode()?;
    let Asked {
        client,
        correlation_id,
        ..
    } = asked;
    let version = client.version;
    let answering = async move {
        let topics = fetch(&client, request).await;
        Ok(Some(response::write(correlation_id, version, topics)))
    };
    Ok(Begun {
        answering: Box::pin(answering),
        is_exclusive: true,
    })
}

async fn fetch(client: &Client, request: FetchRequest) -> Vec<Topic> {
    let positive = |value: i32| usize::try_from(value).unwrap_or(0);
    let limits = &client.services().config().limits;
    let mut fetch = Fetch {
        topics: Vec::with_capacity(request.topics.len()),
        bytes_left: positive(request.max_bytes).min(limits.fetch_response_bytes_max.as_usize()),
        bytes: 0,
        has_refusal: false,
    };
    let isolation = wire::isolation(request.isolation_level);
    for topic in request.topics {
        let topic_id = find(client, &topic);
        let slots = topic.partitions.iter();
        let slots = slots.map(|partition| open(client, topic_id.clone(), partition, isolation));
        fetch.topics.push(Topic {
            slots: slots.collect(),
            name: topic.topic,
            id: topic.topic_id,
        });
    }
    fetch.read_all().await;
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let bytes_min = positive(request.min_bytes);
    // Whoever does not get there in time gets what there is.
    let until = Instant::now() + wait;
    let _ = tokio::time::timeout_at(until, fetch.wait_for(bytes_min)).await;
    fetch.topics
}

fn find(
    client: &Client,
    topic: &kafka_protocol::messages::fetch_request::FetchTopic,
) -> Result<TopicId, ServiceError> {
    if client.version >= TOPIC_IDS {
        return Ok(TopicId::from_bytes(topic.topic_id.into_bytes()));
    }
    client.services().topic_id(&topic.topic)
}

fn open(
    client: &Client,
    topic_id: Result<TopicId, ServiceError>,
    asked: &FetchPartition,
    isolation: Isolation,
) -> Slot {
    let opened = topic_id
        .and_then(|topic_id| {
            Ok(FetchStart {
                topic_id,
                partition: PartitionIndex(asked.partition),
                offset: checked_offset(asked.fetch_offset)?,
                leader_epoch: wire::leader_epoch(asked.current_leader_epoch),
                isolation,
            })
        })
        .map_err(|error| FetchRefusal {
            error,
            offsets: None,
        })
        .and_then(|start| client.services().open_reader(&client.context(), &start));
    let (reader, read) = match opened {
        Ok(reader) => {
            let read = reader.offsets().map(Fetched::nothing);
            (Some(reader), read)
        }
        Err(refusal) => (None, Err(refusal)),
    };
    Slot {
        index: asked.partition,
        bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        reader,
        read,
    }
}

/// A request while it is read.
struct Fetch {
    topics: Vec<Topic>,
    bytes_left: usize,
    bytes: usize,
    /// A partition is refused, which the client shall hear at once.
    has_refusal: bool,
}

impl Fetch {
    async fn read_all(&mut self) {
        for topic in 0..self.topics.len() {
            let slots = self.topics.get(topic).map_or(0, |topic| topic.slots.len());
            for slot in 0..slots {
                self.read(topic, slot).await;
            }
        }
    }

    /// Reads a partition that has nothing yet.
    async fn read(&mut self, topic: usize, slot: usize) {
        let slots = self.topics.get_mut(topic).map(|topic| &mut topic.slots);
        let Some(slot) = slots.and_then(|slots| slots.get_mut(slot)) else {
            return;
        };
        let Some(reader) = &mut slot.reader else {
            self.has_refusal = true;
            return;
        };
        let has_data = slot
            .read
            .as_ref()
            .is_ok_and(|read| !read.batches.is_empty());
        if has_data || self.bytes_left == 0 {
            return;
        }
        let bytes_max = slot.bytes_max.min(self.bytes_left);
        let read = match reader.read_from_memory(bytes_max) {
            Ok(Some(fetched)) => Ok(fetched),
            Ok(None) => reader.read_from_disk(bytes_max).await,
            Err(refusal) => Err(refusal),
        };
        let bytes = read.as_ref().map_or(0, |read| read.batches.len());
        self.has_refusal |= read.is_err();
        self.bytes += bytes;
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        slot.read = read;
    }

    /// Reads what comes, until it is enough.
    async fn wait_for(&mut self, bytes_min: usize) {
        let wakeups = Wakeups::new();
        let mut again = Vec::new();
        for (topic, of_topic) in self.topics.iter().enumerate() {
            again.extend((0..of_topic.slots.len()).map(|slot| (topic, slot)));
        }
        let places = again.clone();
        while self.bytes < bytes_min && self.bytes_left > 0 && !self.has_refusal {
            for (topic, slot) in std::mem::take(&mut again) {
                // Something may have come before it was parked.
                while !self.park(topic, slot, &wakeups, &places) {
                    self.read(topic, slot).await;
                }
            }
            if self.bytes >= bytes_min || self.has_refusal {
                return;
            }
            for token in wakeups.moved().await {
                let place = usize::try_from(token).ok().and_then(|at| places.get(at));
                if let Some((topic, slot)) = place.copied() {
                    self.read(topic, slot).await;
                    again.push((topic, slot));
                }
            }
        }
    }

    /// Parks a partition that has nothing; false where it can be read at once.
    fn park(
        &mut self,
        topic: usize,
        slot: usize,
        wakeups: &Arc<Wakeups>,
        places: &[(usize, usize)],
    ) -> bool {
        let token = places.binary_search(&(topic, slot)).unwrap_or(usize::MAX);
        let slots = self.topics.get_mut(topic).map(|topic| &mut topic.slots);
        let Some(slot) = slots.and_then(|slots| slots.get_mut(slot)) else {
            return true;
        };
        let has_data = slot
            .read
            .as_ref()
            .is_ok_and(|read| !read.batches.is_empty());
        let (Some(reader), false) = (&mut slot.reader, has_data) else {
            return true;
        };
        match reader.park(wakeups, u64::try_from(token).unwrap_or(u64::MAX)) {
            Ok(parked) => parked,
            Err(refusal) => {
                self.has_refusal = true;
                slot.read = Err(refusal);
                slot.reader = None;
                true
            }
        }
    }
}
