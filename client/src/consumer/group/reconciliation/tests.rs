//! Step tables of [`Reconciliation`], and its invariants against random events.

use std::collections::BTreeSet;

use millstream_proto::{TopicId, TopicName};
use proptest::prelude::*;

use super::*;

fn place(partition: i32) -> AssignedPartition {
    of_life(1, partition)
}

/// A partition of the topic's n-th life.
fn of_life(life: u8, partition: i32) -> AssignedPartition {
    AssignedPartition {
        topic: TopicName::new("t").unwrap(),
        topic_id: TopicId::from_bytes([life; 16]),
        partition,
    }
}

fn set(partitions: &[i32]) -> Partitions {
    partitions.iter().copied().map(place).collect()
}

fn assigned(epoch: i32, partitions: &[i32]) -> Event {
    Event::Assigned {
        epoch,
        sequence: u64::try_from(epoch).unwrap(),
        target: set(partitions),
    }
}

fn revoke(number: u64, partitions: &[i32]) -> Action {
    Action::Revoke {
        number,
        partitions: set(partitions),
    }
}

fn add(partitions: &[i32]) -> Action {
    Action::Add(set(partitions))
}

/// The answer to the assignment of an epoch, whose number the tests give its sequence too.
fn own(sequence: u64, partitions: &[i32]) -> Action {
    Action::Own {
        sequence,
        partitions: set(partitions),
    }
}

fn lose(partitions: &[i32]) -> Action {
    Action::Lose(set(partitions))
}

const JOINED: Event = Event::Joined { epoch: 1 };

/// Feeds events and compares the actions of each.
fn steps(member: &mut Reconciliation, table: &[(Event, &[Action])]) {
    for (step, (event, expected)) in table.iter().enumerate() {
        let actions = member.handle(event.clone());
        assert_eq!(actions, *expected, "step {step}: {event:?}");
    }
}

fn member_with(partitions: &[i32]) -> Reconciliation {
    let mut member = Reconciliation::new();
    assert_eq!(member.join(), (0, set(&[])));
    member.handle(JOINED);
    member.handle(assigned(1, partitions));
    assert!(member.is_settled());
    member
}

#[test]
fn an_assignment_is_read_and_acknowledged_at_once() {
    let mut member = Reconciliation::new();
    member.join();
    steps(
        &mut member,
        &[
            (JOINED, &[]),
            (assigned(1, &[0, 1]), &[add(&[0, 1]), own(1, &[0, 1])]),
            (assigned(2, &[0, 1]), &[own(2, &[0, 1])]),
        ],
    );
    assert!(member.is_settled());
}

#[test]
fn an_empty_assignment_is_acknowledged_too() {
    let mut member = Reconciliation::new();
    member.join();
    steps(
        &mut member,
        &[(JOINED, &[]), (assigned(1, &[]), &[own(1, &[])])],
    );
}

#[test]
fn a_revoked_partition_is_told_only_when_its_revocation_is_done_and_others_stay() {
    steps(
        &mut member_with(&[0, 1, 2]),
        &[
            (assigned(2, &[0, 3]), &[revoke(1, &[1, 2]), add(&[3])]),
            (Event::Revoked { number: 1 }, &[own(2, &[0, 3])]),
        ],
    );
}

#[test]
fn a_partition_that_comes_back_while_it_is_revoked_is_added_after() {
    steps(
        &mut member_with(&[0, 1]),
        &[
            (assigned(2, &[0]), &[revoke(1, &[1])]),
            (assigned(3, &[0, 1]), &[]),
            (Event::Revoked { number: 1 }, &[add(&[1]), own(3, &[0, 1])]),
        ],
    );
}

#[test]
fn a_second_revocation_waits_for_the_first() {
    steps(
        &mut member_with(&[0, 1, 2]),
        &[
            (assigned(2, &[0, 1]), &[revoke(1, &[2])]),
            (assigned(3, &[0]), &[]),
            (Event::Revoked { number: 1 }, &[revoke(2, &[1])]),
            (Event::Revoked { number: 2 }, &[own(3, &[0])]),
        ],
    );
}

