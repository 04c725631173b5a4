//! Step tables, one per event, and a property test against a model that keeps every copy.

use proptest::prelude::*;

use super::*;

const LEADER: BrokerId = BrokerId(1);
const EPOCH: LeaderEpoch = LeaderEpoch(5);

fn offset(value: i64) -> Offset {
    Offset::new(value).expect("not negative")
}

fn progress(log_end: i64, flushed: i64) -> Progress {
    Progress {
        log_end: offset(log_end),
        flushed: offset(flushed),
    }
}

fn brokers(ids: &[i32]) -> BTreeSet<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn leadership(durability: Durability, in_sync: &[i32], replicas: &[i32]) -> Leadership {
    Leadership::new(LeadershipStart {
        local: LEADER,
        leader_epoch: EPOCH,
        partition_epoch: 0,
        in_sync: brokers(in_sync),
        replicas: brokers(replicas),
        progress: Progress::default(),
        high_watermark: Offset::ZERO,
        rules: Rules {
            durability,
            in_sync_min: 1,
            lag_time_max_ms: 1000,
        },
        now_ms: 0,
    })
}

fn step(state: &mut Leadership, event: Event) -> Vec<Action> {
    let mut actions = Vec::new();
    state.handle(event, &mut actions).expect("accepted");
    actions
}

fn local(log_end: i64, flushed: i64) -> Event {
    Event::LocalProgress(progress(log_end, flushed))
}

fn wanted(ticket: u64, end: i64, acks: Acks) -> Event {
    Event::AckWanted {
        ticket: Ticket(ticket),
        end: offset(end),
        acks,
    }
}

fn fetched(follower: i32, log_end: i64, flushed: i64, now_ms: u64) -> Event {
    Event::FollowerFetched {
        follower: BrokerId(follower),
        leader_epoch: EPOCH,
        progress: progress(log_end, flushed),
        now_ms,
    }
}

fn acknowledged(ticket: u64, durability: Durability, replicas: u32) -> Action {
    Action::Acknowledge {
        ticket: Ticket(ticket),
        claim: Claim {
            durability,
            replicas,
        },
    }
}

fn high_watermark(value: i64) -> Action {
    Action::HighWatermark(offset(value))
}

#[test]
fn a_sole_fsync_replica_shows_and_acknowledges_only_what_is_flushed() {
    let mut state = leadership(Durability::Fsync, &[1], &[1]);
    assert_eq!(step(&mut state, local(10, 0)), []);
    assert_eq!(step(&mut state, wanted(1, 5, Acks::Leader)), []);
    assert_eq!(step(&mut state, wanted(2, 10, Acks::All)), []);
    assert_eq!(
        step(&mut state, local(10, 5)),
        [high_watermark(5), acknowledged(1, Durability::Fsync, 1)]
    );
    assert_eq!(
        step(&mut state, local(10, 10)),
        [high_watermark(10), acknowledged(2, Durability::Fsync, 1)]
    );
    assert_eq!(state.waiting(), 0);
}

#[test]
fn a_sole_replicated_replica_acknowledges_at_once_and_claims_memory() {
    let mut state = leadership(Durability::Replicated, &[1], &[1]);
    assert_eq!(step(&mut state, local(10, 0)), [high_watermark(10)]);
    assert_eq!(
        step(&mut state, wanted(1, 10, Acks::All)),
        [acknowledged(1, Durability::Replicated, 1)]
    );
    step(&mut state, local(10, 10));
    assert_eq!(
        step(&mut state, wanted(2, 10, Acks::All)),
        [acknowledged(2, Durability::Fsync, 1)],
        "a duplicate of a batch that was flushed since"
    );
}

#[test]
fn acks_all_waits_for_the_slowest_of_the_in_sync_set() {
    let mut state = leadership(Durability::Fsync, &[1, 2, 3], &[1, 2, 3]);
    step(&mut state, local(10, 10));
    step(&mut state, wanted(1, 10, Acks::All));
    assert_eq!(
        step(&mut state, wanted(2, 10, Acks::Leader)),
        [acknowledged(2, Durability::Fsync, 1)]
    );
    assert_eq!(step(&mut state, fetched(2, 10, 10, 1)), []);
    assert_eq!(step(&mut state, fetched(3, 10, 7, 1)), [high_watermark(7)]);
    assert_eq!(
        step(&mut state, fetched(3, 10, 10, 2)),
        [high_watermark(10), acknowledged(1, Durability::Fsync, 3)]
    );
}

