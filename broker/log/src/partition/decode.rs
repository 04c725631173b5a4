//! [`Decode`]: what is done with the records of a batch that a topic wants decoded.
//!
//! Most batches are appended without a look at their records. Three kinds of topics want more: one with a
//! codec of its own, a compacted one, where every record needs a key, and one that takes no record older than
//! something (a header has the largest timestamp only). Records are decompressed in
//! stretches and compressed again as they come, so memory does not depend on what they decompress to.
//!
//! ```text
//!   limit                                     beyond it
//!   records, decompressed: 128 times          MESSAGE_TOO_LARGE
//!   max.message.bytes, at least 64 MiB
//!   batch, compressed anew: max.message.bytes MESSAGE_TOO_LARGE
//!   QUICK_BYTES_MAX on a serving thread       AppendError::Lengthy: append it from another thread
//! ```

use bytes::Bytes;
use millstream_proto::record::{
    Batch, BatchHeader, BuildError, Compression, CompressionError, RecordError, RecordShape,
    RecordStart, RewriteError, compression::ENCODER_BYTES_MAX, rewrite, rewrite::RewriteLimits,
};

use crate::{
    config::{CompressionPolicy, LogConfig},
    error::AppendError,
};

use super::{
    append::Origin,
    validate::{Allowed, invalid, malformed},
};

/// Bytes that the records of one batch may have once decompressed, as a multiple of `max.message.bytes`
/// and at least.
const DECOMPRESSED_FACTOR: usize = 128;
const DECOMPRESSED_BYTES_MIN: usize = 64 << 20;
/// Bytes of records that are decoded where others wait for the thread: some milliseconds. A batch of the
/// default `max.message.bytes` that is not compressed is below it.
const QUICK_BYTES_MAX: usize = 5 << 18;

/// How long an append may keep its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Others wait for the thread.
    Quick,
    /// As long as it takes.
    Any,
}

/// What a batch's records are decoded for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decode {
    /// The codec that they get.
    codec: Option<Compression>,
    /// Whether each must have a key. What a coordinator writes has them.
    needs_keys: bool,
    /// The timestamps that each may have, where that is asked of each.
    allowed: Option<Allowed>,
    found: Compression,
    limits: RewriteLimits,
}

impl Decode {
    /// `None` where the batch is appended as it is.
    pub(super) fn of(
        header: &BatchHeader,
        config: &LogConfig,
        origin: Origin,
        allowed: Option<Allowed>,
    ) -> Option<Self> {
        if header.is_control() {
            return None;
        }
        let found = header.compression();
        let codec = match config.compression {
            CompressionPolicy::Fixed(codec) if codec != found => Some(codec),
            _ => None,
        };
        let needs_keys = config.cleanup_compact && origin == Origin::Client;
        let allowed = allowed.filter(|allowed| allowed.is_asked_of_records);
        if codec.is_none() && !needs_keys && allowed.is_none() {
            return None;
        }
        let size_bytes_max = usize::try_from(config.max_message_bytes).unwrap_or(usize::MAX);
        let plain_bytes_max = size_bytes_max.saturating_mul(DECOMPRESSED_FACTOR);
        let limits = RewriteLimits {
            plain_bytes_max: plain_bytes_max.max(DECOMPRESSED_BYTES_MIN),
            size_bytes_max: match origin {
                Origin::Client => size_bytes_max,
                Origin::Coordinator => usize::MAX,
            },
        };
        Some(Self {
            codec,
            needs_keys,
            allowed,
            found,
            limits,
        })
    }

    /// Memory that it takes at most, beside the batch.
    pub(super) fn memory_bytes_max(&self, batch_bytes: usize) -> usize {
        let decoder = self.found.decoder_bytes_max(batch_bytes);
        let recompressed = match self.codec {
            // The output doubles as it grows.
            Some(_) => {
                ENCODER_BYTES_MAX.saturating_add(self.limits.size_bytes_max.saturating_mul(2))
            }
            None => 0,
        };
        decoder.saturating_add(recompressed)
    }

    /// The batch as it is appended.
    pub(super) fn apply(mut self, batch: Bytes, patience: Patience) -> Result<Bytes, AppendError> {
        if patience == Patience::Quick {
            if batch.len() > QUICK_BYTES_MAX {
                return Err(AppendError::Lengthy { batch });
            }
            self.limits.plain_bytes_max = QUICK_BYTES_MAX;
        }
        let parsed = Batch::parse(batch.clone()).map_err(malformed)?;
        let rewritten = self.rewritten(&parsed);
        drop(parsed);
        match rewritten {
            Ok(Some(rewritten)) => Ok(rewritten),
            Ok(None) => Ok(batch),
            Err(AppendError::DecodedTooLarge { .. }) if patience == Patience::Quick => {
                Err(AppendError::Lengthy { batch })
            }
            Err(error) => Err(error),
        }
    }

    /// The batch in the other codec where it gets one.
    fn rewritten(&self, batch: &Batch) -> Result<Option<Bytes>, AppendError> {
        if let Some(codec) = self.codec {
            let see = |start: &RecordStart, shape| self.check(start, shape);
            return rewrite::recompressed(batch, codec, &self.limits, see).map(Some);
        }
        let mut records = batch
            .scan(self.limits.plain_bytes_max)
            .map_err(RewriteError::from)?;
        while let Some(start) = records.start().map_err(RewriteError::from)? {
            let shape = records.rest::<RewriteError>(|_| Ok(()))?;
            self.check(&start, shape)?;
        }
        Ok(None)
    }

    fn check(&self, start: &RecordStart, shape: RecordShape) -> Result<(), AppendError> {
        if self.needs_keys && !shape.has_key {
            return Err(AppendError::NoKey { index: start.index });
        }
        if let Some(allowed) = &self.allowed {
            allowed.check(start.timestamp, Some(start.index))?;
        }
        Ok(())
    }
}

impl From<RewriteError> for AppendError {
    fn from(error: RewriteError) -> Self {
        match error {
            RewriteError::Record(RecordError::Compression(CompressionError::OutputTooLarge {
                max,
                ..
            })) => Self::DecodedTooLarge { max },
            RewriteError::Build(BuildError::Compression(CompressionError::NoRoom {
                codec,
                max,
            })) => Self::RecompressedTooLarge { codec, max },
            other => invalid(other.to_string()),
        }
    }
}
