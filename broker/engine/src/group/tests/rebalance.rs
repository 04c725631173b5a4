//! What a rebalance leaves alone, and what it remembers.

use super::bench::{Bench, a, join, set, topics};
use crate::group::Event;

#[test]
fn a_member_whose_partitions_stay_is_told_only_of_the_epoch() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    let before = bench.last_push("m2").assignment;
    bench.event(Event::TopicsChanged {
        topics: topics(2, 5),
        deleted: Vec::new(),
    });
    let after = bench.last_push("m2");
    assert!(
        after.assignment.is_superset(&before),
        "nothing is taken away"
    );
    assert_eq!(bench.holds("m1").len() + bench.holds("m2").len(), 5);
    assert_eq!(&*after.reason, "subscribed topics changed");
}

#[test]
fn topics_that_nobody_subscribes_to_rebalance_nobody() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    let epoch = bench.describe().group_epoch;
    bench.event(Event::TopicsChanged {
        topics: topics(2, 4),
        deleted: Vec::new(),
    });
    assert_eq!(bench.describe().group_epoch, epoch);
}

#[test]
fn an_answer_to_an_earlier_push_frees_nothing() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    // The first member is to give up a(2) and a(3), but the second one goes, so it may keep them.
    let gone = crate::group::Leave {
        member: super::bench::member("m2"),
        instance_id: None,
        keeps_partitions: false,
    };
    bench.leave(gone).expect("left");
    assert_eq!(bench.last_push("m1").sequence, 3);
    bench.beat(join("m3", 3));
    assert_eq!(bench.last_push("m1").sequence, 4);
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    assert_eq!(
        bench.holds("m3"),
        set(&[]),
        "m1 was given them back since, and is yet to say no"
    );
    bench.own("m1", 1, 4, &[a(0), a(1)]);
    assert_eq!(bench.holds("m3"), set(&[a(2), a(3)]));
}

#[test]
fn the_last_rebalances_are_remembered_with_their_reasons() {
    let mut bench = Bench::new();
    for (stream, member_id) in (1..).zip(["m1", "m2", "m3", "m4"]) {
        bench.beat(join(member_id, stream));
    }
    let reasons: Vec<String> = bench
        .describe()
        .rebalances
        .iter()
        .map(|rebalance| format!("{}: {}", rebalance.group_epoch, rebalance.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            "2: member m2 joined",
            "3: member m3 joined",
            "4: member m4 joined"
        ]
    );
}
