//! Builds of the two binaries: `release` for people, `ci` (with test hooks) for tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Which of the two optimised builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// What users run; no test hooks.
    Release,
    /// What tests run: assertions and test hooks on, no link-time optimisation.
    Ci,
}

/// The features of the workspace's tests. The build before them names the same ones, so that
/// nothing is compiled twice.
pub(crate) const TEST_FEATURES: &str = "millstream-broker/test-hooks";

/// The daemon and the command line.
pub(crate) struct Binaries {
    pub(crate) daemon: PathBuf,
    pub(crate) cli: PathBuf,
}

impl Build {
    /// The build that the environment asks for: `CI=true` shares the tests' build.
    pub(crate) fn from_environment() -> Self {
        if is_ci() { Self::Ci } else { Self::Release }
    }

    /// Where the build puts the binaries.
    pub(crate) fn binaries(self, root: &Path) -> Binaries {
        let folder = target_folder(root).join(match self {
            Self::Release => "release",
            Self::Ci => "ci",
        });
        Binaries {
            daemon: folder.join("millstreamd"),
            cli: folder.join("millstream"),
        }
    }

    /// The command that makes them.
    pub(crate) fn command(self, root: &Path) -> Command {
        let mut cargo = cargo(root);
        match self {
            Self::Release => cargo
                .args(["build", "--release"])
                .args(["--package=millstream-broker", "--package=millstream-cli"]),
            // The tests too: one set of features for all, so that `cargo test` compiles nothing.
            Self::Ci => cargo
                .args(["build", "--profile=ci", "--workspace", "--bins", "--tests"])
                .args(["--features", TEST_FEATURES]),
        };
        cargo
    }
}

/// Whether this run is a CI run.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// `cargo` of this toolchain at the root of the repository.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.current_dir(root);
    command
}

fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
