//! Producer ids: handed out from blocks that the metadata quorum made durable, so that none is ever
//! given twice, whatever crashes.

use std::ops::Range;

use millstream_proto::{ProducerEpoch, ProducerId};
use tokio::sync::Mutex;

use super::{RequestContext, ServiceError, Services};
use crate::quorum::{ImageError, MetadataRecord, ProducerIdsAllocated, ProposeError};

/// Attempts to get a block when other brokers take blocks at the same time.
const ATTEMPTS_MAX: usize = 16;

/// What is left of the current block.
#[derive(Debug, Default)]
pub struct Blocks {
    left: Mutex<Range<i64>>,
}

impl Services {
    /// A producer id that no other producer has had, with its first epoch.
    ///
    /// # Errors
    /// The metadata quorum refuses a new block.
    ///
    /// # Cancel safety
    /// Safe: at worst ids are skipped.
    pub async fn init_producer_id(
        &self,
        _context: &RequestContext,
    ) -> Result<(ProducerId, ProducerEpoch), ServiceError> {
        let mut left = self.producer_ids.left.lock().await;
        if left.is_empty() {
            *left = self.allocate_block().await?;
        }
        let id = left.next().ok_or_else(ServiceError::panicked)?;
        Ok((ProducerId(id), ProducerEpoch(0)))
    }

    async fn allocate_block(&self) -> Result<Range<i64>, ServiceError> {
        let count = i64::from(self.config.metadata.producer_id_block.max(1));
        let mut attempt = 0;
        loop {
            let first = self.quorum.image().next_producer_id();
            let record = MetadataRecord::ProducerIdsAllocated(ProducerIdsAllocated {
                broker_id: self.partitions.local(),
                first,
                count,
            });
            attempt += 1;
            match self.quorum.propose(vec![record]).await {
                Ok(_) => return Ok(first.0..first.0.saturating_add(count)),
                // Another broker was quicker: look again.
                Err(ProposeError::Refused(ImageError::ProducerIds { .. }))
                    if attempt < ATTEMPTS_MAX => {}
                Err(error) => return Err(ServiceError::propose(&error)),
            }
        }
    }
}