#[test]
fn reports_that_arrive_late_change_nothing() {
    let mut state = leadership(Durability::Fsync, &[1], &[1]);
    step(&mut state, local(10, 8));
    assert_eq!(step(&mut state, local(9, 4)), []);
    assert_eq!(state.high_watermark(), offset(8));
}

#[test]
fn a_forgotten_wait_is_never_answered() {
    let mut state = leadership(Durability::Fsync, &[1], &[1]);
    step(&mut state, local(10, 0));
    step(&mut state, wanted(1, 10, Acks::All));
    step(&mut state, Event::AckForgotten { ticket: Ticket(1) });
    assert_eq!(step(&mut state, local(10, 10)), [high_watermark(10)]);
}

#[test]
fn a_duplicate_overtakes_later_batches_that_wait() {
    let mut state = leadership(Durability::Fsync, &[1], &[1]);
    step(&mut state, local(10, 0));
    step(&mut state, wanted(1, 10, Acks::All));
    step(&mut state, wanted(2, 5, Acks::All));
    assert_eq!(
        step(&mut state, local(10, 5)),
        [high_watermark(5), acknowledged(2, Durability::Fsync, 1)]
    );
}

#[test]
fn a_fetch_of_another_epoch_or_of_a_stranger_is_refused() {
    let mut state = leadership(Durability::Fsync, &[1, 2], &[1, 2]);
    step(&mut state, local(10, 10));
    let mut refused = |follower, epoch| {
        let event = Event::FollowerFetched {
            follower: BrokerId(follower),
            leader_epoch: LeaderEpoch(epoch),
            progress: progress(10, 10),
            now_ms: 1,
        };
        let mut actions = Vec::new();
        let refusal = state.handle(event, &mut actions).expect_err("refused");
        assert_eq!(actions, []);
        refusal.to_string()
    };
    assert_eq!(
        refused(2, 4),
        "leader epoch 4 is fenced, the current one is 5"
    );
    assert_eq!(
        refused(2, 6),
        "leader epoch 6 is not known yet, the current one is 5"
    );
    assert_eq!(refused(9, 5), "broker 9 holds no replica of the partition");
    assert_eq!(state.high_watermark(), Offset::ZERO);
}

#[test]
fn a_follower_joins_once_it_reached_the_high_watermark_and_the_start_of_the_epoch() {
    let mut state = leadership(Durability::Fsync, &[1], &[1, 2]);
    step(&mut state, local(10, 10));
    assert_eq!(step(&mut state, fetched(2, 9, 9, 1)), []);
    assert_eq!(
        step(&mut state, fetched(2, 10, 9, 2)),
        [],
        "in an fsync topic the flushed offset counts"
    );
    let proposal = Action::ProposeInSyncSet {
        partition_epoch: 0,
        in_sync: brokers(&[1, 2]),
    };
    assert_eq!(step(&mut state, fetched(2, 10, 10, 3)), [proposal]);
    step(&mut state, local(20, 20));
    assert_eq!(
        state.high_watermark(),
        offset(10),
        "a proposed member counts: the controller may have taken it already"
    );
    step(&mut state, Event::ProposalRefused { partition_epoch: 0 });
    assert_eq!(state.high_watermark(), offset(20));
}

