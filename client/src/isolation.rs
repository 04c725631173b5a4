//! [`IsolationLevel`]: which records of transactions a reader sees.

use millstream_proto::grpc::v1;

/// Which records of transactions a consumer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// All, as they are written.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, and all that belong to none.
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) const fn to_wire(self) -> v1::IsolationLevel {
        match self {
            Self::ReadUncommitted => v1::IsolationLevel::ReadUncommitted,
            Self::ReadCommitted => v1::IsolationLevel::ReadCommitted,
        }
    }
}
