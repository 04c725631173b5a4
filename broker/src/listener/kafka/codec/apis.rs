//! Which requests are served, in which versions, and as which type each is decoded: one table.

use kafka_protocol::{messages, protocol::Decodable};

use super::{error::DecodeError, layout::Layout, layouts};

/// A request that [`decode`](super::decode) returns: the type belongs to one API.
pub trait ServedRequest: Decodable {
    /// Kafka's number of the API.
    const API_KEY: i16;
}

/// What is said of one API to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Kafka's number of the API.
    pub api_key: i16,
    /// Kafka's name of the API.
    pub name: &'static str,
    /// First version to advertise.
    pub version_min: i16,
    /// Last version to advertise.
    pub version_max: i16,
    /// First version with compact lengths and tagged fields, if there is one.
    pub flexible_from: Option<i16>,
}

/// One row.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) layout: &'static Layout,
    /// First version that is served.
    pub(super) first: i16,
    /// Last version that is served.
    pub(super) last: i16,
}

impl Api {
    /// Fails to compile where the layout does not cover all versions.
    const fn new(layout: &'static Layout, first: i16, last: i16) -> Self {
        assert!(layout.versions.contains(first) && layout.versions.contains(last));
        Self {
            layout,
            first,
            last,
        }
    }
}

macro_rules! apis {
    ($($layout:ident as $request:ident in $first:literal..=$last:literal;)*) => {
        /// All that is served, by ascending key.
        pub(super) static APIS: &[Api] = &[
            $(Api::new(&layouts::$layout, $first, $last),)*
        ];

        $(impl ServedRequest for messages::$request {
            const API_KEY: i16 = layouts::$layout.api_key;
        })*

        /// Decodes whatever is served, for tests that go through all of it.
        #[cfg(test)]
        pub(super) fn decode_any(
            api_key: i16,
            version: i16,
            body: &mut bytes::Bytes,
            limits: &super::Limits,
        ) -> Result<messages::RequestKind, DecodeError> {
            match api_key {
                $(messages::$request::API_KEY => {
                    super::decode::<messages::$request>(api_key, version, body, limits).map(Into::into)
                })*
                _ => Err(DecodeError::UnknownApi { api_key }),
            }
        }
    };
}

