//! Fetch: whole batches of many partitions, after waiting for enough of them.
//!
//! Partitions are read once, in the order asked for. Where that is too little, those without data park,
//! and only one that moves is read again.

mod response;
mod session;

use std::{sync::Arc, time::Duration};

use kafka_protocol::messages::{FetchRequest, TopicName, fetch_request::FetchPartition};
use millstream_proto::{ErrorCode, PartitionIndex, TopicId};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    answer::Answer,
    client::Client,
    dispatch::{self, Begun, Closing},
    wire,
};
use crate::service::{
    ServiceError,
    fetch::{CheckedSlice, FetchRefusal, FetchStart, Fetched, Isolation, PartitionReader, Wakeups},
    offsets::checked_offset,
};
pub(super) use session::Sessions;
use session::{Served, Session};

/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;

/// A topic as requests of this version name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    Name(TopicName),
    Id(Uuid),
}

impl Topic {
    fn new(version: i16, name: &TopicName, id: Uuid) -> Self {
        match version {
            TOPIC_IDS.. => Self::Id(id),
            _ => Self::Name(name.clone()),
        }
    }
}

/// What is asked of one partition.
#[derive(Debug, Clone, Copy)]
struct Asked {
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    bytes_max: usize,
}

impl From<&FetchPartition> for Asked {
    fn from(partition: &FetchPartition) -> Self {
        Self {
            partition: partition.partition,
            offset: partition.fetch_offset,
            leader_epoch: partition.current_leader_epoch,
            bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        }
    }
}

/// One partition of a request, and what was read of it.
#[derive(Debug)]
struct Slot {
    topic: Topic,
    asked: Asked,
    reader: Option<PartitionReader>,
    /// What was read last.
    read: Result<Fetched<CheckedSlice>, FetchRefusal>,
}

impl Slot {
    fn has_data(&self) -> bool {
        self.read.as_ref().is_ok_and(|read| !read.is_empty())
    }
}

/// Reads, and waits where there is too little.
///
/// # Errors
/// A message that is none.
pub(super) fn begin(mut asked: dispatch::Asked) -> Result<Begun, Closing> {
    let request: FetchRequest = asked.decode()?;
    let dispatch::Asked {
        client,
        correlation_id,
        ..
    } = asked;
    let answering = async move { Ok(Some(answer(&client, correlation_id, &request).await)) };
    Ok(Begun {
        answering: Box::pin(answering),
        is_exclusive: true,
    })
}

async fn answer(client: &Client, correlation_id: i32, request: &FetchRequest) -> Answer {
    let version = client.version;
    let write = |error: ErrorCode, session_id: i32, slots: Vec<Slot>| {
        response::write(correlation_id, version, error, session_id, slots)
    };
    match client.gate.fetch_sessions.begin(request) {
        Err(error) => write(error, session::NONE, Vec::new()),
        Ok(Served::Alone) => {
            let slots = fetch(client, request, named(version, request).collect()).await;
            write(ErrorCode::None, session::NONE, slots)
        }
        Ok(Served::Within(mut session)) => {
            let mut out = Out {
                sessions: &client.gate.fetch_sessions,
                id: Some(session.id),
            };
            change(version, &mut session, request);
            let slots = fetch(client, request, session.asked()).await;
            let (id, slots) = (session.id, session.news(slots));
            out.id = None;
            client.gate.fetch_sessions.end(session);
            write(ErrorCode::None, id, slots)
        }
    }
}

/// A session that a request has taken out; given up when the request is.
struct Out<'a> {
    sessions: &'a Sessions,
    id: Option<i32>,
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.sessions.forget(id);
        }
    }
}

/// The partitions that a request names.
fn named(version: i16, request: &FetchRequest) -> impl Iterator<Item = (Topic, Asked)> {
    request.topics.iter().flat_map(move |topic| {
        let of_topic = Topic::new(version, &topic.topic, topic.topic_id);
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (of_topic.clone(), Asked::from(partition)))
    })
}

/// Changes a session as a request of it says.
fn change(version: i16, session: &mut Session, request: &FetchRequest) {
    for forgotten in &request.forgotten_topics_data {
        let topic = Topic::new(version, &forgotten.topic, forgotten.topic_id);
        for partition in &forgotten.partitions {
            session.forget(&topic, *partition);
        }
    }
    for (topic, asked) in named(version, request) {
        session.add(topic, asked);
    }
}

