//! Every refusal of the command line and the start, in two lines and with exit code 2.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::process::{Daemon, millstreamd};

/// Standard error of a start that is refused, without log lines, the directory shown as DIR.
fn refusal(command: &mut Command, directory: &Path) -> String {
    let output = command.output().expect("the binary is there");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{text}");
    let is_log_line = |line: &&str| line.starts_with("20") && line.contains("Z ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_log_line(line)).collect();
    lines
        .join("\n")
        .replace(&directory.display().to_string(), "DIR")
}

#[test]
fn unknown_flags_and_keys_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = millstreamd(dir.path());
    let text = refusal(command.args(["--set", "limits.topic_max=5"]), dir.path());
    insta::assert_snapshot!(text);
    let mut command = millstreamd(dir.path());
    insta::assert_snapshot!(refusal(command.arg("--data-dirr"), dir.path()));
}

#[test]
fn a_configuration_file_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("none.toml");
    let mut command = millstreamd(dir.path());
    insta::assert_snapshot!(refusal(command.arg("--config").arg(path), dir.path()));
}

#[test]
fn a_second_daemon_is_refused_with_the_first_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Daemon::start(&mut millstreamd(dir.path()));
    let text = refusal(&mut millstreamd(dir.path()), dir.path());
    assert!(
        text.contains(&format!("(pid {}, since ", first.pid())),
        "{text}"
    );
    let (before, rest) = text.split_once("(pid").expect("the holder");
    let (_, after) = rest.split_once(')').expect("the holder");
    insta::assert_snapshot!(format!("{before}(HOLDER){after}"));
}

#[test]
fn a_busy_port_is_refused_with_its_owner_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mut command = millstreamd(dir.path());
    command.args([
        "--set",
        &format!("listeners.native_address=127.0.0.1:{port}"),
    ]);
    let text = refusal(&mut command, dir.path());
    assert!(
        text.contains(&format!("(pid {})", std::process::id())),
        "{text}"
    );
    let (_, hint) = text.split_once('\n').expect("two lines");
    insta::assert_snapshot!(hint);
    let left = std::fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 0, "nothing was created");
}

#[test]
fn a_busy_port_of_a_further_kafka_listener_is_refused_with_its_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut command = millstreamd(dir.path());
    let more = format!("listeners.kafka_more={address}=broker.example:9093");
    let text = refusal(command.args(["--set", &more]), dir.path());
    let what = format!("error: cannot listen on {address}: the port is in use by ");
    assert!(text.starts_with(&what), "{text}");
    let hint = "hint: stop it, or choose another port in listeners.kafka_more";
    assert!(text.ends_with(hint), "{text}");
    let left = std::fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 0, "nothing was created");
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = millstreamd(dir.path());
    command.args(["--set", "listeners.native_address=192.0.2.1:9192"]);
    insta::assert_snapshot!(refusal(&mut command, dir.path()));
}

#[test]
fn a_directory_below_a_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    insta::assert_snapshot!(refusal(&mut millstreamd(&file.join("data")), dir.path()));
    insta::assert_snapshot!(refusal(&mut millstreamd(&file), dir.path()));
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere but in /proc, where nobody can create a directory.
        let path = Path::new("/proc/millstream");
        let text = refusal(&mut millstreamd(path), path);
        assert!(
            text.starts_with("error: cannot create data directory DIR: "),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2, "{text}");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o500)).expect("ours");
    let text = refusal(&mut millstreamd(&dir.path().join("data")), dir.path());
    assert!(
        text.starts_with("error: cannot create data directory DIR/data: "),
        "{text}"
    );
}

#[test]
fn a_corrupt_metadata_log_is_refused_and_nothing_is_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(&mut millstreamd(dir.path()));
    daemon.signal(rustix::process::Signal::KILL);
    drop(daemon);
    let path = dir.path().join("metadata/00000000000000000001.log");
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[40] ^= 4;
    std::fs::write(&path, &bytes).expect("written");
    let partition = dir.path().join("unknown-0");
    std::fs::create_dir(&partition).expect("created");
    let text = refusal(&mut millstreamd(dir.path()), dir.path());
    let (before, _) = text.split_once("frame has").expect("a reason");
    insta::assert_snapshot!(before);
    assert_eq!(std::fs::read(&path).expect("still there"), bytes);
    assert!(partition.exists());
}

#[test]
fn a_missing_metadata_log_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(&mut millstreamd(dir.path()));
    daemon.signal(rustix::process::Signal::KILL);
    drop(daemon);
    std::fs::remove_file(dir.path().join("metadata/00000000000000000001.log")).expect("there");
    insta::assert_snapshot!(refusal(&mut millstreamd(dir.path()), dir.path()));
}

#[test]
fn metadata_whose_identity_was_lost_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(&mut millstreamd(dir.path()));
    daemon.signal(rustix::process::Signal::KILL);
    drop(daemon);
    for entry in std::fs::read_dir(dir.path()).expect("there") {
        let path = entry.expect("readable").path();
        if path.is_file() {
            std::fs::remove_file(path).expect("ours");
        }
    }
    insta::assert_snapshot!(refusal(&mut millstreamd(dir.path()), dir.path()));
}
