//! A Python gRPC client, written from `docs/design/native-api.md`, produces, consumes and shares a group.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
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

/// Held by the test that makes the Python.
static MAKING: Mutex<()> = Mutex::new(());

/// A Python with the client's requirements: made once, kept below `target/`.
fn python(requirements: &Path) -> Result<PathBuf> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
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

/// What a script of the client reports against a daemon of its own.
fn report_of(script: &str) -> Result<serde_json::Value> {
    let folder = binary::repository().join("tests/interop/native_python");
    let python = python(&folder.join("requirements.txt"))?;
    let daemon = Daemon::start()?;
    let work = tempfile::tempdir()?;
    let report = run(Command::new(python)
        .arg(folder.join(script))
        .args(["--server", &daemon.native().to_string()])
        .arg("--api")
        .arg(binary::repository().join("proto/api"))
        .arg("--work")
        .arg(work.path()))
    .with_context(|| daemon.log_tail())?;
    Ok(serde_json::from_str(&report)?)
}

#[test]
fn a_python_client_of_the_native_api_produces_and_consumes() -> Result<()> {
    let report = report_of("client.py")?;
    assert_eq!(report["equal"], true, "{report}");
    assert_eq!(report["produced"], 3_000, "{report}");
    assert_eq!(report["consumed"], 3_000, "{report}");
    Ok(())
}

#[test]
fn members_in_python_share_a_group_and_leave_it() -> Result<()> {
    let report = report_of("group.py")?;
    assert_eq!(report["alone"], 3, "{report}");
    let lost = report["lost"].as_u64().context("a number")?;
    assert!((1..=2).contains(&lost), "{report}");
    let each = |value: serde_json::Value| vec![value; usize::try_from(lost).unwrap_or(0)];
    let names = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    assert_eq!(names("last_commit"), each(serde_json::Value::Null));
    assert_eq!(report["disjoint"], true, "{report}");
    assert_eq!(names("taken_over_at"), each(5.into()), "{report}");
    assert_eq!(names("late_commit"), each("STALE_MEMBER_EPOCH".into()));
    assert_eq!(names("next_commit"), each(serde_json::Value::Null));
    assert_eq!(report["resumed"], lost, "{report}");
    assert_eq!(report["committed"], report["expected"], "{report}");
    assert_eq!(report["left"], serde_json::json!({}), "{report}");
    Ok(())
}