async fn fetch(client: &Client, request: &FetchRequest, asked: Vec<(Topic, Asked)>) -> Vec<Slot> {
    let positive = |value: i32| usize::try_from(value).unwrap_or(0);
    let limits = &client.services().config().limits;
    let isolation = wire::isolation(request.isolation_level);
    let slots = asked
        .into_iter()
        .map(|(topic, asked)| open(client, topic, asked, isolation));
    let mut fetch = Fetch {
        slots: slots.collect(),
        bytes_left: positive(request.max_bytes).min(limits.fetch_response_bytes_max.as_usize()),
        bytes: 0,
        has_refusal: false,
    };
    for slot in 0..fetch.slots.len() {
        fetch.read(slot).await;
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let until = Instant::now() + wait;
    // Whoever does not get there in time gets what there is.
    let _ = tokio::time::timeout_at(until, fetch.wait_for(positive(request.min_bytes))).await;
    fetch.slots
}

fn open(client: &Client, topic: Topic, asked: Asked, isolation: Isolation) -> Slot {
    let topic_id = match &topic {
        Topic::Id(id) => Ok(TopicId::from_bytes(id.into_bytes())),
        Topic::Name(name) => client.services().topic_id(name),
    };
    let start = topic_id.and_then(|topic_id| {
        Ok(FetchStart {
            topic_id,
            partition: PartitionIndex(asked.partition),
            offset: checked_offset(asked.offset)?,
            leader_epoch: wire::leader_epoch(asked.leader_epoch),
            isolation,
        })
    });
    let start = start.map_err(|error: ServiceError| FetchRefusal {
        error,
        offsets: None,
    });
    let opened = start.and_then(|start| client.services().open_reader(&client.context(), &start));
    let (reader, read) = match opened {
        Ok(reader) => {
            let read = reader.offsets().map(Fetched::nothing);
            (Some(reader), read)
        }
        Err(refusal) => (None, Err(refusal)),
    };
    Slot {
        topic,
        asked,
        reader,
        read,
    }
}

/// A request while it is read.
struct Fetch {
    slots: Vec<Slot>,
    bytes_left: usize,
    bytes: usize,
    /// A partition is refused, which the client shall hear at once.
    has_refusal: bool,
}

impl Fetch {
    fn is_enough(&self, bytes_min: usize) -> bool {
        self.bytes >= bytes_min || self.bytes_left == 0 || self.has_refusal
    }

    /// Reads a partition that has nothing yet.
    async fn read(&mut self, slot: usize) {
        let bytes_left = self.bytes_left;
        let Some(slot) = self.slots.get_mut(slot).filter(|slot| !slot.has_data()) else {
            return;
        };
        let Some(reader) = &mut slot.reader else {
            self.has_refusal = true;
            return;
        };
        if bytes_left == 0 {
            return;
        }
        let bytes_max = slot.asked.bytes_max.min(bytes_left);
        let read = match reader.read_at_once(bytes_max) {
            Ok(Some(fetched)) => Ok(fetched),
            Ok(None) => reader.read_in_files(bytes_max).await,
            Err(refusal) => Err(refusal),
        };
        let bytes = read.as_ref().map_or(0, |read| read.size_bytes);
        self.has_refusal |= read.is_err();
        self.bytes += bytes;
        self.bytes_left = bytes_left.saturating_sub(bytes);
        slot.read = read;
    }

    /// Reads what comes, until it is enough.
    ///
    /// # Cancel safety
    /// Safe: what was read stays.
    async fn wait_for(&mut self, bytes_min: usize) {
        let wakeups = Wakeups::new();
        let mut unparked: Vec<usize> = (0..self.slots.len()).collect();
        while !self.is_enough(bytes_min) {
            for slot in std::mem::take(&mut unparked) {
                // Something may have come before it was parked.
                while !self.park(slot, &wakeups) && !self.is_enough(bytes_min) {
                    self.read(slot).await;
                }
            }
            if self.is_enough(bytes_min) {
                return;
            }
            for token in wakeups.moved().await {
                if let Ok(slot) = usize::try_from(token) {
                    self.read(slot).await;
                    unparked.push(slot);
                }
            }
        }
    }

    /// Parks a partition that has nothing; false where it can be read at once.
    fn park(&mut self, index: usize, wakeups: &Arc<Wakeups>) -> bool {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.has_data()) else {
            return true;
        };
        let Some(reader) = &mut slot.reader else {
            return true;
        };
        match reader.park(wakeups, u64::try_from(index).unwrap_or(u64::MAX)) {
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
