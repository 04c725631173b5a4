//! A Python with packages, for clients in that language.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};

use crate::binary;

/// Runs a command to its end; returns what it printed.
///
/// # Errors
/// It cannot be started, or fails; what it said is in the error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Held by the test that makes the Python.
static MAKING: Mutex<()> = Mutex::new(());

/// A Python with these requirements: made once for their folder, kept below `target/`.
///
/// # Errors
/// Python 3 or its module `venv` is missing, or the packages cannot be had.
pub fn with(requirements: &Path) -> Result<PathBuf> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = requirements.parent().and_then(Path::file_name);
    let folder = folder.context("requirements are in a folder")?;
    let home = binary::target().join("interop").join(folder);
    let marker = home.join("requirements.txt");
    let python = home.join("bin/python");
    let wanted = std::fs::read_to_string(requirements)?;
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&home))
        .context("needs python3 with its venv module")?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(requirements))
    .with_context(|| format!("needs the packages of {}", requirements.display()))?;
    std::fs::write(&marker, wanted)?;
    Ok(python)
}