#[test]
fn a_follower_that_lags_is_proposed_to_leave_and_counts_until_it_left() {
    let mut state = leadership(Durability::Replicated, &[1, 2], &[1, 2]);
    step(&mut state, fetched(2, 0, 0, 10));
    step(&mut state, local(10, 0));
    assert_eq!(step(&mut state, Event::Tick { now_ms: 1010 }), []);
    assert_eq!(
        step(&mut state, Event::Tick { now_ms: 1011 }),
        [Action::ProposeInSyncSet {
            partition_epoch: 0,
            in_sync: brokers(&[1]),
        }]
    );
    assert_eq!(state.high_watermark(), Offset::ZERO);
    let decided = Event::InSyncSetChanged {
        partition_epoch: 1,
        in_sync: brokers(&[1]),
    };
    assert_eq!(step(&mut state, decided), [high_watermark(10)]);
}

#[test]
fn an_older_decision_about_the_in_sync_set_is_ignored() {
    let mut state = leadership(Durability::Replicated, &[1, 2], &[1, 2]);
    let decided = |partition_epoch, ids: &[i32]| Event::InSyncSetChanged {
        partition_epoch,
        in_sync: brokers(ids),
    };
    step(&mut state, decided(3, &[1, 2]));
    step(&mut state, decided(2, &[1]));
    assert_eq!(state.in_sync(), &brokers(&[1, 2]));
}

#[test]
fn below_min_in_sync_the_high_watermark_stands() {
    let mut state = leadership(Durability::Replicated, &[1], &[1, 2]);
    let rules = Rules {
        durability: Durability::Replicated,
        in_sync_min: 2,
        lag_time_max_ms: 1000,
    };
    step(&mut state, Event::RulesChanged(rules));
    assert!(!state.has_enough_in_sync());
    step(&mut state, wanted(1, 10, Acks::All));
    assert_eq!(step(&mut state, local(10, 10)), []);
    let decided = Event::InSyncSetChanged {
        partition_epoch: 1,
        in_sync: brokers(&[1, 2]),
    };
    assert_eq!(step(&mut state, decided), []);
    assert_eq!(
        step(&mut state, fetched(2, 10, 0, 1)),
        [
            high_watermark(10),
            acknowledged(1, Durability::Replicated, 2)
        ]
    );
}

#[test]
fn raised_durability_asks_for_a_flush_and_holds_back_acknowledgements() {
    let mut state = leadership(Durability::Replicated, &[1], &[1]);
    step(&mut state, local(10, 0));
    let rules = Rules {
        durability: Durability::Fsync,
        in_sync_min: 1,
        lag_time_max_ms: 1000,
    };
    assert_eq!(
        step(&mut state, Event::RulesChanged(rules)),
        [Action::Flush]
    );
    assert_eq!(state.high_watermark(), offset(10), "it never regresses");
    assert_eq!(step(&mut state, wanted(1, 8, Acks::All)), []);
    assert_eq!(
        step(&mut state, local(10, 10)),
        [acknowledged(1, Durability::Fsync, 1)]
    );
}

#[test]
fn whoever_waits_is_told_when_the_leadership_ends() {
    let mut state = leadership(Durability::Fsync, &[1], &[1]);
    step(&mut state, local(10, 0));
    step(&mut state, wanted(1, 10, Acks::All));
    step(&mut state, wanted(2, 10, Acks::Leader));
    assert_eq!(state.resign(), [Ticket(2), Ticket(1)]);
}

/// What may happen in the model: copies grow, are flushed, members come and go.
#[derive(Debug, Clone)]
enum Happening {
    Append(i64),
    Flush,
    Want(Acks),
    Fetch(i32, i64, i64),
    Decide(Vec<i32>),
    Tick,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        4 => (1..5i64).prop_map(Happening::Append),
        4 => Just(Happening::Flush),
        3 => prop_oneof![Just(Acks::All), Just(Acks::Leader)].prop_map(Happening::Want),
        4 => (2..4i32, 0..8i64, 0..8i64).prop_map(|(id, end, flushed)| Happening::Fetch(id, end, flushed)),
        1 => proptest::collection::vec(2..4i32, 0..3).prop_map(Happening::Decide),
        1 => Just(Happening::Tick),
    ];
    proptest::collection::vec(one, 1..60)
}

/// Everything the invariants speak of, kept the simple way.
struct Model {
    durability: Durability,
    copies: BTreeMap<BrokerId, Progress>,
    wanted: BTreeMap<Ticket, (Offset, Acks)>,
    high_watermark: Offset,
}

