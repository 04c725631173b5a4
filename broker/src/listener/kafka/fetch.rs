//! Fetch: whole batches of many partitions, after waiting for enough of them.
//!
//! Partitions are read once, in the order asked for. Where that is too little, all of which more may be sent
//! park, and only one that moves is read on.

mod response;
mod session;

use std::{sync::Arc, time::Duration};

use kafka_protocol::messages::{FetchRequest, TopicName, fetch_request::FetchPartition};
use millstream_proto::{
    ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId, record::Compression,
};
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

/// The first version whose clients know zstd (KIP-110).
const ZSTD: i16 = 10;

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
    /// Of the record before the offset, as far as the client says it.
    last_fetched_epoch: i32,
    bytes_max: usize,
}

impl From<&FetchPartition> for Asked {
    fn from(partition: &FetchPartition) -> Self {
        Self {
            partition: partition.partition,
            offset: partition.fetch_offset,
            leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
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
    /// What was read so far.
    read: Result<Fetched<CheckedSlice>, FetchRefusal>,
    /// The next batch is more than may be sent.
    is_full: bool,
    /// The leader epoch that the client's log and this one have in common last, and where it ends here:
    /// what the client has beyond is to go before it reads on.
    diverging: Option<(LeaderEpoch, Offset)>,
}

impl Slot {
    /// Bytes that were read.
    fn bytes(&self) -> usize {
        self.read.as_ref().map_or(0, |read| read.size_bytes)
    }

    /// How much may be read on: at first a batch at least, whatever its size.
    fn room(&self, bytes_left: usize) -> Option<usize> {
        let bytes = self.bytes();
        let room = self.asked.bytes_max.saturating_sub(bytes).min(bytes_left);
        let has_room = bytes_left > 0 && (bytes == 0 || (room > 0 && !self.is_full));
        has_room.then_some(room)
    }

    /// Takes what was read, unless it is a batch too much; returns how many bytes it took.
    fn take(&mut self, more: Result<Fetched<CheckedSlice>, FetchRefusal>, room: usize) -> usize {
        match (&mut self.read, more) {
            (Ok(read), Ok(more)) if read.is_empty() || more.size_bytes <= room => {
                let bytes = more.size_bytes;
                read.extend(more);
                bytes
            }
            // A refusal is for the next request where there is something to send.
            (Ok(read), _) if !read.is_empty() => {
                self.is_full = true;
                0
            }
            (read, more) => {
                *read = more;
                self.bytes()
            }
        }
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
        held_back: 0,
        has_refusal: false,
    };
    for slot in 0..fetch.slots.len() {
        fetch.read(slot).await;
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    // Nobody looks whether the client is there still: no longer than a connection may be silent.
    let idle_max = client.services().config().network.kafka_idle_timeout;
    let until = Instant::now() + wait.min(idle_max);
    // Whoever does not get there in time gets what there is.
    let _ = tokio::time::timeout_at(until, fetch.wait_for(positive(request.min_bytes))).await;
    fetch.count();
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
    let refusal = |error: ServiceError| FetchRefusal {
        error,
        offsets: None,
    };
    let opened = start.map_err(refusal).and_then(|start| {
        let reader = client.services().open_reader(&client.context(), &start)?;
        if client.version < ZSTD && reader.stores(Compression::Zstd) {
            return Err(refusal(unreadable()));
        }
        let diverging = diverging(client, &start, asked.last_fetched_epoch);
        Ok((reader, diverging.map_err(refusal)?))
    });
    let (reader, read, diverging) = match opened {
        Ok((reader, diverging)) => {
            let read = reader.offsets().map(Fetched::nothing);
            (diverging.is_none().then_some(reader), read, diverging)
        }
        Err(refusal) => (None, Err(refusal), None),
    };
    Slot {
        topic,
        asked,
        reader,
        read,
        is_full: false,
        diverging,
    }
}

/// What a client is told that could not decompress what it asks for.
fn unreadable() -> ServiceError {
    ServiceError::new(
        ErrorCode::UnsupportedCompressionType,
        "the topic is compressed with zstd, which this version of Fetch does not have",
        "use a client that fetches with version 10 or later, or another compression.type",
    )
}

/// Where the log of a client whose last record is of this leader epoch stops being this one; `None` where it
/// does not, or the client does not say.
fn diverging(
    client: &Client,
    start: &FetchStart,
    last_fetched_epoch: i32,
) -> Result<Option<(LeaderEpoch, Offset)>, ServiceError> {
    let Some(last) = wire::leader_epoch(last_fetched_epoch) else {
        return Ok(None);
    };
    let services = client.services();
    let end = services.leader_epoch_end(start.topic_id, start.partition, last)?;
    let Some((epoch, end)) = end else {
        return Err(ServiceError::new(
            ErrorCode::OffsetOutOfRange,
            format!("the log knows no leader epoch up to {last}"),
            "look earliest and latest up (ListOffsets), and fetch from there",
        ));
    };
    Ok((epoch < last || end < start.offset).then_some((epoch, end)))
}

/// A request while it is read.
struct Fetch {
    slots: Vec<Slot>,
    bytes_left: usize,
    bytes: usize,
    /// Bytes that partitions might send still, had their next batches room: they count as if they were there,
    /// for waiting does not change it.
    held_back: usize,
    /// A partition is refused, which the client shall hear at once.
    has_refusal: bool,
}

impl Fetch {
    fn is_enough(&self, bytes_min: usize) -> bool {
        self.bytes + self.held_back >= bytes_min || self.bytes_left == 0 || self.has_refusal
    }

    /// Reads a partition on, if more of it may be sent.
    async fn read(&mut self, slot: usize) {
        let bytes_left = self.bytes_left;
        let Some(slot) = self.slots.get_mut(slot) else {
            return;
        };
        let room = slot.room(bytes_left);
        let Some(reader) = &mut slot.reader else {
            self.has_refusal = true;
            return;
        };
        let Some(room) = room else {
            return;
        };
        let start = reader.position();
        let read = match reader.read_at_once(room) {
            Ok(Some(fetched)) => Ok(fetched),
            Ok(None) => reader.read_in_files(room).await,
            Err(refusal) => Err(refusal),
        };
        let bytes = slot.take(read, room);
        if slot.is_full {
            self.held_back += slot.asked.bytes_max.saturating_sub(slot.bytes());
            if let Some(reader) = &mut slot.reader {
                reader.go_back(start);
            }
        }
        self.has_refusal |= slot.read.is_err();
        self.bytes += bytes;
        self.bytes_left = bytes_left.saturating_sub(bytes);
    }

    /// Counts what the client gets.
    fn count(&self) {
        for slot in &self.slots {
            let start = checked_offset(slot.asked.offset);
            if let (Some(reader), Ok(start), Ok(read)) = (&slot.reader, start, &slot.read) {
                reader.count_fetched(start, read.size_bytes);
            }
        }
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

    /// Parks a partition of which more may be sent; false where it can be read at once.
    fn park(&mut self, index: usize, wakeups: &Arc<Wakeups>) -> bool {
        let bytes_left = self.bytes_left;
        let Some(slot) = self.slots.get_mut(index) else {
            return true;
        };
        if slot.room(bytes_left).is_none() {
            return true;
        }
        let Some(reader) = &mut slot.reader else {
            return true;
        };
        match reader.park(wakeups, u64::try_from(index).unwrap_or(u64::MAX)) {
            Ok(parked) => parked,
            Err(_) if slot.bytes() > 0 => {
                slot.is_full = true;
                true
            }
            Err(refusal) => {
                self.has_refusal = true;
                slot.read = Err(refusal);
                slot.reader = None;
                true
            }
        }
    }
}
