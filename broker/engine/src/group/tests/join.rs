//! Joining: new members, members that are back, limits, and what each is told.

use std::sync::Arc;

use millstream_proto::group_record::{ClassicGroupValue, ClassicMember, GroupRecord};

use super::bench::{Bench, GROUP, a, beat, join, member, set, subscription};
use crate::group::{Event, Heartbeat, Leave, Owned, Refusal};

fn static_join(member_id: &str, stream: u64) -> Heartbeat {
    Heartbeat {
        instance_id: Some("host-1".to_owned()),
        ..join(member_id, stream)
    }
}

fn go_for_a_while(member_id: &str) -> Leave {
    Leave {
        member: member(member_id),
        instance_id: Some("host-1".to_owned()),
        keeps_partitions: true,
    }
}

#[test]
fn the_first_member_gets_everything_in_epoch_1() {
    let mut bench = Bench::new();
    let alive = bench.beat(join("m1", 1));
    assert_eq!((alive.member_epoch, alive.assignment), (1, None));
    let push = bench.last_push("m1");
    assert_eq!(push.assignment, set(&[a(0), a(1), a(2), a(3)]));
    assert_eq!((push.sequence, push.member_epoch), (1, 1));
    assert_eq!(&*push.reason, "member m1 joined");
    assert_eq!(bench.describe().listing.state, "Stable");
}

#[test]
fn a_second_member_waits_until_the_first_gave_up_its_half() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    assert_eq!(bench.last_push("m1").assignment, set(&[a(0), a(1)]));
    assert_eq!(bench.last_push("m2").assignment, set(&[]));
    assert_eq!(bench.describe().listing.state, "Reconciling");

    bench.own("m1", 1, 2, &[a(0), a(1)]);
    assert_eq!(bench.last_push("m2").assignment, set(&[a(2), a(3)]));
    assert_eq!(bench.last_push("m1").member_epoch, 2);
    assert_eq!(bench.describe().listing.state, "Stable");
}

#[test]
fn a_member_that_asks_by_heartbeats_is_told_in_the_answers() {
    let mut bench = Bench::new();
    let first = Heartbeat {
        stream: None,
        ..join("m1", 0)
    };
    let alive = bench.beat(first);
    assert_eq!(alive.assignment, Some(set(&[a(0), a(1), a(2), a(3)])));
    let again = bench.beat(beat("m1", 1));
    assert_eq!(
        (again.member_epoch, again.assignment),
        (1, None),
        "nothing new"
    );
    bench.beat(join("m2", 2));
    let revoke = bench.beat(beat("m1", 1));
    assert_eq!(revoke.assignment, Some(set(&[a(0), a(1)])));
    assert_eq!(revoke.member_epoch, 1, "the old epoch until it gave up");
    let owned = Some(Owned {
        partitions: set(&[a(0), a(1)]),
        sequence: None,
    });
    let done = bench.beat(Heartbeat {
        owned,
        ..beat("m1", 1)
    });
    assert_eq!(done.member_epoch, 2);
    assert_eq!(bench.last_push("m2").assignment, set(&[a(2), a(3)]));
}

#[test]
fn a_static_member_that_is_back_takes_its_place_without_a_rebalance() {
    let mut bench = Bench::new();
    bench.beat(static_join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    assert_eq!(bench.leave(go_for_a_while("m1")), Ok(-2));
    let epoch = bench.describe().group_epoch;
    let pushes = bench.pushes("m2").len();

    let alive = bench.beat(static_join("m1-again", 3));
    assert_eq!(alive.member_epoch, epoch);
    assert_eq!(bench.last_push("m1-again").assignment, set(&[a(0), a(1)]));
    assert_eq!(bench.describe().group_epoch, epoch);
    assert_eq!(bench.pushes("m2").len(), pushes, "others notice nothing");
    assert_eq!(bench.member("m1"), None);
}

/// It was told epoch 0 and its former partitions, as if it still had to give some of them up.
#[test]
fn a_static_member_that_is_back_has_nothing_to_give_up() {
    let mut bench = Bench::new();
    let by_heartbeats = |member_id| Heartbeat {
        stream: None,
        ..static_join(member_id, 0)
    };
    bench.beat(by_heartbeats("m1"));
    assert_eq!(bench.leave(go_for_a_while("m1")), Ok(-2));
    bench.beat(join("m2", 2));
    let alive = bench.beat(by_heartbeats("m1-again"));
    assert_eq!(alive.member_epoch, 2);
    assert_eq!(alive.assignment, Some(set(&[a(0), a(1)])));
    assert_eq!(bench.last_push("m2").assignment, set(&[a(2), a(3)]));
}

#[test]
fn the_name_of_a_static_member_is_taken_while_it_is_there() {
    let mut bench = Bench::new();
    bench.beat(static_join("m1", 1));
    let refusal = bench.try_beat(static_join("m2", 2)).expect_err("taken");
    assert!(
        matches!(refusal, Refusal::UnreleasedInstance { .. }),
        "{refusal}"
    );
    let impostor = Heartbeat {
        instance_id: Some("host-1".to_owned()),
        ..beat("m2", 1)
    };
    let refusal = bench.try_beat(impostor).expect_err("another's name");
    assert!(
        matches!(refusal, Refusal::FencedInstance { .. }),
        "{refusal}"
    );
}

#[test]
fn a_member_that_joins_anew_under_its_id_keeps_what_it_was_assigned() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    let epoch = bench.describe().group_epoch;
    bench.beat(join("m1", 2));
    assert_eq!(bench.describe().group_epoch, epoch);
    assert_eq!(bench.last_push("m1").sequence, 1, "of the new stream");
    assert!(matches!(
        bench.closed("m1")[..],
        [Refusal::StreamReplaced { .. }]
    ));
}

