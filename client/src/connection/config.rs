//! [`ConnectionConfig`], and reading the list of bootstrap addresses.

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

/// Splits a comma list of `host:port`.
pub(crate) fn bootstrap_addresses(list: &str) -> Result<Vec<String>> {
    list.split(',')
        .map(str::trim)
        .map(checked_address)
        .collect()
}

fn checked_address(address: &str) -> Result<String> {
    let refused = || Error::Address {
        found: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    let host_is_plain = host.starts_with('[') && host.ends_with(']') || !host.contains(':');
    let characters_fit = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'));
    let port: u16 = port.parse().map_err(|_| refused())?;
    if host.is_empty() || port == 0 || !host_is_plain || !characters_fit {
        return Err(refused());
    }
    Ok(address.to_owned())
}

/// `host:port` as a broker tells it; a bare IPv6 address gets its brackets. `None` while unknown.
pub(crate) fn join_address(host: &str, port: u32) -> Option<String> {
    match (host, port) {
        ("", _) | (_, 0) => None,
        (host, port) if host.contains(':') && !host.starts_with('[') => {
            Some(format!("[{host}]:{port}"))
        }
        (host, port) => Some(format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_addresses_are_split() {
        assert_eq!(
            bootstrap_addresses("127.0.0.1:9192, [::1]:9192,broker-1.example:1").unwrap(),
            ["127.0.0.1:9192", "[::1]:9192", "broker-1.example:1"]
        );
    }

    #[test]
    fn other_texts_are_refused_and_named() {
        for bad in [
            "",
            "localhost",
            "localhost:",
            ":9192",
            "a:0",
            "a:65536",
            "::1:9192",
            "a b:1",
            "x/y:1",
        ] {
            let error = bootstrap_addresses(bad).unwrap_err();
            assert!(
                matches!(&error, Error::Address { found } if found == bad),
                "{bad}: {error}"
            );
        }
        assert!(bootstrap_addresses("127.0.0.1:9192,").is_err());
    }

    #[test]
    fn ipv6_addresses_of_brokers_get_brackets() {
        assert_eq!(join_address("::1", 9192).as_deref(), Some("[::1]:9192"));
        assert_eq!(join_address("host", 9192).as_deref(), Some("host:9192"));
        assert_eq!(join_address("", 9192), None);
    }
}