#[test]
fn a_broken_stream_resumes_with_what_is_held_and_what_is_being_revoked() {
    let mut member = member_with(&[0, 1]);
    steps(
        &mut member,
        &[
            (assigned(2, &[0]), &[revoke(1, &[1])]),
            (Event::Broke, &[Action::Rejoin]),
        ],
    );
    assert_eq!(member.join(), (2, set(&[0, 1])));
    steps(
        &mut member,
        &[
            (Event::Revoked { number: 1 }, &[]),
            (Event::Joined { epoch: 2 }, &[own(0, &[0])]),
        ],
    );
}

#[test]
fn a_revocation_that_ended_before_the_member_came_back_needs_no_word() {
    let mut member = member_with(&[0, 1]);
    steps(
        &mut member,
        &[
            (assigned(2, &[0]), &[revoke(1, &[1])]),
            (Event::Broke, &[Action::Rejoin]),
            (Event::Revoked { number: 1 }, &[]),
        ],
    );
    assert_eq!(member.join(), (2, set(&[0])));
    steps(&mut member, &[(Event::Joined { epoch: 2 }, &[])]);
}

#[test]
fn a_fenced_member_loses_everything_and_joins_anew() {
    let mut member = member_with(&[0, 1]);
    steps(
        &mut member,
        &[
            (assigned(2, &[0]), &[revoke(1, &[1])]),
            (Event::Fenced, &[lose(&[0, 1]), Action::Rejoin]),
            (Event::Revoked { number: 1 }, &[]),
        ],
    );
    assert_eq!(member.join(), (0, set(&[])));
    steps(
        &mut member,
        &[
            (Event::Joined { epoch: 5 }, &[]),
            (assigned(5, &[1]), &[add(&[1]), own(5, &[1])]),
        ],
    );
}

#[test]
fn silence_loses_partitions_and_a_late_resumption_gives_them_back_first() {
    let mut member = member_with(&[0, 1]);
    steps(&mut member, &[(Event::Broke, &[Action::Rejoin])]);
    assert_eq!(member.join(), (1, set(&[0, 1])));
    steps(
        &mut member,
        &[
            (Event::Silent, &[lose(&[0, 1])]),
            (JOINED, &[own(0, &[])]),
            (assigned(1, &[0, 1]), &[add(&[0, 1]), own(1, &[0, 1])]),
        ],
    );
    steps(
        &mut member,
        &[(Event::Silent, &[lose(&[0, 1]), Action::Rejoin])],
    );
}

#[test]
fn a_final_refusal_ends_it() {
    steps(
        &mut member_with(&[0]),
        &[
            (Event::Refused, &[lose(&[0]), Action::Stop]),
            (assigned(2, &[0]), &[]),
            (Event::Broke, &[]),
        ],
    );
}

#[test]
fn leaving_revokes_everything_first() {
    steps(
        &mut member_with(&[0, 1]),
        &[
            (Event::Leave, &[revoke(1, &[0, 1])]),
            (assigned(2, &[0, 1]), &[]),
            (Event::Revoked { number: 1 }, &[Action::Leave]),
        ],
    );
    steps(&mut member_with(&[]), &[(Event::Leave, &[Action::Leave])]);
    steps(
        &mut Reconciliation::new(),
        &[(Event::Leave, &[Action::Leave])],
    );
}

#[test]
fn leaving_waits_for_a_revocation_under_way_and_ends_although_the_stream_broke() {
    steps(
        &mut member_with(&[0, 1]),
        &[
            (assigned(2, &[0]), &[revoke(1, &[1])]),
            (Event::Leave, &[]),
            (Event::Broke, &[]),
            (Event::Revoked { number: 1 }, &[revoke(2, &[0])]),
            (Event::Revoked { number: 2 }, &[Action::Leave]),
        ],
    );
    steps(
        &mut member_with(&[0]),
        &[
            (Event::Leave, &[revoke(1, &[0])]),
            (Event::Fenced, &[lose(&[0]), Action::Leave]),
        ],
    );
}

#[test]
fn a_topic_created_again_is_added_after_its_namesake_is_gone() {
    let again = BTreeSet::from([of_life(2, 0)]);
    let target = Event::Assigned {
        epoch: 2,
        sequence: 2,
        target: again.clone(),
    };
    steps(
        &mut member_with(&[0]),
        &[
            (target, &[revoke(1, &[0])]),
            (
                Event::Revoked { number: 1 },
                &[
                    Action::Add(again.clone()),
                    Action::Own {
                        sequence: 2,
                        partitions: again,
                    },
                ],
            ),
        ],
    );
}