type Change<'a> = &'a dyn Fn(&mut Heartbeat);

#[test]
fn what_is_out_of_bounds_is_refused() {
    let long = "x".repeat(256);
    let with = |change: Change<'_>| {
        let mut heartbeat = join("m1", 1);
        change(&mut heartbeat);
        Bench::new()
            .try_beat(heartbeat)
            .expect_err("refused")
            .to_string()
    };
    let cases: [(Change<'_>, &str); 9] = [
        (
            &|h| h.member.member_id = Arc::from(""),
            "member id is empty",
        ),
        (
            &|h| h.member.group_id = Arc::from(""),
            "group id has 0 bytes, 1 to 255 are allowed",
        ),
        (
            &|h| h.client_id.clone_from(&long),
            "client id has 256 bytes, at most 255 are allowed",
        ),
        (
            &|h| h.instance_id = Some(String::new()),
            "instance id is empty",
        ),
        (
            &|h| h.member_epoch = -1,
            "member epoch of a heartbeat is negative",
        ),
        (
            &|h| h.subscription = None,
            "a member that joins names no subscription",
        ),
        (
            &|h| h.assignor = Some("fair".to_owned()),
            "no assignor has this name, there are uniform, range and sticky",
        ),
        (
            &|h| h.subscription = Some(subscription(&["a"; 10_001])),
            "subscription names 10001 topics, at most 10000 are allowed",
        ),
        (
            &|h| {
                h.owned = Some(Owned {
                    partitions: set(&[a(0)]),
                    sequence: None,
                });
            },
            "a member that joins holds partitions",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(with(change), expected);
    }
}

#[test]
fn a_group_has_room_for_so_many_members_and_a_coordinator_for_so_many_groups() {
    let mut bench = Bench::new();
    for (stream, member_id) in (1..).zip(["m1", "m2", "m3", "m4"]) {
        bench.beat(join(member_id, stream));
    }
    let refusal = bench.try_beat(join("m5", 5)).expect_err("full");
    assert_eq!(
        refusal.to_string(),
        "group g has 4 members, no more are allowed"
    );
    for group in ["g2", "g3"] {
        let mut heartbeat = join("m1", 6);
        heartbeat.member.group_id = Arc::from(group);
        bench.beat(heartbeat);
    }
    let mut heartbeat = join("m1", 7);
    heartbeat.member.group_id = Arc::from("g4");
    let refusal = bench.try_beat(heartbeat).expect_err("full");
    assert_eq!(
        refusal.to_string(),
        "3 groups exist on this coordinator, no more are allowed"
    );
    assert_eq!(bench.coordinator.list().len(), 3);
}

fn classic(members: Vec<ClassicMember>) -> GroupRecord {
    let value = ClassicGroupValue {
        protocol_type: "consumer".to_owned(),
        generation: 3,
        protocol: None,
        leader: None,
        current_state_timestamp_ms: 0,
        members,
    };
    GroupRecord::ClassicGroup(GROUP.to_owned(), Some(value))
}

#[test]
fn a_classic_group_takes_members_of_this_kind_once_it_is_empty() {
    let mut bench = Bench::new();
    bench.coordinator.replay(&classic(vec![ClassicMember {
        member_id: "old".to_owned(),
        instance_id: None,
        client_id: String::new(),
        client_host: String::new(),
        rebalance_timeout_ms: 1,
        session_timeout_ms: 1,
        subscription: Default::default(),
        assignment: Default::default(),
    }]));
    let refusal = bench.try_beat(join("m1", 1)).expect_err("classic");
    assert!(matches!(refusal, Refusal::ClassicGroup { .. }), "{refusal}");
    bench.coordinator.replay(&classic(Vec::new()));
    bench.beat(join("m1", 1));
    assert!(
        bench
            .log
            .contains(&GroupRecord::ClassicGroup(GROUP.to_owned(), None))
    );
    bench.event(Event::ExpireOffsets);
    assert_eq!(bench.describe().members.len(), 1);
}
