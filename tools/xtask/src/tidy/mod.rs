//! `cargo xtask tidy`: the rules of this repository that a machine can see.
//!
//! [`table`] holds the rules; [`imports`] and [`shape`] apply them to what [`source`] reads. It runs
//! as a test too, so `cargo xtask test` fails on the same complaints.

mod imports;
mod shape;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::{fmt, fs, path::Path};

use anyhow::{Result, bail};

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    path: String,
    /// 1-based; 0 where the whole file is meant.
    line: usize,
    text: String,
}

impl Complaint {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// Checks the repository at `root`, prints every complaint, and fails when there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let (files, complaints) = check(root)?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("tidy: {} complaints", complaints.len());
    }
    println!("tidy: {files} files, no complaint");
    Ok(())
}

/// How many files there are, and what is wrong with them.
pub(crate) fn check(root: &Path) -> Result<(usize, Vec<Complaint>)> {
    let sources = source::load(root)?;
    let mut complaints = Vec::new();
    imports::check_manifests(root, &mut complaints)?;
    check_lock(
        &fs::read_to_string(root.join("Cargo.lock"))?,
        &mut complaints,
    );
    for source in &sources {
        shape::check(source, &mut complaints);
        imports::check_paths(source, &mut complaints);
    }
    Ok((sources.len(), complaints))
}

/// Every package of `Cargo.lock` is ours or from the one registry that the first of them names: no git
/// dependency, no second registry.
fn check_lock(lock: &str, complaints: &mut Vec<Complaint>) {
    let registry = lock
        .lines()
        .find_map(|line| line.strip_prefix("source = \"registry+"));
    for (index, line) in lock.lines().enumerate() {
        if let Some(source) = line.strip_prefix("source = ")
            && source
                .strip_prefix("\"registry+")
                .is_none_or(|found| Some(found) != registry)
        {
            let text =
                format!("takes a package from {source}, not from the registry of the others");
            complaints.push(Complaint::new("Cargo.lock", index + 1, text));
        }
    }
}
