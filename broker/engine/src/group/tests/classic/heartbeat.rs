//! Heartbeats, and silence.

use millstream_proto::ErrorCode;

use super::bench::{first_join, join, of};
use crate::group::{
    Event, Refusal, Timer,
    tests::bench::{Bench, member},
};

#[test]
fn a_heartbeat_keeps_a_member_and_says_whether_to_join() {
    let mut bench = Bench::two();
    bench.pass(9_000);
    assert_eq!(bench.heard(of("m1", 1)), Ok(false));
    bench.pass(1_000);
    assert!(bench.member("m2").is_none(), "it was silent");
    assert_eq!(bench.heard(of("m1", 1)), Ok(true));
    let ticket = bench.join(join("m1"));
    let joined = bench.joined(ticket);
    assert_eq!(joined.generation, 2);
    assert_eq!(
        bench.heard(of("m1", 2)),
        Ok(false),
        "before it has synced, too"
    );
    bench.stabilize(&[joined]);
    let newest = bench.describe().rebalances.pop().expect("remembered");
    assert_eq!(&*newest.reason, "member m2 was silent for too long");
}

#[test]
fn a_heartbeat_of_a_stranger_or_of_another_generation_is_refused() {
    let mut bench = Bench::two();
    for (member, code) in [
        (of("m9", 1), ErrorCode::UnknownMemberId),
        (of("", 1), ErrorCode::UnknownMemberId),
        (of("m1", 0), ErrorCode::IllegalGeneration),
        (of("m1", 2), ErrorCode::IllegalGeneration),
    ] {
        assert_eq!(
            bench.heard(member.clone()).map_err(|r| r.code()),
            Err(code),
            "{member:?}"
        );
    }
    let nobody = Bench::new().heard(of("m1", 1));
    assert_eq!(
        nobody.map_err(|refusal| refusal.code()),
        Err(ErrorCode::UnknownMemberId)
    );
}

#[test]
fn the_last_silent_member_leaves_an_empty_group() {
    let mut bench = Bench::stable(&[first_join("m1")]);
    bench.pass(10_000);
    assert_eq!((bench.state(), bench.describe().group_epoch), ("Empty", 2));
    let refusal = bench.heard(of("m1", 2)).expect_err("gone");
    assert!(matches!(refusal, Refusal::UnknownMember { .. }));
}

#[test]
fn a_timer_that_was_set_anew_is_late() {
    let mut bench = Bench::two();
    bench.now.monotonic_ms += 9_000;
    assert_eq!(bench.heard(of("m1", 1)), Ok(false));
    bench.now.monotonic_ms += 2_000;
    bench.event(Event::TimerDue(Timer::Session(member("m1"))));
    bench.event(Event::TimerDue(Timer::Join(member("m1").group_id)));
    bench.event(Event::TimerDue(Timer::Sync(member("m1").group_id)));
    assert_eq!(
        (bench.state(), bench.describe().members.len()),
        ("Stable", 2)
    );
}
