//! Tidy on this repository, and on small files that break each rule.

use std::path::Path;

use super::{
    Complaint, check, check_lock, imports, shape,
    source::{Source, named_paths},
    table::CRATES,
};

fn complaints_about(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, text.to_owned()).expect("valid Rust");
    let mut complaints = Vec::new();
    shape::check(&source, &mut complaints);
    imports::check_paths(&source, &mut complaints);
    complaints.into_iter().map(|c| c.text).collect()
}

#[test]
fn this_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (files, complaints) = check(&root).expect("readable");
    assert!(files > 50, "only {files} files found");
    let list: Vec<_> = complaints.iter().map(Complaint::to_string).collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[test]
fn a_higher_layer_is_refused_however_it_is_spelled() {
    let expected = ["module partition must not import module service"];
    for code in [
        "use crate::service::Produce;",
        "use crate::{clock::Clock, service::{Produce, Fetch}};",
        "use super::super::service::Produce;",
        "fn f() { let x = crate::service::Produce::new(); }",
        "fn f() { println!(\"{}\", crate::service::NAME); }",
    ] {
        let text = format!("//! A test.\n{code}\n");
        let mut found = complaints_about("broker/src/partition/append.rs", &text);
        found.dedup();
        assert_eq!(found, expected, "{code}");
    }
}

#[test]
fn lower_layers_the_ground_and_tests_are_free() {
    for code in [
        "use crate::quorum::Image;",
        "use crate::clock::Clock;",
        "use super::Partition;",
        "#[cfg(test)] mod tests { use crate::service::Produce; }",
    ] {
        let text = format!("//! A test.\n{code}\n");
        let found = complaints_about("broker/src/partition/append.rs", &text);
        assert_eq!(found, [""; 0], "{code}");
    }
}

#[test]
fn the_ground_and_siblings_of_a_layer_stay_below() {
    let text = "//! A test.\nuse crate::server::Server;\n";
    assert_eq!(
        complaints_about("broker/src/clock.rs", text),
        ["module clock must not import module server"]
    );
    let text = "//! A test.\nuse crate::consumer::Consumer;\n";
    assert_eq!(
        complaints_about("client/src/producer/mod.rs", text),
        ["module producer must not import module consumer"]
    );
}

#[test]
fn std_fs_is_refused_outside_the_seam() {
    let text = "//! A test.\nuse std::{io, fs::File};\n";
    let expected = ["uses std::fs: files go through LogIo"];
    assert_eq!(complaints_about("broker/log/src/roll.rs", text), expected);
    assert_eq!(complaints_about("broker/log/src/io/disk.rs", text), [""; 0]);
    assert_eq!(complaints_about("tools/cli/src/input.rs", text), [""; 0]);
}

#[test]
fn the_engine_takes_no_clock_and_no_hash_order() {
    let text = "//! A test.\nuse std::{time::Instant, collections::HashMap};\n";
    assert_eq!(
        complaints_about("broker/engine/src/group/state.rs", text),
        [
            "uses std::time::Instant: time is an argument",
            "uses std::collections::HashMap: its iteration order is random",
        ]
    );
}

#[test]
fn unsafe_is_refused_outside_its_file() {
    let text = "//! A test.\nfn f() { unsafe { g() } }\n";
    assert_eq!(complaints_about("client/src/lib.rs", text).len(), 1);
    let seam = complaints_about("broker/log/src/io/mmap.rs", text);
    assert_eq!(seam, [""; 0]);
}

#[test]
fn sizes_docs_and_names_are_checked() {
    let long = format!("//! A test.\nfn f() {{\n{}}}\n", "g();\n".repeat(99));
    assert_eq!(
        complaints_about("client/src/lib.rs", &long),
        ["function f has 101 lines, at most 100 are allowed"]
    );
    let longer = format!("//! A test.\n{}", "\n".repeat(700));
    assert_eq!(
        complaints_about("client/src/lib.rs", &longer),
        ["has 701 lines, at most 700 are allowed"]
    );
    assert_eq!(
        complaints_about("client/src/lib.rs", "fn f() {}\n"),
        ["does not start with `//!` saying what it is"]
    );
    assert_eq!(
        complaints_about("client/src/utils.rs", "//! A test.\n"),
        ["is named utils, which says nothing about what is inside"]
    );
    assert_eq!(
        complaints_about("client/src/lib.rs", "//! A test.\nmod helpers {}\n"),
        ["module helpers says nothing about what is inside"]
    );
}

#[test]
fn banned_words_are_found_in_definitions() {
    let text = "//! A test.\nstruct Log { hw: u64, message_count: u64 }\n";
    assert_eq!(
        complaints_about("broker/log/src/log.rs", text),
        [
            "hw says hw: say high_watermark",
            "message_count says message: say record",
        ]
    );
    let text = "//! A test.\nstruct Refusal { message: String }\n";
    assert_eq!(complaints_about("client/src/lib.rs", text), [""; 0]);
}

#[test]
fn names_are_split_into_words() {
    for name in ["log_end_offset", "LogEndOffset", "LOG_END_OFFSET"] {
        assert_eq!(shape::words(name), ["log", "end", "offset"]);
    }
}

#[test]
fn paths_of_one_machine_are_found_in_any_text() {
    let text = format!("See {}me/somebody/notes.\n", "/ho");
    let source = Source::new("docs/testing.md", text).expect("no Rust");
    let mut complaints = Vec::new();
    shape::check(&source, &mut complaints);
    assert_eq!(complaints.len(), 1);
}

#[test]
fn a_forbidden_dependency_is_found_in_a_manifest() {
    let client = CRATES.iter().find(|c| c.package == "millstream");
    let mut complaints = Vec::new();
    let manifest = "[dependencies]\nmillstream-log.workspace = true\n[lints]\nworkspace = true\n";
    imports::check_manifest(
        client.expect("listed"),
        "client/Cargo.toml",
        manifest,
        &mut complaints,
    )
    .expect("valid TOML");
    let expected = Complaint::new(
        "client/Cargo.toml",
        0,
        "millstream must not depend on millstream-log",
    );
    assert_eq!(complaints, [expected]);
}

#[test]
fn a_git_dependency_is_found_in_the_lock() {
    let mut complaints = Vec::new();
    check_lock("source = \"git+https://example.org/x\"\n", &mut complaints);
    assert_eq!(complaints.len(), 1);
    let lock = "source = \"registry+a\"\nsource = \"registry+a\"\nsource = \"registry+b\"\n";
    check_lock(lock, &mut complaints);
    assert_eq!(complaints.len(), 2);
}

#[test]
fn paths_are_spelled_out_from_use_groups() {
    let tokens = "use a::{b::{c, d}, e}; x::y::<z::W>();"
        .parse()
        .expect("tokens");
    let found: Vec<_> = named_paths(tokens)
        .into_iter()
        .map(|path| path.segments.join("::"))
        .collect();
    assert_eq!(found, ["use", "a::b::c", "a::b::d", "a::e", "x::y", "z::W"]);
}
