//! Appending record batches as the leader.

use bytes::Bytes;
use millstream_proto::{LeaderEpoch, Offset};

use super::PartitionLog;
use crate::error::AppendError;

/// What an append is told beside the batch.
#[derive(Debug, Clone, Copy)]
pub struct AppendContext {
    /// The leadership under which the batch is appended, patched into it.
    pub leader_epoch: LeaderEpoch,
    /// The broker's clock, ms since 1970.
    pub now_ms: i64,
    /// Who wrote the batch.
    pub origin: Origin,
}

/// Who wrote a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client: every rule applies.
    Client,
    /// A coordinator of this broker: may write control batches, and may use the disk's reserve.
    Coordinator,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record: acknowledged once the position that the durability asks for is
    /// beyond it. True for a duplicate, too.
    pub last_offset: Offset,
    /// The broker's time in ms where the topic stores LogAppendTime.
    pub log_append_time: Option<i64>,
    /// Whether an idempotent producer had sent it before; the offsets are the original's.
    pub duplicate: bool,
    /// Whether `flush.messages` wants the flush before the acknowledgement even in a replicated topic.
    pub flush_before_ack: bool,
    /// First readable offset, for the answer.
    pub log_start: Offset,
}

impl PartitionLog {
    /// Validates one record batch, gives it its offsets, writes it and publishes it; asks for a flush
    /// where the topic wants one. Does not wait for that flush, but for the write.
    ///
    /// The batch's buffer is patched in place when it is the only handle on it, else copied.
    ///
    /// # Errors
    /// The first rule that the batch breaks, or what the disk says.
    pub fn append(&self, batch: Bytes, context: &AppendContext) -> Result<Appended, AppendError> {
        let _ = (batch, context);
        todo!()
    }
}
