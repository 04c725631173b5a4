//! Servers that do what the system makes every broker do, and nothing else: what the generator of frames
//! reaches at most, and what processor time receiving, writing and sending take by themselves.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    mem,
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, ProduceRequest, ProduceResponse,
        RequestHeader, ResponseHeader, TopicName,
        api_versions_response::ApiVersion,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Decodable as _, Encodable, HeaderVersion, StrBytes},
};
use rustix::time::ClockId;

use crate::{control::topic_name, frames};

/// Bytes of a file that are reserved at once, as our log does.
const RESERVED_BYTES: u64 = 16 << 20;

/// A server for some connections, one thread each, that ends with the last of them.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub address: String,
    accepting: JoinHandle<Result<Duration>>,
}

impl Server {
    /// Answers each message with the same bytes.
    ///
    /// # Errors
    /// No port.
    pub fn sink(connections: usize, answer: Bytes) -> Result<Self> {
        Self::start(connections, move |socket, _| {
            serve(socket, |socket, _| Ok(socket.write_all(&answer)?))
        })
    }

    /// Appends each message to a file of the connection before it answers.
    ///
    /// # Errors
    /// No port.
    pub fn log(connections: usize, answer: Bytes, dir: &Path) -> Result<Self> {
        let dir = dir.to_path_buf();
        Self::start(connections, move |socket, number| {
            let path = dir.join(number.to_string());
            let file = File::create(&path)?;
            let (mut end, mut reserved) = (0, 0);
            serve(socket, |socket, message| {
                if end + message.len() as u64 > reserved {
                    let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
                    rustix::fs::fallocate(&file, flags, reserved, RESERVED_BYTES)?;
                    reserved += RESERVED_BYTES;
                }
                file.write_all_at(message, end)?;
                end += message.len() as u64;
                Ok(socket.write_all(&answer)?)
            })?;
            Ok(fs::remove_file(path)?)
        })
    }

    /// Answers with so many bytes of a file after the others, which the socket takes from there
    /// (`sendfile`); then with nothing, and from the beginning again.
    ///
    /// # Errors
    /// No port, no file.
    pub fn shelf(
        connections: usize,
        topic: &str,
        file: &Path,
        answer_bytes: usize,
    ) -> Result<Self> {
        let full = frames::fetch_answer(topic, answer_bytes)?;
        let empty = frames::fetch_answer(topic, 0)?;
        let answer_bytes = answer_bytes as u64;
        let answers = fs::metadata(file)?.len() / answer_bytes;
        let file = File::open(file)?;
        Self::start(connections, move |socket, _| {
            let mut number = 0;
            serve(socket, |socket, _| {
                if number == answers {
                    number = 0;
                    return Ok(socket.write_all(&empty)?);
                }
                socket.write_all(&full)?;
                let (mut at, end) = (number * answer_bytes, (number + 1) * answer_bytes);
                while at < end {
                    let length = usize::try_from(end - at)?;
                    let sent = rustix::fs::sendfile(&socket, &file, Some(&mut at), length)?;
                    ensure!(sent > 0, "the file became shorter");
                }
                number += 1;
                Ok(())
            })
        })
    }

    /// Processor time of its connections, after the last of them has ended.
    ///
    /// # Errors
    /// What one of them met.
    pub fn cpu(self) -> Result<Duration> {
        self.accepting.join().expect("it does not panic")
    }

    fn start(
        connections: usize,
        serve: impl Fn(TcpStream, usize) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let serve = Arc::new(serve);
        let accepting = thread::spawn(move || {
            let mut threads = Vec::new();
            for number in 0..connections {
                let (socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                let serve = Arc::clone(&serve);
                threads.push(thread::spawn(move || {
                    serve(socket, number)?;
                    let spent = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
                    Ok(Duration::try_from(spent)?)
                }));
            }
            let served = threads.into_iter().map(JoinHandle::join);
            served
                .map(|cpu: thread::Result<Result<Duration>>| cpu.expect("it does not panic"))
                .sum()
        });
        Ok(Self { address, accepting })
    }
}

/// Starts a server that takes whatever a Kafka client produces to a topic of so many partitions, and keeps
/// nothing of it, for as long as this process lives; its address.
///
/// # Errors
/// No port.
pub fn start_kafka_sink(topic: &str, partitions: i32) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sink = Arc::new(KafkaSink {
        topic: topic_name(topic),
        partitions,
        port: address.port().into(),
    });
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let sink = Arc::clone(&sink);
            thread::spawn(move || {
                let answer = |socket: &mut TcpStream, message: &mut Vec<u8>| {
                    let answer = sink.answer(mem::take(message).into())?;
                    Ok(socket.write_all(&answer)?)
                };
                // A client that closes its connection is the end of it.
                drop(socket.set_nodelay(true));
                drop(serve(socket, answer));
            });
        }
    });
    Ok(address.to_string())
}

/// What a client is told of a broker that keeps nothing.
#[derive(Debug)]
struct KafkaSink {
    topic: TopicName,
    partitions: i32,
    port: i32,
}

impl KafkaSink {
    fn answer(&self, mut message: Bytes) -> Result<Vec<u8>> {
        let mut key = message.get(..4).context("a message without a key")?;
        let (key, version) = (ApiKey::try_from(key.get_i16()), key.get_i16());
        let key = key.map_err(|()| anyhow!("a key that nobody knows"))?;
        let header = RequestHeader::decode(&mut message, key.request_header_version(version))?;
        let correlation_id = header.correlation_id;
        match key {
            ApiKey::ApiVersions => encoded(correlation_id, version, &versions()),
            ApiKey::Metadata => encoded(correlation_id, version, &self.metadata()),
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut message, version)?;
                encoded(correlation_id, version, &produced(request))
            }
            other => bail!("nobody was told of {other:?}"),
        }
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
            .with_name(Some(self.topic.clone()))
            .with_partitions(partitions.collect());
        MetadataResponse::default()
            .with_brokers(vec![broker.with_host(host).with_port(self.port)])
            .with_controller_id(node)
            .with_topics(vec![topic])
    }
}

/// What librdkafka must see before it sends batches of the present format.
fn versions() -> ApiVersionsResponse {
    let served = [
        (ApiKey::Produce, 3, 7),
        (ApiKey::Fetch, 4, 4),
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

/// Answers each message until the client closes its connection.
fn serve(
    mut socket: TcpStream,
    mut answer: impl FnMut(&mut TcpStream, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut message = Vec::new();
    loop {
        let mut length = [0; 4];
        match socket.read(&mut length)? {
            0 => return Ok(()),
            read => socket.read_exact(length.get_mut(read..).unwrap_or_default())?,
        }
        message.resize(usize::try_from(u32::from_be_bytes(length))?, 0);
        socket.read_exact(&mut message)?;
        answer(&mut socket, &mut message)?;
    }
}
