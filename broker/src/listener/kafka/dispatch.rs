//! Which adapter takes which request.

use std::{future::Future, io, pin::Pin, sync::Arc};

use bytes::{Buf as _, Bytes};
use kafka_protocol::{
    messages::ApiKey,
    protocol::{Encodable, HeaderVersion},
};

use millstream_proto::ErrorCode;

use super::{
    Gate,
    answer::Answer,
    api_versions,
    client::{Client, Peer},
    cluster,
    codec::{self, DecodeError, Limits, Served, ServedRequest},
    configs,
    error_codes::ErrorCodes,
    fetch,
    frames::FrameError,
    groups, log_dirs, metadata, offsets, produce, producer_ids, sasl, topics,
};

/// The APIs that are answered; the versions of each are those that `codec` decodes.
const ANSWERED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::SaslHandshake,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::SaslAuthenticate,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// What clients are told.
pub(super) fn answered() -> impl Iterator<Item = Served> {
    let is_answered = |key| ANSWERED.iter().any(|api| *api as i16 == key);
    codec::served().filter(move |served| is_answered(served.api_key))
}

/// An answer on its way; `None` where the client wants none.
pub(super) type Answering =
    Pin<Box<dyn Future<Output = Result<Option<Answer>, Closing>> + Send + 'static>>;

/// A request that has begun.
pub(super) struct Begun {
    /// Its answer.
    pub(super) answering: Answering,
    /// Whether the next request must wait for it.
    pub(super) is_exclusive: bool,
}

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closing {
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Frame(FrameError),
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    #[error("request with API key {api_key}, version {version} is not served")]
    NotServed { api_key: i16, version: i16 },
    #[error("produce request without acknowledgement failed: {reason}")]
    Unacknowledged {
        /// Of the first partition that failed.
        reason: String,
        /// Of all that failed.
        errors: Vec<ErrorCode>,
    },
    #[error("answer cannot be encoded: {0}")]
    Encoding(String),
    #[error("no request for as long as network.kafka_idle_timeout allows")]
    Idle,
    #[error("request failed within the broker")]
    Panicked,
}

impl From<FrameError> for Closing {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
            error => Self::Frame(error),
        }
    }
}

/// One request, its header read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) api: ApiKey,
    pub(super) correlation_id: i32,
    pub(super) body: Bytes,
}

impl Asked {
    /// The request itself; the message is of no use afterwards.
    ///
    /// # Errors
    /// Bytes that are none.
    pub(super) fn decode<Q: ServedRequest>(&mut self) -> Result<Q, DecodeError> {
        let limits = Limits::default();
        codec::decode(
            self.api as i16,
            self.client.version,
            &mut self.body,
            &limits,
        )
    }
}

/// Begins a request; returns Kafka's number of its API with it.
///
/// # Errors
/// A message that is none.
pub(super) fn begin(
    gate: &Arc<Gate>,
    peer: &mut Peer,
    mut frame: Bytes,
) -> Result<(i16, Begun), Closing> {
    let header = codec::RequestHeader::parse(&frame)?;
    let (api_key, version) = (header.api_key, header.api_version);
    let not_served = Closing::NotServed { api_key, version };
    let api = ANSWERED.iter().find(|api| **api as i16 == api_key);
    let api = *api.ok_or(not_served)?;
    let client = peer.client(gate, version, header.client_id.unwrap_or_default());
    let correlation_id = header.correlation_id;
    frame.advance(header.size_bytes);
    let asked = Asked {
        client,
        api,
        correlation_id,
        body: frame,
    };
    Ok((api_key, serve(asked)?))
}

fn serve(asked: Asked) -> Result<Begun, Closing> {
    match asked.api {
        ApiKey::ApiVersions => api_versions::begin(asked),
        ApiKey::Produce => produce::begin(asked),
        ApiKey::Fetch => fetch::begin(asked),
        ApiKey::ListOffsets => on_control(asked, offsets::list_offsets),
        ApiKey::Metadata => on_control(asked, metadata::metadata),
        ApiKey::OffsetCommit => on_control(asked, groups::offset_commit),
        ApiKey::OffsetFetch => on_control(asked, groups::offset_fetch),
        ApiKey::FindCoordinator => on_control(asked, groups::find_coordinator),
        ApiKey::JoinGroup => on_control(asked, groups::join_group),
        ApiKey::Heartbeat => on_control(asked, groups::heartbeat),
        ApiKey::LeaveGroup => on_control(asked, groups::leave_group),
        ApiKey::SyncGroup => on_control(asked, groups::sync_group),
        ApiKey::DescribeGroups => on_control(asked, groups::describe_groups),
        ApiKey::ListGroups => on_control(asked, groups::list_groups),
        ApiKey::SaslHandshake => on_control(asked, sasl::sasl_handshake),
        ApiKey::CreateTopics => on_control(asked, topics::create_topics),
        ApiKey::DeleteTopics => on_control(asked, topics::delete_topics),
        ApiKey::DeleteRecords => on_control(asked, topics::delete_records),
        ApiKey::InitProducerId => on_control(asked, producer_ids::init_producer_id),
        ApiKey::OffsetForLeaderEpoch => on_control(asked, offsets::offset_for_leader_epoch),
        ApiKey::DescribeConfigs => on_control(asked, configs::describe_configs),
        ApiKey::AlterConfigs => on_control(asked, configs::alter_configs),
        ApiKey::DescribeLogDirs => on_control(asked, log_dirs::describe_log_dirs),
        ApiKey::SaslAuthenticate => on_control(asked, sasl::sasl_authenticate),
        ApiKey::CreatePartitions => on_control(asked, topics::create_partitions),
        ApiKey::DeleteGroups => on_control(asked, groups::delete_groups),
        ApiKey::IncrementalAlterConfigs => on_control(asked, configs::incremental_alter_configs),
        ApiKey::OffsetDelete => on_control(asked, groups::offset_delete),
        ApiKey::DescribeCluster => on_control(asked, cluster::describe_cluster),
        ApiKey::ConsumerGroupHeartbeat => on_control(asked, groups::consumer_group_heartbeat),
        ApiKey::ConsumerGroupDescribe => on_control(asked, groups::consumer_group_describe),
        ApiKey::DescribeProducers => on_control(asked, producer_ids::describe_producers),
        ApiKey::ListConfigResources => on_control(asked, configs::list_config_resources),
        ApiKey::DescribeTopicPartitions => on_control(asked, metadata::describe_topic_partitions),
        api => Err(Closing::NotServed {
            api_key: api as i16,
            version: asked.client.version,
        }),
    }
}

/// Decodes a request and serves it on the control runtime.
fn on_control<Q, R, F>(
    mut asked: Asked,
    serve: impl FnOnce(Client, Q) -> F + Send + 'static,
) -> Result<Begun, Closing>
where
    Q: ServedRequest + Send + 'static,
    R: Encodable + HeaderVersion + ErrorCodes + Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let request: Q = asked.decode()?;
    let Asked {
        client,
        correlation_id,
        ..
    } = asked;
    let version = client.version;
    let control = client.gate.control.clone();
    let served = control.spawn(serve(client, request));
    let answering = async move {
        let response = served.await.map_err(|_| Closing::Panicked)?;
        Answer::encode(correlation_id, version, &response).map(Some)
    };
    Ok(Begun {
        answering: Box::pin(answering),
        is_exclusive: true,
    })
}
