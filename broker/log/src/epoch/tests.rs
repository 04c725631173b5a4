//! The epoch history against Kafka's rules.

use proptest::prelude::*;

use super::*;
use crate::io::{MemoryIo, OpenMode};

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn history(entries: &[(i32, i64)]) -> EpochHistory {
    let mut history = EpochHistory::new();
    for (epoch, start) in entries {
        assert!(history.assign(LeaderEpoch(*epoch), offset(*start)));
    }
    history
}

fn entries(history: &EpochHistory) -> Vec<(i32, i64)> {
    history
        .entries()
        .iter()
        .map(|entry| (entry.leader_epoch.0, entry.start_offset.get()))
        .collect()
}

#[test]
fn the_same_epoch_is_noted_once() {
    let mut history = history(&[(3, 10)]);
    assert!(!history.assign(LeaderEpoch(3), offset(20)));
    assert!(!history.assign(LeaderEpoch(-1), offset(20)));
    assert_eq!(entries(&history), [(3, 10)]);
}

#[test]
fn what_a_new_entry_contradicts_is_dropped() {
    let mut truncated = history(&[(1, 0), (2, 10), (5, 20)]);
    assert!(truncated.assign(LeaderEpoch(6), offset(15)));
    assert_eq!(entries(&truncated), [(1, 0), (2, 10), (6, 15)]);
    let mut older = history(&[(1, 0), (5, 20)]);
    assert!(older.assign(LeaderEpoch(3), offset(30)));
    assert_eq!(entries(&older), [(1, 0), (3, 30)]);
}

#[test]
fn an_epoch_ends_where_the_next_one_starts() {
    let history = history(&[(2, 5), (4, 10), (7, 20)]);
    let end = |epoch| {
        history
            .end_offset(LeaderEpoch(epoch), offset(33))
            .map(|end| (end.leader_epoch.0, end.start_offset.get()))
    };
    assert_eq!(end(1), None);
    assert_eq!(end(2), Some((2, 10)));
    assert_eq!(end(3), Some((2, 10)));
    assert_eq!(end(4), Some((4, 20)));
    assert_eq!(end(7), Some((7, 33)));
    assert_eq!(end(8), None);
    let at = |value| history.epoch_at(offset(value)).map(|epoch| epoch.0);
    assert_eq!(
        [at(4), at(5), at(9), at(10), at(99)],
        [None, Some(2), Some(2), Some(4), Some(7)]
    );
}

#[test]
fn truncation_at_either_end_keeps_the_rest() {
    let mut history = history(&[(2, 5), (4, 10), (7, 20)]);
    assert!(!history.truncate_from_end(offset(21)));
    assert!(history.truncate_from_end(offset(20)));
    assert_eq!(entries(&history), [(2, 5), (4, 10)]);
    assert!(!history.truncate_from_start(offset(4)));
    assert!(!history.truncate_from_start(offset(5)));
    assert!(history.truncate_from_start(offset(12)));
    assert_eq!(entries(&history), [(4, 12)]);
    assert!(!history.truncate_from_start(offset(12)));
}

#[test]
fn texts_that_are_not_kafkas_are_refused_with_their_line() {
    for (text, line) in [
        ("", 1),
        ("1\n0\n", 1),
        ("0\nx\n", 2),
        ("0\n2\n0 0\n", 2),
        ("0\n1\n0\n", 3),
        ("0\n2\n5 0\n4 1\n", 4),
        ("0\n2\n1 5\n2 5\n", 4),
        ("0\n1\n0 -1\n", 3),
    ] {
        assert_eq!(
            EpochHistory::from_text(text).unwrap_err().line,
            line,
            "{text:?}"
        );
    }
}

#[test]
fn the_framed_file_is_believed_kafkas_text_where_it_is_not_whole() {
    let (io, dir) = (MemoryIo::new(), Path::new("/p"));
    io.create_dir_all(dir).unwrap();
    let stored = history(&[(1, 0), (2, 9)]);
    stored.store(&io, dir).unwrap();
    let write = |name: &str, position: u64| {
        let file = io.open(&dir.join(name), OpenMode::Write).unwrap();
        file.write_all_at(&[std::io::IoSlice::new(b"7")], position)
            .unwrap();
    };
    write(LEADER_EPOCH_CHECKPOINT, 4);
    let loaded = EpochHistory::load(&io, dir).unwrap();
    assert!(loaded.is_framed && loaded.damage.is_none());
    assert_eq!(loaded.history, stored);

    stored.store(&io, dir).unwrap();
    write(LEADER_EPOCHS, 20);
    let loaded = EpochHistory::load(&io, dir).unwrap();
    assert!(!loaded.is_framed && loaded.damage.is_some());
    assert_eq!(loaded.history, stored);

    write(LEADER_EPOCH_CHECKPOINT, 0);
    assert!(EpochHistory::load(&io, dir).is_err());
}

proptest! {
    #[test]
    fn what_is_assigned_is_what_the_offsets_say(steps in prop::collection::vec((0..4_i32, 0..50_i64), 1..40)) {
        // A leader appends from an offset on in an epoch that only grows.
        let (mut log, mut epoch) = (Vec::new(), 0);
        let mut history = EpochHistory::new();
        for (raise, records) in steps {
            epoch += raise;
            history.assign(LeaderEpoch(epoch), offset(i64::try_from(log.len()).unwrap()));
            log.extend((0..=records).map(|_| epoch));
        }
        for (at, epoch) in log.iter().enumerate() {
            prop_assert_eq!(history.epoch_at(offset(i64::try_from(at).unwrap())), Some(LeaderEpoch(*epoch)));
        }
        let text = history.to_text();
        prop_assert_eq!(EpochHistory::from_text(&text).unwrap(), history);
    }
}
