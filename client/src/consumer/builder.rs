//! [`ConsumerBuilder`]: every option of a consumer, with its default and its bounds.
//!
//! Options of reading go into [`ConsumerConfig`], those of membership into the group's, which count
//! once `group` named one. `build` checks them together.

use std::{sync::Arc, time::Duration};

use super::{
    Consumer, IsolationLevel, OffsetReset, Start,
    group::{GroupConfig, RebalanceListener},
};
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
    offset_reset: Option<OffsetReset>,
    initial_offset: Option<Start>,
    group: GroupConfig,
}

impl ConsumerBuilder {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            config: ConsumerConfig::default(),
            offset_reset: None,
            initial_offset: None,
            group: GroupConfig::new(String::new()),
        }
    }

    /// The group whose name commits go under, and that [`Consumer::subscribe`] joins. Default none.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group.group_id = group.into();
        self
    }

    /// Makes a static member: by this name it comes back within its session timeout to the partitions
    /// it had, and closing does not make the group rebalance. Default none.
    pub fn instance_id(mut self, instance: impl Into<String>) -> Self {
        self.group.instance_id = instance.into();
        self
    }

    /// The rack that the member is in, for assignors that prefer near replicas. Default none.
    pub fn rack_id(mut self, rack: impl Into<String>) -> Self {
        self.group.rack_id = rack.into();
        self
    }

    /// What the member is called in descriptions of the group. Default `millstream`.
    pub fn client_id(mut self, client: impl Into<String>) -> Self {
        self.group.client_id = client.into();
        self
    }

    /// How the broker spreads partitions over members: `uniform`, `range` or `sticky`. Default what
    /// the broker is configured to.
    pub fn assignor(mut self, assignor: impl Into<String>) -> Self {
        self.group.assignor = assignor.into();
        self
    }

    /// How long the broker may hear nothing of the member before it gives its partitions to others.
    /// Default what the broker is configured to.
    pub const fn session_timeout(mut self, timeout: Duration) -> Self {
        self.group.session_timeout = Some(timeout);
        self
    }

    /// How long the member may take to give up partitions: at most this may pass from a record to the
    /// next call of [`Consumer::recv`] while the group rebalances. Default what the broker is
    /// configured to.
    pub const fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.group.rebalance_timeout = Some(timeout);
        self
    }

    /// How often positions are committed; `None` leaves it to [`Consumer::commit`]. An auto commit
    /// covers records handed out before the last call of [`Consumer::recv`], so that every record is
    /// processed at least once. Default every 5 s.
    pub const fn auto_commit(mut self, interval: Option<Duration>) -> Self {
        self.group.auto_commit_interval = interval;
        self
    }

    /// Where partitions start of which the group has committed nothing. Default what
    /// [`ConsumerBuilder::offset_reset`] says, which is [`Start::Latest`] in a group where nothing is.
    pub const fn initial_offset(mut self, start: Start) -> Self {
        self.initial_offset = Some(start);
        self
    }

    /// Who learns which partitions come and go. Default nobody.
    pub fn rebalance_listener(mut self, listener: impl RebalanceListener) -> Self {
        self.group.listener = Some(Arc::new(listener));
        self
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

    /// What happens when the consumer's offset is not in the log, and where a group starts that has
    /// committed none. Default [`OffsetReset::Latest`] in a group, else [`OffsetReset::Earliest`].
    pub const fn offset_reset(mut self, reset: OffsetReset) -> Self {
        self.offset_reset = Some(reset);
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
    pub fn build(mut self) -> Result<Consumer> {
        if self.config.prefetch_bytes == 0 {
            return Err(Error::config("prefetch_bytes", "0", "at least 1"));
        }
        if self.group.group_id.is_empty() {
            self.config.offset_reset = self.offset_reset.unwrap_or(OffsetReset::Earliest);
            return Consumer::start(self.connection, self.config, None);
        }
        if self.group.auto_commit_interval == Some(Duration::ZERO) {
            let expected = "longer than 0, or None for no auto commit";
            return Err(Error::config("auto_commit", "0 s", expected));
        }
        let reset = self.offset_reset.unwrap_or(OffsetReset::Latest);
        self.config.offset_reset = reset;
        self.group.initial = self.initial_offset.or(match reset {
            OffsetReset::Earliest => Some(Start::Earliest),
            OffsetReset::Latest => Some(Start::Latest),
            OffsetReset::Fail => None,
        });
        if let Some(Start::Offset(offset)) = self.group.initial
            && offset < 0
        {
            let found = offset.to_string();
            return Err(Error::config("initial_offset", found, "0 or more"));
        }
        if self.group.initial == Some(Start::Committed) {
            let expected = "a place that does not depend on a commit";
            return Err(Error::config("initial_offset", "committed", expected));
        }
        Consumer::start(self.connection, self.config, Some(self.group))
    }
}
