//! Traces of real files, and what is rebuilt from them.

use super::*;
use crate::io::{DiskIo, Trace};
use std::{collections::HashSet, path::PathBuf};
use tempfile::TempDir;

struct Bed {
    temp: TempDir,
    io: RecordingIo<DiskIo>,
}

impl Bed {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let io = RecordingIo::create(DiskIo, &temp.path().join("trace")).unwrap();
        Self { temp, io }
    }

    fn data(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    fn trace(&self) -> Trace {
        Trace::read(&self.temp.path().join("trace")).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Arc<dyn LogFile> {
        let file = self
            .io
            .open(&self.data().join(name), OpenMode::Create)
            .unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
        file
    }

    /// Contents of `name` after 100 cuts at this entry.
    fn seen(&self, cut: usize, name: &str) -> HashSet<Option<Vec<u8>>> {
        let trace = self.trace();
        let look = |seed| {
            let target = self.temp.path().join(format!("image-{cut}-{seed}"));
            trace.rebuild(cut, seed, &self.data(), &target).unwrap();
            let bytes = std::fs::read(target.join(name)).ok();
            std::fs::remove_dir_all(&target).unwrap();
            bytes
        };
        (0..100).map(look).collect()
    }
}

fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

#[test]
fn flushed_bytes_in_flushed_directories_are_in_every_image_from_then_on() {
    let bed = Bed::new();
    bed.io.create_dir_all(&bed.data()).unwrap();
    bed.io.sync_dir(bed.temp.path()).unwrap();
    let file = bed.put("a", b"first");
    file.sync_data().unwrap();
    bed.io.sync_dir(&bed.data()).unwrap();
    let safe = bed.trace().len();
    file.write_all_at(&[IoSlice::new(b"FIRST")], 0).unwrap();
    assert_eq!(bed.seen(safe, "a"), HashSet::from([some(b"first")]));
    let later = HashSet::from([some(b"first"), some(b"FIRST")]);
    assert_eq!(bed.seen(safe + 1, "a"), later);
    let before_dir_sync = HashSet::from([None, some(b"first")]);
    assert_eq!(bed.seen(safe - 1, "a"), before_dir_sync);
}

#[test]
fn directories_that_were_there_before_are_durable_and_new_ones_are_not() {
    let bed = Bed::new();
    bed.io.create_dir_all(&bed.data().join("new")).unwrap();
    let file = bed.put("new/a", b"x");
    file.sync_data().unwrap();
    for dir in ["data/new", "data"] {
        bed.io.sync_dir(&bed.temp.path().join(dir)).unwrap();
    }
    let cut = bed.trace().len();
    assert_eq!(bed.seen(cut, "new/a"), HashSet::from([None, some(b"x")]));
    bed.io.sync_dir(bed.temp.path()).unwrap();
    assert_eq!(bed.seen(cut + 1, "new/a"), HashSet::from([some(b"x")]));
}

#[test]
fn replay_starts_from_a_copy_of_what_was_there() {
    let bed = Bed::new();
    let base = bed.temp.path().join("base");
    for dir in [&base, &bed.data()] {
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/a"), b"old").unwrap();
    }
    let file = bed
        .io
        .open(&bed.data().join("sub/a"), OpenMode::Write)
        .unwrap();
    file.write_all_at(&[IoSlice::new(b"new")], 0).unwrap();
    let trace = bed.trace();
    assert!(
        trace
            .rebuild(1, 0, &bed.data(), &bed.temp.path().join("no"))
            .is_err()
    );
    let mut seen = HashSet::new();
    for seed in 0..50 {
        let mut replay = trace.replay();
        replay.start_from(&base, &bed.data()).unwrap();
        replay.advance_to(trace.len()).unwrap();
        let target = bed.temp.path().join(format!("image-{seed}"));
        replay.crash_into(seed, &bed.data(), &target).unwrap();
        seen.insert(std::fs::read(target.join("sub/a")).unwrap());
    }
    assert_eq!(seen, HashSet::from([b"old".to_vec(), b"new".to_vec()]));
}

#[test]
fn whole_replay_without_loss_equals_the_disk() {
    let bed = Bed::new();
    bed.io.create_dir_all(&bed.data().join("d")).unwrap();
    bed.put("d/a", b"aaaa").set_len(2).unwrap();
    bed.put("b", b"bbb").allocate(9000).unwrap();
    bed.put("gone", b"g");
    bed.io.remove_file(&bed.data().join("gone")).unwrap();
    bed.io
        .rename(&bed.data().join("b"), &bed.data().join("d/c"))
        .unwrap();
    bed.io.create_dir_all(&bed.data().join("e")).unwrap();
    bed.io.remove_dir(&bed.data().join("e")).unwrap();
    for name in ["d/a", "d/c"] {
        bed.io
            .open(&bed.data().join(name), OpenMode::Write)
            .unwrap()
            .sync_data()
            .unwrap();
    }
    for dir in [bed.temp.path(), &bed.data(), &bed.data().join("d")] {
        bed.io.sync_dir(dir).unwrap();
    }
    let cut = bed.trace().len();
    for name in ["d/a", "d/c", "b", "gone", "e"] {
        let on_disk = std::fs::read(bed.data().join(name)).ok();
        assert_eq!(bed.seen(cut, name), HashSet::from([on_disk]), "{name}");
    }
}

#[test]
fn sync_does_not_cover_what_was_recorded_after_it_began() {
    let bed = Bed::new();
    bed.io.create_dir_all(&bed.data()).unwrap();
    bed.io.sync_dir(bed.temp.path()).unwrap();
    let file = bed.put("a", b"1");
    bed.io.sync_dir(&bed.data()).unwrap();
    let began = bed.io.recorder.entries();
    file.write_all_at(&[IoSlice::new(b"2")], 0).unwrap();
    bed.io
        .recorder
        .record(&Entry::SyncData {
            file: 0,
            covers: began,
        })
        .unwrap();
    let cut = bed.trace().len();
    assert_eq!(bed.seen(cut, "a"), HashSet::from([some(b"1"), some(b"2")]));
}

#[test]
fn trace_is_read_to_its_last_whole_entry_and_damage_is_named() {
    let bed = Bed::new();
    bed.io.create_dir_all(&bed.data()).unwrap();
    bed.put("a", b"1");
    let path = bed.temp.path().join("trace");
    let bytes = std::fs::read(&path).unwrap();
    let whole = bed.trace();
    assert_eq!(whole.entries_within(bytes.len() as u64), 3);
    assert_eq!(whole.entries_within(bytes.len() as u64 - 1), 2);
    assert_eq!(whole.entries_within(0), 0);
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert_eq!(bed.trace().len(), whole.entries_within(cut as u64), "{cut}");
    }
    let mut flipped = bytes;
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert_eq!(
        Trace::read(&path).unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}

#[test]
fn second_recording_into_one_trace_is_refused() {
    let bed = Bed::new();
    let again = RecordingIo::create(DiskIo, &bed.temp.path().join("trace"));
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}
