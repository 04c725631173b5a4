//! What crosses a wire or a disk: identifiers, offsets, error codes, record batches, gRPC messages.
//!
//! No runtime and no input or output here: everything is a function of bytes.

pub mod error_code;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod ids;
pub mod offset;
pub mod record;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerId, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName,
    TopicNameError, TopicPartition,
};
pub use offset::Offset;
