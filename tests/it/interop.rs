//! A Python gRPC client, written from `docs/design/native-api.md`, produces and consumes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use millstream_tests::{Daemon, binary};

fn run(command: &mut Command) -> Result<String> {
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

/// A Python with the client's requirements: made once, kept below `target/`.
fn python(requirements: &Path) -> Result<PathBuf> {
    let home = binary::target().join("interop-python");
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
    .context("needs the packages of tests/interop/native_python/requirements.txt")?;
    std::fs::write(&marker, wanted)?;
    Ok(python)
}

#[test]
fn a_python_client_of_the_native_api_produces_and_consumes() -> Result<()> {
    let folder = binary::repository().join("tests/interop/native_python");
    let python = python(&folder.join("requirements.txt"))?;
    let daemon = Daemon::start()?;
    let work = tempfile::tempdir()?;
    let report = run(Command::new(python)
        .arg(folder.join("client.py"))
        .args(["--server", &daemon.native().to_string()])
        .arg("--api")
        .arg(binary::repository().join("proto/api"))
        .arg("--work")
        .arg(work.path()))
    .with_context(|| daemon.log_tail())?;
    let report: serde_json::Value = serde_json::from_str(&report)?;
    assert_eq!(report["equal"], true, "{report}");
    assert_eq!(report["produced"], 3_000, "{report}");
    assert_eq!(report["consumed"], 3_000, "{report}");
    Ok(())
}
