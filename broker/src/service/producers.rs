//! What a partition remembers of its producers.

use millstream_log::producer::ProducerEntry;
use millstream_proto::{PartitionIndex, ProducerId, TopicId};

use super::{RequestContext, ServiceError, Services, offsets::on_blocking_pool};
use crate::partition::Replica;

/// One producer of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub epoch: i16,
    /// Sequence of its last record, -1 before any.
    pub last_sequence: i32,
    /// Largest record timestamp of its last batch, in ms.
    pub last_timestamp_ms: i64,
    /// Epoch of the coordinator of its last transaction, -1 before any.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub transaction_start: Option<i64>,
}

impl Services {
    /// The producers of a partition, by id.
    ///
    /// # Errors
    /// An unknown partition, or one that serves nothing.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn describe_producers(
        &self,
        _context: &RequestContext,
        topic_id: TopicId,
        partition: PartitionIndex,
    ) -> Result<Vec<ProducerDescription>, ServiceError> {
        let replica = self.replica(topic_id, partition)?;
        let producers = |replica: &Replica| Ok(replica.log()?.producers()?);
        let producers = on_blocking_pool(replica, producers).await?;
        Ok(producers.into_iter().map(description).collect())
    }
}

fn description((producer_id, entry): (ProducerId, ProducerEntry)) -> ProducerDescription {
    ProducerDescription {
        producer_id,
        epoch: entry.epoch.0,
        last_sequence: entry.last_sequence(),
        last_timestamp_ms: entry.last_timestamp_ms,
        coordinator_epoch: entry.coordinator_epoch,
        transaction_start: entry.transaction_first_offset.map(|offset| offset.get()),
    }
}
