//! [`Native`]: a raw client of the native API, for what the client crate would never do.
//!
//! It retries nothing, hides nothing and decides nothing: each call is one request.

mod fetch;
mod groups;
mod produce;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use millstream_proto::grpc::v1::{
    self, group_service_client::GroupServiceClient, offset_service_client::OffsetServiceClient,
    producer_id_service_client::ProducerIdServiceClient, topic_service_client::TopicServiceClient,
};
use tonic::transport::{Channel, Endpoint};

pub use fetch::{FetchStream, records};
pub use groups::{CommitStream, Joining, MemberStream};
pub use produce::{ProduceStream, batch};

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug, Clone)]
pub struct Native {
    channel: Channel,
}

impl Native {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CALL_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        Ok(Self {
            channel: endpoint.connect().await?,
        })
    }

    /// The connection itself.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Creates a topic and returns its id.
    ///
    /// # Errors
    /// A refusal as `NAME: message`, or the gRPC status.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<Bytes> {
        let result = self.try_create_topic(name, partitions, configs).await?;
        refused(result.error)?;
        Ok(result.topic_id)
    }

    /// Creates a topic and returns the answer as it stands.
    ///
    /// # Errors
    /// The gRPC status.
    pub async fn try_create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<v1::CreateTopicResult> {
        let configs = configs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let topic = v1::NewTopic {
            name: name.into(),
            partitions,
            replication_factor: 0,
            configs: configs.collect(),
        };
        let request = v1::CreateTopicsRequest {
            topics: vec![topic],
            validate_only: false,
        };
        let response = self
            .topics()
            .create_topics(timed(request))
            .await?
            .into_inner();
        response
            .results
            .into_iter()
            .next()
            .context("one result a topic")
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// A refusal, or the gRPC status.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let request = v1::DeleteTopicsRequest {
            names: vec![name.into()],
            validate_only: false,
        };
        let response = self
            .topics()
            .delete_topics(timed(request))
            .await?
            .into_inner();
        refused(
            response
                .results
                .into_iter()
                .next()
                .context("one result a topic")?
                .error,
        )
    }

    /// Describes a topic with its partitions' offsets.
    ///
    /// # Errors
    /// A refusal, or the gRPC status.
    pub async fn describe_topic(&self, name: &str) -> Result<v1::TopicDescription> {
        let request = v1::DescribeTopicsRequest {
            names: vec![name.into()],
            topic_ids: Vec::new(),
            include_log: true,
        };
        let response = self
            .topics()
            .describe_topics(timed(request))
            .await?
            .into_inner();
        let topic = response
            .topics
            .into_iter()
            .next()
            .context("one description a topic")?;
        refused(topic.error.clone())?;
        Ok(topic)
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// The gRPC status.
    pub async fn list_topics(&self) -> Result<Vec<String>> {
        let request = v1::ListTopicsRequest {
            include_internal: false,
        };
        let response = self
            .topics()
            .list_topics(timed(request))
            .await?
            .into_inner();
        Ok(response
            .topics
            .into_iter()
            .map(|topic| topic.name)
            .collect())
    }

    /// Where a partition's log starts and ends.
    ///
    /// # Errors
    /// A refusal, or the gRPC status.
    pub async fn offsets(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<v1::PartitionLogDescription> {
        let topic = self.describe_topic(topic).await?;
        let found = topic
            .partitions
            .into_iter()
            .find(|found| found.partition == partition);
        let found = found.with_context(|| format!("partition {partition} is described"))?;
        refused(found.error)?;
        found.log.context("the log is described")
    }

    /// Deletes records below an offset and returns the new log start.
    ///
    /// # Errors
    /// A refusal, or the gRPC status.
    pub async fn delete_records(
        &self,
        topic_id: &Bytes,
        partition: i32,
        before_offset: i64,
    ) -> Result<i64> {
        let item = v1::DeleteRecordsItem {
            topic_id: topic_id.clone(),
            partition,
            before_offset,
        };
        let request = v1::DeleteRecordsRequest { items: vec![item] };
        let mut client = OffsetServiceClient::new(self.channel());
        let response = client.delete_records(timed(request)).await?.into_inner();
        let result = response
            .results
            .into_iter()
            .next()
            .context("one result an item")?;
        refused(result.error)?;
        Ok(result.log_start_offset)
    }

    /// A new producer id and its epoch.
    ///
    /// # Errors
    /// A refusal, or the gRPC status.
    pub async fn init_producer_id(&self) -> Result<(i64, i16)> {
        let mut client = ProducerIdServiceClient::new(self.channel());
        let request = timed(v1::InitProducerIdRequest {});
        let response = client.init_producer_id(request).await?.into_inner();
        refused(response.error)?;
        Ok((
            response.producer_id,
            i16::try_from(response.producer_epoch)?,
        ))
    }

    /// Opens a produce stream.
    ///
    /// # Errors
    /// When the server does not open it.
    pub async fn produce(&self) -> Result<ProduceStream> {
        ProduceStream::open(self.channel()).await
    }

    /// Opens a fetch stream.
    ///
    /// # Errors
    /// When the server does not open it.
    pub async fn fetch(&self) -> Result<FetchStream> {
        FetchStream::open(self.channel()).await
    }

    /// Joins a group, or takes up a membership.
    ///
    /// # Errors
    /// When the stream breaks before its first answer; a refusal is an answer.
    pub async fn join_group(&self, join: v1::MemberJoin) -> Result<Joining> {
        MemberStream::open(self.channel(), join).await
    }

    /// Opens a stream of commits.
    ///
    /// # Errors
    /// When the server does not open it.
    pub async fn commits(&self) -> Result<CommitStream> {
        CommitStream::open(self.channel()).await
    }

    /// Committed offsets, the refusal included.
    ///
    /// # Errors
    /// The gRPC status.
    pub async fn fetch_offsets(
        &self,
        request: v1::FetchOffsetsRequest,
    ) -> Result<v1::FetchOffsetsResponse> {
        let mut client = GroupServiceClient::new(self.channel());
        Ok(client.fetch_offsets(timed(request)).await?.into_inner())
    }

    /// Describes a group.
    ///
    /// # Errors
    /// A refusal, or the gRPC status.
    pub async fn describe_group(&self, group_id: &str) -> Result<v1::GroupDescription> {
        let request = v1::DescribeGroupsRequest {
            group_ids: vec![group_id.into()],
        };
        let mut client = GroupServiceClient::new(self.channel());
        let response = client.describe_groups(timed(request)).await?.into_inner();
        let group = response
            .groups
            .into_iter()
            .next()
            .context("one description a group")?;
        refused(group.error.clone())?;
        Ok(group)
    }

    fn topics(&self) -> TopicServiceClient<Channel> {
        TopicServiceClient::new(self.channel())
    }
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Turns an error of the API into one of ours.
fn refused(error: Option<v1::Error>) -> Result<()> {
    match error {
        None => Ok(()),
        Some(error) => bail!("{}: {}", error.name, error.message),
    }
}
