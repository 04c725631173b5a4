//! The binary itself, where no broker is there: exit codes, the two streams, refusals.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Output, Stdio},
};

/// Runs the binary with `input` and no environment of ours.
fn millstream(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(args)
        .env_remove("MILLSTREAM_SERVER")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("built");
    let mut stdin = child.stdin.take().expect("piped");
    // The command may refuse without reading.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("ends")
}

/// Standard error of a command that must end with 2 and print no data.
fn refusal(args: &[&str]) -> String {
    let output = millstream(args, b"");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// A port of the loopback address that nobody listens on.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

#[test]
fn a_broker_that_is_not_there_is_told_by_every_command_in_the_same_words() {
    let server = format!("127.0.0.1:{}", closed_port());
    for command in [
        &["topics", "list"] as &[&str],
        &["topics", "create", "flights"],
        &["topics", "delete", "flights", "--yes"],
        &["produce", "flights"],
        &["consume", "flights"],
        &["configs", "describe", "--broker"],
        &["cluster", "describe"],
        &["bench", "produce"],
    ] {
        let text = refusal(&[command, &["--server", &server]].concat());
        let expected = format!(
            "error: cannot reach {server}: connection refused\n\
             hint: start one with millstreamd, or pass --server\n"
        );
        assert_eq!(text, expected, "{command:?}");
    }
}

#[test]
fn what_can_be_refused_without_a_broker_is_refused_without_one() {
    let refusals = [
        refusal(&["produce", "flights", "no/such/file.csv"]),
        refusal(&["produce", "flights", "."]),
        refusal(&["produce", "flights", "--key", "tailnum"]),
        refusal(&[
            "produce",
            "flights",
            "--format",
            "json",
            "--timestamp",
            "at",
        ]),
        refusal(&["topics", "list", "--server", "nowhere"]),
        refusal(&["topics", "list", "--server", "127.0.0.1:99999"]),
        refusal(&["topics", "crate", "flights"]),
        refusal(&["man", "topics", "crate"]),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn help_and_version_are_data_and_no_command_is_an_error() {
    for args in [
        &["--help"] as &[&str],
        &["topics", "--help"],
        &["--version"],
    ] {
        let output = millstream(args, b"");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{args:?}"
        );
    }
    for args in [&[] as &[&str], &["topics"]] {
        let output = millstream(args, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let script = format!(
        "set -o pipefail; '{}' completions bash | head -c 10 >/dev/null",
        env!("CARGO_BIN_EXE_millstream")
    );
    for _ in 0..5 {
        let status = Command::new("bash").args(["-c", &script]).status();
        assert_eq!(status.expect("bash runs").code(), Some(0));
    }
}

#[test]
fn completions_name_the_nouns_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = millstream(&["completions", shell], b"");
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(
            script.contains("produce") && script.contains("topics"),
            "{shell}"
        );
    }
}
