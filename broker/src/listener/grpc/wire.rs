//! Wire messages to what services take, and back.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_proto::{
    ErrorCode, LeaderEpoch, TopicId,
    grpc::{error_to_wire, topic_id_from_wire, v1},
};
use tonic::{Request, Status, metadata::MetadataMap};

use crate::{
    partition::Isolation,
    service::{RequestContext, ServiceError},
    shutdown::Shutdown,
};

/// Everything but the message.
pub(super) fn context<T>(request: &Request<T>) -> RequestContext {
    let deadline = timeout(request.metadata()).and_then(|t| Instant::now().checked_add(t));
    RequestContext::anonymous(deadline)
}

/// The header `grpc-timeout`: up to eight digits and a unit.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// A refusal as a message.
pub(super) fn error(error: ServiceError) -> v1::Error {
    v1::Error {
        retriable: error.code.is_retriable() && !error.is_permanent,
        may_have_been_written: error.may_have_been_written,
        current_leader: error.leader_epoch.map(|epoch| v1::Leader {
            broker_id: -1,
            leader_epoch: epoch.0,
            host: String::new(),
            port: 0,
        }),
        ..error_to_wire(error.code, error.message, error.hint)
    }
}

/// A refusal that ends a call or stream, in one line with its hint.
pub(super) fn status(error: &ServiceError) -> Status {
    let text = format!("{}: {} (hint: {})", error.code, error.message, error.hint);
    match error.code {
        ErrorCode::InvalidRequest => Status::invalid_argument(text),
        ErrorCode::BrokerNotAvailable => Status::unavailable(text),
        ErrorCode::RequestTimedOut => Status::deadline_exceeded(text),
        _ => Status::internal(text),
    }
}

/// The broker shuts down: a stream ends, to be opened again elsewhere or later.
pub(super) fn shutting_down() -> Status {
    status(&ServiceError::new(
        ErrorCode::BrokerNotAvailable,
        "broker shuts down",
        "reconnect once it is back",
    ))
}

/// Resolves when the shutdown begins; made once per stream, as it is polled often.
pub(super) type Begun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Watches for the shutdown.
pub(super) fn begun(shutdown: &Shutdown) -> Begun {
    let shutdown = shutdown.clone();
    Box::pin(async move { shutdown.begun().await })
}

/// 16 bytes.
pub(super) fn topic_id(bytes: &Bytes) -> Result<TopicId, ServiceError> {
    topic_id_from_wire(bytes).map_err(|found| {
        ServiceError::invalid_request(
            format!("topic id has {found} bytes, expected 16"),
            "send the id as DescribeTopics returns it",
        )
    })
}

/// -1 is "unknown"; what is below is treated alike.
pub(super) fn leader_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// Numbers that this version does not know read as the default.
pub(super) fn isolation(level: i32) -> Result<Isolation, ServiceError> {
    match v1::IsolationLevel::try_from(level) {
        Ok(v1::IsolationLevel::ReadUncommitted) => Ok(Isolation::ReadUncommitted),
        Ok(v1::IsolationLevel::ReadCommitted) => Ok(Isolation::ReadCommitted),
        Err(_) => Err(ServiceError::invalid_request(
            format!("isolation level {level} is unknown, expected 0 or 1"),
            "use read_uncommitted (0) or read_committed (1)",
        )),
    }
}

/// A count for a wire field; as much as fits.
pub(super) fn count32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_as_the_specification_says() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ascii"));
            timeout(&metadata)
        };
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("123456789S"), None, "nine digits");
        assert_eq!(read("S"), None);
        assert_eq!(read("5x"), None);
    }
}
