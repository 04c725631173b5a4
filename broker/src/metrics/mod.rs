//! The daemon's metrics.
//!
//! A [`Registry`] is filled while the daemon starts; components register families there and keep
//! the handles, so that nothing is looked up on the hot path.

use prometheus_client::registry::Registry;

/// A registry whose metrics all begin with `millstream_`.
#[must_use]
pub fn registry() -> Registry {
    Registry::with_prefix("millstream")
}
