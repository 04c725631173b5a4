//! Frames that are encoded once and sent pipelined, and answers that are hardly looked at: a client so
//! cheap that the broker is what is measured.

use std::{
    collections::VecDeque,
    future::Future,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use hdrhistogram::Histogram;
use kafka_protocol::{
    messages::{
        BrokerId, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, ResponseHeader,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{FetchableTopicResponse, PartitionData},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Encodable as _, HeaderVersion as _, StrBytes},
};
use millstream_benches::report;
use millstream_proto::record::{BatchBuilder, BatchOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::control::{self, topic_name};

/// Versions that both brokers serve, and whose answers are laid out as below.
const PRODUCE: i16 = 7;
const FETCH: i16 = 11;
/// Bytes of a produce answer before and behind the topic's name, up to the error code.
const BEFORE_NAME: usize = 4 + 4 + 2;
const BEHIND_NAME: usize = 4 + 4;
const TIMEOUT_MS: i32 = 30_000;
/// What a fetch asks for: the defaults of Kafka's consumers.
const FETCH_WAIT_MS: i32 = 500;
const FETCH_BYTES_MAX: i32 = 50 << 20;
const FETCH_PARTITION_BYTES_MAX: i32 = 1 << 20;
/// Positions in a record batch: its length without what comes before, and its last offset delta.
const BATCH_LENGTH: usize = 8;
const BATCH_BEFORE_LENGTH_ENDS: usize = 12;
const LAST_OFFSET_DELTA: usize = 23;
/// Bytes of the length of the batches in an answer to a fetch.
const BATCHES_LENGTH_BYTES: usize = 4;
/// Bytes read at once while their message's length is not known: there may be a thousand connections.
const READ_BYTES_MIN: usize = 512;

/// What to send, or to read.
#[derive(Debug, Clone)]
pub struct Load {
    /// The topic.
    pub topic: String,
    /// How many it has.
    pub partitions: i32,
    /// Bytes of a record's value.
    pub value_bytes: usize,
    /// Records of a batch; a request has one batch.
    pub batch_records: usize,
    /// Connections; each has a share of the partitions, or one of them where there are fewer.
    pub connections: usize,
    /// Requests on their way on each connection.
    pub depth: usize,
    /// How long.
    pub time: Duration,
    /// Bytes of values after which it ends early.
    pub bytes_max: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes of values.
    pub value_bytes: u64,
    /// Records.
    pub records: u64,
    /// Microseconds of each request.
    pub latency_us: Histogram<u64>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What came of one connection.
#[derive(Debug, Default)]
struct Share {
    records: u64,
    latencies: Vec<Duration>,
}

impl Load {
    /// Produces, and waits for every answer.
    ///
    /// # Errors
    /// A connection breaks, or a batch is refused.
    pub fn produce(&self, address: &str) -> Result<Outcome> {
        let frames = (0..self.partitions)
            .map(|partition| self.produce_frame(partition))
            .collect::<Result<Vec<_>>>()?;
        self.run(address, |number, connection, load| {
            let own = load.share(number).filter_map(|at| frames.get(at).cloned());
            load.clone().produce_on(connection, own.collect())
        })
    }

    /// Reads the topic from its beginning, again and again.
    ///
    /// # Errors
    /// A connection breaks, or a fetch is refused.
    pub fn fetch(&self, address: &str) -> Result<Outcome> {
        self.run(address, |number, connection, load| {
            load.clone()
                .fetch_on(connection, load.share(number).collect())
        })
    }

    /// A produce request of one batch.
    fn produce_frame(&self, partition: i32) -> Result<Bytes> {
        let partition = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(self.batch()?));
        let topic = TopicProduceData::default()
            .with_name(topic_name(&self.topic))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        control::frame(&request, PRODUCE)
    }

    /// One batch, of bytes that no codec and no file system makes smaller.
    ///
    /// # Errors
    /// More than a batch may have.
    pub fn batch(&self) -> Result<Bytes> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut batch = BatchBuilder::new(BatchOptions::default());
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..self.batch_records {
            let value: Vec<u8> = (0..self.value_bytes)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .collect();
            batch.append(i64::try_from(now.as_millis())?, None, Some(&value), &[])?;
        }
        Ok(batch.finish()?)
    }

    /// Which partitions are those of a connection.
    fn share(&self, number: usize) -> impl Iterator<Item = usize> + use<> {
        let partitions = usize::try_from(self.partitions).unwrap_or(0);
        (number % partitions..partitions).step_by(self.connections)
    }

    /// Runs all connections on this thread.
    fn run<F>(&self, address: &str, on: impl Fn(usize, Connection, &Self) -> F) -> Result<Outcome>
    where
        F: Future<Output = Result<Share>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..self.connections {
                connections.push(Connection::open(address).await?);
            }
            let started = Instant::now();
            let mut shares = JoinSet::new();
            for (number, connection) in connections.into_iter().enumerate() {
                shares.spawn(on(number, connection, self));
            }
            let (mut records, mut latency_us) = (0, report::histogram());
            while let Some(share) = shares.join_next().await {
                let share = share??;
                records += share.records;
                for latency in share.latencies {
                    report::record(&mut latency_us, latency);
                }
            }
            Ok(Outcome {
                value_bytes: records * self.value_bytes as u64,
                records,
                latency_us,
                elapsed: started.elapsed(),
            })
        })
    }

    async fn produce_on(self, mut connection: Connection, frames: Vec<Bytes>) -> Result<Share> {
        let error_at = BEFORE_NAME + self.topic.len() + BEHIND_NAME;
        let mut share = Share::default();
        let mut sent_at = VecDeque::with_capacity(self.depth);
        let batches_max = self.bytes_max / (self.batch_records * self.value_bytes) as u64;
        let requests_max = batches_max / self.connections as u64;
        let (mut requests, mut frames) = (0, frames.iter().cycle());
        let until = Instant::now() + self.time;
        loop {
            while sent_at.len() < self.depth && requests < requests_max && Instant::now() < until {
                let frame = frames.next().context("no partition for a connection")?;
                sent_at.push_back(Instant::now());
                connection.socket.write_all(frame).await?;
                requests += 1;
            }
            let Some(sent_at) = sent_at.pop_front() else {
                return Ok(share);
            };
            let answer = connection.receive().await?;
            let code = answer.get(error_at..error_at + 2);
            let mut code = code.context("a short answer to produce")?;
            let code = code.get_i16();
            ensure!(code == 0, "a batch is refused with error {code}");
            share.latencies.push(sent_at.elapsed());
            share.records += self.batch_records as u64;
        }
    }

    async fn fetch_on(self, mut connection: Connection, partitions: Vec<usize>) -> Result<Share> {
        let mut offsets = vec![0; partitions.len()];
        let mut share = Share::default();
        let until = Instant::now() + self.time;
        loop {
            for (partition, offset) in partitions.iter().zip(&mut offsets) {
                if Instant::now() > until {
                    return Ok(share);
                }
                let request = self.fetch_request(i32::try_from(*partition)?, *offset);
                let sent_at = Instant::now();
                let request = control::frame(&request, FETCH)?;
                connection.socket.write_all(&request).await?;
                let next = next_offset(connection.receive().await?)?;
                share.latencies.push(sent_at.elapsed());
                share.records += next.map_or(0, |next| next.saturating_sub(*offset));
                // From the beginning again where there is nothing more.
                *offset = next.unwrap_or(0);
            }
        }
    }

    fn fetch_request(&self, partition: i32, offset: u64) -> FetchRequest {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset.cast_signed())
            .with_partition_max_bytes(FETCH_PARTITION_BYTES_MAX);
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.topic))
            .with_partitions(vec![partition]);
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(FETCH_WAIT_MS)
            .with_min_bytes(0)
            .with_max_bytes(FETCH_BYTES_MAX)
            .with_session_epoch(-1)
            .with_rack_id(StrBytes::default())
            .with_topics(vec![topic])
    }
}

