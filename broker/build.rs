//! Tells the daemon which commit it is built from: what `MILLSTREAM_COMMIT` says, where sources come
//! without their history, else git; without either it says so instead of failing.

#![allow(
    clippy::print_stdout,
    reason = "cargo reads what a build script prints"
)]

use std::{path::Path, process::Command};

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

fn main() {
    let told = std::env::var("MILLSTREAM_COMMIT").ok();
    let told = told.filter(|commit| !commit.is_empty());
    let commit = told.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let commit = commit.map_or_else(|| "unknown commit".into(), |id| format!("commit {id}"));
    println!("cargo::rustc-env=MILLSTREAM_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MILLSTREAM_COMMIT");
    // `logs/HEAD` grows with every commit, checkout and rebase, in work trees too.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
