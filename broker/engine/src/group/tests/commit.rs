//! Who may commit and read offsets.

use std::sync::Arc;

use millstream_proto::ErrorCode;

use super::bench::{Bench, GROUP, a, join, offset, topic_id, topics};
use crate::group::{Event, OffsetReader, OffsetToCommit, Refusal, Topic, Topics};

fn committed(bench: &Bench) -> Vec<(i32, i64)> {
    let committed = bench
        .coordinator
        .committed(GROUP, &OffsetReader::Anybody, None);
    let committed = committed.expect("anybody may read");
    committed
        .iter()
        .map(|commit| (commit.partition, commit.offset))
        .collect()
}

fn codes(results: &[Result<(), Refusal>]) -> Vec<Option<ErrorCode>> {
    results
        .iter()
        .map(|result| result.as_ref().err().map(Refusal::code))
        .collect()
}

#[test]
fn somebody_who_is_no_member_commits_for_a_group_without_members() {
    let mut bench = Bench::new();
    let results = bench
        .commit("", -1, &[offset(0, 7), offset(1, 9)])
        .expect("accepted");
    assert_eq!(codes(&results), [None, None]);
    assert_eq!(committed(&bench), [(0, 7), (1, 9)]);
    assert_eq!(bench.coordinator.list()[0].state, "Empty");
    bench.beat(join("m1", 1));
    let refusal = bench.commit("", -1, &[offset(0, 8)]).expect_err("members");
    assert_eq!(
        refusal.to_string(),
        "group g has members (m1), only they may commit"
    );
    assert_eq!(
        committed(&bench),
        [(0, 7), (1, 9)],
        "the offsets outlive the change of kind"
    );
}

#[test]
fn a_member_commits_what_it_had_by_the_epoch_that_it_says() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    // m1: a(0) and a(1) since 1, at 2. m2: a(2) and a(3) since 2.
    let stale = Some(ErrorCode::StaleMemberEpoch);
    for (member, epoch, partition, expected) in [
        ("m1", 2, 0, None),
        ("m1", 1, 0, None),
        ("m1", 0, 0, stale),
        ("m1", 2, 2, stale),
        ("m2", 2, 2, None),
        ("m2", 1, 2, stale),
    ] {
        let results = bench
            .commit(member, epoch, &[offset(partition, 1)])
            .expect("a member");
        assert_eq!(
            codes(&results),
            [expected],
            "{member} at {epoch}: {partition}"
        );
    }
    let ahead = bench.commit("m1", 3, &[offset(0, 1)]).expect_err("ahead");
    assert_eq!(ahead.code(), ErrorCode::StaleMemberEpoch);
    let unknown = bench.commit("m9", 1, &[offset(0, 1)]).expect_err("unknown");
    assert_eq!(unknown.code(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_commits_what_nobody_holds_in_its_present_epoch_only() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    let b = OffsetToCommit {
        topic: Arc::from("b"),
        topic_id: Some(topic_id(2)),
        ..offset(0, 3)
    };
    let results = bench
        .commit("m1", 1, std::slice::from_ref(&b))
        .expect("a member");
    assert_eq!(codes(&results), [None]);
    let results = bench.commit("m1", 0, &[b]).expect("a member");
    assert_eq!(codes(&results), [Some(ErrorCode::StaleMemberEpoch)]);
}

#[test]
fn one_bad_offset_leaves_the_others_be() {
    let mut bench = Bench::new();
    let long = OffsetToCommit {
        metadata: "x".repeat(4_097),
        ..offset(1, 5)
    };
    let results = bench
        .commit("", -1, &[offset(0, -1), long, offset(2, 6)])
        .expect("accepted");
    assert_eq!(
        codes(&results),
        [
            Some(ErrorCode::InvalidRequest),
            Some(ErrorCode::OffsetMetadataTooLarge),
            None
        ]
    );
    assert_eq!(committed(&bench), [(2, 6)]);
}

#[test]
fn a_commit_for_an_earlier_life_of_a_name_is_not_shown() {
    let mut bench = Bench::new();
    let earlier = OffsetToCommit {
        topic_id: Some(topic_id(9)),
        ..offset(0, 7)
    };
    bench
        .commit("", -1, &[earlier, offset(1, 8)])
        .expect("accepted");
    assert_eq!(committed(&bench), [(1, 8)]);
}

#[test]
fn a_member_reads_in_its_present_epoch_or_what_it_already_had() {
    let mut bench = Bench::new();
    bench.commit("", -1, &[offset(0, 7)]).expect("accepted");
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    let read = |epoch, partition: Option<i32>| {
        let reader = OffsetReader::Member(Arc::from("m1"), epoch);
        let asked = partition.map(|partition| vec![(Arc::from("a"), partition)]);
        bench
            .coordinator
            .committed(GROUP, &reader, asked.as_deref())
            .map(|found| found.len())
    };
    assert_eq!(read(2, None), Ok(1));
    assert_eq!(read(1, Some(0)), Ok(1));
    assert!(read(1, Some(2)).is_err());
    assert!(read(1, None).is_err());
    assert!(read(3, Some(0)).is_err());
}

#[test]
fn a_commit_for_the_heir_of_a_deleted_topic_stays() {
    let mut bench = Bench::new();
    let earlier = OffsetToCommit {
        topic_id: Some(topic_id(9)),
        ..offset(1, 7)
    };
    bench
        .commit("", -1, &[offset(0, 8), earlier])
        .expect("accepted");
    bench.event(Event::TopicsChanged {
        topics: topics(2, 4),
        deleted: vec![Arc::from("a")],
    });
    assert_eq!(committed(&bench), [(0, 8)]);
    let forgotten = bench.log.iter().filter(|record| match record {
        millstream_proto::group_record::GroupRecord::OffsetCommit(_, value) => value.is_none(),
        _ => false,
    });
    assert_eq!(forgotten.count(), 1, "the one for the earlier life");
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten() {
    let mut bench = Bench::new();
    bench.commit("", -1, &[offset(0, 7)]).expect("accepted");
    let rest = Topics::new(2, [(Arc::from("b"), Topic::without_racks(topic_id(2), 2))]);
    bench.event(Event::TopicsChanged {
        topics: Arc::new(rest),
        deleted: vec![Arc::from("a")],
    });
    assert_eq!(committed(&bench), []);
    assert_eq!(bench.coordinator.list(), [], "nothing is left of the group");
}
