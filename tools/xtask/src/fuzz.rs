//! `cargo xtask fuzz TARGET`: libFuzzer on one target of `tests/fuzz`, with the stable compiler.
//!
//! The compiler counts edges and compares in every crate, which takes flags that rebuild everything, so this
//! has a build directory of its own.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use clap::Args;

/// What `cargo fuzz` gives the compiler where no sanitizer is wanted: those need another compiler.
const RUSTFLAGS: &str = "--cfg fuzzing -C passes=sancov-module \
     -C llvm-args=-sanitizer-coverage-level=4 \
     -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
     -C llvm-args=-sanitizer-coverage-pc-table \
     -C llvm-args=-sanitizer-coverage-trace-compares";
/// With `--target` the flags are not those of build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Where the build, and what was tried, are kept.
const DIRECTORY: &str = "target/fuzz";
/// What one input may take.
const LIMITS: [&str; 3] = ["-timeout=5", "-rss_limit_mb=512", "-max_len=16384"];

#[derive(Args)]
pub(crate) struct Options {
    /// The target, a name in tests/fuzz/src/lib.rs
    target: String,
    /// How long it runs
    #[arg(long, default_value_t = 120)]
    seconds: u32,
    /// Only build it
    #[arg(long)]
    build: bool,
}

/// Fuzzes the target, from its corpus on. What breaks it is a file in `target/fuzz/TARGET-*`.
///
/// # Errors
/// When it does not build, or an input breaks it.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let target = &options.target;
    let corpus = root.join("tests/fuzz/corpus").join(target);
    ensure!(corpus.is_dir(), "there is no fuzz target {target}");
    let directory = root.join(DIRECTORY);
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(root)
        .env("RUSTFLAGS", RUSTFLAGS)
        .args(["build", "--profile", "ci", "--package", "millstream-fuzz"])
        .args(["--bin", "millstream-fuzz", "--target", TRIPLE])
        .arg("--target-dir")
        .arg(&directory);
    ensure!(cargo.status()?.success(), "the fuzzer does not build");
    if options.build {
        return Ok(());
    }
    // What is tried with success goes to the first directory.
    let tried = directory.join("corpus").join(target);
    fs::create_dir_all(&tried)?;
    let mut fuzzer = Command::new(directory.join(TRIPLE).join("ci/millstream-fuzz"));
    fuzzer
        .env("MILLSTREAM_FUZZ_TARGET", target)
        .arg(&tried)
        .arg(&corpus)
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!(
            "-artifact_prefix={}/{target}-",
            directory.display()
        ))
        .args(LIMITS);
    ensure!(fuzzer.status()?.success(), "an input breaks {target}");
    Ok(())
}
