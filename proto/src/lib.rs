//! What crosses a wire or a disk: identifiers, offsets, error codes, record batches, records of groups
//! and of the metadata log, gRPC messages.
//!
//! No runtime and no input or output here: everything is a function of bytes.

pub mod error_code;
pub mod group_record;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod ids;
#[cfg(feature = "metadata")]
pub mod metadata_record;
pub mod offset;
pub mod record;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerId, LeaderEpoch, OFFSETS_TOPIC, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
    TopicName, TopicNameError, TopicPartition, is_internal,
};
pub use offset::Offset;
