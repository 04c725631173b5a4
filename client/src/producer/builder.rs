//! [`ProducerBuilder`]: every option of a producer, with its default and its bounds.
//!
//! Options are plain values until `build` checks them together; what works by them afterwards is
//! [`ProducerConfig`], which nothing changes any more.

use std::{sync::Arc, time::Duration};

use millstream_proto::{grpc::v1, record::Compression};

use super::Producer;
use crate::{
    connection::Connection,
    error::{Error, Result},
};

/// When a batch counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Once the high watermark has passed it: the whole in-sync set has it.
    #[default]
    All,
    /// Once the leader alone has it.
    Leader,
    /// Once it was handed to the connection. Nothing is retried, and no offset is known.
    None,
}

impl Acks {
    pub(crate) const fn to_wire(self) -> v1::Acks {
        match self {
            Self::All => v1::Acks::All,
            Self::Leader => v1::Acks::Leader,
            Self::None => v1::Acks::None,
        }
    }
}

/// What a producer works by.
#[derive(Debug, Clone)]
pub(crate) struct ProducerConfig {
    pub(crate) acks: Acks,
    pub(crate) idempotent: Option<bool>,
    pub(crate) compression: Compression,
    pub(crate) compression_level: Option<i32>,
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    pub(crate) record_bytes_max: usize,
    pub(crate) buffer_memory_bytes: usize,
    pub(crate) max_block: Duration,
    pub(crate) in_flight_max: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) retry_backoff: (Duration, Duration),
}

/// Largest number of unacknowledged batches per partition with idempotence: the broker remembers
/// the last five of a producer.
const IN_FLIGHT_MAX: usize = 5;
/// Largest `buffer_memory_bytes`.
const BUFFER_MEMORY_BYTES_MAX: usize = u32::MAX as usize;
/// Largest `record_bytes_max`: a batch's length is an i32.
const RECORD_BYTES_MAX: usize = 1 << 30;

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: None,
            compression: Compression::None,
            compression_level: None,
            linger: Duration::from_millis(5),
            batch_bytes: 256 * 1024,
            record_bytes_max: 1024 * 1024,
            buffer_memory_bytes: 32 * 1024 * 1024,
            max_block: Duration::from_secs(60),
            in_flight_max: IN_FLIGHT_MAX,
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(1)),
        }
    }
}

impl ProducerConfig {
    pub(crate) fn is_idempotent(&self) -> bool {
        self.idempotent.unwrap_or(self.acks == Acks::All)
    }

    fn check(&self) -> Result<()> {
        let bytes = |name, found: usize, max: usize| {
            if (1..=max).contains(&found) {
                Ok(())
            } else {
                Err(Error::config(
                    name,
                    found.to_string(),
                    format!("1 to {max}"),
                ))
            }
        };
        bytes(
            "buffer_memory_bytes",
            self.buffer_memory_bytes,
            BUFFER_MEMORY_BYTES_MAX,
        )?;
        bytes("record_bytes_max", self.record_bytes_max, RECORD_BYTES_MAX)?;
        bytes("batch_bytes", self.batch_bytes, RECORD_BYTES_MAX)?;
        bytes("in_flight_max", self.in_flight_max, IN_FLIGHT_MAX)?;
        if self.record_bytes_max > self.buffer_memory_bytes {
            return Err(Error::config(
                "record_bytes_max",
                self.record_bytes_max.to_string(),
                format!("at most buffer_memory_bytes, {}", self.buffer_memory_bytes),
            ));
        }
        if self.idempotent == Some(true) && self.acks != Acks::All {
            return Err(Error::config(
                "acks",
                format!("{:?}", self.acks),
                "All with idempotence",
            ));
        }
        if !self.compression.is_compiled_in() {
            return Err(Error::config(
                "compression",
                self.compression.name(),
                format!(
                    "a codec of this build: enable the feature {}",
                    self.compression.name()
                ),
            ));
        }
        if self.linger > self.delivery_timeout {
            return Err(Error::config(
                "linger",
                format!("{:?}", self.linger),
                "at most delivery_timeout",
            ));
        }
        Ok(())
    }
}

/// Options of a [`Producer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ProducerBuilder {
    connection: Arc<Connection>,
    config: ProducerConfig,
}

impl ProducerBuilder {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            config: ProducerConfig::default(),
        }
    }

    /// When a batch counts as delivered. Default [`Acks::All`].
    pub const fn acks(mut self, acks: Acks) -> Self {
        self.config.acks = acks;
        self
    }

    /// Whether the broker drops what a retry would write twice. Default: with [`Acks::All`] only,
    /// which it needs.
    pub const fn idempotent(mut self, idempotent: bool) -> Self {
        self.config.idempotent = Some(idempotent);
        self
    }

    /// Codec of the batches. Default [`Compression::None`].
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.config.compression = compression;
        self
    }

    /// The codec's level on its own scale. Default: the codec's.
    pub const fn compression_level(mut self, level: i32) -> Self {
        self.config.compression_level = Some(level);
        self
    }

    /// How long a batch that is not full waits for more records. Default 5 ms; zero sends what is
    /// there as soon as the sender comes around.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.config.linger = linger;
        self
    }

    /// Size at which a batch is full, not compressed; a larger record gets a batch of its own.
    /// Default 256 KiB.
    pub const fn batch_bytes(mut self, bytes: usize) -> Self {
        self.config.batch_bytes = bytes;
        self
    }

    /// Size of the largest record accepted, not compressed. Default 1 MiB.
    pub const fn record_bytes_max(mut self, bytes: usize) -> Self {
        self.config.record_bytes_max = bytes;
        self
    }

    /// Bytes of records that may be queued or unacknowledged; `send` waits beyond it. Default 32 MiB.
    pub const fn buffer_memory_bytes(mut self, bytes: usize) -> Self {
        self.config.buffer_memory_bytes = bytes;
        self
    }

    /// How long `send` waits for room in the queue and for metadata. Default 60 s.
    pub const fn max_block(mut self, wait: Duration) -> Self {
        self.config.max_block = wait;
        self
    }

    /// Unacknowledged batches per partition, 1 to 5. Default 5.
    pub const fn in_flight_max(mut self, batches: usize) -> Self {
        self.config.in_flight_max = batches;
        self
    }

    /// How long one request may stay unanswered before its connection counts as broken.
    /// Default 30 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// How long a record may take from `send` to its acknowledgement, retries included.
    /// Default 120 s.
    pub const fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.config.delivery_timeout = timeout;
        self
    }

    /// The shortest and the longest pause before a refused batch is sent again. Default 100 ms
    /// and 1 s.
    pub const fn retry_backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.config.retry_backoff = (shortest, longest);
        self
    }

    /// Starts the producer.
    ///
    /// # Errors
    /// [`Error::Config`] for an option out of its bounds, or when called outside a tokio runtime.
    pub fn build(self) -> Result<Producer> {
        self.config.check()?;
        Producer::start(self.connection, self.config)
    }
}
