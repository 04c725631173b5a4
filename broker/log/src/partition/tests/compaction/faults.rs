//! What a pass does when the disk fails or lies: it stops, says why, and the partition goes on serving
//! unless what failed was not the copy's alone.

use std::{path::PathBuf, sync::Arc};

use super::{super::super::testing::*, *};
use crate::{
    LogState,
    io::{Action, FaultIo, LogIo, Operation, Rule, When},
    recovery_point::BootId,
};

/// A filled partition on a file system that can fail.
fn faulty() -> (FaultIo<MemoryIo>, Arc<DataDirectory>, Arc<PartitionLog>) {
    let io = FaultIo::new(memory());
    let directory = directory_with(Arc::new(io.clone()), limits());
    let log = create(&directory, config());
    fill(&directory, &log, 10, 5);
    forget_tail(&log);
    (io, directory, log)
}

fn copies(io: &dyn LogIo) -> Vec<PathBuf> {
    let entries = io.list_dir(&Path::new(DIR).join("flights-0")).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names
        .filter(|name| name.to_string_lossy().ends_with(".cleaned"))
        .collect()
}

#[test]
fn a_copy_that_cannot_be_written_or_flushed_fails_the_pass_alone() {
    for (operation, errno) in [
        (Operation::Open, libc::EIO),
        (Operation::Write, libc::EIO),
        (Operation::Write, libc::ENOSPC),
        (Operation::SyncData, libc::EIO),
    ] {
        let (io, directory, log) = faulty();
        let before = records(&log, 0);
        let fault =
            io.inject(Rule::new(&[operation], Action::Fail(errno)).at_path_with(".cleaned"));
        let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
        assert!(
            matches!(result, Err(CompactionError::Storage(_))),
            "{operation:?}: {result:?}"
        );
        assert_eq!(log.state(), LogState::Online, "{operation:?}");
        assert!(!directory.is_full(), "produce is not refused for it");
        assert_eq!(directory.figures().compaction_failures, 1);
        assert_eq!(copies(&io), Vec::<PathBuf>::new(), "{operation:?}");
        assert_eq!(records(&log, 0), before);
        append(&log, &["appends go on"]);
        fault.stop();
        assert!(compact(&log).is_complete);
    }
}

/// The names of new segments may be among what was not made durable.
#[test]
fn a_failed_fsync_of_the_directory_takes_the_partition_offline() {
    let (io, _directory, log) = faulty();
    let fail = Action::Fail(libc::EIO);
    io.inject(Rule::new(&[Operation::SyncDir], fail).at_path_with("flights-0"));
    let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
    assert!(result.is_err());
    assert!(matches!(log.state(), LogState::Offline(_)), "{result:?}");
}

#[test]
fn a_source_that_cannot_be_read_fails_the_pass_alone() {
    let (io, _directory, log) = faulty();
    let before = records(&log, 0);
    let fault = Rule::new(&[Operation::Read], Action::Fail(libc::EIO));
    let fault = io.inject(fault.when(When::From(3)));
    let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
    assert!(
        matches!(
            result,
            Err(CompactionError::Storage(StorageError::Io { .. }))
        ),
        "{result:?}"
    );
    fault.stop();
    assert_eq!(log.state(), LogState::Online);
    let after = records(&log, 0);
    let newest = before.len() - 5;
    assert_eq!(after[after.len() - 5..], before[newest..]);
}

