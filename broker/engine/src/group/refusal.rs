//! [`Refusal`]: why a coordinator of groups refuses a request, and Kafka's number for it.

use std::sync::Arc;

use millstream_proto::ErrorCode;

/// Why a request was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// A text is longer than allowed.
    #[error("{what} has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A group id is empty or too long.
    #[error("group id has {found} bytes, 1 to {max} are allowed")]
    GroupId {
        /// Its bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A subscription names too many topics.
    #[error("subscription names {found} topics, at most {max} are allowed")]
    TooManyTopics {
        /// Names found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// There is no room for another group.
    #[error("{max} groups exist on this coordinator, no more are allowed")]
    TooManyGroups {
        /// The limit.
        max: usize,
    },
    /// There is no room for another member.
    #[error("group {group_id} has {max} members, no more are allowed")]
    TooManyMembers {
        /// The group.
        group_id: Arc<str>,
        /// The limit.
        max: usize,
    },
    /// No assignor has this name.
    #[error("no assignor has this name, there are uniform, range and sticky")]
    Assignor,
    /// The group is not known.
    #[error("group {group_id} does not exist")]
    GroupNotFound {
        /// The group.
        group_id: Arc<str>,
    },
    /// The members of the group speak the classic protocol.
    #[error("group {group_id} has members of the classic protocol")]
    ClassicGroup {
        /// The group.
        group_id: Arc<str>,
    },
    /// The group has another protocol type, or no protocol that all its members would have.
    #[error("group {group_id} has another protocol type, or no protocol in common")]
    InconsistentProtocol {
        /// The group.
        group_id: Arc<str>,
    },
    /// A join names too many protocols.
    #[error("join names {found} protocols, at most {max} are allowed")]
    TooManyProtocols {
        /// Names found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A session timeout is out of bounds.
    #[error("session timeout is {found} ms, {min} to {max} ms are allowed")]
    SessionTimeout {
        /// Milliseconds asked for.
        found: u32,
        /// The shortest allowed.
        min: u32,
        /// The longest allowed.
        max: u32,
    },
    /// The member is of another generation of its classic group.
    #[error("member {member_id} has generation {found}, the group has {expected}")]
    IllegalGeneration {
        /// The member.
        member_id: Arc<str>,
        /// Its generation in the request.
        found: i32,
        /// The generation of the group.
        expected: i32,
    },
    /// The next generation of the classic group is about to begin.
    #[error("group {group_id} is rebalancing")]
    RebalanceInProgress {
        /// The group.
        group_id: Arc<str>,
    },
    /// A request that waited, and that the member has repeated since.
    #[error("member {member_id} has repeated the request")]
    Superseded {
        /// The member.
        member_id: Arc<str>,
    },
    /// What the members of a classic group said and were assigned is too much for a record.
    #[error(
        "group {group_id} has {found} bytes of metadata and assignments, at most {max} are allowed"
    )]
    GroupTooLarge {
        /// The group.
        group_id: Arc<str>,
        /// Its bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The member is not known, or no more.
    #[error("group {group_id} has no member {member_id}")]
    UnknownMember {
        /// The group.
        group_id: Arc<str>,
        /// The member.
        member_id: Arc<str>,
    },
    /// Somebody who is no member wants to commit while members may do so.
    #[error("group {group_id} has members ({members}), only they may commit")]
    HasMembers {
        /// The group.
        group_id: Arc<str>,
        /// Some of them.
        members: String,
    },
    /// The group cannot be deleted.
    #[error("group {group_id} has members ({members})")]
    NonEmpty {
        /// The group.
        group_id: Arc<str>,
        /// Some of them.
        members: String,
    },
    /// A member of the group subscribes to the topic.
    #[error("group {group_id} subscribes to topic {topic}")]
    Subscribed {
        /// The group.
        group_id: Arc<str>,
        /// The topic.
        topic: Arc<str>,
    },
    /// The member is too far behind, or was told nothing of this epoch, and has to join again.
    #[error("member {member_id} is fenced: it has epoch {found}, the group has it at {expected}")]
    FencedEpoch {
        /// The member.
        member_id: Arc<str>,
        /// Its epoch in the request.
        found: i32,
        /// Its epoch in the group.
        expected: i32,
    },
    /// The membership ended.
    #[error("member {member_id} is fenced: {reason}")]
    Fenced {
        /// The member.
        member_id: Arc<str>,
        /// What it did not do.
        reason: &'static str,
    },
    /// The member opened another stream.
    #[error("member {member_id} has another stream")]
    StreamReplaced {
        /// The member.
        member_id: Arc<str>,
    },
    /// A commit or read of offsets by an earlier epoch of the member.
    #[error("member {member_id} has epoch {expected}, the request has {found}")]
    StaleEpoch {
        /// The member.
        member_id: Arc<str>,
        /// Its epoch in the request.
        found: i32,
        /// Its epoch in the group.
        expected: i32,
    },
    /// A commit for a partition that another member holds.
    #[error("member {member_id} does not hold the partition, member {owner} does")]
    NotHeld {
        /// The member.
        member_id: Arc<str>,
        /// Who holds it.
        owner: Arc<str>,
    },
    /// Another member has the name of this static member.
    #[error("instance {instance_id} of group {group_id} is now member {member_id}")]
    FencedInstance {
        /// The group.
        group_id: Arc<str>,
        /// The name.
        instance_id: String,
        /// Who has it.
        member_id: Arc<str>,
    },
    /// Another member has the name of this static member and has not left.
    #[error(
        "instance {instance_id} of group {group_id} is held by member {member_id}, which has not left"
    )]
    UnreleasedInstance {
        /// The group.
        group_id: Arc<str>,
        /// The name.
        instance_id: String,
        /// Who has it.
        member_id: Arc<str>,
    },
    /// The text beside an offset is too long.
    #[error("offset metadata has {found} bytes, at most {max} are allowed")]
    OffsetMetadata {
        /// Its bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
}

