//! [`Kafka`]: a raw client of the Kafka protocol, for what no client library would do.
//!
//! As [`crate::Native`] it retries nothing, hides nothing and decides nothing: each call is one request.
//! Bytes are encoded and decoded by the crate `kafka-protocol`, which the broker's own writers of produce
//! and fetch do not use.

mod admin;
mod groups;
mod pairs;

use std::{net::SocketAddr, time::Duration};

pub use admin::{ConfigOperation, ConfigOwner};
use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, CreateTopicsRequest, FetchRequest, ProduceRequest, RequestHeader, RequestKind,
        ResponseHeader, ResponseKind, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        create_topics_response::CreatableTopicResult,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::{
        Decodable as _, HeaderVersion as _, Request, StrBytes, encode_request_header_into_buffer,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub use self::groups::{DescribedTopic, FetchWait, Identity, group_id, text};

/// How long an answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The newest versions that name topics rather than give their ids.
/// As [`produce_request`] has it.
pub const PRODUCE_VERSION: i16 = 12;
/// As [`fetch_request`] has it.
pub const FETCH_VERSION: i16 = 12;
const CREATE_TOPICS_VERSION: i16 = 7;
/// A session id and epoch that ask for no fetch session (KIP-227).
const NO_SESSION: (i32, i32) = (0, -1);

/// One connection.
#[derive(Debug)]
pub struct Kafka {
    stream: TcpStream,
    client_id: StrBytes,
    last_correlation_id: i32,
}

/// A name on the wire.
#[must_use]
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

impl Kafka {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            client_id: StrBytes::from_static_str("raw"),
            last_correlation_id: 0,
        })
    }

    /// Calls itself something else from now on.
    pub fn set_client_id(&mut self, client_id: &str) {
        self.client_id = StrBytes::from_string(client_id.to_owned());
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// A connection that breaks or stays silent, an answer that is not one to this request.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let correlation_id = self.send(version, request).await?;
        timeout(CALL_TIMEOUT, self.answer::<R>(version, correlation_id))
            .await
            .context("no answer")?
    }

    /// Sends a request; returns its correlation id.
    ///
    /// # Errors
    /// A request that the version cannot hold, a connection that breaks.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32> {
        let mut body = BytesMut::new();
        request.encode(&mut body, version)?;
        self.send_body(R::KEY, version, &body).await
    }

    /// Sends a request of any API and waits for its answer.
    ///
    /// # Errors
    /// As [`Kafka::call`].
    pub async fn call_any(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<ResponseKind> {
        let mut body = BytesMut::new();
        request.encode(&mut body, version)?;
        let correlation_id = self.send_body(api as i16, version, &body).await?;
        let header_version = api.response_header_version(version);
        let answer = timeout(CALL_TIMEOUT, self.receive(header_version, correlation_id));
        let mut body = answer.await.context("no answer")??;
        let response = ResponseKind::decode(api, &mut body, version)?;
        ensure!(!body.has_remaining(), "bytes behind the answer");
        Ok(response)
    }

    async fn send_body(&mut self, api_key: i16, version: i16, body: &[u8]) -> Result<i32> {
        self.last_correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(api_key)
            .with_request_api_version(version)
            .with_correlation_id(self.last_correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let mut message = BytesMut::new();
        encode_request_header_into_buffer(&mut message, &header)?;
        message.extend_from_slice(body);
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(message.len())?);
        frame.extend_from_slice(&message);
        self.stream.write_all(&frame).await?;
        Ok(self.last_correlation_id)
    }

    /// Waits for the answer to the earliest request that has none.
    ///
    /// # Errors
    /// As [`Kafka::call`].
    pub async fn answer<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Result<R::Response> {
        let header_version = R::Response::header_version(version);
        let mut body = self.receive(header_version, correlation_id).await?;
        let response = R::Response::decode(&mut body, version)?;
        ensure!(!body.has_remaining(), "bytes behind the answer");
        Ok(response)
    }

    /// The next answer without its header.
    async fn receive(&mut self, header_version: i16, correlation_id: i32) -> Result<Bytes> {
        let length = usize::try_from(self.stream.read_i32().await?)?;
        let mut message = BytesMut::zeroed(length);
        self.stream.read_exact(&mut message).await?;
        let mut message = message.freeze();
        let header = ResponseHeader::decode(&mut message, header_version)?;
        ensure!(header.correlation_id == correlation_id, "{header:?}");
        Ok(message)
    }

    /// Creates a topic and returns the answer as it stands.
    ///
    /// # Errors
    /// As [`Kafka::call`].
    pub async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<CreatableTopicResult> {
        let owned = |text: &str| StrBytes::from_string(text.to_owned());
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(owned(name))
                .with_value(Some(owned(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000);
        let response = self.call(CREATE_TOPICS_VERSION, &request).await?;
        let mut topics = response.topics.into_iter();
        topics.next().context("one result a topic")
    }

    /// Produces to one partition and returns the answer as it stands.
    ///
    /// # Errors
    /// As [`Kafka::call`].
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> Result<PartitionProduceResponse> {
        let request = produce_request(topic, partition, batch);
        let response = self.call(PRODUCE_VERSION, &request).await?;
        let topics = response.responses.into_iter();
        let mut partitions = topics.flat_map(|topic| topic.partition_responses);
        partitions.next().context("one result a partition")
    }

    /// Fetches from one partition, without a session, and returns the answer as it stands.
    ///
    /// # Errors
    /// As [`Kafka::call`]; an error of the whole request.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes_max: i32,
    ) -> Result<PartitionData> {
        let request = fetch_request(topic, partition, offset, bytes_max);
        let response = self.call(FETCH_VERSION, &request).await?;
        ensure!(response.error_code == 0, "error {}", response.error_code);
        let topics = response.responses.into_iter();
        let mut partitions = topics.flat_map(|topic| topic.partitions);
        partitions.next().context("one result a partition")
    }

    /// Asks for what [`Kafka::fetch`] does and does not wait for the answer.
    ///
    /// # Errors
    /// A connection that breaks.
    pub async fn send_fetch(&mut self, topic: &str, bytes_max: i32) -> Result<()> {
        let request = fetch_request(topic, 0, 0, bytes_max);
        self.send(FETCH_VERSION, &request).await.map(drop)
    }
}

/// Appends a batch to one partition and waits until all replicas have it.
#[must_use]
pub fn produce_request(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// Asks one partition for a byte at least, for half a second, without a session.
#[must_use]
pub fn fetch_request(topic: &str, partition: i32, offset: i64, bytes_max: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes_max);
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    let (session_id, session_epoch) = NO_SESSION;
    FetchRequest::default()
        .with_min_bytes(1)
        .with_max_wait_ms(500)
        .with_max_bytes(bytes_max)
        .with_session_id(session_id)
        .with_session_epoch(session_epoch)
        .with_topics(vec![topic])
}

/// Kafka's name of an error code, for messages.
#[must_use]
pub fn error_name(code: i16) -> String {
    match kafka_protocol::ResponseError::try_from_code(code) {
        Some(error) => format!("{error:?}"),
        None => format!("error {code}"),
    }
}