impl Model {
    fn safe(&self, id: BrokerId) -> Offset {
        let copy = self.copies[&id];
        match self.durability {
            Durability::Fsync => copy.flushed,
            Durability::Replicated => copy.log_end,
        }
    }

    fn check(&mut self, state: &Leadership, actions: &[Action]) {
        for action in actions {
            match action {
                Action::HighWatermark(offset) => {
                    assert!(*offset > self.high_watermark, "it moves forward only");
                    for member in state.in_sync() {
                        assert!(*offset <= self.safe(*member), "member {member} lacks it");
                    }
                    self.high_watermark = *offset;
                }
                Action::Acknowledge { ticket, claim } => {
                    let (end, acks) = self.wanted.remove(ticket).expect("waited for, once");
                    match acks {
                        Acks::Leader => assert!(end <= self.safe(LEADER)),
                        Acks::All => assert!(end <= self.high_watermark),
                    }
                    let held = self.copies.values().filter(|copy| match claim.durability {
                        Durability::Fsync => copy.flushed >= end,
                        Durability::Replicated => copy.log_end >= end,
                    });
                    let held = u32::try_from(held.count()).expect("few");
                    assert!((1..=held).contains(&claim.replicas), "{claim:?} of {held}");
                }
                Action::ProposeInSyncSet { in_sync, .. } => assert!(in_sync.contains(&LEADER)),
                Action::Flush => unreachable!("the rules do not change here"),
            }
        }
        assert_eq!(state.high_watermark(), self.high_watermark);
        let due = self.wanted.values().filter(|(end, acks)| match acks {
            Acks::Leader => *end <= self.safe(LEADER),
            Acks::All => *end <= self.high_watermark,
        });
        assert_eq!(due.count(), 0, "everything due was acknowledged");
    }
}

proptest! {
    #[test]
    fn invariants_hold_whatever_happens(fsync in any::<bool>(), happenings in happenings()) {
        let durability = if fsync { Durability::Fsync } else { Durability::Replicated };
        let mut state = leadership(durability, &[1, 2, 3], &[1, 2, 3]);
        let copies = [1, 2, 3].map(|id| (BrokerId(id), Progress::default()));
        let mut model = Model {
            durability,
            copies: copies.into(),
            wanted: BTreeMap::new(),
            high_watermark: Offset::ZERO,
        };
        let (mut partition_epoch, mut now_ms) = (0, 0);
        for (number, happening) in happenings.into_iter().enumerate() {
            now_ms += 300;
            let own = model.copies[&LEADER];
            let event = match happening {
                Happening::Append(records) => {
                    Event::LocalProgress(progress(own.log_end.get() + records, own.flushed.get()))
                }
                Happening::Flush => Event::LocalProgress(Progress { flushed: own.log_end, ..own }),
                Happening::Want(acks) => {
                    let ticket = Ticket(number as u64);
                    model.wanted.insert(ticket, (own.log_end, acks));
                    Event::AckWanted { ticket, end: own.log_end, acks }
                }
                Happening::Fetch(id, more, flush) => {
                    let copy = model.copies[&BrokerId(id)];
                    let end = (copy.log_end.get() + more).min(own.log_end.get());
                    let flushed = (copy.flushed.get() + flush).min(end);
                    fetched(id, end, flushed, now_ms)
                }
                Happening::Decide(mut ids) => {
                    // The controller lets nobody in who misses what readers were shown.
                    ids.retain(|id| model.safe(BrokerId(*id)) >= model.high_watermark);
                    partition_epoch += 1;
                    Event::InSyncSetChanged { partition_epoch, in_sync: brokers(&ids) }
                }
                Happening::Tick => Event::Tick { now_ms },
            };
            match &event {
                Event::LocalProgress(p) => {
                    model.copies.insert(LEADER, *p);
                }
                Event::FollowerFetched { follower, progress, .. } => {
                    model.copies.insert(*follower, *progress);
                }
                _ => {}
            }
            let actions = step(&mut state, event);
            model.check(&state, &actions);
        }
    }
}
