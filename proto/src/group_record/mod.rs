//! Records of the offsets topic, `__consumer_offsets`: groups and what they committed.
//!
//! They are Kafka's own, so that its tools read ours and ours read Kafka's; what Kafka has no record for
//! has key types from 0x4000 up. A key is its type as `i16` and the fields that the type has, in the
//! old form; a value is its version as `i16` and the fields of that version. A record without a value
//! deletes what its key names. Everything here is a function of bytes, and no input panics.
//!
//! ```text
//! type    key               value                    file
//!  0, 1   group, partition  offset commit            offset_commit.rs
//!  2      group             classic group            classic_group.rs
//!  3      group             consumer group           consumer_group.rs
//!  4      group             partition metadata       consumer_group.rs
//!  5      group, member     member                   consumer_member.rs
//!  6      group             target assignment        consumer_group.rs
//!  7      group, member     target of a member       consumer_member.rs
//!  8      group, member     current of a member      consumer_member.rs
//! 16      group, regex      what the regex matched   consumer_group.rs
//! 0x4000  group, slot       rebalance                rebalance.rs
//! ```
//!
//! Written are the versions that Kafka 4.3.1 writes; read are all that it reads. Sources: Kafka's message
//! schemas of the group coordinator; KIP-848, KIP-893, KIP-915, KIP-1101, KIP-1251, KIP-1263.

mod classic_group;
mod consumer_group;
mod consumer_member;
mod decoder;
mod encoder;
mod error;
mod offset_commit;
mod partitioner;
mod rebalance;
mod record;
mod schema;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use classic_group::{ClassicGroupValue, ClassicMember};
pub use consumer_group::{
    ConsumerGroupValue, PartitionMetadataValue, RegularExpressionKey, RegularExpressionValue,
    TargetAssignmentValue, TopicMetadata,
};
pub use consumer_member::{
    AssignedTopic, ClassicMemberMetadata, CurrentMemberValue, MemberKey, MemberState, MemberValue,
    TargetMemberValue,
};
pub use error::GroupRecordError;
pub use offset_commit::{OffsetCommitKey, OffsetCommitValue};
pub use partitioner::partition_of;
pub use rebalance::{RebalanceKey, RebalanceValue};
pub use record::{Decoded, GroupRecord};
