//! The binary itself, where no broker is there: exit codes, the two streams, refusals.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use millstream_log::{
    io::DiskIo,
    manifest::{Manifest, ManifestEntry, SegmentChecksums},
    segment_meta::SegmentMeta,
};
use millstream_proto::Offset;
use serde_json::json;

/// A data directory that Kafka wrote.
const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/kafka-4.3.1-log"
);

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
        &["consume", "flights", "--group", "readers"],
        &["groups", "list"],
        &["groups", "describe", "readers"],
        &["groups", "delete", "readers", "--yes"],
        &["offsets", "list", "readers"],
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
}

#[test]
fn a_noun_without_a_verb_shows_its_help_on_standard_error() {
    for noun in [
        "", "topics", "groups", "offsets", "configs", "cluster", "log", "bench",
    ] {
        for server in ["", "--server=127.0.0.1:9192"] {
            let args: Vec<_> = [noun, server]
                .into_iter()
                .filter(|arg| !arg.is_empty())
                .collect();
            let output = millstream(&args, b"");
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            assert!(output.stdout.is_empty(), "{args:?}");
            let said = text(&output.stderr);
            assert!(!said.contains("error:"), "{args:?}: {said}");
            let usage = format!(
                "Usage: {} [OPTIONS] <COMMAND>",
                format!("millstream {noun}").trim()
            );
            assert!(said.contains(&usage), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_file_that_is_none_of_a_log_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notes.txt");
    fs::write(&path, "hello").expect("writable");
    for verb in ["dump", "verify"] {
        let output = millstream(&["log", verb, path.to_str().expect("text")], b"");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("no file of a log has this name"), "{said}");
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
        for noun in ["produce", "topics", "groups", "offsets"] {
            assert!(script.contains(noun), "{noun} for {shell}");
        }
    }
}

/// A copy of one of Kafka's partition directories, to damage.
fn copy_of(partition: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    let target = copy.path().join(partition);
    fs::create_dir(&target).expect("created");
    for entry in fs::read_dir(Path::new(GOLDEN).join(partition)).expect("golden data") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), target.join(entry.file_name())).expect("copied");
    }
    copy
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn a_sound_directory_verifies_with_0_and_a_flipped_bit_with_1() {
    let sound = millstream(&["log", "verify", GOLDEN], b"");
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    assert!(
        text(&sound.stdout).ends_with("nothing is wrong\n"),
        "{sound:?}"
    );

    let copy = copy_of("flights-zstd-0");
    let directory = copy.path().join("flights-zstd-0");
    let log = directory.join("00000000000000000000.log");
    let mut bytes = fs::read(&log).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).expect("writable");
    let path = directory.to_str().expect("text");

    let damaged = millstream(&["log", "verify", path], b"");
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    assert!(text(&damaged.stdout).contains("damaged: "), "{damaged:?}");
    let json = millstream(&["log", "verify", path, "--output", "json"], b"");
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(report["intact"], false);
    let dumped = millstream(&["log", "dump", path], b"");
    assert_eq!(dumped.status.code(), Some(1), "{dumped:?}");
    assert!(text(&dumped.stdout).contains("crc_ok=false"), "{dumped:?}");
}

#[test]
fn a_dump_shows_batches_records_and_entries() {
    let path = Path::new(GOLDEN).join("transactions-0");
    let path = path.to_str().expect("text");
    let dumped = millstream(&["log", "dump", path, "--records", "--output", "json"], b"");
    assert_eq!(dumped.status.code(), Some(0), "{dumped:?}");
    let rows: Vec<serde_json::Value> = text(&dumped.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let batches = rows.iter().filter(|row| row.get("base_offset").is_some());
    let in_batches: u64 = batches
        .map(|row| row["records"].as_u64().expect("a count"))
        .sum();
    let records = rows
        .iter()
        .filter(|row| row.get("offset").is_some())
        .count();
    assert!(records > 10, "{records} records");
    assert_eq!(records as u64, in_batches);
    let topic_id = rows.iter().find_map(|row| row.get("topic_id"));
    assert_eq!(
        topic_id.expect("partition.metadata"),
        "WmneuPmDQQ2jqoUECw99yw"
    );
    assert!(rows.iter().any(|row| row["control"] == "commit"));
    assert!(rows.iter().any(|row| row["control"] == "abort"));
}

#[test]
fn a_directory_without_a_log_is_an_error() {
    let empty = tempfile::tempdir().expect("a directory");
    let other = empty.path().join("etc");
    fs::create_dir(&other).expect("created");
    fs::write(other.join("hosts"), "localhost").expect("written");
    for directory in [empty.path(), &other] {
        let path = directory.to_str().expect("text");
        for verb in ["dump", "verify"] {
            assert_eq!(
                refusal(&["log", verb, path]),
                format!(
                    "error: {path} holds no log: neither a data directory's files nor a partition's\n\
                     hint: pass a data directory, a partition's directory in one, or a file of a segment\n"
                )
            );
        }
    }
}

#[test]
fn a_manifest_is_dumped_in_fields() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut meta = SegmentMeta::empty(Offset::ZERO);
    meta.add_batch(Offset::new(9).expect("positive"), 1_234, 99);
    let mut manifest = Manifest::new();
    manifest.insert(ManifestEntry {
        meta,
        checksums: SegmentChecksums {
            log: 7,
            ..SegmentChecksums::default()
        },
        sealed: true,
    });
    manifest.set_cut(Offset::new(10).expect("positive"), 55);
    manifest.store(&DiskIo, directory.path()).expect("stored");
    let path = directory.path().join("manifest");
    let path = path.to_str().expect("text");
    let dumped = millstream(&["log", "dump", path, "--output", "json"], b"");
    let rows: Vec<serde_json::Value> = text(&dumped.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    assert_eq!(
        rows,
        [
            json!({
                "file": path, "base_offset": 0, "last_offset": 9, "size_bytes": 1_234,
                "max_timestamp_ms": 99, "max_timestamp_offset": 9, "sealed": true, "log_crc": 7,
                "index_crc": 0, "index_bytes": 0, "timeindex_crc": 0, "timeindex_bytes": 0,
                "txnindex_crc": 0,
            }),
            json!({"file": path, "cut_segment": 10, "size_bytes": 55}),
        ]
    );
}

#[test]
fn a_path_that_is_not_there_is_an_error() {
    for verb in ["dump", "verify"] {
        assert_eq!(
            refusal(&["log", verb, "no/such/directory"]),
            "error: cannot read no/such/directory: no such file or directory\nhint: check the path\n"
        );
    }
}
