//! Epochs of members that are there or come back, and streams.

use millstream_proto::ErrorCode;

use super::bench::{Bench, a, beat, join, member, resume, set, subscription};
use crate::group::{Event, Refusal, StreamId, StreamReport};

#[test]
fn an_epoch_that_is_not_the_members_fences_it() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    let ahead = bench.try_beat(beat("m1", 2)).expect_err("ahead");
    assert_eq!(ahead.code(), ErrorCode::FencedMemberEpoch);
    assert_eq!(
        ahead.to_string(),
        "member m1 is fenced: it has epoch 2, the group has it at 1"
    );
    let unknown = bench.try_beat(beat("m9", 1)).expect_err("unknown");
    assert_eq!(unknown.code(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_whose_stream_broke_goes_on_where_it_was() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.event(Event::StreamBroken(member("m1"), StreamId(1)));
    let epoch = bench.describe().group_epoch;
    bench.beat(resume("m1", 2, 1, &[a(0), a(1), a(2), a(3)]));
    assert_eq!(bench.describe().group_epoch, epoch, "no rebalance");
    bench.pass(20_000);
    assert_eq!(
        bench.member("m1"),
        None,
        "but for the session, as it says nothing more"
    );
}

#[test]
fn a_member_that_missed_pushes_comes_back_with_what_it_had_by_then() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    // The push of the second rebalance never reaches the first member.
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    assert_eq!(bench.member("m1").expect("there").member_epoch, 2);
    bench.event(Event::StreamBroken(member("m1"), StreamId(1)));
    bench.beat(resume("m1", 3, 1, &[a(0), a(1)]));
    let push = bench.last_push("m1");
    assert_eq!((push.sequence, push.member_epoch), (1, 2));
    assert_eq!(push.assignment, set(&[a(0), a(1)]));

    bench.event(Event::StreamBroken(member("m1"), StreamId(3)));
    let refusal = bench
        .try_beat(resume("m1", 4, 1, &[a(0), a(2)]))
        .expect_err("a(2) is another's");
    assert_eq!(refusal.code(), ErrorCode::FencedMemberEpoch);
}

#[test]
fn a_member_that_gave_up_partitions_while_its_stream_was_broken_need_not_say_so_again() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.event(Event::StreamBroken(member("m1"), StreamId(1)));
    bench.beat(resume("m1", 3, 1, &[a(0), a(1)]));
    assert_eq!(bench.last_push("m2").assignment, set(&[a(2), a(3)]));
}

#[test]
fn an_old_stream_is_heard_no_more() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(resume("m1", 2, 1, &[]));
    let report = StreamReport {
        member: member("m1"),
        stream: StreamId(1),
        subscription: None,
        owned: None,
    };
    let refusal = bench.try_report(report).expect_err("replaced");
    assert!(matches!(refusal, Refusal::StreamReplaced { .. }));
    bench.event(Event::StreamBroken(member("m1"), StreamId(1)));
    bench.pass(5_000);
    assert!(
        bench.member("m1").is_some(),
        "the end of an old stream means nothing"
    );
}

#[test]
fn a_report_keeps_the_session_alive_and_may_change_the_subscription() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    for _ in 0..5 {
        bench.pass(6_000);
        let report = StreamReport {
            member: member("m1"),
            stream: StreamId(1),
            subscription: None,
            owned: None,
        };
        bench.try_report(report).expect("alive");
    }
    let report = StreamReport {
        member: member("m1"),
        stream: StreamId(1),
        subscription: Some(subscription(&["b"])),
        owned: None,
    };
    bench.try_report(report).expect("alive");
    assert_eq!(
        bench.last_push("m1").assignment,
        set(&[]),
        "a is to be given up"
    );
    bench.own("m1", 1, 2, &[]);
    assert_eq!(
        bench.last_push("m1").assignment.len(),
        2,
        "both partitions of b"
    );
    let newest = bench.describe().rebalances.pop().expect("one");
    assert_eq!(&*newest.reason, "member m1 changed its subscription");
}