/// Events as they may come; revocations end in their turn.
#[derive(Debug, Clone)]
enum Input {
    Assigned(BTreeSet<i32>),
    RevocationEnds,
    Broke,
    Joined,
    Fenced,
    Silent,
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = prop_oneof![
        4 => prop::collection::btree_set(0..6, 0..6).prop_map(Input::Assigned),
        4 => Just(Input::RevocationEnds),
        1 => Just(Input::Broke),
        3 => Just(Input::Joined),
        1 => Just(Input::Fenced),
        1 => Just(Input::Silent),
    ];
    prop::collection::vec(input, 0..60)
}

/// What an observer of the actions knows.
#[derive(Default)]
struct Observer {
    reading: Partitions,
    revoking: Partitions,
    revocation: Option<u64>,
    /// What the broker may give to nobody else.
    told: Partitions,
    /// The newest assignment of the stream.
    newest: u64,
}

impl Observer {
    fn see(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Add(added) => {
                    assert!(added.is_disjoint(&self.reading) && added.is_disjoint(&self.revoking));
                    assert!(!added.is_empty());
                    self.reading.extend(added);
                }
                Action::Revoke { number, partitions } => {
                    assert!(self.revocation.is_none(), "one at a time");
                    assert!(partitions.is_subset(&self.reading) && !partitions.is_empty());
                    self.reading.retain(|held| !partitions.contains(held));
                    self.revoking = partitions;
                    self.revocation = Some(number);
                }
                Action::Lose(lost) => {
                    let owned: Partitions = self.reading.union(&self.revoking).cloned().collect();
                    assert_eq!(lost, owned);
                    self.reading.clear();
                    self.revoking.clear();
                    self.revocation = None;
                }
                Action::Own {
                    sequence,
                    partitions,
                } => {
                    assert!(
                        self.revoking.is_empty(),
                        "told before the revocation is done"
                    );
                    assert_eq!(partitions, self.reading);
                    assert_eq!(sequence, self.newest, "answers the newest assignment");
                    self.told = partitions;
                }
                Action::Rejoin => {}
                Action::Leave | Action::Stop => panic!("nobody asked for it"),
            }
        }
    }
}

proptest! {
    #[test]
    fn no_partition_is_read_twice_given_up_early_or_forgotten(inputs in inputs()) {
        let mut member = Reconciliation::new();
        let mut observer = Observer::default();
        let (mut is_member, mut epoch, mut last) = (false, 0, None);
        member.join();
        for input in inputs {
            let actions = match input {
                Input::Assigned(partitions) if is_member => {
                    epoch += 1;
                    let target: Vec<_> = partitions.into_iter().collect();
                    last = Some(set(&target));
                    observer.newest = u64::try_from(epoch).unwrap();
                    member.handle(assigned(epoch, &target))
                }
                Input::RevocationEnds => match observer.revocation.take() {
                    Some(number) => {
                        observer.revoking.clear();
                        member.handle(Event::Revoked { number })
                    }
                    None => Vec::new(),
                },
                Input::Joined if !is_member => {
                    let (resumed, owned) = member.join();
                    let held: Partitions =
                        observer.reading.union(&observer.revoking).cloned().collect();
                    prop_assert_eq!(&owned, &held);
                    prop_assert!(resumed > 0 || owned.is_empty());
                    if resumed == 0 { last = None; }
                    epoch += 1;
                    is_member = true;
                    observer.told = owned;
                    observer.newest = 0;
                    member.handle(Event::Joined { epoch })
                }
                Input::Broke => { is_member = false; member.handle(Event::Broke) }
                Input::Fenced => { is_member = false; last = None; member.handle(Event::Fenced) }
                Input::Silent => { is_member = false; last = None; member.handle(Event::Silent) }
                Input::Assigned(_) | Input::Joined => Vec::new(),
            };
            observer.see(actions);
        }
        // Once every revocation is done and the member is back, it holds what it was told to.
        if !is_member {
            observer.told = member.join().1;
            observer.newest = 0;
            observer.see(member.handle(Event::Joined { epoch: epoch + 1 }));
        }
        while let Some(number) = observer.revocation.take() {
            observer.revoking.clear();
            observer.see(member.handle(Event::Revoked { number }));
        }
        if let Some(last) = last {
            prop_assert_eq!(&observer.reading, &last);
            prop_assert!(member.is_settled());
        }
        prop_assert_eq!(observer.reading.is_subset(&observer.told), true);
    }
}
