//! Producer state against Kafka's rules, and the forms it is kept in.

use std::path::Path;

use millstream_proto::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId,
    record::{
        BatchBuilder, BatchHeader, BatchOptions, ProducerIdentity,
        control::{EndTransactionMarker, TransactionResult},
    },
};
use proptest::prelude::*;

use super::*;
use crate::io::{LogIo as _, MemoryIo};

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    id: i64,
    epoch: i16,
    sequence: i32,
    records: u32,
    is_transactional: bool,
}

const PLAIN: Sent = Sent {
    id: 7,
    epoch: 0,
    sequence: 0,
    records: 1,
    is_transactional: false,
};

impl Sent {
    fn header(self) -> BatchHeader {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Some(ProducerIdentity {
                id: ProducerId(self.id),
                epoch: ProducerEpoch(self.epoch),
                base_sequence: self.sequence,
            }),
            is_transactional: self.is_transactional,
            ..BatchOptions::default()
        });
        for _ in 0..self.records {
            builder.append(1_000, None, None, &[]).unwrap();
        }
        BatchHeader::decode(&builder.finish().unwrap()).unwrap()
    }
}

fn marker(
    id: i64,
    epoch: i16,
    result: TransactionResult,
    coordinator: i32,
) -> (BatchHeader, EndTransactionMarker) {
    let marker = EndTransactionMarker::new(result, coordinator);
    let bytes = marker
        .to_batch(2_000, ProducerId(id), ProducerEpoch(epoch), LeaderEpoch(0))
        .unwrap();
    (BatchHeader::decode(&bytes).unwrap(), marker)
}

fn state_after(sent: &[(Sent, i64)]) -> ProducerState {
    let mut state = ProducerState::new();
    for (sent, at) in sent {
        let header = sent.header();
        assert_eq!(state.check(&header), Ok(ProducerCheck::Accept), "{sent:?}");
        state.apply(&header, offset(*at), 0);
    }
    state
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    let start = Sent {
        sequence: 4_711,
        ..PLAIN
    };
    let mut state = state_after(&[(start, 0)]);
    let next = Sent {
        sequence: 4_712,
        ..PLAIN
    };
    assert_eq!(state.check(&next.header()), Ok(ProducerCheck::Accept));
    state.apply(&next.header(), offset(1), 0);
    assert_eq!(state.get(ProducerId(7)).unwrap().last_sequence(), 4_712);
}

#[test]
fn a_gap_and_a_rewind_are_out_of_order() {
    let state = state_after(&[(
        Sent {
            records: 3,
            ..PLAIN
        },
        0,
    )]);
    for found in [0, 2, 4, i32::MAX] {
        let sent = Sent {
            sequence: found,
            ..PLAIN
        };
        assert_eq!(
            state.check(&sent.header()),
            Err(ProducerError::OutOfOrderSequence {
                producer_id: ProducerId(7),
                producer_epoch: ProducerEpoch(0),
                expected: 3,
                found,
            })
        );
    }
}

#[test]
fn any_of_the_last_five_batches_is_a_duplicate_the_sixth_is_not() {
    let sent: Vec<(Sent, i64)> = (0..6)
        .map(|n| {
            let sent = Sent {
                sequence: n * 2,
                records: 2,
                ..PLAIN
            };
            (sent, i64::from(n) * 10)
        })
        .collect();
    let state = state_after(&sent);
    for (sent, at) in &sent[1..] {
        match state.check(&sent.header()).unwrap() {
            ProducerCheck::Duplicate(original) => {
                assert_eq!(original.base_offset(), offset(*at));
                assert_eq!(original.last_offset, offset(*at + 1));
            }
            other => panic!("{sent:?}: {other:?}"),
        }
    }
    assert!(state.check(&sent[0].0.header()).is_err());
    // Half of a batch is none of them.
    let half = Sent {
        sequence: 10,
        ..PLAIN
    };
    assert!(state.check(&half.header()).is_err());
}

#[test]
fn sequences_wrap_after_the_largest() {
    let before = Sent {
        sequence: i32::MAX - 1,
        records: 2,
        ..PLAIN
    };
    let state = state_after(&[(before, 0)]);
    assert_eq!(state.check(&PLAIN.header()), Ok(ProducerCheck::Accept));
    let across = Sent {
        sequence: i32::MAX,
        records: 3,
        ..PLAIN
    };
    let state = state_after(&[(across, 0)]);
    let kept = state.get(ProducerId(7)).unwrap().last_batch().unwrap();
    assert_eq!((kept.base_sequence(), kept.last_sequence), (i32::MAX, 1));
    assert!(matches!(
        state.check(&across.header()),
        Ok(ProducerCheck::Duplicate(_))
    ));
}

