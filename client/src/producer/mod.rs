//! [`Producer`]: queues records, batches them per partition, and sends them in order.

mod builder;
mod delivery;
mod record;

use std::{sync::Arc, time::Duration};

pub use builder::{Acks, ProducerBuilder};
pub use delivery::{Acknowledgement, Delivery, Durability};
pub use record::Record;

use crate::{connection::Connection, error::Result};
use builder::ProducerConfig;

/// Sends records. All methods take `&self`: share it between tasks by reference or `Arc`.
///
/// Records of one partition are written in the order of their `send` calls, retries included, and
/// with idempotence (the default) once each. Dropping it without [`Producer::close`] logs how many
/// records were lost with it.
#[derive(Debug)]
pub struct Producer {}

impl Producer {
    pub(crate) fn start(_connection: Arc<Connection>, _config: ProducerConfig) -> Result<Self> {
        todo!()
    }

    /// Queues a record and returns a handle to its delivery. Waits while `buffer_memory_bytes` are
    /// unacknowledged and, for the first record of a topic, for the topic's metadata.
    ///
    /// # Errors
    /// [`crate::Error::QueueFull`] after `max_block`; a refused topic or partition;
    /// [`crate::Error::RecordTooLarge`]; [`crate::Error::Closed`]. Nothing was queued then.
    ///
    /// # Cancel safety
    /// A `send` dropped before it returned has queued nothing.
    pub async fn send(&self, _record: Record) -> Result<Delivery> {
        todo!()
    }

    /// Sends what is queued without lingering and waits until every record of earlier `send` calls
    /// is acknowledged or has failed; failures are in the deliveries.
    ///
    /// # Errors
    /// [`crate::Error::Closed`] when the producer's runtime is gone.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the records on their way.
    pub async fn flush(&self) -> Result<()> {
        todo!()
    }

    /// Records queued or unacknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        todo!()
    }

    /// Flushes within `timeout` and stops; records that are not acknowledged by then fail.
    ///
    /// # Errors
    /// [`crate::Error::TimedOut`] when records were left.
    ///
    /// # Cancel safety
    /// Dropping the future drops the producer: records not yet acknowledged fail.
    pub async fn close(self, _timeout: Duration) -> Result<()> {
        todo!()
    }
}
