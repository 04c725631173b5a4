//! Writes the answer to a produce request.

use bytes::{BufMut as _, BytesMut};

use super::{
    super::{
        answer::is_flexible,
        codec::{ProduceRequest, TopicRef},
        wire::Put as _,
    },
    Outcome,
};
use crate::service::ServiceError;
use kafka_protocol::messages::ApiKey;

/// The first versions with a field.
const LOG_START_OFFSET: i16 = 5;
const RECORD_ERRORS: i16 = 8;

/// Writes the body: a result for each partition of the request, in its order.
pub(super) fn write(
    message: &mut BytesMut,
    version: i16,
    request: &ProduceRequest,
    settled: &[Outcome],
) {
    let is_flexible = is_flexible(ApiKey::Produce, version);
    let mut settled = settled.iter();
    message.put_count(request.topics.len(), is_flexible);
    for topic in &request.topics {
        match &topic.name {
            TopicRef::Name(name) => message.put_text(name, is_flexible),
            TopicRef::Id(id) => message.put_slice(id.as_bytes()),
        }
        let partitions = request.partitions_of(topic);
        message.put_count(partitions.len(), is_flexible);
        for (partition, outcome) in partitions.iter().zip(&mut settled) {
            message.put_i32(partition.index);
            put_outcome(message, version, outcome);
            if version >= RECORD_ERRORS {
                put_errors(message, outcome.as_ref().err(), is_flexible);
            }
            message.put_no_tags(is_flexible);
        }
        message.put_no_tags(is_flexible);
    }
    let throttle_time_ms = 0;
    message.put_i32(throttle_time_ms);
    message.put_no_tags(is_flexible);
}

fn put_outcome(message: &mut BytesMut, version: i16, outcome: &Outcome) {
    let (code, base_offset, append_time, log_start) = match outcome {
        Ok(produced) => (
            0,
            produced.base_offset.get(),
            produced.log_append_time_ms.unwrap_or(-1),
            produced.log_start_offset.get(),
        ),
        Err(error) => (error.code.number(), -1, -1, -1),
    };
    message.put_i16(code);
    message.put_i64(base_offset);
    message.put_i64(append_time);
    if version >= LOG_START_OFFSET {
        message.put_i64(log_start);
    }
}

/// The record for which a batch was refused, as far as it was one, and why (KIP-467): clients fail it with the
/// reason, and its neighbours with that they were beside it.
fn put_errors(message: &mut BytesMut, error: Option<&ServiceError>, is_flexible: bool) {
    let record = error.and_then(|error| Some((error.record?, error)));
    message.put_count(usize::from(record.is_some()), is_flexible);
    if let Some((index, error)) = record {
        message.put_u32(index);
        message.put_text(error.message.as_bytes(), is_flexible);
        message.put_no_tags(is_flexible);
    }
    match error {
        Some(error) => message.put_text(error.message.as_bytes(), is_flexible),
        None if is_flexible => message.put_u8(0),
        None => message.put_i16(-1),
    }
}

#[cfg(test)]
mod tests;
