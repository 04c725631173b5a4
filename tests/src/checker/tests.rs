//! The checker finds each anomaly when it is there, and none when it is not.

use super::{
    Anomaly, History, Operation,
    Operation::{Acknowledged, LogStart, Polled, Reached, Refused, Sought},
    ValueId, check, decode, encode,
};

const V: [ValueId; 4] = [ValueId(10), ValueId(11), ValueId(12), ValueId(13)];

fn acknowledged(value: usize, offset: i64) -> Operation {
    Acknowledged {
        value: V[value],
        offset: Some(offset),
    }
}

fn polled(reader: u32, offset: i64, value: usize) -> Operation {
    Polled {
        reader,
        offset,
        value: Some(V[value]),
    }
}

fn anomalies(operations: &[Operation]) -> Vec<Anomaly> {
    check(&History {
        operations: operations.to_vec(),
    })
    .anomalies
}

/// Three values acknowledged, then read completely.
fn good() -> Vec<Operation> {
    vec![
        acknowledged(0, 0),
        acknowledged(1, 1),
        acknowledged(2, 2),
        Sought {
            reader: 1,
            offset: 0,
        },
        polled(1, 0, 0),
        polled(1, 1, 1),
        polled(1, 2, 2),
        Reached { reader: 1, end: 3 },
    ]
}

#[test]
fn a_right_history_has_no_anomaly() {
    let report = check(&History { operations: good() });
    assert_eq!((report.acknowledged, report.polled), (3, 3));
    assert_eq!(report.anomalies, []);
}

#[test]
fn values_that_are_neither_acknowledged_nor_refused_may_be_there_or_not() {
    let mut operations = good();
    operations.insert(7, polled(1, 3, 3));
    operations[8] = Reached { reader: 1, end: 4 };
    assert_eq!(anomalies(&operations), []);
}

#[test]
fn an_acknowledged_value_missing_from_a_complete_read_is_lost() {
    let mut operations = good();
    operations.truncate(6);
    operations.push(Reached { reader: 1, end: 2 });
    assert_eq!(
        anomalies(&operations),
        [Anomaly::LostWrite {
            value: V[2],
            offset: Some(2)
        }]
    );
}

#[test]
fn a_value_that_was_read_once_and_then_vanished_is_lost() {
    let mut operations = good();
    operations.extend([
        Sought {
            reader: 2,
            offset: 0,
        },
        polled(2, 0, 0),
        polled(2, 1, 1),
        Reached { reader: 2, end: 2 },
    ]);
    assert_eq!(
        anomalies(&operations),
        [Anomaly::LostWrite {
            value: V[2],
            offset: Some(2)
        }]
    );
}

#[test]
fn a_value_in_the_middle_that_a_read_passes_is_lost_and_skipped() {
    let mut operations = good();
    operations.remove(5);
    assert_eq!(
        anomalies(&operations),
        [
            Anomaly::LostWrite {
                value: V[1],
                offset: Some(1)
            },
            Anomaly::PollSkip {
                reader: 1,
                skipped: 1,
                got: 2
            },
        ]
    );
}

#[test]
fn a_value_that_no_read_covers_is_unseen() {
    let mut operations = good();
    operations.push(acknowledged(3, 3));
    assert_eq!(
        anomalies(&operations),
        [Anomaly::Unseen {
            value: V[3],
            offset: Some(3)
        }]
    );
}

#[test]
fn a_value_acknowledged_without_an_offset_must_be_somewhere() {
    let mut operations = good();
    operations.insert(
        0,
        Acknowledged {
            value: V[2],
            offset: None,
        },
    );
    assert_eq!(anomalies(&operations), []);
    operations.insert(
        0,
        Acknowledged {
            value: V[3],
            offset: None,
        },
    );
    assert_eq!(
        anomalies(&operations),
        [Anomaly::LostWrite {
            value: V[3],
            offset: None
        }]
    );
}

