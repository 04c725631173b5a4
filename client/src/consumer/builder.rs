//! [`ConsumerBuilder`]: every option of a consumer, with its default and its bounds.

use std::sync::Arc;

use super::{Consumer, IsolationLevel, OffsetReset};
use crate::{
    connection::Connection,
    error::{Error, Result},
};

/// What a consumer works by.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerConfig {
    pub(crate) prefetch_bytes: usize,
    pub(crate) frame_bytes_max: u32,
    pub(crate) isolation: IsolationLevel,
    pub(crate) offset_reset: OffsetReset,
    pub(crate) check_crcs: bool,
    pub(crate) decompressed_bytes_max: usize,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            prefetch_bytes: 8 * 1024 * 1024,
            frame_bytes_max: 0,
            isolation: IsolationLevel::default(),
            offset_reset: OffsetReset::default(),
            check_crcs: true,
            decompressed_bytes_max: 128 * 1024 * 1024,
        }
    }
}

/// Options of a [`Consumer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConsumerBuilder {
    connection: Arc<Connection>,
    config: ConsumerConfig,
}

impl ConsumerBuilder {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            config: ConsumerConfig::default(),
        }
    }

    /// Bytes of batches that may be read ahead, over all partitions. Each partition may exceed its
    /// share by one batch. Default 8 MiB.
    pub const fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.config.prefetch_bytes = bytes;
        self
    }

    /// Bytes of batches in one answer of the broker; 0 leaves it to the broker. Default 0.
    pub const fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.config.frame_bytes_max = bytes;
        self
    }

    /// Which records of transactions are handed out. Default [`IsolationLevel::ReadUncommitted`].
    pub const fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.config.isolation = isolation;
        self
    }

    /// What happens when the consumer's offset is not in the log. Default [`OffsetReset::Earliest`].
    pub const fn offset_reset(mut self, reset: OffsetReset) -> Self {
        self.config.offset_reset = reset;
        self
    }

    /// Whether the CRC-32C of every batch is checked. Default true.
    pub const fn check_crcs(mut self, check: bool) -> Self {
        self.config.check_crcs = check;
        self
    }

    /// Bytes that one batch may decompress to. Default 128 MiB.
    pub const fn decompressed_bytes_max(mut self, bytes: usize) -> Self {
        self.config.decompressed_bytes_max = bytes;
        self
    }

    /// Starts the consumer, with nothing assigned.
    ///
    /// # Errors
    /// [`Error::Config`] for an option out of its bounds, or when called outside a tokio runtime.
    pub fn build(self) -> Result<Consumer> {
        if self.config.prefetch_bytes == 0 {
            return Err(Error::config("prefetch_bytes", "0", "at least 1"));
        }
        Consumer::start(self.connection, self.config)
    }
}
