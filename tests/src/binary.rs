//! Where the binaries under test are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// The broker daemon: `MILLSTREAMD`, else the `ci` build of this workspace.
///
/// # Errors
/// When there is none, with the command that builds it.
pub fn daemon_path() -> Result<PathBuf> {
    find("MILLSTREAMD", "millstreamd")
}

/// The admin command line: `MILLSTREAM`, else the `ci` build of this workspace.
///
/// # Errors
/// When there is none, with the command that builds it.
pub fn cli_path() -> Result<PathBuf> {
    find("MILLSTREAM", "millstream")
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file below `tests/data`.
#[must_use]
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data")
        .join(name)
}

fn find(variable: &str, name: &str) -> Result<PathBuf> {
    let path = match env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => target().join("ci").join(name),
    };
    if !path.is_file() {
        bail!(
            "{} is missing: run `cargo build --profile ci --workspace --bins --features \
             millstream-broker/test-hooks`, or set {variable}",
            path.display()
        );
    }
    Ok(path)
}

/// Where cargo builds.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}
