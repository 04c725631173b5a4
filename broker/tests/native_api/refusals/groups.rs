//! What the group service refuses: on a member's stream, on a stream of commits, and of calls.
//!
//! What needs a failing disk, a loading coordinator or a group of Kafka's classic protocol is in the
//! unit tests of `service/groups/refusal.rs`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millstream_broker::config::Config;
use millstream_log::io::DiskIo;
use millstream_proto::grpc::v1::{
    self, member_request::Request as Said, member_response::Response as Answer,
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

use super::{KEEP, Refusals};
use crate::{
    broker::Broker,
    client::{connect, create_topic},
    member::{
        Commits, Member, NOBODY, commit, committed, describe, fetch, groups, join, refusal,
        subscription,
    },
};

/// Small bounds, so that they are reached.
fn config() -> Config {
    let mut config = Config::default();
    let groups = &mut config.groups;
    groups.offsets_topic_partitions = 1;
    groups.groups_per_partition_max = 2;
    groups.members_max = 2;
    groups.subscription_topics_max = 2;
    groups.session_timeout_min = Duration::from_millis(50);
    groups.rebalance_timeout_min = Duration::from_millis(50);
    groups.reconnect_grace = Duration::from_secs(20);
    config
}

async fn start(directory: &TempDir) -> (Broker, Channel, Bytes) {
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 2, &[KEEP]).await;
    (broker, channel, topic)
}

fn one_partition(topic_id: Bytes) -> v1::TopicPartitions {
    v1::TopicPartitions {
        topic_id,
        topic: String::new(),
        partitions: vec![0],
    }
}

