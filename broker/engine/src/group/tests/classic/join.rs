//! Joining: new members, the delay of a group that was empty, members that join again, and refusals.

use std::sync::Arc;

use bytes::Bytes;
use millstream_proto::ErrorCode;

use super::bench::{first_join, join, leaver, protocols, subscription, sync};
use crate::group::{ClassicJoin, JoinedMember, Refusal, tests::bench::Bench};

#[test]
fn the_first_members_wait_for_more_and_the_first_of_them_leads() {
    let mut bench = Bench::new();
    let first = bench.join(first_join("m2"));
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.pass(2_999);
    let second = bench.join(first_join("m1"));
    bench.pass(1);
    assert!(bench.waits(first), "the second one prolongs the wait");
    // All of it is as long as they may take to join: 5 s.
    bench.pass(1_999);
    assert!(bench.waits(first) && bench.waits(second));
    bench.pass(1);
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((&*first.leader, &*second.leader), ("m2", "m2"));
    assert_eq!(
        (&*first.protocol_type, &*first.protocol),
        ("consumer", "range")
    );
    assert!(!first.skips_assignment);
    let member = |id: &str| JoinedMember {
        member_id: Arc::from(id),
        instance_id: None,
        metadata: subscription(&["a"]),
    };
    assert_eq!(first.members, [member("m1"), member("m2")]);
    assert_eq!(second.members, [], "only the leader assigns");
    assert_eq!(bench.state(), "CompletingRebalance");
    assert_eq!(
        bench.log,
        [],
        "nothing is written before the leader has assigned"
    );
}

#[test]
fn somebody_alone_waits_for_the_delay_only() {
    let mut bench = Bench::new();
    let ticket = bench.join(first_join("m1"));
    bench.pass(3_000);
    assert_eq!(&*bench.joined(ticket).leader, "m1");
}

#[test]
fn somebody_without_a_member_id_is_told_one_and_joins_with_it() {
    let mut bench = Bench::new();
    let member_id = bench.member_id("m1");
    assert_eq!(bench.describe().members, [], "it is no member yet");
    let ticket = bench.join(join(&member_id));
    bench.pass(3_000);
    assert_eq!(bench.joined(ticket).member_id, member_id);
}

#[test]
fn whoever_was_told_a_member_id_may_join_with_it_whatever_happens_in_between() {
    let mut bench = Bench::stable(&[first_join("m1")]);
    let member_id = bench.member_id("late");
    // Everybody goes, and the group is empty in another generation.
    assert_eq!(bench.go(&[leaver("m1")]), [Ok(())]);
    bench.pass(0);
    assert_eq!(bench.state(), "Empty");
    let ticket = bench.join(join(&member_id));
    bench.pass(3_000);
    assert_eq!(bench.joined(ticket).generation, 3);
}