#[test]
fn records_below_the_log_start_may_be_gone() {
    let mut operations = good();
    operations.drain(4..6);
    operations.insert(0, LogStart { offset: 2 });
    assert_eq!(anomalies(&operations), []);
    operations[0] = LogStart { offset: 1 };
    assert_eq!(
        anomalies(&operations),
        [
            Anomaly::LostWrite {
                value: V[1],
                offset: Some(1)
            },
            Anomaly::PollSkip {
                reader: 1,
                skipped: 1,
                got: 2
            },
        ]
    );
}

#[test]
fn one_value_at_two_offsets_is_a_duplicate() {
    let mut operations = good();
    operations.insert(7, polled(1, 3, 0));
    assert_eq!(
        anomalies(&operations),
        [Anomaly::Duplicate {
            value: V[0],
            offsets: vec![0, 3]
        }]
    );
}

#[test]
fn two_values_at_one_offset_are_inconsistent() {
    let mut operations = good();
    operations.push(Sought {
        reader: 2,
        offset: 2,
    });
    operations.push(polled(2, 2, 3));
    assert_eq!(
        anomalies(&operations),
        [Anomaly::InconsistentOffsets {
            offset: 2,
            values: vec![V[2], V[3]]
        }]
    );
}

#[test]
fn a_reader_that_goes_back_or_repeats_is_nonmonotonic() {
    let mut operations = good();
    operations.insert(6, polled(1, 1, 1));
    let again = Anomaly::NonmonotonicPoll {
        reader: 1,
        before: 1,
        after: 1,
    };
    assert_eq!(anomalies(&operations), [again]);
    operations[6] = polled(1, 0, 0);
    let back = Anomaly::NonmonotonicPoll {
        reader: 1,
        before: 1,
        after: 0,
    };
    let found = anomalies(&operations);
    assert!(found.contains(&back), "{found:?}");
}

#[test]
fn a_seek_may_go_back() {
    let mut operations = good();
    operations.push(Sought {
        reader: 1,
        offset: 1,
    });
    operations.push(polled(1, 1, 1));
    assert_eq!(anomalies(&operations), []);
}

#[test]
fn a_reader_that_passes_a_record_skips_it() {
    let mut operations = good();
    operations.extend([
        Sought {
            reader: 2,
            offset: 0,
        },
        polled(2, 0, 0),
        polled(2, 2, 2),
    ]);
    assert_eq!(
        anomalies(&operations),
        [Anomaly::PollSkip {
            reader: 2,
            skipped: 1,
            got: 2
        }]
    );
}

#[test]
fn a_reader_that_starts_late_skips_what_it_sought() {
    let mut operations = good();
    operations.extend([
        Sought {
            reader: 2,
            offset: 0,
        },
        polled(2, 1, 1),
    ]);
    assert_eq!(
        anomalies(&operations),
        [Anomaly::PollSkip {
            reader: 2,
            skipped: 0,
            got: 1
        }]
    );
}

#[test]
fn a_refused_value_that_is_read_is_an_aborted_read() {
    let mut operations = good();
    operations.insert(0, Refused { value: V[2] });
    assert_eq!(
        anomalies(&operations),
        [Anomaly::AbortedRead {
            value: V[2],
            offset: 2
        }]
    );
}

#[test]
fn bytes_that_no_one_wrote_are_wrong() {
    let mut operations = good();
    operations[6] = Polled {
        reader: 1,
        offset: 2,
        value: None,
    };
    assert_eq!(
        anomalies(&operations),
        [
            Anomaly::LostWrite {
                value: V[2],
                offset: Some(2)
            },
            Anomaly::WrongBytes { offset: 2 },
        ]
    );
}

#[test]
fn values_are_checked_to_the_last_byte() {
    for id in [0, 1, 99, u64::MAX].map(ValueId) {
        let bytes = encode(id);
        assert_eq!(decode(&bytes), Some(id));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert_eq!(decode(&damaged), None, "{id} byte {position}");
        }
    }
}
