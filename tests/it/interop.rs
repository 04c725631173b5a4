//! A Python gRPC client, written from `docs/design/native-api.md`, produces, consumes and shares a group.

use std::process::Command;

use anyhow::{Context as _, Result};
use millstream_tests::{
    Daemon, binary,
    python::{self, run},
};

/// What a script of the client reports against a daemon of its own.
fn report_of(script: &str) -> Result<serde_json::Value> {
    let folder = binary::repository().join("tests/interop/native_python");
    let python = python::with(&folder.join("requirements.txt"))?;
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
