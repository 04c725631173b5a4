//! [`Control`]: the few requests beside the load, through Kafka's protocol to either broker.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse, RequestHeader,
        ResponseHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};

/// How long a broker may take to start, or to have made a topic.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(1);
const TIMEOUT_MS: i32 = 120_000;
/// Versions that both brokers serve.
const METADATA: i16 = 8;
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
        let metadata = control.metadata(Vec::new())?;
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

    fn metadata(&mut self, topics: Vec<MetadataRequestTopic>) -> Result<MetadataResponse> {
        let request = MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(false);
        self.call(&request, METADATA)
    }

    /// Creates a topic, and waits until all of its partitions have a leader; how long both took.
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
            ensure!(code == 0, "topic {name}: error {code} {:?}", topic.error_message);
        }
        self.wait_for_leaders(name, partitions)?;
        Ok(started.elapsed())
    }

    /// Waits until all partitions of a topic have a leader.
    ///
    /// # Errors
    /// They have none within five minutes.
    pub fn wait_for_leaders(&mut self, name: &str, partitions: i32) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            let metadata = self.metadata(vec![topic])?;
            let topic = metadata.topics.first().context("no answer")?;
            let led = topic.partitions.iter();
            let led = led.filter(|partition| partition.error_code == 0);
            let led: BTreeSet<_> = led.map(|partition| partition.partition_index).collect();
            if led.len() == usize::try_from(partitions)? {
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
            ensure!(topic.error_code == 0, "topic {name}: error {}", topic.error_code);
        }
        Ok(())
    }
}
