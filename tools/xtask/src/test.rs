//! `cargo xtask test`: every test of the repository, the second command of the README.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    build::{Build, TEST_FEATURES, cargo},
    config, interop, kafka_compatibility, release_binary,
    stage::Stages,
};

/// Codec and format features of the client; each alone and none must compile.
const CLIENT_FEATURES: &[&str] = &["", "gzip", "snappy", "lz4", "zstd", "json"];

/// Builds what the tests need, runs them all, and prints each stage's time and the totals.
///
/// # Errors
/// When a stage fails; later stages do not run.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut stages = Stages::default();
    let result = run_stages(root, &mut stages);
    stages.print_times();
    println!("{} passed, {} failed", stages.passed, stages.failed);
    result
}

fn run_stages(root: &Path, stages: &mut Stages) -> Result<()> {
    let build = Build::Ci;
    stages.run("build (profile ci)", &mut build.command(root))?;
    let binaries = build.binaries(root);
    let mut tests = cargo(root);
    tests
        .args(["test", "--profile=ci", "--workspace", "--no-fail-fast"])
        .args(["--features", TEST_FEATURES])
        .env("MILLSTREAMD", &binaries.daemon)
        .env("MILLSTREAM", &binaries.cli);
    stages.run_tests("tests", &mut tests)?;
    if stages.passed == 0 {
        bail!("no test ran");
    }
    let mut cells = (0, 0);
    stages.work("interop, the short part", || {
        cells = interop::run_short(root, &binaries.daemon)?;
        Ok(())
    })?;
    let (green, red) = cells;
    stages.passed += green;
    stages.failed += red;
    if red > 0 {
        bail!("interop: {red} cells are red");
    }
    stages.work("Kafka compatibility", || {
        kafka_compatibility::run(root, true)
    })?;
    let release = Build::Release;
    stages.run("build (profile release)", &mut release.command(root))?;
    stages.work("release binaries", || {
        release_binary::check(&release.binaries(root), &binaries)
    })?;
    stages.work("configuration file", || config::check(root))?;
    for feature in CLIENT_FEATURES {
        let name = if feature.is_empty() { "none" } else { feature };
        let mut check = cargo(root);
        check
            .args(["check", "--package=millstream", "--no-default-features"])
            .args(["--features", feature]);
        stages.run(&format!("client with features: {name}"), &mut check)?;
    }
    Ok(())
}
