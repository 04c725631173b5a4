//! [`KafkaServer`]: the least that an unchanged Kafka client takes for a broker.

use std::{
    io::Write as _,
    mem,
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, FetchRequest, ListOffsetsRequest,
        ListOffsetsResponse, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
        ResponseHeader, TopicName,
        api_versions_response::ApiVersion,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Decodable as _, Encodable, HeaderVersion, StrBytes},
};
use rustix::net::SendFlags;

use super::{Shelf, serve, thread_cpu};
use crate::control::topic_name;

/// The version of Fetch whose answer is written by hand.
const FETCH: i16 = 4;
/// Asks ListOffsets for the end.
const LATEST: i64 = -1;

/// A server that lives as long as this process: what is produced is not kept, what is consumed comes from a shelf.
#[derive(Debug)]
pub struct KafkaServer {
    /// Where it is.
    pub address: String,
    cpu_ns: Arc<AtomicU64>,
}

impl KafkaServer {
    /// Starts it with one topic; a shelf has a part for each of its partitions.
    ///
    /// # Errors
    /// No port.
    pub fn start(topic: &str, partitions: i32, shelf: Option<Shelf>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let topic = Arc::new(Topic {
            name: topic_name(topic),
            partitions,
            shelf,
            port: address.port().into(),
        });
        let cpu_ns = Arc::new(AtomicU64::new(0));
        let spent_ns = Arc::clone(&cpu_ns);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (topic, spent_ns) = (Arc::clone(&topic), Arc::clone(&spent_ns));
                // A client that closes its connection is the end of it.
                thread::spawn(move || drop(topic.serve(socket, &spent_ns)));
            }
        });
        Ok(Self {
            address: address.to_string(),
            cpu_ns,
        })
    }

    /// Processor time of all answers so far.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed))
    }
}

/// What clients are told of.
#[derive(Debug)]
struct Topic {
    name: TopicName,
    partitions: i32,
    shelf: Option<Shelf>,
    port: i32,
}

impl Topic {
    fn serve(&self, socket: TcpStream, spent_ns: &AtomicU64) -> Result<()> {
        socket.set_nodelay(true)?;
        let mut before = Duration::ZERO;
        serve(socket, |socket, message| {
            self.answer(socket, mem::take(message).into())?;
            let now = thread_cpu()?;
            let ns = u64::try_from((now - before).as_nanos())?;
            spent_ns.fetch_add(ns, Ordering::Relaxed);
            before = now;
            Ok(())
        })
    }

