//! Validation of a batch before the partition's mutex is taken. Pure, apart from copying.
//!
//! The client's batch is checked as a whole: nothing is appended of a batch that breaks a rule.

use bytes::{Bytes, BytesMut};
use millstream_proto::record::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, BatchView, Compression,
    ProducerIdentity, TimestampType,
    control::{ControlRecord, EndTransactionMarker},
    patch,
};

use crate::{
    config::{CompressionPolicy, LogConfig, TimestampPolicy},
    error::AppendError,
};

use super::append::{AppendContext, Origin};

/// Bytes that records of one batch may have once decompressed, as a multiple of `max.message.bytes`
/// and at least.
const DECOMPRESSED_FACTOR: usize = 128;
const DECOMPRESSED_BYTES_MIN: usize = 64 << 20;

/// A batch that may be appended, in a buffer of its own.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) bytes: BytesMut,
    pub(super) header: BatchHeader,
    pub(super) marker: Option<EndTransactionMarker>,
    pub(super) log_append_time: Option<i64>,
}

/// Checks a batch and makes it ready for its offsets.
pub(super) fn prepare(
    batch: Bytes,
    config: &LogConfig,
    context: &AppendContext,
) -> Result<Prepared, AppendError> {
    let view = BatchView::parse_only(&batch).map_err(malformed)?;
    let header = *view.header();
    if batch.len() > usize::try_from(config.max_message_bytes).unwrap_or(usize::MAX)
        && context.origin == Origin::Client
    {
        return Err(AppendError::TooLarge {
            found: batch.len(),
            max: config.max_message_bytes,
        });
    }
    view.verify_crc().map_err(malformed)?;
    check_fields(&header)?;
    let marker = match context.origin {
        Origin::Client => {
            check_client(&header, config)?;
            None
        }
        Origin::Coordinator => marker_of(&header, &batch)?,
    };
    let stamped = config.timestamps.log_append_time;
    let is_checked = !stamped && !header.is_control();
    let allowed = is_checked.then(|| Allowed::new(&config.timestamps, context.now_ms));
    if let Some(allowed) = &allowed {
        allowed.check(header.base_timestamp())?;
        allowed.check(header.max_timestamp())?;
    }
    let mut bytes = decoded(batch, &header, config, context.origin, allowed)?;
    let log_append_time = stamped.then_some(context.now_ms);
    if let Some(now_ms) = log_append_time {
        patch::log_append_time(&mut bytes, now_ms).map_err(malformed)?;
    }
    let header = BatchHeader::decode(&bytes).map_err(malformed)?;
    Ok(Prepared {
        bytes,
        header,
        marker,
        log_append_time,
    })
}

fn malformed(error: BatchError) -> AppendError {
    match error {
        BatchError::Magic { found } => AppendError::UnsupportedMagic { found },
        BatchError::Crc { stored, computed } => AppendError::Checksum {
            expected: computed,
            found: stored,
        },
        BatchError::UnknownCompression { found } => AppendError::UnsupportedCompression {
            codec: format!("codec {found}"),
        },
        other => AppendError::Malformed {
            reason: other.to_string(),
        },
    }
}

fn invalid(reason: impl Into<String>) -> AppendError {
    AppendError::InvalidRecord {
        reason: reason.into(),
    }
}

/// Rules for every batch, whoever wrote it.
fn check_fields(header: &BatchHeader) -> Result<(), AppendError> {
    if header.base_offset().get() != 0 {
        return Err(invalid(format!(
            "base offset is {}, expected 0",
            header.base_offset()
        )));
    }
    let expected = header.last_offset_delta().saturating_add(1);
    if header.record_count() == 0 || header.record_count() != expected {
        return Err(invalid(format!(
            "record count is {}, expected {expected} by the last offset delta",
            header.record_count()
        )));
    }
    if header.has_producer_id() {
        if header.producer_epoch().0 < 0 {
            return Err(invalid(format!(
                "producer {} has epoch {}",
                header.producer_id(),
                header.producer_epoch()
            )));
        }
        if header.base_sequence() < 0 && !header.is_control() {
            return Err(invalid(format!(
                "producer {} has sequence {}",
                header.producer_id(),
                header.base_sequence()
            )));
        }
    } else if header.is_transactional() {
        return Err(invalid("transactional batch has no producer id"));
    }
    Ok(())
}