/// Its batches are all valid, but they were superseded by what it replaced.
#[test]
fn a_segment_that_is_not_the_one_that_was_sealed_stops_the_pass_before_anything_goes() {
    for map_bytes_max in [1 << 20, 0] {
        let io = memory();
        let filled = directory(&io);
        let log = create(&filled, config());
        fill(&filled, &log, 10, 20);
        let path = log.view().segments[1].log_path();
        let size_bytes = log.view().segments[1].size_bytes();
        drop((log, filled));
        // Other values at the same offsets.
        let other = memory();
        let log_of_other = create(&directory(&other), config());
        for number in 0..200 {
            let value = format!("other {} of key {}", number / 20, number % 20);
            let batch = keyed(&[(&(number % 20).to_string(), Some(&value))]);
            log_of_other.append(batch, &context()).unwrap();
        }
        let foreign = other.contents(&path).unwrap();
        assert!(u64::try_from(foreign.len()).unwrap() >= size_bytes);
        let file = io.open(&path, OpenMode::Write).unwrap();
        let foreign = &foreign[..usize::try_from(size_bytes).unwrap()];
        file.write_all_at(&[std::io::IoSlice::new(foreign)], 0)
            .unwrap();
        let log = reopen(&directory(&io.fork()), config());
        let segments = log.segment_count();
        let mut request = request(&log, NOW_MS);
        request.map_bytes_max = map_bytes_max;
        let result = log.compact(&request, &mut Unhurried);
        assert!(
            matches!(&result, Err(CompactionError::Storage(StorageError::Corrupt { file, position: 0, .. })) if *file == path),
            "{result:?}"
        );
        assert_eq!(log.segment_count(), segments);
    }
}

/// With a bit of its length flipped a batch reaches over those behind it.
#[test]
fn a_batch_that_claims_to_be_large_is_not_read_before_something_confirms_it() {
    let io = memory();
    let directory = directory(&io);
    let log = create(
        &directory,
        LogConfig {
            segment_bytes: 8 << 20,
            ..config()
        },
    );
    let value = "x".repeat(500 << 10);
    for key in 0..20 {
        let batch = keyed(&[(&key.to_string(), Some(&value))]);
        log.append(batch, &context()).unwrap();
    }
    log.flush().unwrap();
    directory.checkpoint().unwrap();
    let path = log.view().segments[0].log_path();
    // 2 MiB more.
    let flipped = || {
        let file = io.open(&path, OpenMode::Write).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 9).unwrap();
        file.write_all_at(&[std::io::IoSlice::new(&[byte[0] ^ 0x20])], 9)
            .unwrap();
    };
    flipped();
    let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
    let reason = result.unwrap_err().to_string();
    assert!(reason.contains("no batch follows one of 26"), "{reason}");
    flipped();
    assert!(compact(&log).is_complete);
}

#[test]
fn an_index_of_aborted_transactions_that_lost_an_entry_stops_the_pass() {
    let io = memory();
    let dir = directory(&io);
    let log = create(&dir, config());
    let mut history = history::History::starting_at(NOW_MS);
    let mut rng = rand::SeedableRng::seed_from_u64(1);
    history.append_some(&mut rng, &log, 200);
    history.end_all(&mut rng, &log);
    log.flush().unwrap();
    dir.checkpoint().unwrap();
    let segments = Arc::clone(&log.view().segments);
    let paths = segments.iter().rev().skip(1);
    let path = paths
        .map(|segment| segment.path_of(FileKind::TransactionIndex))
        .find(|path| io.contents(path).is_ok_and(|bytes| !bytes.is_empty()))
        .unwrap();
    drop((segments, log, dir));
    let file = io.open(&path, OpenMode::Write).unwrap();
    let length = file.len().unwrap();
    file.set_len(length - 34).unwrap();
    let directory = DataDirectory::open(
        Arc::new(io.fork()),
        Path::new(DIR),
        limits(),
        BootId([9; 16]),
    )
    .unwrap();
    let log = reopen(&directory, config());
    log.advance_high_watermark(log.positions().log_end);
    let segments = log.segment_count();
    let result = log.compact(&request(&log, NOW_MS), &mut Unhurried);
    assert!(
        matches!(&result, Err(CompactionError::Storage(StorageError::Corrupt { file, .. })) if *file == path),
        "{result:?}"
    );
    assert_eq!(log.segment_count(), segments);
}

#[test]
fn a_pass_over_a_log_that_is_closed_meanwhile_stops_and_is_no_failure() {
    struct Closing<'a>(&'a PartitionLog);
    impl Pace for Closing<'_> {
        fn spent(&mut self, _: u64) -> bool {
            let _ = self.0.close();
            true
        }
    }
    let (_io, directory, log) = faulty();
    let result = log.compact(&request(&log, NOW_MS), &mut Closing(&log));
    assert!(
        matches!(result, Err(CompactionError::Stopped)),
        "{result:?}"
    );
    assert_eq!(directory.figures().compaction_failures, 0);
}
