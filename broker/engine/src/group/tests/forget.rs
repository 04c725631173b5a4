//! Deletion and expiry of offsets and groups.

use std::sync::Arc;

use millstream_proto::ErrorCode;

use super::bench::{Bench, GROUP, config, join, member, offset};
use crate::group::{Action, Config, Event, Leave, OffsetCommits, OffsetReader, Refusal, Reply};

const WEEK_MS: u64 = 7 * 24 * 3_600_000;

fn committed(bench: &Bench) -> usize {
    let committed = bench
        .coordinator
        .committed(GROUP, &OffsetReader::Anybody, None);
    committed.expect("anybody may read").len()
}

fn leave(bench: &mut Bench) {
    let leave = Leave {
        member: member("m1"),
        instance_id: None,
        keeps_partitions: false,
    };
    bench.leave(leave).expect("left");
}

#[test]
fn a_group_with_members_is_not_deleted() {
    let mut bench = Bench::new();
    assert!(matches!(
        bench.delete_group(),
        Err(Refusal::GroupNotFound { .. })
    ));
    bench.beat(join("m1", 1));
    let refusal = bench.delete_group().expect_err("members");
    assert_eq!(refusal.to_string(), "group g has members (m1)");
    leave(&mut bench);
    bench.delete_group().expect("empty");
    assert_eq!(bench.coordinator.list(), []);
}

#[test]
fn offsets_of_a_subscribed_topic_are_not_deleted() {
    let mut bench = Bench::new();
    assert!(bench.delete_offsets(&[("a", 0)]).is_err(), "no such group");
    bench
        .commit("", -1, &[offset(0, 7), offset(1, 7)])
        .expect("accepted");
    assert_eq!(
        bench.delete_offsets(&[("a", 0), ("a", 9)]),
        Ok(vec![Ok(()), Ok(())])
    );
    assert_eq!(committed(&bench), 1);
    bench.beat(join("m1", 1));
    let results = bench.delete_offsets(&[("a", 1)]).expect("exists");
    assert_eq!(
        results[0].as_ref().map_err(Refusal::code),
        Err(ErrorCode::GroupSubscribedToTopic)
    );
    assert_eq!(committed(&bench), 1);
}

#[test]
fn offsets_expire_a_while_after_the_last_member_went() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.commit("m1", 1, &[offset(0, 7)]).expect("accepted");
    bench.now.timestamp_ms += i64::try_from(2 * WEEK_MS).expect("fits");
    bench.event(Event::ExpireOffsets);
    assert_eq!(committed(&bench), 1, "a member subscribes to the topic");
    leave(&mut bench);
    bench.now.timestamp_ms += i64::try_from(WEEK_MS - 1).expect("fits");
    bench.event(Event::ExpireOffsets);
    assert_eq!(committed(&bench), 1, "it was used less than a week ago");
    bench.now.timestamp_ms += 1;
    bench.event(Event::ExpireOffsets);
    assert_eq!(bench.coordinator.list(), [], "and the group with them");
    bench.reload();
    assert_eq!(bench.coordinator.list(), [], "also after a restart");
}

#[test]
fn offsets_expire_when_an_old_client_says_so() {
    let mut bench = Bench::new();
    let commits = OffsetCommits {
        group_id: Arc::from(GROUP),
        member_id: Arc::default(),
        instance_id: None,
        member_epoch: -1,
        retention_ms: Some(1_000),
        offsets: vec![offset(0, 7)],
    };
    let reply = bench.ask(|ticket| Event::CommitOffsets(ticket, commits));
    assert_eq!(reply, Reply::Committed(vec![Ok(())]));
    bench.commit("", -1, &[offset(1, 7)]).expect("accepted");
    bench.now.timestamp_ms += 999;
    bench.event(Event::ExpireOffsets);
    assert_eq!(committed(&bench), 2);
    bench.now.timestamp_ms += 1;
    bench.event(Event::ExpireOffsets);
    assert_eq!(committed(&bench), 1, "what says nothing is kept for a week");
}

#[test]
fn so_many_expire_at_once() {
    let mut bench = Bench::with(Config {
        expired_per_event_max: 2,
        ..config()
    });
    let offsets: Vec<_> = (0..3).map(|partition| offset(partition, 1)).collect();
    bench.commit("", -1, &offsets).expect("accepted");
    bench.now.timestamp_ms += i64::try_from(WEEK_MS).expect("fits");
    let outcome = bench.outcome(Event::ExpireOffsets);
    assert_eq!(outcome.records.len(), 2);
    assert_eq!(outcome.actions, [Action::ExpireMore]);
    let outcome = bench.outcome(Event::ExpireOffsets);
    assert_eq!((outcome.records.len(), outcome.actions.len()), (1, 0));
}

#[test]
fn a_commit_makes_a_group_again() {
    let mut bench = Bench::new();
    bench.commit("", -1, &[offset(0, 7)]).expect("accepted");
    bench.delete_group().expect("no members");
    bench.commit("", -1, &[offset(0, 8)]).expect("accepted");
    let groups: Vec<Arc<str>> = bench
        .coordinator
        .list()
        .into_iter()
        .map(|g| g.group_id)
        .collect();
    assert_eq!(groups, [Arc::from(GROUP)]);
}
