//! [`ErrorCodes`]: what went wrong, taken from an answer before it is encoded.

use kafka_protocol::messages::{
    AlterConfigsResponse, ApiVersionsResponse, ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatResponse, CreatePartitionsResponse, CreateTopicsResponse,
    DeleteGroupsResponse, DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, DescribeLogDirsResponse,
    DescribeProducersResponse, DescribeTopicPartitionsResponse, FindCoordinatorResponse,
    HeartbeatResponse, IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, ListConfigResourcesResponse, ListGroupsResponse, ListOffsetsResponse,
    MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse,
    OffsetForLeaderEpochResponse, SaslAuthenticateResponse, SaslHandshakeResponse,
    SyncGroupResponse,
};
use millstream_proto::ErrorCode;

/// An answer that may say that something went wrong.
pub(super) trait ErrorCodes {
    /// The error codes in it but NONE, each as often as it is there.
    fn error_codes(&self) -> Vec<ErrorCode>;
}

/// The code of a number that an adapter has set; `None` for NONE.
fn error(number: i16) -> Option<ErrorCode> {
    let code = ErrorCode::from_number(number).unwrap_or(ErrorCode::UnknownServerError);
    (code != ErrorCode::None).then_some(code)
}

macro_rules! collect {
    ($codes:ident, $of:expr;) => {
        $codes.extend(error($of.error_code));
    };
    ($codes:ident, $of:expr; $list:ident $($inner:ident)*) => {
        for of in &$of.$list {
            collect!($codes, of; $($inner)*);
        }
    };
}

/// Where the error codes of each answer are: `[]` its own, `[topics partitions]` those of all partitions of its topics.
macro_rules! error_codes {
    ($($response:ident $([$($list:ident)*])+;)*) => {$(
        impl ErrorCodes for $response {
            fn error_codes(&self) -> Vec<ErrorCode> {
                let mut codes = Vec::new();
                $(collect!(codes, self; $($list)*);)+
                codes
            }
        }
    )*};
}

error_codes! {
    AlterConfigsResponse [responses];
    ApiVersionsResponse [];
    ConsumerGroupDescribeResponse [groups];
    ConsumerGroupHeartbeatResponse [];
    CreatePartitionsResponse [results];
    CreateTopicsResponse [topics];
    DeleteGroupsResponse [results];
    DeleteRecordsResponse [topics partitions];
    DeleteTopicsResponse [responses];
    DescribeClusterResponse [];
    DescribeConfigsResponse [results];
    DescribeGroupsResponse [groups];
    DescribeLogDirsResponse [] [results];
    DescribeProducersResponse [topics partitions];
    DescribeTopicPartitionsResponse [topics] [topics partitions];
    FindCoordinatorResponse [] [coordinators];
    HeartbeatResponse [];
    IncrementalAlterConfigsResponse [responses];
    InitProducerIdResponse [];
    JoinGroupResponse [];
    LeaveGroupResponse [] [members];
    ListConfigResourcesResponse [];
    ListGroupsResponse [];
    ListOffsetsResponse [topics partitions];
    MetadataResponse [] [topics] [topics partitions];
    OffsetCommitResponse [topics partitions];
    OffsetDeleteResponse [] [topics partitions];
    OffsetFetchResponse [] [topics partitions] [groups] [groups topics partitions];
    OffsetForLeaderEpochResponse [topics partitions];
    SaslAuthenticateResponse [];
    SaslHandshakeResponse [];
    SyncGroupResponse [];
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
    };

    use super::*;

    #[test]
    fn each_code_is_named_as_often_as_the_answer_has_it_and_none_is_not() {
        let partition = |code: ErrorCode| {
            OffsetFetchResponsePartitions::default().with_error_code(code.number())
        };
        let topic = OffsetFetchResponseTopics::default().with_partitions(vec![
            partition(ErrorCode::UnstableOffsetCommit),
            partition(ErrorCode::None),
            partition(ErrorCode::UnstableOffsetCommit),
        ]);
        let refused =
            OffsetFetchResponseGroup::default().with_error_code(ErrorCode::NotCoordinator.number());
        let answered = OffsetFetchResponseGroup::default().with_topics(vec![topic]);
        let response = OffsetFetchResponse::default().with_groups(vec![refused, answered]);
        assert_eq!(
            response.error_codes(),
            [
                ErrorCode::NotCoordinator,
                ErrorCode::UnstableOffsetCommit,
                ErrorCode::UnstableOffsetCommit
            ]
        );
        assert_eq!(OffsetFetchResponse::default().error_codes(), []);
    }
}