// kafka-protocol 0.18 does not know the last version that Kafka 4.3.1 has of ListOffsets (11), OffsetCommit (10),
// OffsetFetch (10), WriteTxnMarkers (2), DescribeLogDirs (5), ShareFetch (2) and ShareAcknowledge (2). It
// does not know InitProducerId 6 either, which Kafka itself calls unstable.
apis! {
    PRODUCE as ProduceRequest in 3..=13;
    FETCH as FetchRequest in 4..=18;
    LIST_OFFSETS as ListOffsetsRequest in 1..=10;
    METADATA as MetadataRequest in 0..=13;
    OFFSET_COMMIT as OffsetCommitRequest in 2..=9;
    OFFSET_FETCH as OffsetFetchRequest in 1..=9;
    FIND_COORDINATOR as FindCoordinatorRequest in 0..=6;
    JOIN_GROUP as JoinGroupRequest in 0..=9;
    HEARTBEAT as HeartbeatRequest in 0..=4;
    LEAVE_GROUP as LeaveGroupRequest in 0..=5;
    SYNC_GROUP as SyncGroupRequest in 0..=5;
    DESCRIBE_GROUPS as DescribeGroupsRequest in 0..=6;
    LIST_GROUPS as ListGroupsRequest in 0..=5;
    SASL_HANDSHAKE as SaslHandshakeRequest in 0..=1;
    API_VERSIONS as ApiVersionsRequest in 0..=4;
    CREATE_TOPICS as CreateTopicsRequest in 2..=7;
    DELETE_TOPICS as DeleteTopicsRequest in 1..=6;
    DELETE_RECORDS as DeleteRecordsRequest in 0..=2;
    INIT_PRODUCER_ID as InitProducerIdRequest in 0..=5;
    OFFSET_FOR_LEADER_EPOCH as OffsetForLeaderEpochRequest in 2..=4;
    ADD_PARTITIONS_TO_TXN as AddPartitionsToTxnRequest in 0..=5;
    ADD_OFFSETS_TO_TXN as AddOffsetsToTxnRequest in 0..=4;
    END_TXN as EndTxnRequest in 0..=5;
    WRITE_TXN_MARKERS as WriteTxnMarkersRequest in 1..=1;
    TXN_OFFSET_COMMIT as TxnOffsetCommitRequest in 0..=5;
    DESCRIBE_ACLS as DescribeAclsRequest in 1..=3;
    CREATE_ACLS as CreateAclsRequest in 1..=3;
    DELETE_ACLS as DeleteAclsRequest in 1..=3;
    DESCRIBE_CONFIGS as DescribeConfigsRequest in 1..=4;
    ALTER_CONFIGS as AlterConfigsRequest in 0..=2;
    DESCRIBE_LOG_DIRS as DescribeLogDirsRequest in 1..=4;
    SASL_AUTHENTICATE as SaslAuthenticateRequest in 0..=2;
    CREATE_PARTITIONS as CreatePartitionsRequest in 0..=3;
    DELETE_GROUPS as DeleteGroupsRequest in 0..=2;
    ELECT_LEADERS as ElectLeadersRequest in 0..=2;
    INCREMENTAL_ALTER_CONFIGS as IncrementalAlterConfigsRequest in 0..=1;
    ALTER_PARTITION_REASSIGNMENTS as AlterPartitionReassignmentsRequest in 0..=1;
    LIST_PARTITION_REASSIGNMENTS as ListPartitionReassignmentsRequest in 0..=0;
    OFFSET_DELETE as OffsetDeleteRequest in 0..=0;
    DESCRIBE_CLIENT_QUOTAS as DescribeClientQuotasRequest in 0..=1;
    ALTER_CLIENT_QUOTAS as AlterClientQuotasRequest in 0..=1;
    DESCRIBE_USER_SCRAM_CREDENTIALS as DescribeUserScramCredentialsRequest in 0..=0;
    ALTER_USER_SCRAM_CREDENTIALS as AlterUserScramCredentialsRequest in 0..=0;
    DESCRIBE_QUORUM as DescribeQuorumRequest in 0..=2;
    UPDATE_FEATURES as UpdateFeaturesRequest in 0..=2;
    DESCRIBE_CLUSTER as DescribeClusterRequest in 0..=2;
    DESCRIBE_PRODUCERS as DescribeProducersRequest in 0..=0;
    DESCRIBE_TRANSACTIONS as DescribeTransactionsRequest in 0..=0;
    LIST_TRANSACTIONS as ListTransactionsRequest in 0..=2;
    CONSUMER_GROUP_HEARTBEAT as ConsumerGroupHeartbeatRequest in 0..=1;
    CONSUMER_GROUP_DESCRIBE as ConsumerGroupDescribeRequest in 0..=1;
    LIST_CONFIG_RESOURCES as ListConfigResourcesRequest in 0..=1;
    DESCRIBE_TOPIC_PARTITIONS as DescribeTopicPartitionsRequest in 0..=0;
    SHARE_GROUP_HEARTBEAT as ShareGroupHeartbeatRequest in 1..=1;
    SHARE_GROUP_DESCRIBE as ShareGroupDescribeRequest in 1..=1;
    SHARE_FETCH as ShareFetchRequest in 1..=1;
    SHARE_ACKNOWLEDGE as ShareAcknowledgeRequest in 1..=1;
}

/// First version of Produce to advertise. Versions 0 to 2 are refused, but librdkafka takes a broker
/// that does not advertise them for one that cannot compress (KAFKA-18659).
const PRODUCE_ADVERTISED_FROM: i16 = 0;

/// What to advertise, by ascending key. An API that the listener does not answer (yet) is its own to leave out.
pub fn served() -> impl Iterator<Item = Served> {
    APIS.iter().map(|api| Served {
        api_key: api.layout.api_key,
        name: api.layout.name,
        version_min: match api.layout.api_key {
            messages::ProduceRequest::API_KEY => PRODUCE_ADVERTISED_FROM,
            _ => api.first,
        },
        version_max: api.last,
        flexible_from: Some(api.layout.flexible_from).filter(|from| *from <= api.last),
    })
}

/// Version of the header of the response to this request: 1 if it has tagged fields, else 0.
///
/// That of ApiVersions never has any: its client does not know yet what the broker understands (KIP-511).
#[must_use]
pub fn response_header_version(api_key: i16, version: i16) -> i16 {
    match of_key(api_key) {
        Ok(api) if api_key != messages::ApiVersionsRequest::API_KEY => {
            i16::from(api.layout.format(version).flexible)
        }
        _ => 0,
    }
}

/// The API with this key.
pub(super) fn of_key(api_key: i16) -> Result<&'static Api, DecodeError> {
    APIS.binary_search_by_key(&api_key, |api| api.layout.api_key)
        .ok()
        .and_then(|index| APIS.get(index))
        .ok_or(DecodeError::UnknownApi { api_key })
}

/// The API with this key, if it is served in this version.
pub(super) fn of_version(api_key: i16, version: i16) -> Result<&'static Api, DecodeError> {
    let api = of_key(api_key)?;
    if (api.first..=api.last).contains(&version) {
        return Ok(api);
    }
    Err(DecodeError::UnsupportedVersion {
        api: api.layout.name,
        version,
        first: api.first,
        last: api.last,
    })
}
