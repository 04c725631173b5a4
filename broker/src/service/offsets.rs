//! Offsets: look them up, and raise the log start.

use std::sync::Arc;

use millstream_proto::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};

use super::{RequestContext, ServiceError, Services};
use crate::partition::{Isolation, PartitionError, Replica};

/// Share of `limits.decoding_bytes_max` that a search by time holds: what most batches take at most.
const SEARCH_BYTES: usize = 24 << 20;

/// Which offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The end of what the reader sees.
    Latest,
    /// Of the record with the largest timestamp.
    MaxTimestamp,
    /// Of the first record with this timestamp or a later one, ms since 1970.
    Timestamp(i64),
}

/// An offset that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; `None` where no record answers.
    pub offset: Option<Offset>,
    /// The record's timestamp in ms; `None` for the ends of the log.
    pub timestamp_ms: Option<i64>,
    /// Leader epoch of the record, or the current one.
    pub leader_epoch: LeaderEpoch,
}

impl Services {
    /// Looks up one offset. By time it waits for the disk.
    ///
    /// # Errors
    /// An unknown partition, or one that serves nothing; damage.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn list_offset(
        &self,
        _context: &RequestContext,
        topic_id: TopicId,
        partition: PartitionIndex,
        isolation: Isolation,
        spec: OffsetSpec,
    ) -> Result<FoundOffset, ServiceError> {
        let replica = self.replica(topic_id, partition)?;
        let find = move |replica: &Replica| find(replica, isolation, spec);
        match spec {
            OffsetSpec::Earliest | OffsetSpec::Latest => {
                let partition = replica.partition();
                find(&replica).map_err(|error| ServiceError::of_partition(partition, &error))
            }
            OffsetSpec::MaxTimestamp | OffsetSpec::Timestamp(_) => {
                let _held = self.decoding.hold(SEARCH_BYTES).await;
                on_blocking_pool(replica, find).await
            }
        }
    }

    /// Refuses a client that believes in another leadership.
    ///
    /// # Errors
    /// An unknown partition, or one that serves nothing; which leadership there is.
    pub fn check_leader_epoch(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
        known: Option<LeaderEpoch>,
    ) -> Result<(), ServiceError> {
        let replica = self.replica(topic_id, partition)?;
        let checked = replica.check_leader_epoch(known);
        checked.map_err(|error| ServiceError::of_partition(replica.partition(), &error))
    }

    /// The largest leader epoch up to `epoch` that has records, and where it ends; `None` where the log
    /// does not know.
    ///
    /// # Errors
    /// An unknown partition, or one that serves nothing.
    pub fn leader_epoch_end(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ServiceError> {
        let replica = self.replica(topic_id, partition)?;
        let end = replica
            .log()
            .and_then(|log| log.epoch_end(epoch).map_err(PartitionError::from));
        let end = end.map_err(|error| ServiceError::of_partition(replica.partition(), &error))?;
        Ok(end.map(|end| (end.leader_epoch, end.end_offset)))
    }

    /// Deletes the records below `before`, or all that readers see for `None`, and returns the new
    /// log start once it is durable.
    ///
    /// # Errors
    /// An unknown partition; an offset beyond the high watermark; a topic that is compacted only; the disk.
    ///
    /// # Cancel safety
    /// When it is dropped the records may or may not be deleted.
    pub async fn delete_records(
        &self,
        _context: &RequestContext,
        topic_id: TopicId,
        partition: PartitionIndex,
        before: Option<Offset>,
    ) -> Result<Offset, ServiceError> {
        let replica = self.replica(topic_id, partition)?;
        let topic = replica.partition().topic.as_str();
        Self::refuse_own_topic(topic, "its records are not deleted from outside")?;
        let log = replica.log();
        let log = log.map_err(|error| ServiceError::of_partition(replica.partition(), &error))?;
        if !log.config().cleanup_delete {
            return Err(ServiceError::new(
                ErrorCode::PolicyViolation,
                format!("records of {topic} are kept by key: its cleanup.policy is compact alone"),
                "write tombstones for keys that shall go, or add delete to the topic's cleanup.policy",
            ));
        }
        on_blocking_pool(replica, move |replica| replica.delete_records(before)).await
    }
}

fn find(
    replica: &Replica,
    isolation: Isolation,
    spec: OffsetSpec,
) -> Result<FoundOffset, PartitionError> {
    let offsets = replica.offsets()?;
    let leader_epoch = replica.leader_epoch()?;
    let end = offsets.readable_end(isolation);
    let at_end_of_log = |offset| FoundOffset {
        offset: Some(offset),
        timestamp_ms: None,
        leader_epoch,
    };
    let found = match spec {
        OffsetSpec::Earliest => return Ok(at_end_of_log(offsets.log_start)),
        OffsetSpec::Latest => return Ok(at_end_of_log(end)),
        OffsetSpec::MaxTimestamp => replica.log()?.max_timestamp_offset(end)?,
        OffsetSpec::Timestamp(timestamp) => replica.log()?.offset_for_timestamp(timestamp, end)?,
    };
    Ok(FoundOffset {
        offset: found.map(|record| record.offset),
        timestamp_ms: found.map(|record| record.timestamp),
        leader_epoch: found.map_or(leader_epoch, |record| record.leader_epoch),
    })
}

pub(super) async fn on_blocking_pool<T: Send + 'static>(
    replica: Arc<Replica>,
    work: impl FnOnce(&Replica) -> Result<T, PartitionError> + Send + 'static,
) -> Result<T, ServiceError> {
    let partition = replica.partition().clone();
    let result = tokio::task::spawn_blocking(move || work(&replica)).await;
    let result = result.map_err(|_| ServiceError::panicked())?;
    result.map_err(|error| ServiceError::of_partition(&partition, &error))
}

/// An offset that a client sent.
///
/// # Errors
/// It is negative.
pub fn checked_offset(value: i64) -> Result<Offset, ServiceError> {
    Offset::new(value).ok_or_else(|| {
        ServiceError::new(
            ErrorCode::OffsetOutOfRange,
            format!("offset {value} is negative"),
            "ask for 0 or more, or look earliest and latest up (ListOffsets)",
        )
    })
}
