//! Syncing: the leader's assignments, who waits for them, and refusals.

use millstream_proto::{
    ErrorCode,
    group_record::{ClassicGroupValue, GroupRecord},
};

use super::bench::{first_join, join, of, sync};
use crate::group::{ClassicSync, Ticket, tests::bench::Bench};

/// Two members that were told of generation 2.
fn completing() -> Bench {
    let mut bench = Bench::two();
    let joining = [bench.join(join("m1")), bench.join(join("m2"))];
    for ticket in joining {
        bench.joined(ticket);
    }
    bench
}

fn written(bench: &Bench) -> ClassicGroupValue {
    let mut log = bench.log.iter().rev();
    let found = log.find_map(|record| match record {
        GroupRecord::ClassicGroup(_, value) => value.clone(),
        _ => None,
    });
    found.expect("written")
}

#[test]
fn members_wait_for_the_leader_and_the_generation_is_written() {
    let mut bench = completing();
    let second = bench.sync(sync("m2", 2, &[]));
    assert!(bench.waits(second));
    let first = bench.sync(sync("m1", 2, &[("m1", "x"), ("m2", "y"), ("m9", "z")]));
    assert_eq!(bench.assigned(first), "x");
    let synced = bench.synced(second);
    assert_eq!(
        (&*synced.protocol_type, &*synced.protocol),
        ("consumer", "range")
    );
    assert_eq!(synced.assignment, "y");
    let value = written(&bench);
    assert_eq!((value.generation, value.leader.as_deref()), (2, Some("m1")));
    assert_eq!(value.protocol.as_deref(), Some("range"));
    assert_eq!(value.current_state_timestamp_ms, bench.now.timestamp_ms);
    let members = value.members.iter();
    let members: Vec<_> = members.map(|m| (&*m.member_id, &*m.assignment)).collect();
    assert_eq!(members, [("m1", &b"x"[..]), ("m2", b"y")]);
}

#[test]
fn a_member_that_comes_late_is_told_what_was_assigned() {
    let mut bench = completing();
    bench.sync(sync("m1", 2, &[("m2", "y")]));
    let late = bench.sync(sync("m2", 2, &[]));
    assert_eq!(bench.assigned(late), "y");
    let again = bench.sync(sync("m1", 2, &[("m2", "other")]));
    assert_eq!(bench.assigned(again), "", "the leader gave itself nothing");
    let again = bench.sync(sync("m2", 2, &[]));
    assert_eq!(bench.assigned(again), "y", "a generation is assigned once");
}

#[test]
fn a_sync_that_is_repeated_takes_the_place_of_the_one_that_waits() {
    let mut bench = completing();
    let before = bench.sync(sync("m2", 2, &[]));
    let after = bench.sync(sync("m2", 2, &[]));
    assert_eq!(bench.refused(before).code(), ErrorCode::RebalanceInProgress);
    bench.sync(sync("m1", 2, &[("m2", "y")]));
    assert_eq!(bench.assigned(after), "y");
}

#[test]
fn members_that_do_not_sync_in_time_are_put_out() {
    let mut bench = completing();
    let waiting = bench.sync(sync("m2", 2, &[]));
    bench.pass(4_999);
    assert!(bench.waits(waiting));
    bench.pass(1);
    assert_eq!(
        bench.refused(waiting).code(),
        ErrorCode::RebalanceInProgress
    );
    assert!(bench.member("m1").is_none());
    let ticket = bench.join(join("m2"));
    let joined = bench.joined(ticket);
    assert_eq!((joined.generation, &*joined.leader), (3, "m2"));
    bench.stabilize(&[joined]);
    let newest = bench.describe().rebalances.pop().expect("remembered");
    assert_eq!(&*newest.reason, "members did not sync in time: m1");
}

#[test]
fn a_member_that_does_not_sync_in_time_is_put_out_of_a_stable_group_too() {
    let mut bench = completing();
    bench.sync(sync("m1", 2, &[]));
    assert_eq!(bench.state(), "Stable");
    bench.pass(5_000);
    assert!(bench.member("m2").is_none());
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn who_waits_for_the_leader_is_not_silent() {
    let slow = |id| crate::group::ClassicJoin {
        rebalance_timeout_ms: Some(30_000),
        ..first_join(id)
    };
    let mut bench = Bench::new();
    let joining: [Ticket; 2] = ["m1", "m2"].map(|id| bench.join(slow(id)));
    bench.pass(3_000);
    bench.pass(3_000);
    for ticket in joining {
        bench.joined(ticket);
    }
    let waiting = bench.sync(sync("m2", 1, &[]));
    for _ in 0..4 {
        bench.pass(5_000);
        assert_eq!(bench.heard(of("m1", 1)), Ok(false));
    }
    bench.sync(sync("m1", 1, &[("m2", "y")]));
    assert_eq!(bench.assigned(waiting), "y");
    bench.pass(9_999);
    assert!(
        bench.member("m2").is_some(),
        "its session began with the answer"
    );
    bench.pass(1);
    assert!(bench.member("m2").is_none());
}

#[test]
fn an_assignment_that_no_record_can_hold_is_refused() {
    let mut bench = completing();
    let second = bench.sync(sync("m2", 2, &[]));
    let long = "x".repeat(1_000);
    let log = bench.log.len();
    let first = bench.sync(sync("m1", 2, &[("m2", &long)]));
    for ticket in [first, second] {
        assert_eq!(bench.refused(ticket).code(), ErrorCode::UnknownServerError);
    }
    assert_eq!(bench.log.len(), log);
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn who_may_not_sync_is_refused() {
    let mut bench = Bench::two();
    let other_type = ClassicSync {
        protocol_type: Some("connect".to_owned()),
        ..sync("m1", 1, &[])
    };
    let other_protocol = ClassicSync {
        protocol: Some("sticky".to_owned()),
        ..sync("m1", 1, &[])
    };
    for (request, code) in [
        (sync("m9", 1, &[]), ErrorCode::UnknownMemberId),
        (sync("", 1, &[]), ErrorCode::UnknownMemberId),
        (sync("m1", 0, &[]), ErrorCode::IllegalGeneration),
        (sync("m1", 2, &[]), ErrorCode::IllegalGeneration),
        (other_type, ErrorCode::InconsistentGroupProtocol),
        (other_protocol, ErrorCode::InconsistentGroupProtocol),
    ] {
        assert_eq!(
            bench.refused_sync(request.clone()).code(),
            code,
            "{request:?}"
        );
    }
    bench.join(join("m1"));
    let refusal = bench.refused_sync(sync("m2", 1, &[]));
    assert_eq!(refusal.code(), ErrorCode::RebalanceInProgress);
    let refusal = Bench::new().refused_sync(sync("m1", 1, &[]));
    assert_eq!(
        refusal.code(),
        ErrorCode::UnknownMemberId,
        "there is no such group"
    );
}
