//! The guard against truncation under a map, with real files and real faults.

use super::*;
use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
};
use tempfile::TempDir;

const PAGE: usize = 4096;
const PAGES: usize = 16;

fn file_of(dir: &TempDir, name: &str) -> (Arc<File>, Map) {
    let path = dir.path().join(name);
    std::fs::write(&path, vec![7_u8; PAGES * PAGE]).unwrap();
    let file = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
    let map = Map::of_file(&file, (PAGES * PAGE) as u64, &path).unwrap();
    (file, map)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[test]
fn truncation_between_populate_and_use_is_an_error_a_hundred_times() {
    let dir = TempDir::new().unwrap();
    let (_keep, healthy) = file_of(&dir, "healthy");
    for run in 0..100 {
        let (file, map) = file_of(&dir, &format!("cut-{run}"));
        map.populate(0..map.len()).unwrap();
        assert_eq!(
            map.read(0..map.len(), sum).unwrap(),
            7 * (PAGES * PAGE) as u64
        );
        // Cuts at page boundaries and within pages, also to nothing.
        let keep = (run * PAGES * PAGE / 100).saturating_sub(run % 3);
        file.set_len(keep as u64).unwrap();
        assert!(
            matches!(map.read(0..map.len(), sum), Err(MapFault::Poisoned { .. })),
            "{run}"
        );
        assert!(map.is_poisoned());
        assert!(map.copy(0..1).is_err(), "a poisoned map stays so");
        assert!(map.populate(0..1).is_err());
        assert_eq!(
            healthy.read(0..healthy.len(), sum).unwrap(),
            7 * (PAGES * PAGE) as u64
        );
    }
}

#[test]
fn cut_within_a_page_is_seen_although_nothing_faults() {
    let dir = TempDir::new().unwrap();
    let (file, map) = file_of(&dir, "a");
    file.set_len(100).unwrap();
    assert_eq!(map.copy(0..100).unwrap(), vec![7; 100]);
    assert!(map.copy(0..101).is_err());
}

#[test]
fn populate_of_a_cut_file_is_an_error_and_no_signal() {
    let dir = TempDir::new().unwrap();
    let (file, map) = file_of(&dir, "a");
    file.set_len(0).unwrap();
    assert!(map.populate(PAGE..2 * PAGE).is_err());
}

#[test]
fn read_through_warms_and_reports_a_short_file() {
    let dir = TempDir::new().unwrap();
    let (file, map) = file_of(&dir, "a");
    read_through(&file, &(10..map.len())).unwrap();
    assert!(read_through(&file, &(10..map.len() + 1)).is_err());
}

#[test]
fn nested_reads_poison_only_the_map_that_faulted() {
    let dir = TempDir::new().unwrap();
    let (_a, outer) = file_of(&dir, "outer");
    let (file, inner) = file_of(&dir, "inner");
    file.set_len(0).unwrap();
    let total = outer.read(0..outer.len(), |bytes| {
        assert!(inner.read(0..PAGE, sum).is_err());
        sum(bytes)
    });
    assert_eq!(total.unwrap(), 7 * (PAGES * PAGE) as u64);
    assert!(inner.is_poisoned() && !outer.is_poisoned());
}

#[test]
fn outer_map_may_fault_inside_an_inner_read() {
    let dir = TempDir::new().unwrap();
    let (file, outer) = file_of(&dir, "outer");
    let (_b, inner) = file_of(&dir, "inner");
    file.set_len(0).unwrap();
    let read = outer.read(0..outer.len(), |bytes| {
        inner
            .read(0..PAGE, |within| sum(within) + sum(bytes))
            .unwrap()
    });
    assert!(read.is_err() && outer.is_poisoned() && !inner.is_poisoned());
}

#[test]
fn panicking_reader_takes_its_guard_down() {
    let dir = TempDir::new().unwrap();
    let (_file, map) = file_of(&dir, "a");
    let caught = std::panic::catch_unwind(|| map.read(0..1, |_| panic!("reader")));
    assert!(caught.is_err() && TOP_FRAME.get().is_null());
    assert_eq!(map.copy(0..1).unwrap(), vec![7]);
}

#[test]
fn many_threads_reading_one_cut_map_all_get_the_error() {
    let dir = TempDir::new().unwrap();
    for run in 0..20 {
        let (file, map) = file_of(&dir, &format!("shared-{run}"));
        thread::scope(|scope| {
            for _ in 0..4 {
                let map = map.clone();
                scope.spawn(move || {
                    // Every success saw the whole file; the first failure is final.
                    while let Ok(total) = map.read(0..map.len(), sum) {
                        assert_eq!(total, 7 * (PAGES * PAGE) as u64);
                    }
                    assert!(map.read(0..1, sum).is_err());
                });
            }
            file.set_len((run % 5 * PAGE) as u64).unwrap();
        });
    }
}

#[test]
fn ranges_outside_are_refused_and_empty_ones_are_not() {
    let dir = TempDir::new().unwrap();
    let (file, map) = file_of(&dir, "a");
    let end = map.len();
    assert!(matches!(
        map.copy(1..end + 1),
        Err(MapFault::OutOfRange { .. })
    ));
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake")]
    let reversed = 2..1;
    assert!(matches!(
        map.copy(reversed),
        Err(MapFault::OutOfRange { .. })
    ));
    assert_eq!(map.copy(end..end).unwrap().len(), 0);
    let longer = Map::of_file(&file, end as u64 + 1, Path::new("a")).unwrap_err();
    assert_eq!(longer.kind(), io::ErrorKind::InvalidInput);
    assert!(Map::of_file(&file, 0, Path::new("a")).unwrap().is_empty());
}

/// Runs in a child process of the test below: a fault that no guarded read covers.
#[test]
fn child_that_faults_without_a_guard() {
    if std::env::var_os("MILLSTREAM_TEST_UNGUARDED").is_none() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let (file, map) = file_of(&dir, "a");
    assert!(map.read(0..1, sum).is_ok());
    file.set_len(0).unwrap();
    let Backing::File { mapping, .. } = &map.inner.bytes else {
        panic!("not a file")
    };
    std::process::exit(i32::from(mapping[0]));
}

#[test]
fn fault_without_a_guard_still_kills() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "io::mmap::tests::child_that_faults_without_a_guard",
        ])
        .env("MILLSTREAM_TEST_UNGUARDED", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}
