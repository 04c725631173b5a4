//! [`Broker`]: the two channels to one broker, and what their failures mean.
//!
//! Produce and fetch streams share the data channel, everything else uses the other, so that no
//! amount of data delays an answer about topics. Both connect when first used, and again after
//! they broke.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use tonic::{
    Code, ConnectError, Status,
    transport::{Channel, Endpoint},
};

use super::ConnectionConfig;
use crate::error::{Error, Result};

/// Bytes that a broker may have on the way on one stream. Fetch credits stay below it.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes that a broker may have on the way on all streams of a channel.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Largest HTTP/2 frame accepted: fewer frames for large batches.
const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// Largest answer accepted: a whole batch of the largest size with its envelope.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Silence after which the peer is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Silence after that question which breaks the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What brokers are told that this is.
const USER_AGENT: &str = concat!("millstream/", env!("CARGO_PKG_VERSION"));

/// Channels to one broker.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) address: Arc<str>,
    pub(crate) data: Channel,
    pub(crate) admin: Channel,
}

impl Broker {
    /// Prepares the channels; nothing connects yet.
    pub(crate) fn new(address: &str, config: &ConnectionConfig) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| Error::Address {
                found: address.to_owned(),
            })?
            .user_agent(USER_AGENT)
            .expect("a constant is a header value")
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(Self {
            address: address.into(),
            data: endpoint.connect_lazy(),
            admin: endpoint.connect_lazy(),
        })
    }

    /// What a gRPC status of this broker means. `sent` says that records were on their way.
    pub(crate) fn failure(&self, status: &Status, sent: bool) -> Error {
        if let Some(reason) = connect_failure(status) {
            return Error::Unreachable {
                addresses: self.address.to_string(),
                reason,
            };
        }
        let broker = self.address.to_string();
        match status.code() {
            Code::Unimplemented | Code::InvalidArgument | Code::OutOfRange | Code::DataLoss => {
                Error::Protocol {
                    broker,
                    reason: words(status),
                }
            }
            _ => Error::Disconnected {
                broker,
                reason: transport_reason(status),
                may_have_been_written: sent,
            },
        }
    }
}

/// Why no connection was made; `None` where there was one.
fn connect_failure(status: &Status) -> Option<String> {
    let mut source = status.source();
    let mut failed_to_connect = false;
    while let Some(error) = source {
        failed_to_connect |= error.is::<ConnectError>();
        if failed_to_connect && let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(io_reason(error));
        }
        if failed_to_connect && error.source().is_none() {
            return Some(error.to_string());
        }
        source = error.source();
    }
    None
}

/// The kind of an I/O error reads better than the operating system's number.
fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        kind @ (io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut
        | io::ErrorKind::BrokenPipe) => kind.to_string(),
        _ => error.to_string(),
    }
}

/// The innermost cause that the transport gives, else the status's own words.
fn transport_reason(status: &Status) -> String {
    let mut innermost = None;
    let mut source = status.source();
    while let Some(error) = source {
        innermost = Some(match error.downcast_ref::<io::Error>() {
            Some(error) => io_reason(error),
            None => error.to_string(),
        });
        source = error.source();
    }
    innermost.unwrap_or_else(|| words(status))
}

/// The status's message, else what its code means: a broker that does not know a call says no more.
fn words(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_lowercase(),
        message => message.to_owned(),
    }
}