/// Rules for what a client may send.
fn check_client(header: &BatchHeader, config: &LogConfig) -> Result<(), AppendError> {
    if header.is_transactional() && !config.accepts_transactions {
        return Err(AppendError::NoTransactions);
    }
    if header.is_control() {
        return Err(invalid("a client may not write control batches"));
    }
    if header.delete_horizon_ms().is_some() {
        return Err(invalid("a client may not set a delete horizon"));
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(AppendError::InvalidTimestampType);
    }
    Ok(())
}

/// The marker in a coordinator's control batch.
fn marker_of(
    header: &BatchHeader,
    batch: &Bytes,
) -> Result<Option<EndTransactionMarker>, AppendError> {
    if !header.is_control() {
        return Ok(None);
    }
    let record = Batch::parse(batch.clone())
        .map_err(malformed)?
        .records(batch.len())
        .ok()
        .and_then(|mut records| records.next())
        .and_then(Result::ok)
        .ok_or_else(|| invalid("control batch has no readable record"))?;
    match ControlRecord::decode(&record) {
        Ok(ControlRecord::EndTransaction(marker)) => Ok(Some(marker)),
        Ok(_) => Ok(None),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// Timestamps that a client's record may have.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    earliest: i64,
    latest: i64,
    /// The header has the first timestamp and the largest, not the least.
    is_asked_of_records: bool,
}

impl Allowed {
    const fn new(policy: &TimestampPolicy, now_ms: i64) -> Self {
        Self {
            earliest: now_ms.saturating_sub_unsigned(policy.before_max_ms),
            latest: now_ms.saturating_add_unsigned(policy.after_max_ms),
            is_asked_of_records: policy.before_max_ms < i64::MAX.unsigned_abs(),
        }
    }

    fn check(&self, found: i64) -> Result<(), AppendError> {
        let Self {
            earliest, latest, ..
        } = *self;
        // -1 is "not set": Kafka takes it as it is.
        if found == -1 || (earliest..=latest).contains(&found) {
            return Ok(());
        }
        Err(AppendError::Timestamp {
            found,
            earliest,
            latest,
        })
    }
}

/// Decodes the records where the topic asks for it; else only makes the buffer our own. What a
/// coordinator writes has keys.
fn decoded(
    batch: Bytes,
    header: &BatchHeader,
    config: &LogConfig,
    origin: Origin,
    allowed: Option<Allowed>,
) -> Result<BytesMut, AppendError> {
    let allowed = allowed.filter(|allowed| allowed.is_asked_of_records);
    let codec = match config.compression {
        CompressionPolicy::Fixed(codec) if codec != header.compression() => Some(codec),
        _ => None,
    };
    let needs_keys = config.cleanup_compact && !header.is_control() && origin == Origin::Client;
    if header.is_control() || (codec.is_none() && !needs_keys && allowed.is_none()) {
        // Ours alone when the caller gave the only handle away; else a copy.
        return Ok(batch
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&*shared)));
    }
    let mut builder = codec.map(|codec| BatchBuilder::new(options(header, codec)));
    let bound = usize::try_from(config.max_message_bytes)
        .unwrap_or(usize::MAX)
        .saturating_mul(DECOMPRESSED_FACTOR)
        .max(DECOMPRESSED_BYTES_MIN);
    let records = Batch::parse(batch.clone())
        .map_err(malformed)?
        .records(bound)
        .map_err(|error| invalid(error.to_string()))?;
    for (index, record) in records.enumerate() {
        let record = record.map_err(|error| invalid(error.to_string()))?;
        if needs_keys && record.key.is_none() {
            return Err(AppendError::NoKey { index });
        }
        if let Some(allowed) = &allowed {
            allowed.check(record.timestamp)?;
        }
        if let Some(builder) = &mut builder {
            builder
                .append(
                    record.timestamp,
                    record.key.as_deref(),
                    record.value.as_deref(),
                    &record.headers,
                )
                .map_err(|error| invalid(error.to_string()))?;
        }
    }
    let Some(builder) = builder else {
        return Ok(BytesMut::from(&*batch));
    };
    let built = builder
        .finish()
        .map_err(|error| invalid(error.to_string()))?;
    Ok(built
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&*shared)))
}

fn options(header: &BatchHeader, compression: Compression) -> BatchOptions {
    BatchOptions {
        compression,
        producer: header.has_producer_id().then(|| ProducerIdentity {
            id: header.producer_id(),
            epoch: header.producer_epoch(),
            base_sequence: header.base_sequence(),
        }),
        is_transactional: header.is_transactional(),
        ..BatchOptions::default()
    }
}