#[test]
fn a_generation_waits_for_whoever_was_told_a_member_id() {
    let mut bench = Bench::two();
    let member_id = bench.member_id("m3");
    let (first, second) = (bench.join(join("m1")), bench.join(join("m2")));
    assert!(bench.waits(first));
    let third = bench.join(join(&member_id));
    for ticket in [first, second, third] {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
}

#[test]
fn a_member_id_that_nobody_joins_with_is_forgotten_after_a_session() {
    let mut bench = Bench::new();
    bench.member_id("m1");
    bench.pass(9_999);
    assert_eq!(bench.coordinator.list().len(), 1);
    bench.pass(1);
    assert_eq!(
        bench.coordinator.list(),
        [],
        "nothing was written, nothing is left"
    );
    let refusal = bench.refused_join(join("m1"));
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_ends_once_all_have_joined_and_puts_out_who_did_not() {
    let mut bench = Bench::two();
    let third = bench.join(first_join("m3"));
    assert_eq!(bench.state(), "PreparingRebalance");
    let first = bench.join(join("m1"));
    bench.pass(4_999);
    assert!(bench.waits(first) && bench.waits(third));
    bench.pass(1);
    let joined = bench.joined(first);
    let members: Vec<&str> = joined.members.iter().map(|m| &*m.member_id).collect();
    assert_eq!(members, ["m1", "m3"]);
    assert_eq!(bench.joined(third).generation, 2);
    let refusal = bench.refused_join(join("m2"));
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
}

#[test]
fn another_leads_where_the_leader_does_not_join() {
    let mut bench = Bench::two();
    let third = bench.join(first_join("m3"));
    let second = bench.join(join("m2"));
    bench.pass(5_000);
    assert_eq!(&*bench.joined(second).leader, "m2");
    assert_eq!(bench.joined(third).members, []);
}

#[test]
fn a_member_that_missed_the_answer_is_told_of_the_generation_once_more() {
    let mut bench = Bench::two();
    let again = bench.join(join("m2"));
    let joined = bench.joined(again);
    assert_eq!((joined.generation, &*joined.leader), (1, "m1"));
    assert_eq!(bench.state(), "Stable");
    // The same while the leader is about to assign; it is told of the members then.
    let joining = [bench.join(join("m1")), bench.join(join("m2"))];
    for ticket in joining {
        bench.joined(ticket);
    }
    assert_eq!(bench.state(), "CompletingRebalance");
    let again = bench.join(join("m1"));
    assert_eq!(bench.joined(again).members.len(), 2);
    assert_eq!(bench.describe().group_epoch, 2);
}

#[test]
fn a_leader_that_joins_again_and_a_member_that_says_something_else_begin_a_rebalance() {
    let other = ClassicJoin {
        protocols: protocols(&["range"], &subscription(&["a", "b"])),
        ..join("m2")
    };
    for (rejoin, reason) in [
        (join("m1"), "leader m1 joined again"),
        (other.clone(), "member m2 changed its metadata"),
    ] {
        let mut bench = Bench::two();
        let who = rejoin.member.member_id.clone();
        let ticket = bench.join(rejoin);
        assert!(bench.waits(ticket), "{reason}");
        assert_eq!(bench.state(), "PreparingRebalance");
        let rest = if &*who == "m1" { "m2" } else { "m1" };
        let rest = bench.join(join(rest));
        let joined = [bench.joined(ticket), bench.joined(rest)];
        assert_eq!(joined[0].generation, 2);
        bench.stabilize(&joined);
        let newest = bench.describe().rebalances.pop().expect("remembered");
        assert_eq!((&*newest.reason, newest.group_epoch), (reason, 2));
    }
    // Also where the generation is not complete yet: syncs that wait are told to join.
    let mut bench = Bench::two();
    let joining = [bench.join(join("m1")), bench.join(join("m2"))];
    for ticket in joining {
        bench.joined(ticket);
    }
    let waiting = bench.sync(sync("m2", 2, &[]));
    bench.join(ClassicJoin {
        protocols: other.protocols,
        ..join("m1")
    });
    assert_eq!(
        bench.refused(waiting).code(),
        ErrorCode::RebalanceInProgress
    );
}

#[test]
fn a_join_that_is_repeated_takes_the_place_of_the_one_that_waits() {
    let mut bench = Bench::two();
    let before = bench.join(join("m1"));
    let after = bench.join(join("m1"));
    assert_eq!(bench.refused(before).code(), ErrorCode::RebalanceInProgress);
    bench.join(join("m2"));
    assert_eq!(bench.joined(after).generation, 2);
}

#[test]
fn the_protocol_is_one_that_all_support_and_most_prefer() {
    let metadata = Bytes::from_static(b"x");
    let with = |member_id: &str, names: &[&str]| ClassicJoin {
        protocols: protocols(names, &metadata),
        ..first_join(member_id)
    };
    let cases: [(&[&[&str]], &str); 4] = [
        (&[&["a", "b"], &["b", "a"], &["b", "a"]], "b"),
        (&[&["a", "b"], &["b", "a"]], "a"),
        (&[&["c", "b"], &["c", "b"], &["b"]], "b"),
        (&[&["b"]], "b"),
    ];
    for (lists, expected) in cases {
        let mut bench = Bench::new();
        let joining: Vec<_> = (1..)
            .zip(lists)
            .map(|(at, names)| bench.join(with(&format!("m{at}"), names)))
            .collect();
        bench.pass(3_000);
        bench.pass(3_000);
        for ticket in joining {
            assert_eq!(&*bench.joined(ticket).protocol, expected, "{lists:?}");
        }
    }
}

#[test]
fn protocols_that_have_nothing_in_common_are_refused() {
    let metadata = Bytes::from_static(b"x");
    let cases = [
        ("connect", protocols(&["range"], &metadata)),
        ("consumer", protocols(&["sticky"], &metadata)),
        ("consumer", Vec::new()),
    ];
    for (protocol_type, protocols) in cases {
        let other = ClassicJoin {
            protocol_type: protocol_type.to_owned(),
            protocols,
            ..first_join("m9")
        };
        let mut bench = Bench::two();
        let refusal = bench.refused_join(other.clone());
        assert_eq!(refusal.code(), ErrorCode::InconsistentGroupProtocol);
        assert_eq!(bench.state(), "Stable");
        if other.protocols.is_empty() {
            let refusal = Bench::new().refused_join(other);
            assert_eq!(refusal.code(), ErrorCode::InconsistentGroupProtocol);
        }
    }
}

#[test]
fn somebody_alone_may_change_all_its_protocols() {
    let mut bench = Bench::stable(&[first_join("m1")]);
    let ticket = bench.join(ClassicJoin {
        protocols: protocols(&["sticky"], &subscription(&["a"])),
        ..join("m1")
    });
    assert_eq!(&*bench.joined(ticket).protocol, "sticky");
}

#[test]
fn a_group_has_room_for_so_many_members() {
    let mut bench = Bench::stable(&["m1", "m2", "m3", "m4"].map(first_join));
    let full = |refusal: Refusal| assert_eq!(refusal.code(), ErrorCode::GroupMaxSizeReached);
    full(bench.refused_join(join("")));
    full(bench.refused_join(first_join("m5")));
    // While members join, the first ones have the room.
    let joining = ["m1", "m2"].map(|id| bench.join(join(id)));
    let newcomers = ["m5", "m6"].map(|id| bench.join(first_join(id)));
    let last = bench.join(join("m3"));
    full(bench.refused(last));
    bench.pass(5_000);
    for ticket in joining.into_iter().chain(newcomers) {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
}

#[test]
fn a_new_member_is_not_waited_for_forever() {
    let mut bench = Bench::stable(&[ClassicJoin {
        rebalance_timeout_ms: Some(100_000),
        session_timeout_ms: 60_000,
        ..first_join("m1")
    }]);
    let newcomer = bench.join(first_join("m2"));
    bench.pass(19_999);
    assert!(bench.waits(newcomer));
    bench.pass(1);
    assert_eq!(bench.refused(newcomer).code(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_is_known_may_wait_longer_than_its_session() {
    let slow = |id| ClassicJoin {
        rebalance_timeout_ms: Some(30_000),
        ..first_join(id)
    };
    let mut bench = Bench::stable(&[slow("m1"), slow("m2")]);
    let waiting = bench.join(ClassicJoin {
        rebalance_timeout_ms: Some(30_000),
        ..join("m1")
    });
    for _ in 0..5 {
        bench.pass(5_000);
        assert_eq!(bench.heard(super::bench::of("m2", 1)), Ok(true));
    }
    assert!(bench.waits(waiting));
    bench.pass(5_000);
    assert_eq!(bench.joined(waiting).members.len(), 1);
}

type Change<'a> = &'a dyn Fn(&mut ClassicJoin);

#[test]
fn what_is_out_of_bounds_is_refused() {
    let long = "x".repeat(256);
    let with = |change: Change<'_>| {
        let mut join = join("");
        change(&mut join);
        Bench::new().refused_join(join).to_string()
    };
    let cases: [(Change<'_>, &str); 10] = [
        (
            &|j| j.member.group_id = Arc::from(""),
            "group id has 0 bytes, 1 to 255 are allowed",
        ),
        (
            &|j| j.session_timeout_ms = 999,
            "session timeout is 999 ms, 1000 to 60000 ms are allowed",
        ),
        (
            &|j| j.session_timeout_ms = 60_001,
            "session timeout is 60001 ms, 1000 to 60000 ms are allowed",
        ),
        (
            &|j| j.instance_id = Some(String::new()),
            "instance id is empty",
        ),
        (
            &|j| j.fresh_member_id = Arc::from(""),
            "no member id was chosen",
        ),
        (
            &|j| j.client_id.clone_from(&long),
            "client id has 256 bytes, at most 255 are allowed",
        ),
        (
            &|j| j.protocol_type.clone_from(&long),
            "protocol type has 256 bytes, at most 255 are allowed",
        ),
        (
            &|j| j.protocols = vec![(long.clone(), Bytes::new())],
            "protocol name has 256 bytes, at most 255 are allowed",
        ),
        (
            &|j| j.protocols = vec![(String::new(), Bytes::new()); 101],
            "join names 101 protocols, at most 100 are allowed",
        ),
        (
            &|j| j.protocols = vec![(String::new(), Bytes::from(vec![0; 500_001])); 2],
            "protocol metadata has 1000002 bytes, at most 1000000 are allowed",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(with(change), expected);
    }
}
