//! [`Connection`]: channels to brokers and what is known of topics; shared by all parts of a client.

use std::time::Duration;

use crate::error::{Error, Result};

/// What a connection works by.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionConfig {
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) reconnect_backoff: (Duration, Duration),
    pub(crate) metadata_age_max: Duration,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            reconnect_backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            metadata_age_max: Duration::from_secs(60),
        }
    }
}

pub(crate) fn bootstrap_addresses(list: &str) -> Result<Vec<String>> {
    let _ = Error::Address {
        found: list.to_owned(),
    };
    todo!()
}

/// Channels to brokers and what is known of topics.
#[derive(Debug)]
pub(crate) struct Connection {}

impl Connection {
    pub(crate) async fn bootstrap(
        _addresses: Vec<String>,
        _config: ConnectionConfig,
    ) -> Result<Self> {
        todo!()
    }
}
