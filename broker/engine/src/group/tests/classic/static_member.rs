//! Static members: coming back, being fenced, being away.

use millstream_proto::ErrorCode;

use super::bench::{join, of, protocols, static_join, subscription, sync};
use crate::group::{ClassicJoin, ClassicMemberRef, ClassicSync, Joined, tests::bench::Bench};

fn two() -> Bench {
    Bench::stable(&[static_join("host-1", "m1"), static_join("host-2", "m2")])
}

fn back(bench: &mut Bench, join: ClassicJoin) -> Joined {
    let ticket = bench.join(join);
    bench.joined(ticket)
}

#[test]
fn a_static_member_that_is_back_has_its_place_without_a_rebalance() {
    let mut bench = two();
    let joined = back(&mut bench, static_join("host-2", "m2-again"));
    assert_eq!((joined.generation, &*joined.leader), (1, "m1"));
    assert_eq!(&*joined.member_id, "m2-again");
    assert_eq!(bench.state(), "Stable");
    let ticket = bench.sync(sync("m2-again", 1, &[]));
    assert_eq!(bench.assigned(ticket), "m2");
    assert!(bench.member("m2").is_none());
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before, "its new id is written");
}

#[test]
fn a_leader_that_is_back_is_told_not_to_assign() {
    let mut bench = two();
    let joined = back(&mut bench, static_join("host-1", "m1-again"));
    assert_eq!(&*joined.leader, "m1-again");
    assert!(joined.skips_assignment);
    assert_eq!(joined.members.len(), 2);
    // One that cannot be told so is told that another leads.
    let joined = back(
        &mut bench,
        ClassicJoin {
            can_skip_assignment: false,
            ..static_join("host-1", "m1-once-more")
        },
    );
    assert_eq!(&*joined.leader, "m1-again");
    assert_eq!((joined.skips_assignment, joined.members.len()), (false, 0));
    let ticket = bench.sync(sync("m1-once-more", 1, &[]));
    assert_eq!(bench.assigned(ticket), "m1");
}

#[test]
fn the_predecessor_is_fenced() {
    let mut bench = two();
    let old = |generation| ClassicMemberRef {
        instance_id: Some("host-2".to_owned()),
        ..of("m2", generation)
    };
    let rejoin = ClassicJoin {
        instance_id: Some("host-2".to_owned()),
        ..join("m2")
    };
    // What waits in its name is answered, too.
    bench.join(join("m1"));
    let waiting = bench.join(rejoin.clone());
    assert_eq!(bench.joined(waiting).generation, 2);
    let waiting = bench.sync(ClassicSync {
        member: old(2),
        ..sync("m2", 2, &[])
    });
    bench.join(static_join("host-2", "m2-again"));
    assert_eq!(bench.refused(waiting).code(), ErrorCode::FencedInstanceId);
    assert_eq!(
        bench.refused_join(rejoin).code(),
        ErrorCode::FencedInstanceId
    );
    let refusal = bench.heard(old(2)).expect_err("fenced");
    assert_eq!(refusal.code(), ErrorCode::FencedInstanceId);
    assert!(
        bench.heard(of("m2", 2)).is_err(),
        "unknown without its name"
    );
    let refusal = bench.commit_as(old(2)).expect_err("fenced");
    assert_eq!(refusal.code(), ErrorCode::FencedInstanceId);
}

#[test]
fn a_member_that_comes_back_while_the_leader_assigns_begins_a_rebalance() {
    let mut bench = two();
    let joining = ["m1", "m2"].map(|id| bench.join(join(id)));
    for ticket in joining {
        bench.joined(ticket);
    }
    let ticket = bench.join(static_join("host-2", "m2-again"));
    assert!(bench.waits(ticket));
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.join(join("m1"));
    assert_eq!(bench.joined(ticket).generation, 3);
}

#[test]
fn a_member_that_comes_back_with_other_protocols_begins_a_rebalance() {
    let both = |instance: &str, id: &str| ClassicJoin {
        protocols: protocols(&["range", "sticky"], &subscription(&["a"])),
        ..static_join(instance, id)
    };
    let mut bench = Bench::stable(&[both("host-1", "m1"), both("host-2", "m2")]);
    let ticket = bench.join(ClassicJoin {
        protocols: protocols(&["sticky"], &subscription(&["a"])),
        ..static_join("host-2", "m2-again")
    });
    assert!(bench.waits(ticket), "range is not possible any more");
    bench.join(ClassicJoin {
        protocols: protocols(&["range", "sticky"], &subscription(&["a"])),
        ..join("m1")
    });
    assert_eq!(&*bench.joined(ticket).protocol, "sticky");
}

#[test]
fn a_static_member_that_is_away_stays_while_others_rebalance() {
    let mut bench = two();
    let ticket = bench.join(join("m1"));
    bench.pass(5_000);
    let joined = bench.joined(ticket);
    assert_eq!(joined.members.len(), 2, "the leader assigns for it, too");
    // A generation of which it never hears is as long as others are asked to sync.
    bench.sync(sync("m1", 2, &[("m2", "y")]));
    bench.pass(5_000);
    assert!(bench.member("m2").is_none());
}

#[test]
fn a_group_of_absent_static_members_waits_for_their_sessions() {
    let mut bench = Bench::stable(&["1", "2"].map(|at| ClassicJoin {
        session_timeout_ms: 30_000,
        ..static_join(&format!("host-{at}"), &format!("m{at}"))
    }));
    // A newcomer begins a rebalance and is put out before it ends.
    bench.join(super::bench::first_join("m3"));
    bench.go(&[super::bench::leaver("m3")]);
    bench.pass(5_000);
    assert_eq!(
        (bench.state(), bench.describe().members.len()),
        ("PreparingRebalance", 2)
    );
    bench.pass(25_000);
    assert_eq!(
        (bench.state(), bench.describe().members.len()),
        ("Empty", 0)
    );
}