impl Refusal {
    /// Kafka's number.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_)
            | Self::TooLong { .. }
            | Self::TooManyTopics { .. }
            | Self::TooManyProtocols { .. } => ErrorCode::InvalidRequest,
            Self::GroupId { .. } => ErrorCode::InvalidGroupId,
            Self::TooManyGroups { .. } => ErrorCode::PolicyViolation,
            Self::TooManyMembers { .. } => ErrorCode::GroupMaxSizeReached,
            Self::Assignor => ErrorCode::UnsupportedAssignor,
            Self::GroupNotFound { .. } => ErrorCode::GroupIdNotFound,
            Self::ClassicGroup { .. } | Self::InconsistentProtocol { .. } => {
                ErrorCode::InconsistentGroupProtocol
            }
            Self::SessionTimeout { .. } => ErrorCode::InvalidSessionTimeout,
            Self::IllegalGeneration { .. } => ErrorCode::IllegalGeneration,
            Self::RebalanceInProgress { .. } | Self::Superseded { .. } => {
                ErrorCode::RebalanceInProgress
            }
            Self::GroupTooLarge { .. } => ErrorCode::UnknownServerError,
            Self::UnknownMember { .. } | Self::HasMembers { .. } => ErrorCode::UnknownMemberId,
            Self::NonEmpty { .. } => ErrorCode::NonEmptyGroup,
            Self::Subscribed { .. } => ErrorCode::GroupSubscribedToTopic,
            Self::FencedEpoch { .. } | Self::Fenced { .. } | Self::StreamReplaced { .. } => {
                ErrorCode::FencedMemberEpoch
            }
            Self::StaleEpoch { .. } | Self::NotHeld { .. } => ErrorCode::StaleMemberEpoch,
            Self::FencedInstance { .. } => ErrorCode::FencedInstanceId,
            Self::UnreleasedInstance { .. } => ErrorCode::UnreleasedInstanceId,
            Self::OffsetMetadata { .. } => ErrorCode::OffsetMetadataTooLarge,
        }
    }
}