#[test]
fn a_new_epoch_starts_with_zero_and_fences_the_old_one() {
    let mut state = state_after(&[(PLAIN, 0)]);
    let newer = |sequence| Sent {
        epoch: 1,
        sequence,
        ..PLAIN
    };
    assert!(state.check(&newer(1).header()).is_err());
    assert_eq!(state.check(&newer(0).header()), Ok(ProducerCheck::Accept));
    state.apply(&newer(0).header(), offset(1), 0);
    assert_eq!(
        state.check(
            &Sent {
                sequence: 1,
                ..PLAIN
            }
            .header()
        ),
        Err(ProducerError::Fenced {
            producer_id: ProducerId(7),
            current: ProducerEpoch(1),
            found: ProducerEpoch(0),
        })
    );
    // The old epoch's batches are forgotten with it.
    assert_eq!(state.get(ProducerId(7)).unwrap().batches().len(), 1);
}

#[test]
fn transactions_hold_the_last_stable_offset_until_their_marker_is_replicated() {
    let transactional = |id, sequence| Sent {
        id,
        sequence,
        is_transactional: true,
        ..PLAIN
    };
    let mut state = state_after(&[
        (transactional(1, 0), 10),
        (transactional(2, 0), 11),
        (transactional(1, 1), 12),
    ]);
    assert_eq!(state.transactions().first_unstable(), Some(offset(10)));
    let (header, abort) = marker(1, 0, TransactionResult::Abort, 4);
    let aborted = state.apply_marker(&header, &abort, offset(13), 0).unwrap();
    assert_eq!(
        (
            aborted.first_offset,
            aborted.last_offset,
            aborted.last_stable_offset
        ),
        (offset(10), offset(13), offset(11))
    );
    assert_eq!(state.transactions().first_unstable(), Some(offset(10)));
    state.advance(offset(13));
    assert_eq!(state.transactions().first_unstable(), Some(offset(10)));
    state.advance(offset(14));
    assert_eq!(state.transactions().first_unstable(), Some(offset(11)));
    let (header, commit) = marker(2, 0, TransactionResult::Commit, 4);
    assert_eq!(state.apply_marker(&header, &commit, offset(14), 0), None);
    state.advance(offset(15));
    assert_eq!(state.transactions().first_unstable(), None);
    // A marker without a transaction aborts nothing.
    let (header, abort) = marker(2, 0, TransactionResult::Abort, 4);
    assert_eq!(state.apply_marker(&header, &abort, offset(15), 0), None);
}

#[test]
fn a_plain_batch_inside_a_transaction_and_old_markers_are_refused() {
    let open = Sent {
        is_transactional: true,
        ..PLAIN
    };
    let mut state = state_after(&[(open, 3)]);
    let plain = Sent {
        sequence: 1,
        ..PLAIN
    };
    assert_eq!(
        state.check(&plain.header()),
        Err(ProducerError::TransactionOpen {
            producer_id: ProducerId(7),
            first_offset: offset(3),
        })
    );
    let (header, commit) = marker(7, 0, TransactionResult::Commit, 9);
    assert_eq!(state.check_marker(&header, &commit), Ok(()));
    state.apply_marker(&header, &commit, offset(4), 0);
    let (header, older) = marker(7, 0, TransactionResult::Abort, 8);
    assert!(matches!(
        state.check_marker(&header, &older),
        Err(ProducerError::FencedCoordinator {
            current: 9,
            found: 8,
            ..
        })
    ));
    let (header, newer) = marker(7, 3, TransactionResult::Abort, 9);
    state.apply_marker(&header, &newer, offset(5), 0);
    let (header, fenced) = marker(7, 2, TransactionResult::Abort, 9);
    assert!(matches!(
        state.check_marker(&header, &fenced),
        Err(ProducerError::Fenced { .. })
    ));
    // The marker raised the epoch: the producer goes on with sequence 0 there.
    let next = Sent { epoch: 3, ..PLAIN };
    assert_eq!(state.check(&next.header()), Ok(ProducerCheck::Accept));
}

#[test]
fn idle_producers_expire_by_the_brokers_clock_unless_in_a_transaction() {
    let mut state = ProducerState::new();
    state.apply(&PLAIN.header(), offset(0), 1_000);
    let open = Sent {
        id: 8,
        is_transactional: true,
        ..PLAIN
    };
    state.apply(&open.header(), offset(1), 1_000);
    assert_eq!(state.expire(1_499, 500), 0);
    assert_eq!(state.expire(1_500, 500), 1);
    assert!(state.get(ProducerId(7)).is_none());
    assert!(state.get(ProducerId(8)).is_some());
}

