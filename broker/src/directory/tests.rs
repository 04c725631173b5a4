//! Locks, identities, and every refusal of a data directory as the operator sees it.

use std::io::IoSlice;

use millstream_log::io::MemoryIo;

use super::*;

const PATH: &str = "/data";

fn lock(io: &MemoryIo) -> Result<Directory, Refusal> {
    let io: Arc<dyn LogIo> = Arc::new(io.clone());
    Directory::lock(io, Path::new(PATH), "millstreamd 0.1.0 (pid 17)")
}

fn write(io: &MemoryIo, path: &str, bytes: &[u8]) {
    let file = io.open(Path::new(path), OpenMode::Create).expect("memory");
    file.set_len(0).expect("memory");
    file.write_all_at(&[IoSlice::new(bytes)], 0)
        .expect("memory");
}

fn identity() -> Identity {
    Identity {
        node_id: BrokerId(1),
        cluster_id: [7; 16],
        directory_id: [8; 16],
    }
}

/// A directory that was claimed and let go.
fn claimed() -> MemoryIo {
    let io = MemoryIo::new();
    let directory = lock(&io).expect("free");
    assert!(directory.was_created());
    directory.claim(&identity()).expect("memory");
    io
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.expect_err("refused").two_lines().to_string()
}

#[test]
fn an_identity_is_read_back_after_a_power_cut() {
    let io = claimed();
    for seed in 0..50 {
        let directory = lock(&io.crash(seed)).expect("free");
        assert_eq!(directory.identity(BrokerId(1)), Ok(Some(identity())));
        assert!(!directory.was_created());
    }
}

#[test]
fn an_empty_directory_belongs_to_nobody() {
    let io = MemoryIo::new();
    io.create_dir_all(Path::new("/data/lost+found"))
        .expect("memory");
    let directory = lock(&io).expect("free");
    assert_eq!(directory.identity(BrokerId(1)), Ok(None));
}

#[test]
fn a_lock_is_refused_with_its_holder_and_free_again_when_dropped() {
    let io = MemoryIo::new();
    let held = lock(&io).expect("free");
    insta::assert_snapshot!(refusal(lock(&io)));
    drop(held);
    assert!(lock(&io).is_ok());
}

#[test]
fn only_a_directory_that_was_used_is_locked_before_anything_is_created() {
    let io = MemoryIo::new();
    let shared: Arc<dyn LogIo> = Arc::new(io.clone());
    let lock_used = || Directory::lock_used(&shared, Path::new(PATH), "pid 18");
    assert!(lock_used().expect("free").is_none());
    assert!(io.metadata(Path::new(PATH)).is_err(), "nothing was created");
    let held = lock(&io).expect("free");
    assert!(refusal(lock_used()).contains("pid 17"));
    drop(held);
    assert!(lock_used().expect("free").is_some());
}

#[test]
fn a_file_is_no_directory() {
    let io = MemoryIo::new();
    write(&io, PATH, b"");
    insta::assert_snapshot!(refusal(lock(&io)));
}

#[test]
fn another_nodes_directory_is_refused() {
    let directory = lock(&claimed()).expect("free");
    insta::assert_snapshot!(refusal(directory.identity(BrokerId(2))));
}

#[test]
fn what_a_power_cut_left_of_the_first_start_is_no_data() {
    let io = MemoryIo::new();
    io.create_dir_all(Path::new(PATH)).expect("memory");
    write(&io, "/data/identity.new", b"cut");
    let directory = lock(&io).expect("free");
    assert_eq!(directory.identity(BrokerId(1)), Ok(None));
}

#[test]
fn data_without_an_identity_is_refused() {
    let io = MemoryIo::new();
    io.create_dir_all(Path::new("/data/flights-0"))
        .expect("memory");
    let directory = lock(&io).expect("free");
    insta::assert_snapshot!(refusal(directory.identity(BrokerId(1))));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let io = claimed();
    let mut payload = identity().payload();
    payload[..4].copy_from_slice(&2u32.to_be_bytes());
    write(
        &io,
        "/data/identity",
        &KIND.encode(&payload).expect("small"),
    );
    let directory = lock(&io).expect("free");
    insta::assert_snapshot!(refusal(directory.identity(BrokerId(1))));
}

#[test]
fn a_newer_version_of_the_identity_file_is_refused_by_name() {
    let io = claimed();
    let newer = FrameKind { version: 2, ..KIND };
    let bytes = newer.encode(&identity().payload()).expect("small");
    write(&io, "/data/identity", &bytes);
    let directory = lock(&io).expect("free");
    insta::assert_snapshot!(refusal(directory.identity(BrokerId(1))));
}

#[test]
fn every_flipped_bit_of_the_identity_is_refused() {
    let io = claimed();
    let path = Path::new("/data/identity");
    let whole = io.contents(path).expect("memory");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        write(&io, "/data/identity", &bytes);
        let directory = lock(&io).expect("free");
        let text = refusal(directory.identity(BrokerId(1)));
        assert!(text.contains("/data/identity"), "bit {bit}: {text}");
    }
}
