//! Who may commit offsets of a classic group, and who may read them.

use std::sync::Arc;

use millstream_proto::ErrorCode;

use super::bench::{first_join, join, leaver, of, static_join};
use crate::group::{
    ClassicMemberRef, OffsetReader,
    tests::bench::{Bench, GROUP},
};

fn code(bench: &mut Bench, member: ClassicMemberRef) -> Option<ErrorCode> {
    bench.commit_as(member).err().map(|refusal| refusal.code())
}

#[test]
fn a_member_commits_in_its_generation() {
    let mut bench = Bench::two();
    let unknown = Some(ErrorCode::UnknownMemberId);
    let illegal = Some(ErrorCode::IllegalGeneration);
    for (member, expected) in [
        (of("m1", 1), None),
        (of("m2", 1), None),
        (of("m1", 0), illegal),
        (of("m1", 2), illegal),
        (of("m1", -1), illegal),
        (of("m9", 1), unknown),
        (of("", 1), unknown),
        (of("", -1), unknown),
    ] {
        assert_eq!(code(&mut bench, member.clone()), expected, "{member:?}");
    }
}

#[test]
fn members_commit_until_the_next_generation_begins() {
    let mut bench = Bench::two();
    let ticket = bench.join(join("m1"));
    assert_eq!(
        code(&mut bench, of("m2", 1)),
        None,
        "it is about to give up partitions"
    );
    bench.join(join("m2"));
    bench.joined(ticket);
    assert_eq!(
        code(&mut bench, of("m2", 1)),
        Some(ErrorCode::IllegalGeneration)
    );
    assert_eq!(
        code(&mut bench, of("m2", 2)),
        Some(ErrorCode::RebalanceInProgress)
    );
}

#[test]
fn a_commit_shows_that_a_member_is_alive() {
    let mut bench = Bench::two();
    bench.pass(9_000);
    assert_eq!(code(&mut bench, of("m1", 1)), None);
    bench.pass(1_000);
    assert!(bench.member("m1").is_some() && bench.member("m2").is_none());
}

#[test]
fn somebody_who_is_no_member_commits_while_the_group_is_empty() {
    let mut bench = Bench::stable(&[first_join("m1")]);
    assert_eq!(
        code(&mut bench, of("", -1)),
        Some(ErrorCode::UnknownMemberId)
    );
    bench.go(&[leaver("m1")]);
    assert_eq!(bench.state(), "Empty");
    assert_eq!(code(&mut bench, of("", -1)), None);
    assert_eq!(
        code(&mut bench, of("m1", 1)),
        Some(ErrorCode::UnknownMemberId)
    );
    // A member id that was given out changes nothing.
    bench.member_id("m2");
    assert_eq!(code(&mut bench, of("", -1)), None);
}

#[test]
fn a_static_member_commits_under_its_name() {
    let mut bench = Bench::stable(&[static_join("host-1", "m1")]);
    let named = |instance_id: &str, member_id| ClassicMemberRef {
        instance_id: Some(instance_id.to_owned()),
        ..of(member_id, 1)
    };
    assert_eq!(code(&mut bench, named("host-1", "m1")), None);
    assert_eq!(code(&mut bench, of("m1", 1)), None);
    let fenced = code(&mut bench, named("host-1", "m2"));
    assert_eq!(fenced, Some(ErrorCode::FencedInstanceId));
    let unknown = code(&mut bench, named("host-2", "m1"));
    assert_eq!(unknown, Some(ErrorCode::UnknownMemberId));
}

#[test]
fn anybody_reads_what_a_classic_group_committed() {
    let mut bench = Bench::two();
    bench.commit_as(of("m1", 1)).expect("accepted");
    for reader in [
        OffsetReader::Anybody,
        OffsetReader::Member(Arc::from("m1"), 9),
    ] {
        let found = bench.coordinator.committed(GROUP, &reader, None);
        let found = found.expect("readable");
        assert_eq!((found[0].partition, found[0].offset), (0, 7));
    }
}