    fn answer(&self, socket: &mut TcpStream, mut message: Bytes) -> Result<()> {
        let mut key = message.get(..4).context("a message without a key")?;
        let (key, version) = (ApiKey::try_from(key.get_i16()), key.get_i16());
        let key = key.map_err(|()| anyhow!("a key that nobody knows"))?;
        let header = RequestHeader::decode(&mut message, key.request_header_version(version))?;
        let correlation_id = header.correlation_id;
        let answer = match key {
            ApiKey::ApiVersions => encoded(correlation_id, version, &versions()),
            ApiKey::Metadata => encoded(correlation_id, version, &self.metadata()),
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut message, version)?;
                encoded(correlation_id, version, &produced(request))
            }
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut message, version)?;
                encoded(correlation_id, version, &self.offsets(request)?)
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut message, version)?;
                return self.fetched(socket, correlation_id, &request);
            }
            other => bail!("nobody was told of {other:?}"),
        };
        Ok(socket.write_all(&answer?)?)
    }

    fn metadata(&self) -> MetadataResponse {
        let (node, host) = (BrokerId(1), StrBytes::from_static_str("127.0.0.1"));
        let broker = MetadataResponseBroker::default().with_node_id(node);
        let partitions = (0..self.partitions).map(|partition| {
            MetadataResponsePartition::default()
                .with_partition_index(partition)
                .with_leader_id(node)
                .with_replica_nodes(vec![node])
                .with_isr_nodes(vec![node])
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(self.name.clone()))
            .with_partitions(partitions.collect());
        MetadataResponse::default()
            .with_brokers(vec![broker.with_host(host).with_port(self.port)])
            .with_controller_id(node)
            .with_topics(vec![topic])
    }

    fn offsets(&self, request: ListOffsetsRequest) -> Result<ListOffsetsResponse> {
        let shelf = self.shelf.as_ref().context("there is nothing to read")?;
        let end = i64::try_from(shelf.end_offset())?;
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let is_end = partition.timestamp == LATEST;
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_offset(if is_end { end } else { 0 })
            });
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        Ok(ListOffsetsResponse::default().with_topics(topics.collect()))
    }

    /// Answers a fetch of [`FETCH`]. What comes before the batches of a partition waits for them in the socket.
    fn fetched(
        &self,
        socket: &TcpStream,
        correlation_id: i32,
        request: &FetchRequest,
    ) -> Result<()> {
        let shelf = self.shelf.as_ref().context("there is nothing to read")?;
        let end = i64::try_from(shelf.end_offset())?;
        let asked = request.topics.first().context("a fetch of nothing")?;
        let mut head = BytesMut::new();
        head.put_i32(correlation_id);
        head.put_i32(0); // throttle time
        head.put_i32(1); // topics
        head.put_i16(i16::try_from(self.name.len())?);
        head.put_slice(self.name.as_bytes());
        head.put_i32(i32::try_from(asked.partitions.len())?);
        let (mut parts, mut length) = (Vec::new(), 0);
        for partition in &asked.partitions {
            let (part, offset) = (partition.partition, partition.fetch_offset);
            let bytes_max = u64::try_from(partition.partition_max_bytes)?;
            let batches = shelf.batches(u64::try_from(part)?, u64::try_from(offset)?, bytes_max);
            let size = batches.end - batches.start;
            head.put_i32(part);
            head.put_i16(0); // error code
            head.put_i64(end); // high watermark
            head.put_i64(end); // last stable offset
            head.put_i32(-1); // aborted transactions
            head.put_i32(i32::try_from(size)?);
            length += head.len() as u64 + size;
            parts.push((head.split().freeze(), batches));
        }
        let length = u32::try_from(length)?.to_be_bytes();
        send(socket, &length, SendFlags::MORE)?;
        let last = parts.len().saturating_sub(1);
        for (number, (head, batches)) in parts.into_iter().enumerate() {
            let is_end = number == last && batches.is_empty();
            let more = if is_end {
                SendFlags::empty()
            } else {
                SendFlags::MORE
            };
            send(socket, &head, more)?;
            shelf.send(batches, socket)?;
        }
        Ok(())
    }
}

fn send(socket: &TcpStream, bytes: &[u8], flags: SendFlags) -> Result<()> {
    let sent = rustix::net::send(socket, bytes, flags)?;
    ensure!(sent == bytes.len(), "the connection took a part");
    Ok(())
}

/// What librdkafka must see before it sends batches of the present format.
fn versions() -> ApiVersionsResponse {
    let served = [
        (ApiKey::Produce, 3, 7),
        (ApiKey::Fetch, FETCH, FETCH),
        (ApiKey::ListOffsets, 1, 1),
        (ApiKey::Metadata, 1, 4),
        (ApiKey::ApiVersions, 0, 3),
    ];
    let served = served.map(|(key, min, max)| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(min)
            .with_max_version(max)
    });
    ApiVersionsResponse::default().with_api_keys(served.to_vec())
}

fn produced(request: ProduceRequest) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.iter();
        let partitions = partitions
            .map(|partition| PartitionProduceResponse::default().with_index(partition.index));
        TopicProduceResponse::default()
            .with_partition_responses(partitions.collect())
            .with_name(topic.name)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// An answer with its header, the length in front.
fn encoded<R: Encodable + HeaderVersion>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Vec<u8>> {
    let mut message = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut message, R::header_version(version))?;
    response.encode(&mut message, version)?;
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok([&length[..], &message].concat())
}
