//! Groups that change their kind.

use millstream_proto::{ErrorCode, group_record::GroupRecord};

use super::bench::{first_join, join, leaver, of};
use crate::group::{
    Event, GroupType, Leave,
    tests::bench::{Bench, GROUP, join as consumer_join, member},
};

fn group_type(bench: &Bench) -> GroupType {
    bench.describe().listing.group_type
}

fn leave_consumers(bench: &mut Bench) {
    let leave = Leave {
        member: member("m1"),
        instance_id: None,
        keeps_partitions: false,
    };
    bench.leave(leave).expect("left");
}

#[test]
fn an_empty_consumer_group_becomes_a_classic_one_whose_generations_go_on() {
    let mut bench = Bench::new();
    bench.beat(consumer_join("m1", 1));
    leave_consumers(&mut bench);
    let epoch = bench.describe().group_epoch;
    let ticket = bench.join(first_join("m2"));
    assert!(
        bench
            .log
            .contains(&GroupRecord::ConsumerGroup(GROUP.to_owned(), None))
    );
    assert_eq!(group_type(&bench), GroupType::Classic);
    bench.pass(3_000);
    let joined = bench.joined(ticket);
    assert_eq!(joined.generation, epoch + 1);
    bench.stabilize(&[joined]);
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before);
}

#[test]
fn a_group_is_written_as_a_classic_one_before_anybody_is_told_a_member_id() {
    let mut bench = Bench::new();
    bench.beat(consumer_join("m1", 1));
    leave_consumers(&mut bench);
    bench.member_id("m2");
    bench.pass(10_000);
    let listing = &bench.coordinator.list()[0];
    assert_eq!(
        (listing.group_type, listing.state),
        (GroupType::Classic, "Empty")
    );
    bench.reload();
    assert_eq!(group_type(&bench), GroupType::Classic);
}

#[test]
fn an_empty_classic_group_becomes_one_of_consumers_whose_epochs_go_on() {
    let mut bench = Bench::two();
    bench.commit_as(of("m1", 1)).expect("accepted");
    bench.go(&[leaver("m1"), leaver("m2")]);
    let generation = bench.describe().group_epoch;
    let alive = bench.beat(consumer_join("m3", 1));
    assert_eq!(alive.member_epoch, generation + 1);
    assert!(
        bench
            .log
            .contains(&GroupRecord::ClassicGroup(GROUP.to_owned(), None))
    );
    let reasons: Vec<i32> = bench
        .describe()
        .rebalances
        .iter()
        .map(|r| r.group_epoch)
        .collect();
    assert_eq!(reasons, [1, 2, 3], "what was remembered stays");
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before);
    bench.event(Event::ExpireOffsets);
    assert_eq!(group_type(&bench), GroupType::Consumer);
}

#[test]
fn a_group_that_only_committed_offsets_becomes_a_classic_one() {
    let mut bench = Bench::new();
    bench.commit_as(of("", -1)).expect("accepted");
    let refusal = bench.refused_join(join("m1"));
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
    assert_eq!(group_type(&bench), GroupType::Simple);
    let ticket = bench.join(first_join("m1"));
    bench.pass(3_000);
    assert_eq!(bench.joined(ticket).generation, 1);
    bench.go(&[leaver("m1")]);
    assert_eq!(group_type(&bench), GroupType::Classic);
}
