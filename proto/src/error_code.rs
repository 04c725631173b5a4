//! [`ErrorCode`]: Kafka's error numbers, once.
//!
//! Source: Kafka 4.3 protocol guide, "Error Codes". Numbers that Millstream never sends are left out.

macro_rules! error_codes {
    ($($variant:ident $number:literal $name:literal $retriable:literal;)*) => {
        /// Why a request was refused, as Kafka numbers it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $name, "`, ", $number, ".")] $variant,)*
        }

        impl ErrorCode {
            /// Kafka's number.
            #[must_use]
            pub const fn number(self) -> i16 {
                match self { $(Self::$variant => $number,)* }
            }

            /// Kafka's name, in capitals.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether the same request may succeed later without a change.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self { $(Self::$variant => $retriable,)* }
            }

            /// The code of a number from the wire; `None` when it is not listed here.
            #[must_use]
            pub const fn from_number(number: i16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

error_codes! {
    UnknownServerError -1 "UNKNOWN_SERVER_ERROR" false;
    None 0 "NONE" false;
    OffsetOutOfRange 1 "OFFSET_OUT_OF_RANGE" false;
    CorruptMessage 2 "CORRUPT_MESSAGE" true;
    UnknownTopicOrPartition 3 "UNKNOWN_TOPIC_OR_PARTITION" true;
    InvalidFetchSize 4 "INVALID_FETCH_SIZE" false;
    LeaderNotAvailable 5 "LEADER_NOT_AVAILABLE" true;
    NotLeaderOrFollower 6 "NOT_LEADER_OR_FOLLOWER" true;
    RequestTimedOut 7 "REQUEST_TIMED_OUT" true;
    BrokerNotAvailable 8 "BROKER_NOT_AVAILABLE" false;
    ReplicaNotAvailable 9 "REPLICA_NOT_AVAILABLE" true;
    MessageTooLarge 10 "MESSAGE_TOO_LARGE" false;
    StaleControllerEpoch 11 "STALE_CONTROLLER_EPOCH" false;
    OffsetMetadataTooLarge 12 "OFFSET_METADATA_TOO_LARGE" false;
    NetworkException 13 "NETWORK_EXCEPTION" true;
    CoordinatorLoadInProgress 14 "COORDINATOR_LOAD_IN_PROGRESS" true;
    CoordinatorNotAvailable 15 "COORDINATOR_NOT_AVAILABLE" true;
    NotCoordinator 16 "NOT_COORDINATOR" true;
    InvalidTopicException 17 "INVALID_TOPIC_EXCEPTION" false;
    RecordListTooLarge 18 "RECORD_LIST_TOO_LARGE" false;
    NotEnoughReplicas 19 "NOT_ENOUGH_REPLICAS" true;
    NotEnoughReplicasAfterAppend 20 "NOT_ENOUGH_REPLICAS_AFTER_APPEND" true;
    InvalidRequiredAcks 21 "INVALID_REQUIRED_ACKS" false;
    IllegalGeneration 22 "ILLEGAL_GENERATION" false;
    InconsistentGroupProtocol 23 "INCONSISTENT_GROUP_PROTOCOL" false;
    InvalidGroupId 24 "INVALID_GROUP_ID" false;
    UnknownMemberId 25 "UNKNOWN_MEMBER_ID" false;
    InvalidSessionTimeout 26 "INVALID_SESSION_TIMEOUT" false;
    RebalanceInProgress 27 "REBALANCE_IN_PROGRESS" false;
    InvalidCommitOffsetSize 28 "INVALID_COMMIT_OFFSET_SIZE" false;
    TopicAuthorizationFailed 29 "TOPIC_AUTHORIZATION_FAILED" false;
    GroupAuthorizationFailed 30 "GROUP_AUTHORIZATION_FAILED" false;
    ClusterAuthorizationFailed 31 "CLUSTER_AUTHORIZATION_FAILED" false;
    InvalidTimestamp 32 "INVALID_TIMESTAMP" false;
    UnsupportedSaslMechanism 33 "UNSUPPORTED_SASL_MECHANISM" false;
    IllegalSaslState 34 "ILLEGAL_SASL_STATE" false;
    UnsupportedVersion 35 "UNSUPPORTED_VERSION" false;
    TopicAlreadyExists 36 "TOPIC_ALREADY_EXISTS" false;
    InvalidPartitions 37 "INVALID_PARTITIONS" false;
    InvalidReplicationFactor 38 "INVALID_REPLICATION_FACTOR" false;
    InvalidReplicaAssignment 39 "INVALID_REPLICA_ASSIGNMENT" false;
    InvalidConfig 40 "INVALID_CONFIG" false;
    NotController 41 "NOT_CONTROLLER" true;
    InvalidRequest 42 "INVALID_REQUEST" false;
    UnsupportedForMessageFormat 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT" false;
    PolicyViolation 44 "POLICY_VIOLATION" false;
    OutOfOrderSequenceNumber 45 "OUT_OF_ORDER_SEQUENCE_NUMBER" false;
    DuplicateSequenceNumber 46 "DUPLICATE_SEQUENCE_NUMBER" false;
    InvalidProducerEpoch 47 "INVALID_PRODUCER_EPOCH" false;
    InvalidTxnState 48 "INVALID_TXN_STATE" false;
    InvalidProducerIdMapping 49 "INVALID_PRODUCER_ID_MAPPING" false;
    InvalidTransactionTimeout 50 "INVALID_TRANSACTION_TIMEOUT" false;
    ConcurrentTransactions 51 "CONCURRENT_TRANSACTIONS" true;
    TransactionCoordinatorFenced 52 "TRANSACTION_COORDINATOR_FENCED" false;
    TransactionalIdAuthorizationFailed 53 "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" false;
    SecurityDisabled 54 "SECURITY_DISABLED" false;
    OperationNotAttempted 55 "OPERATION_NOT_ATTEMPTED" false;
    KafkaStorageError 56 "KAFKA_STORAGE_ERROR" true;
    LogDirNotFound 57 "LOG_DIR_NOT_FOUND" false;
    SaslAuthenticationFailed 58 "SASL_AUTHENTICATION_FAILED" false;
    UnknownProducerId 59 "UNKNOWN_PRODUCER_ID" false;
    ReassignmentInProgress 60 "REASSIGNMENT_IN_PROGRESS" false;
    NonEmptyGroup 68 "NON_EMPTY_GROUP" false;
    GroupIdNotFound 69 "GROUP_ID_NOT_FOUND" false;
    FetchSessionIdNotFound 70 "FETCH_SESSION_ID_NOT_FOUND" true;
    InvalidFetchSessionEpoch 71 "INVALID_FETCH_SESSION_EPOCH" true;
    TopicDeletionDisabled 73 "TOPIC_DELETION_DISABLED" false;
    FencedLeaderEpoch 74 "FENCED_LEADER_EPOCH" true;
    UnknownLeaderEpoch 75 "UNKNOWN_LEADER_EPOCH" true;
    UnsupportedCompressionType 76 "UNSUPPORTED_COMPRESSION_TYPE" false;
    StaleBrokerEpoch 77 "STALE_BROKER_EPOCH" false;
    OffsetNotAvailable 78 "OFFSET_NOT_AVAILABLE" true;
    MemberIdRequired 79 "MEMBER_ID_REQUIRED" false;
    GroupMaxSizeReached 81 "GROUP_MAX_SIZE_REACHED" false;
    FencedInstanceId 82 "FENCED_INSTANCE_ID" false;
    GroupSubscribedToTopic 86 "GROUP_SUBSCRIBED_TO_TOPIC" false;
    InvalidRecord 87 "INVALID_RECORD" false;
    UnstableOffsetCommit 88 "UNSTABLE_OFFSET_COMMIT" true;
    ThrottlingQuotaExceeded 89 "THROTTLING_QUOTA_EXCEEDED" true;
    ProducerFenced 90 "PRODUCER_FENCED" false;
    UnknownTopicId 100 "UNKNOWN_TOPIC_ID" true;
    InconsistentTopicId 103 "INCONSISTENT_TOPIC_ID" true;
    FencedMemberEpoch 110 "FENCED_MEMBER_EPOCH" false;
    UnreleasedInstanceId 111 "UNRELEASED_INSTANCE_ID" false;
    UnsupportedAssignor 112 "UNSUPPORTED_ASSIGNOR" false;
    StaleMemberEpoch 113 "STALE_MEMBER_EPOCH" false;
    MismatchedEndpointType 114 "MISMATCHED_ENDPOINT_TYPE" false;
    InvalidRegularExpression 128 "INVALID_REGULAR_EXPRESSION" false;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in -1..=200 {
            if let Some(code) = ErrorCode::from_number(number) {
                assert_eq!(code.number(), number, "{code}");
            }
        }
        assert_eq!(
            ErrorCode::from_number(3),
            Some(ErrorCode::UnknownTopicOrPartition)
        );
        assert_eq!(ErrorCode::from_number(i16::MAX), None);
    }
}
