//! Validation of a batch before the partition's mutex is taken. Pure, apart from copying.
//!
//! The client's batch is checked as a whole: nothing is appended of a batch that breaks a rule.

use bytes::{Bytes, BytesMut};
use millstream_proto::record::{
    Batch, BatchError, BatchHeader, BatchView, TimestampType,
    control::{ControlRecord, EndTransactionMarker},
    patch,
};

use crate::{
    config::{LogConfig, TimestampPolicy},
    error::AppendError,
};

use super::{
    append::{AppendContext, Origin},
    decode::{Decode, Patience},
};

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
    patience: Patience,
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
    let allowed = Allowed::of(&header, &config.timestamps, context.now_ms);
    if let Some(allowed) = &allowed {
        allowed.check(header.base_timestamp(), None)?;
        allowed.check(header.max_timestamp(), None)?;
    }
    let decode = Decode::of(&header, config, context.origin, allowed);
    let batch = match decode {
        Some(decode) => decode.apply(batch, patience)?,
        None => batch,
    };
    // Ours alone when the caller gave the only handle away; else a copy.
    let mut bytes = batch
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&*shared));
    let stamped = config.timestamps.log_append_time;
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

pub(super) fn malformed(error: BatchError) -> AppendError {
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

pub(super) fn invalid(reason: impl Into<String>) -> AppendError {
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
pub(super) struct Allowed {
    earliest: i64,
    latest: i64,
    /// The header has the first timestamp and the largest, not the least.
    pub(super) is_asked_of_records: bool,
}

impl Allowed {
    /// `None` where any will do: the broker sets them, or nobody reads them.
    pub(super) fn of(header: &BatchHeader, policy: &TimestampPolicy, now_ms: i64) -> Option<Self> {
        if policy.log_append_time || header.is_control() {
            return None;
        }
        Some(Self {
            earliest: now_ms.saturating_sub_unsigned(policy.before_max_ms),
            latest: now_ms.saturating_add_unsigned(policy.after_max_ms),
            is_asked_of_records: policy.before_max_ms < i64::MAX.unsigned_abs(),
        })
    }

    /// Checks the timestamp of a record, or of a header, which does not say whose it is.
    pub(super) fn check(&self, found: i64, index: Option<u32>) -> Result<(), AppendError> {
        let Self {
            earliest, latest, ..
        } = *self;
        // -1 is "not set": Kafka takes it as it is.
        if found == -1 || (earliest..=latest).contains(&found) {
            return Ok(());
        }
        Err(AppendError::Timestamp {
            index,
            found,
            earliest,
            latest,
        })
    }
}