fn any_state() -> impl Strategy<Value = ProducerState> {
    let batch = (
        0..i32::MAX,
        0..1_000_u32,
        1_000..1_000_000_i64,
        any::<i64>(),
    );
    let entry = (
        0..100_i64,
        0..i16::MAX,
        prop::collection::vec(batch, 0..8),
        any::<i32>(),
        prop::option::of(0..1_000_000_i64),
        any::<i64>(),
    );
    prop::collection::vec(entry, 0..20).prop_map(|entries| {
        let mut state = ProducerState::new();
        for (id, epoch, batches, coordinator_epoch, first, now_ms) in entries {
            if state.get(ProducerId(id)).is_some() {
                continue;
            }
            let mut entry = ProducerEntry::new(ProducerEpoch(epoch), now_ms);
            for (last_sequence, offset_delta, last_offset, timestamp_ms) in batches {
                entry.add_batch(BatchMetadata {
                    last_sequence,
                    last_offset: offset(last_offset),
                    offset_delta,
                    timestamp_ms,
                });
            }
            entry.coordinator_epoch = coordinator_epoch;
            entry.transaction_first_offset = first.map(offset);
            state.insert(ProducerId(id), entry);
        }
        state
    })
}

proptest! {
    #[test]
    fn the_sidecar_keeps_everything(state in any_state(), at in 0..i64::MAX) {
        let payload = sidecar::encode(&state, offset(at));
        prop_assert_eq!(sidecar::decode(&payload, offset(at)).unwrap(), state);
        prop_assert!(sidecar::decode(&payload, offset(at - at / 2 + 1)).is_err() || at - at / 2 + 1 == at);
        for length in 0..payload.len() {
            prop_assert!(sidecar::decode(&payload[..length], offset(at)).is_err());
        }
    }

    #[test]
    fn the_snapshot_keeps_the_last_batch(state in any_state()) {
        let bytes = snapshot::encode(&state);
        let decoded = snapshot::decode(&bytes, 3).unwrap();
        prop_assert_eq!(snapshot::encode(&decoded), bytes);
        for (id, entry) in state.sorted() {
            let kept = decoded.get(id).unwrap();
            prop_assert_eq!(kept.last_batch().map(|batch| (batch.last_sequence, batch.last_offset)), entry.last_batch().map(|batch| (batch.last_sequence, batch.last_offset)));
            prop_assert_eq!(kept.transaction_first_offset, entry.transaction_first_offset);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = snapshot::decode(&bytes, 0);
        let _ = sidecar::decode(&bytes, Offset::ZERO);
    }

    #[test]
    fn with_retries_and_losses_every_batch_is_in_the_log_once(steps in prop::collection::vec((0..3_i64, 1..4_u32, any::<bool>()), 1..100)) {
        // Three producers; a batch is retried when its answer was lost, as a client does.
        let mut state = ProducerState::new();
        let (mut next_offset, mut sequences, mut appended) = (0_i64, [0_i32; 3], Vec::new());
        for (id, records, is_answer_lost) in steps {
            let index = usize::try_from(id).unwrap();
            let sent = Sent { id, records, sequence: sequences[index], ..PLAIN };
            let mut answers = Vec::new();
            for _ in 0..=u8::from(is_answer_lost) {
                match state.check(&sent.header()).unwrap() {
                    ProducerCheck::Accept => {
                        state.apply(&sent.header(), offset(next_offset), 0);
                        appended.push((id, sent.sequence));
                        answers.push(next_offset);
                        next_offset += i64::from(records);
                    }
                    ProducerCheck::Duplicate(original) => answers.push(original.base_offset().get()),
                }
            }
            answers.dedup();
            prop_assert_eq!(answers.len(), 1, "a retry gets the first answer");
            sequences[index] += i32::try_from(records).unwrap();
        }
        let mut distinct = appended.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), appended.len());
    }
}

#[test]
fn files_come_back_and_a_moved_one_is_refused() {
    let (io, dir) = (MemoryIo::new(), Path::new("/p"));
    io.create_dir_all(dir).unwrap();
    let state = state_after(&[(PLAIN, 0)]);
    assert!(sidecar::load(&io, dir, offset(5)).unwrap().is_none());
    sidecar::store(&io, dir, offset(5), &state).unwrap();
    assert_eq!(
        sidecar::load(&io, dir, offset(5)).unwrap(),
        Some(state.clone())
    );
    let path = |at| crate::layout::FileKind::Producers.path(dir, offset(at));
    io.rename(&path(5), &path(6)).unwrap();
    let error = sidecar::load(&io, dir, offset(6)).unwrap_err();
    assert!(error.to_string().contains("another offset"), "{error}");
    let path = dir.join("00000000000000000005.snapshot");
    snapshot::store(&io, &path, &state).unwrap();
    let loaded = snapshot::load(&io, &path, 0).unwrap().unwrap();
    assert_eq!(loaded.len(), 1);
}
