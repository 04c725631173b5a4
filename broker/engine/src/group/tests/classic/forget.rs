//! Deletion and expiry of offsets and groups.

use millstream_proto::{ErrorCode, group_record::GroupRecord};

use super::bench::{first_join, join, leaver, of, protocols, subscription};
use crate::group::{
    ClassicJoin, Event, OffsetReader, Refusal,
    tests::bench::{Bench, GROUP},
};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

fn committed(bench: &Bench) -> usize {
    let committed = bench
        .coordinator
        .committed(GROUP, &OffsetReader::Anybody, None);
    committed.expect("anybody may read").len()
}

/// Committed offsets after so long without any other event.
fn left_after(bench: &mut Bench, ms: i64) -> usize {
    bench.now.timestamp_ms += ms;
    bench.event(Event::ExpireOffsets);
    committed(bench)
}

/// A stable group of somebody who said this and committed for topic `a`.
fn committer(protocol_type: &str, metadata: &'static [u8]) -> Bench {
    let mut bench = Bench::stable(&[ClassicJoin {
        protocol_type: protocol_type.to_owned(),
        protocols: protocols(&["range"], &metadata.into()),
        ..first_join("m1")
    }]);
    bench.commit_as(of("m1", 1)).expect("accepted");
    bench
}

#[test]
fn a_group_with_members_is_not_deleted_and_nothing_is_left_of_an_empty_one() {
    let mut bench = Bench::two();
    bench.commit_as(of("m1", 1)).expect("accepted");
    let refusal = bench.delete_group().expect_err("members");
    assert_eq!(refusal.to_string(), "group g has members (m1, m2)");
    bench.go(&[leaver("m1"), leaver("m2")]);
    bench.delete_group().expect("empty");
    assert_eq!(bench.coordinator.list(), []);
    bench.reload();
    assert_eq!(bench.coordinator.list(), []);
}

#[test]
fn offsets_of_a_topic_that_a_member_may_subscribe_to_are_not_deleted() {
    let subscribed = Err(ErrorCode::GroupSubscribedToTopic);
    let cases: [(&'static [u8], _); 3] = [
        (b"\0\x01\0\0\0\x01\0\x01a", subscribed),
        (b"\0\x01\0\0\0\x01\0\x01b", Ok(())),
        (b"no subscription", subscribed),
    ];
    for (metadata, expected) in cases {
        let mut bench = committer("consumer", metadata);
        let results = bench.delete_offsets(&[("a", 0)]).expect("exists");
        assert_eq!(
            results[0].as_ref().map_err(Refusal::code),
            expected.as_ref().map(|()| &()).map_err(|code| *code)
        );
        assert_eq!(committed(&bench), usize::from(expected.is_err()));
    }
}

#[test]
fn offsets_of_a_group_whose_members_read_what_they_like_are_not_deleted() {
    let mut bench = committer("connect", b"");
    let refusal = bench.delete_offsets(&[("a", 0)]).expect_err("members");
    assert_eq!(refusal.code(), ErrorCode::NonEmptyGroup);
    bench.go(&[leaver("m1")]);
    assert_eq!(bench.delete_offsets(&[("a", 0)]), Ok(vec![Ok(())]));
    assert_eq!(committed(&bench), 0);
}

#[test]
fn offsets_expire_where_nobody_may_read_the_topic() {
    let cases: [(&str, &'static [u8], usize); 4] = [
        ("consumer", b"\0\x01\0\0\0\x01\0\x01a", 1),
        ("consumer", b"\0\x01\0\0\0\x01\0\x01b", 0),
        ("consumer", b"no subscription", 1),
        ("connect", b"", 1),
    ];
    for (protocol_type, metadata, left) in cases {
        let mut bench = committer(protocol_type, metadata);
        assert_eq!(left_after(&mut bench, WEEK_MS - 1), 1);
        assert_eq!(
            left_after(&mut bench, 1),
            left,
            "{protocol_type} {metadata:?}"
        );
    }
}

#[test]
fn nothing_expires_while_members_join() {
    let mut bench = committer("consumer", b"\0\x01\0\0\0\x01\0\x01b");
    bench.join(first_join("m2"));
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(left_after(&mut bench, 2 * WEEK_MS), 1);
    bench.join(ClassicJoin {
        protocols: protocols(&["range"], &subscription(&["b"])),
        ..join("m1")
    });
    assert_eq!(bench.state(), "CompletingRebalance");
    assert_eq!(left_after(&mut bench, 0), 1);
}

#[test]
fn offsets_and_group_outlive_the_last_member_by_the_retention() {
    let mut bench = committer("consumer", b"\0\x01\0\0\0\x01\0\x01a");
    bench.now.timestamp_ms += WEEK_MS;
    bench.go(&[leaver("m1")]);
    assert_eq!(left_after(&mut bench, WEEK_MS - 1), 1);
    assert_eq!(left_after(&mut bench, 1), 0);
    assert_eq!(bench.coordinator.list(), []);
    assert!(
        bench
            .log
            .contains(&GroupRecord::ClassicGroup(GROUP.to_owned(), None))
    );
    bench.reload();
    assert_eq!(bench.coordinator.list(), []);
}

#[test]
fn an_old_group_stays_for_whoever_was_told_a_member_id() {
    let mut bench = Bench::stable(&[first_join("m1")]);
    bench.go(&[leaver("m1")]);
    let member_id = bench.member_id("m2");
    left_after(&mut bench, WEEK_MS);
    let ticket = bench.join(join(&member_id));
    bench.pass(3_000);
    assert_eq!(bench.joined(ticket).generation, 3);
}