/// The answer to a frame of one batch, its length in front.
///
/// # Errors
/// A value that the version has no field for.
pub fn produce_answer(topic: &str) -> Result<Bytes> {
    let topic = TopicProduceResponse::default()
        .with_name(topic_name(topic))
        .with_partition_responses(vec![PartitionProduceResponse::default()]);
    let answer = ProduceResponse::default().with_responses(vec![topic]);
    let mut message = BytesMut::new();
    ResponseHeader::default().encode(&mut message, ProduceResponse::header_version(PRODUCE))?;
    answer.encode(&mut message, PRODUCE)?;
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok([&length[..], &message].concat().into())
}

/// The answer to a fetch of one partition up to its batches, which end it; its length in front.
///
/// # Errors
/// A value that the version has no field for.
pub fn fetch_answer(topic: &str, batch_bytes: usize) -> Result<Bytes> {
    let partition = PartitionData::default().with_records(Some(Bytes::new()));
    let topic = FetchableTopicResponse::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    let answer = FetchResponse::default().with_responses(vec![topic]);
    let mut message = BytesMut::new();
    ResponseHeader::default().encode(&mut message, FetchResponse::header_version(FETCH))?;
    answer.encode(&mut message, FETCH)?;
    let batch_bytes = u32::try_from(batch_bytes)?;
    // The length of the batches is the last field, without them.
    message.truncate(message.len() - BATCHES_LENGTH_BYTES);
    message.put_u32(batch_bytes);
    let length = u32::try_from(message.len())? + batch_bytes;
    Ok([&length.to_be_bytes()[..], &message].concat().into())
}

/// The offset behind the last whole batch of an answer to a fetch of one partition; `None` where it has none.
fn next_offset(message: Bytes) -> Result<Option<u64>> {
    let answer: FetchResponse = control::answer(message, FETCH)?;
    let partition = answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions);
    let partition = partition.last().context("an answer without partition")?;
    if partition.error_code != 0 {
        bail!("a fetch is refused with error {}", partition.error_code);
    }
    let mut batches = partition.records.unwrap_or_default();
    let mut next = None;
    while let Some(mut header) = batches.get(..LAST_OFFSET_DELTA + 4) {
        let base_offset = header.get_u64();
        let length = header.get_u32();
        header.advance(LAST_OFFSET_DELTA - BATCH_LENGTH - 4);
        let size = BATCH_BEFORE_LENGTH_ENDS + usize::try_from(length)?;
        if size > batches.len() {
            break;
        }
        next = Some(base_offset + u64::from(header.get_u32()) + 1);
        batches.advance(size);
    }
    Ok(next)
}

/// A connection to a broker.
#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    received: BytesMut,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            received: BytesMut::new(),
        })
    }

    /// The next message without its length.
    async fn receive(&mut self) -> Result<Bytes> {
        loop {
            let mut missing = 4;
            if let Some(mut length) = self.received.get(..4) {
                let length = usize::try_from(length.get_u32())?;
                if self.received.len() >= 4 + length {
                    self.received.advance(4);
                    return Ok(self.received.split_to(length).freeze());
                }
                missing = 4 + length - self.received.len();
            }
            self.received.reserve(missing.max(READ_BYTES_MIN));
            if self.socket.read_buf(&mut self.received).await? == 0 {
                bail!("the broker closed a connection");
            }
        }
    }
}
