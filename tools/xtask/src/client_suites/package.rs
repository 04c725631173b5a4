//! [`Packages`]: published packages, fetched by cargo, copied out of its cache and built with their tests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::suite::Suite;
use crate::build::cargo;

/// What a manifest below `target/` needs not to belong to this repository's workspace.
const OWN_WORKSPACE: &str = "\n[workspace]\n";
/// Pins a toolchain, which may be older than ours.
const TOOLCHAIN_PIN: &str = "rust-toolchain.toml";
const MANIFEST: &str = "Cargo.toml";
/// A file that says that a copy is whole.
const MARKER: &str = ".copied";

/// Copies of published packages.
pub(crate) struct Packages<'a> {
    root: &'a Path,
    target: &'a Path,
}

/// A binary of tests.
pub(crate) struct TestBinary {
    /// Its file below `tests/`, without `.rs`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// What `cargo test --message-format json` says of something that it built.
#[derive(Deserialize)]
struct Artifact {
    target: ArtifactTarget,
    executable: PathBuf,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
}

impl<'a> Packages<'a> {
    /// Has cargo fetch the packages of `suites` from its registry, and copies them below `target` where they
    /// are not there yet.
    ///
    /// # Errors
    /// When cargo cannot fetch one, or it cannot be copied.
    pub(crate) fn fetch(root: &'a Path, target: &'a Path, suites: &[&Suite]) -> Result<Self> {
        let packages = Self { root, target };
        let is_copied = |suite: &&&Suite| packages.folder(suite).join(MARKER).exists();
        if suites.iter().all(|suite| is_copied(&suite)) {
            return Ok(packages);
        }
        let fetched = packages.metadata(suites)?;
        for suite in suites {
            let mut fetched = fetched.packages.iter();
            let package = fetched.find(|p| p.name == suite.package && p.version == suite.version);
            let manifest = &package
                .context("cargo fetched another version")?
                .manifest_path;
            packages.copy(suite, manifest)?;
        }
        Ok(packages)
    }

    /// The copy of a suite's package.
    pub(crate) fn folder(&self, suite: &Suite) -> PathBuf {
        self.target
            .join(format!("{}-{}", suite.package, suite.version))
    }

    /// Builds the binaries of a suite with the dependencies of its copy's lock file.
    ///
    /// # Errors
    /// When cargo fails, or builds no test.
    pub(crate) fn build(&self, suite: &Suite) -> Result<Vec<TestBinary>> {
        let mut command = self.cargo("test", &self.manifest(suite));
        command
            .args(["--locked", "--no-run", "--test", "*"])
            .args(["--message-format", "json-render-diagnostics"])
            .arg("--target-dir")
            .arg(self.target.join("build"))
            .args(["--features", &suite.features.join(",")])
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0");
        let messages = stdout(&mut command)?;
        let artifacts = messages.lines().filter_map(|line| {
            // Other messages have no executable.
            let artifact: Artifact = serde_json::from_str(line).ok()?;
            Some((artifact.target.name, artifact.executable))
        });
        let binaries: BTreeMap<_, _> = artifacts.collect();
        ensure!(!binaries.is_empty(), "{} has no tests", suite.package);
        let binary = |(name, path)| TestBinary { name, path };
        Ok(binaries.into_iter().map(binary).collect())
    }

    fn manifest(&self, suite: &Suite) -> PathBuf {
        self.folder(suite).join(MANIFEST)
    }

    /// What a package says that depends on those of `suites`.
    fn metadata(&self, suites: &[&Suite]) -> Result<Metadata> {
        let folder = self.target.join("fetch");
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("src/lib.rs"), "")?;
        let dependencies = suites
            .iter()
            .map(|s| format!("{} = \"={}\"\n", s.package, s.version));
        let dependencies: String = dependencies.collect();
        let manifest = folder.join(MANIFEST);
        fs::write(
            &manifest,
            format!(
                "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                 \n[dependencies]\n{dependencies}{OWN_WORKSPACE}"
            ),
        )?;
        let mut command = self.cargo("metadata", &manifest);
        let metadata = stdout(command.args(["--format-version", "1"]))?;
        Ok(serde_json::from_str(&metadata)?)
    }

    /// Copies a package and makes it one that today's toolchain builds.
    fn copy(&self, suite: &Suite, fetched: &Path) -> Result<()> {
        let source = fetched.parent().context("a manifest is in a folder")?;
        let folder = self.folder(suite);
        copy_folder(source, &folder)?;
        let manifest = self.manifest(suite);
        fs::write(&manifest, fs::read_to_string(fetched)? + OWN_WORKSPACE)?;
        for (dependency, version) in suite.newer {
            let mut command = self.cargo("update", &manifest);
            stdout(command.args(["--package", dependency, "--precise", version]))?;
        }
        Ok(fs::write(folder.join(MARKER), "")?)
    }

    fn cargo(&self, subcommand: &str, manifest: &Path) -> Command {
        let mut command = cargo(self.root);
        command.arg(subcommand).arg("--manifest-path").arg(manifest);
        command
    }
}

/// Copies all but what pins a toolchain.
fn copy_folder(source: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &folder.join(name))?;
        } else if name != TOOLCHAIN_PIN {
            fs::copy(&path, folder.join(name))?;
        }
    }
    Ok(())
}

/// Runs a command whose errors are shown.
fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
