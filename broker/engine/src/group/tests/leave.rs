//! Leaving, being silent, and not giving up.

use super::bench::{Bench, a, join, member, set};
use crate::group::{Event, Leave, Refusal, StreamId};

fn leave(member_id: &str) -> Leave {
    Leave {
        member: member(member_id),
        instance_id: None,
        keeps_partitions: false,
    }
}

/// Two members with a half each.
fn two() -> Bench {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    bench
}

#[test]
fn what_a_member_held_that_leaves_goes_to_the_others_at_once() {
    let mut bench = two();
    assert_eq!(bench.leave(leave("m1")), Ok(-1));
    let push = bench.last_push("m2");
    assert_eq!(push.assignment, set(&[a(0), a(1), a(2), a(3)]));
    assert_eq!(&*push.reason, "member m1 left");
    assert!(bench.leave(leave("m1")).is_err(), "it is one no more");
}

#[test]
fn only_a_static_member_keeps_its_partitions() {
    let mut bench = two();
    let for_a_while = Leave {
        keeps_partitions: true,
        ..leave("m1")
    };
    assert!(matches!(bench.leave(for_a_while), Err(Refusal::Invalid(_))));
}

#[test]
fn a_member_whose_stream_broke_is_evicted_after_the_grace() {
    let mut bench = two();
    bench.event(Event::StreamBroken(member("m1"), StreamId(1)));
    bench.pass(999);
    assert!(bench.member("m1").is_some());
    bench.pass(1);
    assert_eq!(bench.member("m1"), None);
    assert_eq!(bench.holds("m2").len(), 4);
    assert_eq!(
        &*bench.last_push("m2").reason,
        "member m1 was gone and did not come back"
    );
}

#[test]
fn a_silent_member_is_evicted_and_its_stream_closed() {
    let mut bench = two();
    bench.pass(9_999);
    bench.own("m2", 2, 2, &[a(2), a(3)]);
    bench.pass(1);
    assert_eq!(bench.member("m1"), None);
    assert!(matches!(bench.closed("m1")[..], [Refusal::Fenced { .. }]));
    assert_eq!(bench.holds("m2").len(), 4);
}

#[test]
fn a_member_that_does_not_give_up_is_evicted_after_its_rebalance_timeout() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.pass(4_999);
    assert_eq!(bench.holds("m2"), set(&[]), "nothing before it gave up");
    bench.pass(1);
    assert_eq!(bench.member("m1"), None);
    assert_eq!(bench.holds("m2").len(), 4);
}

#[test]
fn a_static_member_that_does_not_come_back_loses_its_place() {
    let mut bench = Bench::new();
    let mut static_member = join("m1", 1);
    static_member.instance_id = Some("host-1".to_owned());
    bench.beat(static_member);
    let for_a_while = Leave {
        keeps_partitions: true,
        ..leave("m1")
    };
    assert_eq!(bench.leave(for_a_while), Ok(-2));
    bench.pass(9_999);
    assert_eq!(bench.holds("m1").len(), 4);
    bench.pass(1);
    assert_eq!(bench.describe().members, []);
    assert_eq!(bench.describe().listing.state, "Empty");
}

#[test]
fn a_timer_that_was_set_anew_is_late() {
    let mut bench = two();
    bench.now.monotonic_ms += 9_000;
    bench.own("m1", 1, 3, &[a(0), a(1)]);
    bench.now.monotonic_ms += 2_000;
    bench.event(Event::TimerDue(crate::group::Timer::Session(member("m1"))));
    assert!(bench.member("m1").is_some());
}