/// Joins that make no sense, each with what is wrong.
fn hopeless_joins() -> Vec<(&'static str, v1::MemberJoin)> {
    let with = |change: &dyn Fn(&mut v1::MemberJoin)| {
        let mut join = join("g", "m", &["t"]);
        change(&mut join);
        join
    };
    let wants = |topics: &[&str], regex: &str| {
        let subscription = Some(subscription(topics, regex));
        with(&move |join| join.subscription.clone_from(&subscription))
    };
    let long = "x".repeat(256);
    vec![
        ("no group id", with(&|join| join.group_id.clear())),
        (
            "a group id of 256 bytes",
            with(&|join| join.group_id.clone_from(&long)),
        ),
        (
            "a member id of 256 bytes",
            with(&|join| join.member_id.clone_from(&long)),
        ),
        (
            "an instance id of 256 bytes",
            with(&|join| join.instance_id.clone_from(&long)),
        ),
        (
            "a rack id of 256 bytes",
            with(&|join| join.rack_id.clone_from(&long)),
        ),
        (
            "a client id of 256 bytes",
            with(&|join| join.client_id.clone_from(&long)),
        ),
        ("epoch -1", with(&|join| join.member_epoch = -1)),
        (
            "the epoch of a member that is none",
            with(&|join| join.member_epoch = 3),
        ),
        (
            "a group id with a line break",
            with(&|join| {
                join.group_id = "g\r\nERROR".into();
                join.member_epoch = 3;
            }),
        ),
        (
            "an unknown assignor",
            with(&|join| join.assignor = "lottery".into()),
        ),
        ("three topics of two", wants(&["a", "b", "c"], "")),
        ("a topic of 250 bytes", wants(&[&"x".repeat(250)], "")),
        (
            "a regular expression of 1001 bytes",
            wants(&[], &"x".repeat(1001)),
        ),
        ("half a regular expression", wants(&[], "a(b")),
        ("a look-ahead", wants(&[], "(?=a)b")),
        (
            "partitions with epoch 0",
            with(&|join| join.owned = vec![one_partition(vec![1; 16].into())]),
        ),
        (
            "partitions of an id of 3 bytes",
            with(&|join| join.owned = vec![one_partition(Bytes::from_static(b"abc"))]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, channel, _) = start(&directory).await;
    let mut found = Refusals::default();
    for (case, join) in hopeless_joins() {
        let refused = Member::refused(&channel, join).await;
        found.add(&format!("join with {case}"), refused);
    }
    let mut fixed = join("g", "fixed", &["t"]);
    fixed.instance_id = "i".into();
    let first = Member::join(&channel, fixed.clone()).await;
    fixed.member_id = "usurper".into();
    let refused = Member::refused(&channel, fixed).await;
    found.add("join with the instance id of another", refused);
    let second = Member::join(&channel, join("g", "second", &["t"])).await;
    let third = Member::refused(&channel, join("g", "third", &["t"])).await;
    found.add("join as the third of two", third);
    let mut ahead = second.resuming(join("g", "", &["t"]));
    ahead.member_epoch += 7;
    let refused = Member::refused(&channel, ahead).await;
    found.add("come back with a later epoch", refused);
    let other = Member::join(&channel, join("g2", "m", &["t"])).await;
    let refused = Member::refused(&channel, join("g3", "m", &["t"])).await;
    found.add("join the third group of two", refused);
    insta::assert_snapshot!("joins", found.0);
    drop((first, second, other));
    broker.stop().await;
}

/// The refusal that ends a member's stream.
async fn last_word(member: &mut Member) -> Option<v1::Error> {
    loop {
        match member.answer().await.expect("stream goes on")? {
            Answer::Failed(error) => return Some(error),
            Answer::HeartbeatAck(_) | Answer::Assignment(_) => {}
            Answer::Joined(_) | Answer::Left(_) => return None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_streams() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, channel, _) = start(&directory).await;
    let mut found = Refusals::default();
    let three = Said::Subscription(subscription(&["a", "b", "c"], ""));
    let half = Said::Subscription(subscription(&[], "a(b"));
    let short_id = Said::Owned(v1::MemberOwned {
        partitions: vec![one_partition(Bytes::from_static(b"abc"))],
        sequence: 1,
    });
    let stay = Said::Leave(v1::MemberLeave {
        keep_partitions: true,
    });
    for (case, said) in [
        ("subscribe to three topics of two", three),
        ("subscribe to half a regular expression", half),
        ("own partitions of an id of 3 bytes", short_id),
        ("leave for a while without an instance id", stay),
    ] {
        let mut member = Member::join(&channel, join("g", "m", &["t"])).await;
        member.say(said).await;
        found.add(case, last_word(&mut member).await);
    }
    let mut first = Member::join(&channel, join("g", "m", &["t"])).await;
    let again = first.resuming(join("g", "", &["t"]));
    let second = Member::join(&channel, again).await;
    found.add("hold an older stream", last_word(&mut first).await);
    drop(second);
    let mut silent = join("g", "m", &["t"]);
    silent.session_timeout_ms = 50;
    let mut silent = Member::join(&channel, silent).await;
    found.add("be silent", last_word(&mut silent).await);
    let mut greedy = join("g", "greedy", &["t"]);
    greedy.rebalance_timeout_ms = 50;
    let mut greedy = Member::join(&channel, greedy).await;
    let other = Member::join(&channel, join("g", "other", &["t"])).await;
    found.add("give up nothing", last_word(&mut greedy).await);
    let counts = broker.groups.counts();
    assert_eq!((counts.members_silent, counts.members_unrevoked), (1, 1));
    drop(other);
    for (case, said) in [
        (
            "begin with a heartbeat",
            vec![Said::Heartbeat(v1::MemberHeartbeat {})],
        ),
        (
            "join twice on one stream",
            vec![
                Said::Join(join("g2", "m", &["t"])),
                Said::Join(join("g2", "m", &["t"])),
            ],
        ),
    ] {
        found.add_status(case, &end_of_stream(&channel, said).await);
    }
    insta::assert_snapshot!("member_streams", found.0);
    broker.stop().await;
}

/// How a stream ends on which this is said.
async fn end_of_stream(channel: &Channel, said: Vec<Said>) -> Status {
    let mut said = said.into_iter();
    let first = said.next().expect("something is said");
    let (requests, mut answers) = Member::open(channel, first).await;
    for request in said {
        let request = v1::MemberRequest {
            request: Some(request),
        };
        requests.send(request).await.expect("sent");
    }
    loop {
        match crate::client::within("the end", answers.message()).await {
            Ok(answer) => assert!(answer.is_some(), "the stream was not refused"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, channel, topic) = start(&directory).await;
    let mut found = Refusals::default();
    let mut commits = Commits::open(&channel).await;
    let mut first = Member::join(&channel, join("g", "first", &["t"])).await;
    let mut second = Member::join(&channel, join("g", "second", &["t"])).await;
    first.settle(1).await;
    second.settle(1).await;
    let theirs = second.topics[0].partitions[0];
    let as_first = ("first", first.epoch);
    let mut wordy = commit("g", as_first, &topic, (1 - theirs, 1));
    wordy.offsets[0].metadata = "x".repeat(4097);
    for (case, request) in [
        ("without a group id", commit("", NOBODY, &topic, (0, 1))),
        (
            "to a group with members as nobody",
            commit("g", NOBODY, &topic, (0, 1)),
        ),
        (
            "as a member that is none",
            commit("g", ("x\n", 1), &topic, (0, 1)),
        ),
        (
            "with a later epoch",
            commit("g", ("first", first.epoch + 7), &topic, (1 - theirs, 1)),
        ),
        (
            "with an earlier epoch",
            commit("g", ("second", 0), &topic, (theirs, 1)),
        ),
        (
            "for what another member holds",
            commit("g", as_first, &topic, (theirs, 1)),
        ),
        ("with metadata of 4097 bytes", wordy),
        (
            "of an unknown id",
            commit("g", as_first, &vec![1; 16].into(), (0, 1)),
        ),
        (
            "of an id of 3 bytes",
            commit("g", as_first, &Bytes::from_static(b"abc"), (0, 1)),
        ),
        (
            "of an unknown partition",
            commit("g", as_first, &topic, (2, 1)),
        ),
        (
            "of a negative offset",
            commit("g", as_first, &topic, (1 - theirs, -1)),
        ),
    ] {
        let refused = refusal(commits.commit(request).await);
        found.add(&format!("commit {case}"), refused);
    }
    let last = commit("g2", NOBODY, &topic, (0, 1));
    assert_eq!(refusal(commits.commit(last).await), None);
    let beyond = commit("g3", NOBODY, &topic, (0, 1));
    let refused = refusal(commits.commit(beyond).await);
    found.add("commit to the third group of two", refused);
    assert_eq!(committed(&channel, "g").await, [], "none of it counts");
    insta::assert_snapshot!("commits", found.0);
    drop((first, second));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls() {
    let directory = tempfile::tempdir().expect("directory");
    let (broker, channel, _) = start(&directory).await;
    let mut found = Refusals::default();
    let unborn = describe(&channel, "g").await.error;
    found.add("describe a group before there is any", unborn);
    let member = Member::join(&channel, join("g", "m", &["t"])).await;
    let reads = [
        (
            "fetch offsets as a member that is none",
            fetch(&channel, "g", ("x", 1), Vec::new()).await.error,
        ),
        (
            "fetch offsets as a member of no group",
            fetch(&channel, "none", ("x", 1), Vec::new()).await.error,
        ),
        (
            "fetch offsets with an earlier epoch",
            fetch(&channel, "g", ("m", 0), Vec::new()).await.error,
        ),
    ];
    for (case, refused) in reads {
        found.add(case, refused);
    }
    for (case, topic_id) in [
        ("an unknown id", vec![1; 16]),
        ("an id of 3 bytes", vec![1; 3]),
        ("neither id nor name", Vec::new()),
    ] {
        let asked = vec![one_partition(topic_id.into())];
        let answer = fetch(&channel, "g", NOBODY, asked).await;
        let refused = answer.offsets[0].error.clone();
        found.add(&format!("fetch offsets of {case}"), refused);
    }
    let unknown = describe(&channel, "h").await.error;
    found.add("describe an unknown group", unknown);
    for (case, group) in [("with members", "g"), ("that there is not", "h")] {
        let request = v1::DeleteGroupsRequest {
            group_ids: vec![group.into()],
        };
        let answer = groups(&channel).delete_groups(request).await;
        let refused = answer.expect("answered").into_inner().results[0]
            .error
            .clone();
        found.add(&format!("delete a group {case}"), refused);
    }
    for (case, group) in [
        ("of a topic that it subscribes to", "g"),
        ("of a group that there is not", "h"),
    ] {
        let request = v1::DeleteOffsetsRequest {
            group_id: group.into(),
            offsets: vec![v1::OffsetDelete {
                topic: "t".into(),
                partition: 0,
            }],
        };
        let answer = groups(&channel).delete_offsets(request).await;
        let answer = answer.expect("answered").into_inner();
        let of_offset = answer.results.into_iter().next().and_then(|r| r.error);
        found.add(
            &format!("delete offsets {case}"),
            answer.error.or(of_offset),
        );
    }
    insta::assert_snapshot!("calls", found.0);
    drop(member);
    broker.stop().await;
}
