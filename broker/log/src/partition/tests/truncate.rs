//! Truncation: readers go on with what they have, nothing truncated comes back.

use millstream_proto::{LeaderEpoch, Offset};

use super::super::testing::*;
use crate::{AppendContext, LogConfig, ReadError, ReadRequest, Slice, io::LogIo};

fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 300,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

#[test]
fn a_reader_keeps_the_bytes_it_found_and_the_stale_tail_is_cut_afterwards() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, LogConfig::default());
    for text in ["a", "b", "c"] {
        append(&log, &[text]);
    }
    forget_tail(&log);
    let request = ReadRequest {
        offset: Offset::ZERO,
        max_bytes: 1 << 20,
        end_exclusive: Offset::MAX,
    };
    let read = log.read(&request).unwrap();
    assert!(matches!(read.slices[..], [Slice::Stored(_)]));
    log.truncate_to(offset(1)).unwrap();
    append(&log, &["B"]);
    let path = log.path().join("00000000000000000000.log");
    let before = io.metadata(&path).unwrap().len;
    let loaded = read.load().unwrap();
    let old: Vec<_> = loaded.slices.into_iter().flat_map(values_in).collect();
    assert_eq!(old.len(), 3, "what was found before the truncation");
    assert_eq!(old[1].1, "b");
    let after = io.metadata(&path).unwrap().len;
    assert!(after < before, "{after} of {before} bytes are left");
    assert_eq!(records(&log, 0), vec![(0, "a".into()), (1, "B".into())]);
}

#[test]
fn truncated_records_do_not_come_back_after_a_kill() {
    let io = memory();
    {
        let directory = directory(&io);
        let log = create(&directory, small_segments());
        directory.write_recovery_points().unwrap();
        for number in 0..10 {
            append(&log, &[&format!("old {number}")]);
        }
        directory.checkpoint().unwrap();
        log.truncate_to(offset(4)).unwrap();
        append(&log, &["new 4"]);
    }
    let directory = directory(&io);
    let log = reopen(&directory, small_segments());
    let names = io.list_dir(log.path()).unwrap();
    let leftover = |name: &std::path::Path| name.extension().is_some_and(|it| it == "deleted");
    assert!(
        !names.iter().any(|entry| leftover(&entry.name)),
        "{names:?}"
    );
    let found = records(&log, 0);
    assert_eq!(found.len(), 5);
    assert_eq!(found[4], (4, "new 4".to_owned()));
    assert!(found[..4].iter().all(|(_, text)| text.starts_with("old")));
}

#[test]
fn truncation_takes_epochs_and_producers_back() {
    let directory = directory(&memory());
    let log = create(&directory, small_segments());
    for sequence in 0..6 {
        let context = AppendContext {
            leader_epoch: LeaderEpoch(sequence),
            ..context()
        };
        log.append(from_producer(sequence, &["x"]), &context)
            .unwrap();
    }
    log.truncate_to(offset(3)).unwrap();
    assert_eq!(log.latest_epoch().unwrap(), Some(LeaderEpoch(2)));
    let context = AppendContext {
        leader_epoch: LeaderEpoch(9),
        ..context()
    };
    let again = log.append(from_producer(2, &["x"]), &context).unwrap();
    assert!(again.duplicate, "what is kept is known");
    let next = log.append(from_producer(3, &["x"]), &context).unwrap();
    assert!(!next.duplicate, "what was truncated is not");
    assert_eq!(next.base_offset, offset(3));
}

#[test]
fn truncation_to_the_end_or_beyond_changes_nothing() {
    let directory = directory(&memory());
    let log = create(&directory, LogConfig::default());
    append(&log, &["a", "b"]);
    let before = log.positions();
    log.truncate_to(offset(2)).unwrap();
    log.truncate_to(offset(20)).unwrap();
    assert_eq!(log.positions(), before);
}

#[test]
fn a_log_may_start_anew_at_a_later_offset() {
    let io = memory();
    {
        let directory = directory(&io);
        let log = create(&directory, LogConfig::default());
        append(&log, &["a", "b"]);
        log.truncate_fully_and_start_at(offset(1000)).unwrap();
        let positions = log.positions();
        assert_eq!(positions.log_start, offset(1000));
        assert_eq!(positions.log_end, offset(1000));
        assert_eq!(append(&log, &["c"]).base_offset, offset(1000));
        let request = ReadRequest {
            offset: offset(1),
            max_bytes: 100,
            end_exclusive: Offset::MAX,
        };
        assert!(matches!(
            log.read(&request),
            Err(ReadError::OutOfRange { .. })
        ));
        log.flush().unwrap();
    }
    let directory = directory(&io);
    let log = reopen(&directory, LogConfig::default());
    assert_eq!(records(&log, 1000), vec![(1000, "c".to_owned())]);
    assert_eq!(log.positions().log_start, offset(1000));
}
