//! [`Control`]: the few requests beside the load, through Kafka's protocol to either broker.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        BrokerId, CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest, MetadataRequest,
        RequestHeader, ResponseHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};

/// How long a broker may take to start, or to have made a topic.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(1);
const TIMEOUT_MS: i32 = 120_000;
/// Asks for the end of a partition.
const LATEST: i64 = -1;
/// Versions that both brokers serve.
const METADATA: i16 = 8;
const LIST_OFFSETS: i16 = 5;
const CREATE_TOPICS: i16 = 5;
const DELETE_TOPICS: i16 = 3;

/// A topic's name as requests have it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A request with its header, the length in front.
///
/// # Errors
/// A value that the version has no field for.
pub fn frame<Q: Request>(request: &Q, version: i16) -> Result<Bytes> {
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("compare")));
    let mut message = BytesMut::new();
    header.encode(&mut message, Q::header_version(version))?;
    request.encode(&mut message, version)?;
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok([&length[..], &message].concat().into())
}

/// The answer in a message without its length.
///
/// # Errors
/// Bytes that are none.
pub fn answer<R: Decodable + HeaderVersion>(mut message: Bytes, version: i16) -> Result<R> {
    ResponseHeader::decode(&mut message, R::header_version(version))?;
    R::decode(&mut message, version)
}

/// A connection.
#[derive(Debug)]
pub struct Control {
    socket: TcpStream,
}

impl Control {
    /// Connects as soon as the broker answers a request for metadata; for one that starts.
    ///
    /// # Errors
    /// It does not within five minutes.
    pub fn wait(address: &str) -> Result<Self> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(control) = Self::connect_at_once(address) {
                return Ok(control);
            }
            thread::sleep(POLL);
        }
        bail!("the broker at {address} did not answer within {PATIENCE:?}")
    }

    fn connect_at_once(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut control = Self { socket };
        let no_topics = MetadataRequest::default().with_topics(Some(Vec::new()));
        let metadata = control.call(&no_topics, METADATA)?;
        ensure!(!metadata.brokers.is_empty(), "knows no broker yet");
        Ok(control)
    }

    fn call<Q: Request>(&mut self, request: &Q, version: i16) -> Result<Q::Response> {
        self.socket.write_all(&frame(request, version)?)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let mut message = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.socket.read_exact(&mut message)?;
        answer(message.into(), version)
    }

    /// Creates a topic, and waits until all of its partitions are led; how long both took.
    ///
    /// # Errors
    /// It is refused.
    pub fn create(
        &mut self,
        name: &str,
        partitions: i32,
        config: Option<(&'static str, &'static str)>,
    ) -> Result<Duration> {
        let started = Instant::now();
        let configs = config.into_iter().map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(key))
                .with_value(Some(StrBytes::from_static_str(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(TIMEOUT_MS);
        for topic in self.call(&request, CREATE_TOPICS)?.topics {
            let code = topic.error_code;
            ensure!(
                code == 0,
                "topic {name}: error {code} {:?}",
                topic.error_message
            );
        }
        self.wait_for_leaders(name, partitions)?;
        Ok(started.elapsed())
    }

    /// Waits until all partitions of a topic say where they end, which a broker does that leads them. Kafka
    /// names itself in the metadata before it does.
    ///
    /// # Errors
    /// They do not within five minutes.
    pub fn wait_for_leaders(&mut self, name: &str, partitions: i32) -> Result<()> {
        let of_partition = |partition| {
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(LATEST)
        };
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(name))
            .with_partitions((0..partitions).map(of_partition).collect());
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let answer = self.call(&request, LIST_OFFSETS)?;
            let mut ends = answer.topics.iter().flat_map(|topic| &topic.partitions);
            if ends.all(|end| end.error_code == 0) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("topic {name} had no leaders within {PATIENCE:?}")
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// It is refused.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(name)])
            .with_timeout_ms(TIMEOUT_MS);
        for topic in self.call(&request, DELETE_TOPICS)?.responses {
            ensure!(
                topic.error_code == 0,
                "topic {name}: error {}",
                topic.error_code
            );
        }
        Ok(())
    }
}
