//! Start, health pages, stop, and what each leaves behind.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::process::{Daemon, millstreamd};

#[test]
fn it_says_that_it_creates_its_directory_and_serves_health_and_metrics() {
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = dir.path().join("data");
    let daemon = Daemon::start(&mut millstreamd(&data_dir));
    let created = daemon
        .lines
        .iter()
        .find(|line| line.contains("created the data directory"));
    assert!(created.is_some_and(|line| line.contains(data_dir.to_str().expect("text"))));
    assert_eq!(daemon.get("/live").0, "HTTP/1.1 200 OK");
    assert_eq!(
        daemon.get("/ready"),
        ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned())
    );
    assert_eq!(daemon.get("/none").0, "HTTP/1.1 404 Not Found");
    let (status, metrics) = daemon.get("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "millstream_ready 1",
        "millstream_panics_total 0",
        "millstream_partitions_offline 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
}

#[test]
fn sigterm_stops_it_with_exit_code_0_and_the_marker_and_it_starts_again() {
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let daemon = Daemon::start(&mut millstreamd(dir.path()));
        assert!(
            !dir.path().join("clean-shutdown").exists(),
            "it is gone while it runs"
        );
        let begun = Instant::now();
        daemon.signal(Signal::TERM);
        let (status, lines) = daemon.wait();
        assert_eq!(status.code(), Some(0), "{lines}");
        assert!(lines.contains("millstreamd has stopped"), "{lines}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(dir.path().join("clean-shutdown").exists());
    }
}

#[test]
fn a_second_signal_exits_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(&mut millstreamd(dir.path()));
    // A request that is never finished keeps the HTTP listener, and with it the daemon, from ending.
    let mut stream = TcpStream::connect(&daemon.http).expect("it listens");
    stream.write_all(b"GET /live HTTP/1.1\r\n").expect("sent");
    daemon.signal(Signal::TERM);
    let mut daemon = daemon;
    daemon.read_until("partitions are flushed");
    daemon.signal(Signal::TERM);
    let (status, lines) = daemon.wait();
    assert_eq!(status.code(), Some(143), "{lines}");
}

#[test]
fn a_killed_daemon_leaves_a_lock_that_the_next_one_takes() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(&mut millstreamd(dir.path()));
    daemon.signal(Signal::KILL);
    drop(daemon);
    let again = Daemon::start(&mut millstreamd(dir.path()));
    assert_eq!(again.get("/ready").1, "ready\n");
}

#[test]
fn it_says_what_is_configured_and_where_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = millstreamd(dir.path());
    command
        .arg("--print-config")
        .env("MILLSTREAM__LIMITS__TOPICS_MAX", "7");
    let output = command.output().expect("it ran");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    for line in [
        "limits.topics_max = 7  # environment MILLSTREAM__LIMITS__TOPICS_MAX",
        "log.disk_reserve = \"0B\"  # flag --set log.disk_reserve=0B",
        "shutdown_timeout = \"5s\"  # default",
        "topics.config.\"retention.ms\" = 604800000  # default",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!dir.path().join("identity").exists(), "nothing was started");
}

#[test]
fn check_and_version_answer_without_starting() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = millstreamd(dir.path())
        .arg("--check")
        .output()
        .expect("it ran");
    assert_eq!(check.stdout, b"configuration is valid\n");
    let version = millstreamd(dir.path())
        .arg("--version")
        .output()
        .expect("it ran");
    let text = String::from_utf8(version.stdout).expect("text");
    assert!(text.starts_with("millstreamd 0.1.0 (commit "), "{text}");
}
