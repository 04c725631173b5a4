//! Version and commit of this build.

/// The release, as in Cargo.toml.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// The release with the commit it was built from, or "unknown commit".
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("MILLSTREAM_COMMIT"),
    ")"
);
