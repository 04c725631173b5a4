//! What a restart keeps of a classic group.

use millstream_proto::ErrorCode;

use super::bench::{first_join, join, of, static_join, sync};
use crate::group::{
    Config, Coordinator, Event, Leave,
    tests::bench::{Bench, config, topics},
};

#[test]
fn members_and_assignments_are_what_they_were_and_sessions_begin_anew() {
    let mut bench = Bench::stable(&[static_join("host-1", "m1"), first_join("m2")]);
    let before = bench.describe();
    bench.pass(9_000);
    bench.reload();
    assert_eq!(bench.describe(), before);
    bench.pass(9_000);
    assert_eq!(bench.heard(of("m1", 1)), Ok(false));
    let ticket = bench.sync(sync("m1", 1, &[]));
    assert_eq!(bench.assigned(ticket), "m1");
    bench.pass(1_000);
    assert!(bench.member("m2").is_none());
}

#[test]
fn a_rebalance_that_was_going_on_is_forgotten_and_begins_again() {
    let mut bench = Bench::two();
    let joining = [bench.join(join("m1")), bench.join(join("m2"))];
    for ticket in joining {
        bench.joined(ticket);
    }
    bench.reload();
    assert_eq!((bench.state(), bench.describe().group_epoch), ("Stable", 1));
    let refusal = bench.refused_sync(sync("m1", 2, &[]));
    assert_eq!(refusal.code(), ErrorCode::IllegalGeneration);
    let joining = [bench.join(join("m1")), bench.join(join("m2"))];
    for ticket in joining {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
}

#[test]
fn a_member_joins_with_its_protocols_after_a_restart() {
    let mut bench = Bench::two();
    bench.reload();
    // Of the protocols that it had only the chosen one is written: the same is no change.
    let ticket = bench.join(join("m2"));
    assert_eq!(bench.joined(ticket).generation, 1);
}

#[test]
fn a_group_that_has_too_many_members_loses_the_last_ones() {
    let mut bench = Bench::stable(&["m1", "m2", "m3"].map(first_join));
    let lowered = Config {
        classic_members_max: 2,
        ..config()
    };
    bench.coordinator = Coordinator::new(lowered, topics(1, 4));
    for record in &bench.log {
        bench.coordinator.replay(record);
    }
    bench.actions.clear();
    bench.event(Event::Loaded);
    assert_eq!(bench.state(), "PreparingRebalance");
    let staying = [bench.join(join("m3")), bench.join(join("m1"))];
    let last = bench.join(join("m2"));
    assert_eq!(bench.refused(last).code(), ErrorCode::GroupMaxSizeReached);
    for ticket in staying {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
}

#[test]
fn what_is_said_to_the_wrong_kind_of_group_changes_nothing() {
    let mut bench = Bench::two();
    let before = bench.describe();
    let leave = Leave {
        member: crate::group::tests::bench::member("m1"),
        instance_id: None,
        keeps_partitions: false,
    };
    let refusal = bench.leave(leave).expect_err("no consumer");
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
    assert_eq!(bench.describe(), before);
}
