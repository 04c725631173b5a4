//! Consumer groups when something breaks: a disk that is full, fails or is slow, a panic.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_broker::coordinator::OFFSETS_TOPIC;
use millstream_log::io::{Action, DiskIo, FaultIo, Operation, Rule};
use millstream_proto::{
    group_record::partition_of,
    grpc::v1::{self, member_request::Request as Said, member_response::Response as Answer},
};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::{
    broker::Broker,
    client::{connect, create_topic, within},
    groups::config,
    member::{Commits, Member, NOBODY, commit, committed, fetch, groups, join, refusal},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A broker whose disk the test can break, and a topic `t` of one partition.
async fn start(directory: &TempDir) -> (Broker, Arc<FaultIo<DiskIo>>, Channel, Bytes) {
    let io = Arc::new(FaultIo::new(DiskIo));
    let broker = Broker::start_with(directory.path(), Arc::clone(&io) as _, config()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    (broker, io, channel, topic)
}

/// The partition of the offsets topic that has a group.
fn partition_with(group_id: &str) -> i32 {
    let count = config().groups.offsets_topic_partitions;
    let count = count.try_into().expect("at least one partition");
    partition_of(group_id, count).0
}

/// Part of the paths of the log that has a group.
fn log_of(group_id: &str) -> String {
    format!("/{OFFSETS_TOPIC}-{}/", partition_with(group_id))
}

/// The refusal that ends a member's stream.
async fn lost(member: &mut Member) -> v1::Error {
    loop {
        match member.answer().await.expect("stream goes on") {
            Some(Answer::Failed(error)) => return error,
            Some(Answer::HeartbeatAck(_)) => {}
            other => panic!("expected the end of the stream, got {other:?}"),
        }
    }
}

/// Commits, again and again while the refusal says that this may help.
async fn commit_at_last(
    commits: &mut Commits,
    group_id: &str,
    member: (&str, i32),
    topic: &Bytes,
    offset: i64,
) {
    let trying = async {
        loop {
            let request = commit(group_id, member, topic, (0, offset));
            match refusal(commits.commit(request).await) {
                None => return,
                Some(error) => assert!(error.retriable, "{error:?}"),
            }
        }
    };
    within("the coordinator to come back", trying).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_finds_no_room_is_refused_and_the_coordinator_comes_back() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, io, channel, topic) = start(&directory).await;
    let mut member = Member::join(&channel, join("g", "m", &["t"])).await;
    member.acknowledge().await;
    let mut commits = Commits::open(&channel).await;
    let request = commit("g", ("m", member.epoch), &topic, (0, 1));
    assert_eq!(refusal(commits.commit(request).await), None);
    let full = Rule::new(
        &[Operation::Allocate, Operation::Write],
        Action::Fail(ENOSPC),
    );
    let full = io.inject(full.at_path_with("/__consumer_offsets-"));
    let request = commit("g", ("m", member.epoch), &topic, (0, 2));
    let refused = refusal(commits.commit(request).await).expect("refused");
    assert_eq!(refused.name, "COORDINATOR_NOT_AVAILABLE");
    assert!(refused.retriable && refused.may_have_been_written);
    let end = lost(&mut member).await;
    assert!(end.retriable, "{end:?}");
    full.stop();
    commit_at_last(&mut commits, "g", ("m", member.epoch), &topic, 3).await;
    assert_eq!(committed(&channel, "g").await, [("t".into(), 0, 3)]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_flush_its_groups_wait_others_go_on_and_a_restart_heals() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, io, channel, topic) = start(&directory).await;
    let (bad, good) = ("bad", "good");
    assert_ne!(partition_with(bad), partition_with(good));
    let mut commits = Commits::open(&channel).await;
    for group in [bad, good] {
        let request = commit(group, NOBODY, &topic, (0, 1));
        assert_eq!(refusal(commits.commit(request).await), None);
    }
    let mut member = Member::join(&channel, join(bad, "m", &["t"])).await;
    member.acknowledge().await;
    let fails = Rule::new(&[Operation::SyncData], Action::Fail(EIO));
    let failing = io.inject(fails.at_path_with(log_of(bad)));
    let request = commit(bad, ("m", member.epoch), &topic, (0, 2));
    let refused = refusal(commits.commit(request).await).expect("not durable");
    assert_eq!(refused.name, "NOT_COORDINATOR", "{refused:?}");
    assert!(refused.retriable && refused.may_have_been_written);
    assert!(lost(&mut member).await.retriable);
    failing.stop();
    let request = commit(bad, ("m", member.epoch), &topic, (0, 3));
    let refused = refusal(commits.commit(request).await).expect("offline");
    assert!(refused.retriable && !refused.may_have_been_written);
    assert!(refused.message.contains("offline"), "{refused:?}");
    let read = fetch(&channel, bad, NOBODY, Vec::new()).await.error;
    assert!(read.expect("nothing is told").retriable);
    let request = commit(good, NOBODY, &topic, (0, 2));
    assert_eq!(refusal(commits.commit(request).await), None);
    let listed = groups(&channel)
        .list_groups(v1::ListGroupsRequest::default())
        .await;
    let listed = listed.expect("answered").into_inner();
    assert!(listed.error.is_some_and(|error| error.retriable));
    let names: Vec<_> = listed.groups.iter().map(|group| &*group.group_id).collect();
    assert_eq!(names, [good]);
    broker.stop().await;
    let broker = Broker::start_with(directory.path(), io, config()).await;
    let channel = connect(broker.address).await;
    let back = member.resuming(join(bad, "", &["t"]));
    let back = Member::join_once_loaded(&channel, back).await;
    let found = committed(&channel, bad).await;
    let whole: &[_] = &[("t".into(), 0, 1)];
    let with_the_last: &[_] = &[("t".into(), 0, 2)];
    assert!(
        found == whole || found == with_the_last,
        "the flush may have done its work: {found:?}"
    );
    let mut commits = Commits::open(&channel).await;
    commit_at_last(&mut commits, bad, ("m", back.epoch), &topic, 4).await;
    assert_eq!(committed(&channel, bad).await, [("t".into(), 0, 4)]);
    assert_eq!(committed(&channel, good).await, [("t".into(), 0, 2)]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_under_the_lock_of_a_coordinator_costs_its_groups_a_load() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, _, channel, topic) = start(&directory).await;
    let (bad, good) = ("bad", "good");
    assert_ne!(partition_with(bad), partition_with(good));
    let mut member = Member::join(&channel, join(bad, "m", &["t"])).await;
    member.acknowledge().await;
    let mut spared = Member::join(&channel, join(good, "m", &["t"])).await;
    let mut commits = Commits::open(&channel).await;
    let request = commit(bad, ("m", member.epoch), &topic, (0, 1));
    assert_eq!(refusal(commits.commit(request).await), None);
    let coordinator = broker.groups.find_coordinator(bad).expect("created");
    let broken = AssertUnwindSafe(|| coordinator.peek(|_, _| panic!("under the lock")));
    assert!(catch_unwind(broken).is_err());
    let failures = broker.groups.counts().failures;
    let request = commit(bad, ("m", member.epoch), &topic, (0, 2));
    let refused = refusal(commits.commit(request).await).expect("its state is unknown");
    assert_eq!(
        (refused.name.as_str(), refused.retriable),
        ("NOT_COORDINATOR", true)
    );
    assert!(lost(&mut member).await.retriable);
    commit_at_last(&mut commits, bad, ("m", member.epoch), &topic, 3).await;
    assert_eq!(committed(&channel, bad).await, [("t".into(), 0, 3)]);
    assert_eq!(broker.groups.counts().failures, failures + 1);
    spared.say(Said::Heartbeat(v1::MemberHeartbeat {})).await;
    let answer = spared.answer().await.expect("stream goes on");
    assert!(
        matches!(answer, Some(Answer::HeartbeatAck(_))),
        "{answer:?}"
    );
    broker.stop().await;
}

/// A healthy disk takes some milliseconds: slowed a hundredfold it takes this for each write and flush.
const SLOW: Duration = Duration::from_millis(400);
/// What operations promise for heartbeats; asserted at ten times that.
const HEARTBEAT_PROMISED: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_answered_while_the_disk_is_slow() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, io, channel, topic) = start(&directory).await;
    let mut member = Member::join(&channel, join("g", "m", &["t"])).await;
    member.acknowledge().await;
    member.answer().await.expect("it is heard");
    let operations = [Operation::Write, Operation::SyncData];
    let slow = Rule::new(&operations, Action::Delay(SLOW)).at_path_with(log_of("g"));
    let slow = io.inject(slow);
    let mut commits = Commits::open(&channel).await;
    let started = Instant::now();
    // The first finds out that appends stall.
    let request = commit("g", ("m", member.epoch), &topic, (0, 1));
    assert_eq!(refusal(commits.commit(request).await), None);
    assert!(started.elapsed() >= SLOW * 2, "a commit waits for the disk");
    assert!(broker.partitions.append_gate().is_stalled());
    let mut slowest = Duration::ZERO;
    for offset in 2..12 {
        let request = commit("g", ("m", member.epoch), &topic, (0, offset));
        commits.send(request).await;
        let asked = Instant::now();
        member.say(Said::Heartbeat(v1::MemberHeartbeat {})).await;
        let answer = member.answer().await.expect("stream goes on");
        assert!(
            matches!(answer, Some(Answer::HeartbeatAck(_))),
            "{answer:?}"
        );
        slowest = slowest.max(asked.elapsed());
    }
    assert!(broker.services.group_figures().waiting_answers > 0);
    println!("slowest answer to a heartbeat: {slowest:?}, promised {HEARTBEAT_PROMISED:?}");
    assert!(slowest < HEARTBEAT_PROMISED * 10, "{slowest:?}");
    slow.stop();
    for _ in 2..12 {
        assert_eq!(refusal(commits.answer().await), None);
    }
    broker.stop().await;
}
