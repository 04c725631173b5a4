//! Consumer groups: members, commits, restarts, administration.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use millstream_broker::{config::Config, service::groups::figures::TopicLag};
use millstream_log::io::DiskIo;
use millstream_proto::grpc::v1::{
    self, member_request::Request as Said, member_response::Response as Answer,
};
use tonic::Code;

use crate::{
    admin::delete_topic,
    broker::Broker,
    client::{Producer, batch, connect, create_topic, within},
    member::{
        Commits, Member, NOBODY, commit, committed, describe, fetch, groups, join, refusal,
        subscription,
    },
};

const KEEP: (&str, &str) = ("retention.ms", "-1");

/// Few partitions, so that a test creates them quickly.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.groups.offsets_topic_partitions = 3;
    config.groups.reconnect_grace = Duration::from_millis(50);
    config.groups.lag_sample_interval = Duration::from_millis(5);
    config.groups.reload_backoff = Duration::from_millis(5);
    config
}

async fn start(directory: &tempfile::TempDir) -> Broker {
    Broker::start_with(directory.path(), Arc::new(DiskIo), config()).await
}

fn places(topic: &str, partitions: impl IntoIterator<Item = i32>) -> BTreeSet<(String, i32)> {
    let place = |partition| (topic.to_owned(), partition);
    partitions.into_iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_move_to_a_second_member_once_the_first_gave_them_up() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    create_topic(&channel, "t", 4, &[KEEP]).await;
    let mut first = Member::join(&channel, join("g", "first", &["t"])).await;
    assert_eq!(first.joined.member_id, "first");
    assert_eq!(first.joined.session_timeout_ms, 45_000);
    assert_eq!(first.partitions(), places("t", 0..4));
    first.acknowledge().await;
    let mut second = Member::join(&channel, join("g", "", &["t"])).await;
    assert!(
        !second.joined.member_id.is_empty(),
        "the broker chose an id"
    );
    assert!(second.partitions().is_empty(), "all of it is the first's");
    first.assigned().await;
    assert_eq!(first.partitions().len(), 2);
    assert!(!first.reason.is_empty(), "it says why");
    assert_eq!(describe(&channel, "g").await.state, "Reconciling");
    first.acknowledge().await;
    second.settle(2).await;
    let both: BTreeSet<_> = first
        .partitions()
        .union(&second.partitions())
        .cloned()
        .collect();
    assert_eq!(both, places("t", 0..4));
    second.say(Said::Leave(v1::MemberLeave::default())).await;
    loop {
        match second.answer().await.expect("stream goes on") {
            Some(Answer::Left(_)) => break,
            Some(Answer::HeartbeatAck(_) | Answer::Assignment(_)) => {}
            other => panic!("expected MemberLeft, got {other:?}"),
        }
    }
    assert!(matches!(second.answer().await, Ok(None)), "the stream ends");
    first.settle(4).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_is_answered_and_a_new_subscription_assigned() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    for topic in ["a1", "a2", "b"] {
        create_topic(&channel, topic, 1, &[KEEP]).await;
    }
    let mut member = Member::join(&channel, join("g", "m", &["b"])).await;
    member.acknowledge().await;
    member.say(Said::Heartbeat(v1::MemberHeartbeat {})).await;
    let mut acks = 0;
    // One for the acknowledgement, one for the heartbeat.
    while acks < 2 {
        match member.answer().await.expect("stream goes on") {
            Some(Answer::HeartbeatAck(ack)) => {
                assert_eq!(ack.member_epoch, member.epoch);
                acks += 1;
            }
            other => panic!("expected an answer to a heartbeat, got {other:?}"),
        }
    }
    member
        .say(Said::Subscription(subscription(&[], "a\\d")))
        .await;
    while member.partitions() != BTreeSet::from([("a1".into(), 0), ("a2".into(), 0)]) {
        member.assigned().await;
        member.acknowledge().await;
    }
    create_topic(&channel, "a3", 1, &[KEEP]).await;
    member.settle(3).await;
    delete_topic(&channel, "a1").await;
    member.settle(2).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_stream_broke_comes_back_without_a_rebalance() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = config();
    config.groups.reconnect_grace = Duration::from_secs(20);
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config).await;
    let channel = connect(broker.address).await;
    create_topic(&channel, "t", 2, &[KEEP]).await;
    let first = Member::join(&channel, join("g", "first", &["t"])).await;
    first.acknowledge().await;
    let again = first.resuming(join("g", "", &["t"]));
    let rebalances = describe(&channel, "g").await.rebalances;
    let epoch = first.epoch;
    drop(first);
    let back = Member::join(&channel, again).await;
    assert_eq!((back.epoch, back.partitions()), (epoch, places("t", 0..2)));
    assert_eq!(describe(&channel, "g").await.rebalances, rebalances);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_come_back_is_evicted_after_the_grace() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    create_topic(&channel, "t", 2, &[KEEP]).await;
    let first = Member::join(&channel, join("g", "first", &["t"])).await;
    first.acknowledge().await;
    let too_late = first.resuming(join("g", "", &["t"]));
    drop(first);
    let mut second = Member::join(&channel, join("g", "second", &["t"])).await;
    second.settle(2).await;
    let description = describe(&channel, "g").await;
    let members: Vec<_> = description.members.iter().map(|m| &*m.member_id).collect();
    assert_eq!(members, ["second"]);
    let refused = Member::refused(&channel, too_late).await.expect("refused");
    assert_eq!(refused.name, "UNKNOWN_MEMBER_ID");
    let counts = broker.groups.counts();
    let evicted = (
        counts.members_gone,
        counts.members_silent,
        counts.members_unrevoked,
    );
    assert_eq!(evicted, (1, 0, 0));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_one_stream_are_answered_in_any_order_and_survive_a_restart() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 2, &[KEEP]).await;
    let mut commits = Commits::open(&channel).await;
    for offset in 1..=500 {
        commits.send(commit("g", NOBODY, &topic, (0, offset))).await;
    }
    commits
        .send(commit("other", NOBODY, &topic, (1, 501)))
        .await;
    let mut answered = BTreeSet::new();
    for _ in 0..501 {
        let answer = commits.answer().await;
        answered.insert(answer.request_id);
        assert_eq!(refusal(answer), None);
    }
    assert_eq!(answered, (1..=501).collect());
    assert!(matches!(commits.end().await, Ok(None)));
    assert_eq!(committed(&channel, "g").await, [("t".into(), 0, 500)]);
    broker.stop_unclean().await;
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    assert_eq!(committed(&channel, "g").await, [("t".into(), 0, 500)]);
    assert_eq!(committed(&channel, "other").await, [("t".into(), 1, 501)]);
    let asked = v1::TopicPartitions {
        topic_id: topic.clone(),
        topic: String::new(),
        partitions: vec![1, 0],
    };
    let found = fetch(&channel, "g", NOBODY, vec![asked]).await.offsets;
    let shown: Vec<_> = found
        .iter()
        .map(|o| (o.partition, o.offset, &*o.metadata))
        .collect();
    assert_eq!(shown, [(1, -1, ""), (0, 500, "up to 500")]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_commits_what_it_holds_and_takes_its_membership_through_a_restart() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let mut member = Member::join(&channel, join("g", "m", &["t"])).await;
    member.acknowledge().await;
    let mut commits = Commits::open(&channel).await;
    let request = commit("g", ("m", member.epoch), &topic, (0, 7));
    assert_eq!(refusal(commits.commit(request).await), None);
    let ahead = commit("g", ("m", member.epoch + 1), &topic, (0, 8));
    let refused = refusal(commits.commit(ahead).await).expect("refused");
    assert_eq!(refused.name, "STALE_MEMBER_EPOCH");
    broker.begin_shutdown();
    loop {
        match member.answer().await {
            Ok(Some(Answer::HeartbeatAck(_))) => {}
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                break;
            }
            other => panic!("expected the end of the stream, got {other:?}"),
        }
    }
    broker.stop().await;
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    let again = member.resuming(join("g", "", &["t"]));
    let back = Member::join_once_loaded(&channel, again).await;
    assert_eq!(
        (back.epoch, back.partitions()),
        (member.epoch, places("t", 0..1))
    );
    let mut commits = Commits::open(&channel).await;
    let request = commit("g", ("m", back.epoch), &topic, (0, 9));
    assert_eq!(refusal(commits.commit(request).await), None);
    assert_eq!(committed(&channel, "g").await, [("t".into(), 0, 9)]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_tells_owner_and_lag_in_records_and_time() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let member = Member::join(&channel, join("g", "m", &["t"])).await;
    member.acknowledge().await;
    let mut producer = Producer::open(&channel).await;
    producer.produce(&topic, batch(&[b"a", b"b"])).await;
    let mut commits = Commits::open(&channel).await;
    let request = commit("g", ("m", member.epoch), &topic, (0, 2));
    assert_eq!(refusal(commits.commit(request).await), None);
    let at_the_end = describe(&channel, "g").await.partitions.remove(0);
    assert_eq!((at_the_end.lag, at_the_end.lag_ms), (0, 0));
    assert_eq!(at_the_end.member_id, "m");
    producer.produce(&topic, batch(&[b"c", b"d", b"e"])).await;
    let lagging = within("a lag in time", async {
        loop {
            let partition = describe(&channel, "g").await.partitions.remove(0);
            if partition.lag_ms > 0 {
                return partition;
            }
        }
    })
    .await;
    let offsets = (
        lagging.committed_offset,
        lagging.log_start_offset,
        lagging.log_end_offset,
    );
    assert_eq!((offsets, lagging.lag), ((2, 0, 5), 3));
    assert!(lagging.lag_ms < 20_000, "{lagging:?}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_listed_and_deleted_and_without_any_nothing_is_created() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let list = || async {
        let answer = groups(&channel)
            .list_groups(v1::ListGroupsRequest::default())
            .await;
        let answer = answer.expect("answered").into_inner();
        assert_eq!(answer.error, None);
        answer.groups
    };
    assert_eq!(list().await, []);
    assert_eq!(committed(&channel, "g").await, []);
    assert!(!directory.path().join("__consumer_offsets-0").exists());
    let mut commits = Commits::open(&channel).await;
    for group in ["b", "a"] {
        let answer = commits.commit(commit(group, NOBODY, &topic, (0, 1))).await;
        assert_eq!(refusal(answer), None);
    }
    let member = Member::join(&channel, join("c", "m", &["t"])).await;
    let listed: Vec<_> = list()
        .await
        .into_iter()
        .map(|group| (group.group_id, group.r#type, group.state, group.members))
        .collect();
    let simple = i32::from(v1::GroupType::Simple);
    let consumer = i32::from(v1::GroupType::Consumer);
    assert_eq!(
        listed,
        [
            ("a".into(), simple, "Empty".into(), 0),
            ("b".into(), simple, "Empty".into(), 0),
            ("c".into(), consumer, "Stable".into(), 1),
        ]
    );
    let filtered = v1::ListGroupsRequest {
        states: vec!["stable".into()],
        types: vec![consumer],
    };
    let filtered = groups(&channel).list_groups(filtered).await;
    assert_eq!(filtered.expect("answered").into_inner().groups.len(), 1);
    let request = v1::DeleteGroupsRequest {
        group_ids: vec!["a".into(), "c".into(), "d".into()],
    };
    let deleted = groups(&channel).delete_groups(request).await;
    let deleted = deleted.expect("answered").into_inner().results;
    let names: Vec<_> = deleted
        .iter()
        .map(|result| result.error.as_ref().map(|error| &*error.name))
        .collect();
    assert_eq!(
        names,
        [None, Some("NON_EMPTY_GROUP"), Some("GROUP_ID_NOT_FOUND")]
    );
    let request = v1::DeleteOffsetsRequest {
        group_id: "b".into(),
        offsets: vec![v1::OffsetDelete {
            topic: "t".into(),
            partition: 0,
        }],
    };
    let answer = groups(&channel).delete_offsets(request).await;
    let answer = answer.expect("answered").into_inner();
    assert_eq!(
        (answer.error, answer.results[0].error.clone()),
        (None, None)
    );
    assert_eq!(list().await.len(), 1, "nothing is left of the others");
    drop(member);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topics_offsets_are_forgotten_and_its_namesakes_are_not() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = start(&directory).await;
    let channel = connect(broker.address).await;
    let mut commits = Commits::open(&channel).await;
    for offset in 1..20 {
        let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
        let answer = commits
            .commit(commit("g", NOBODY, &topic, (0, offset)))
            .await;
        assert_eq!(refusal(answer), None);
        assert_eq!(committed(&channel, "g").await, [("t".into(), 0, offset)]);
        delete_topic(&channel, "t").await;
    }
    within("the offset is forgotten", async {
        while !committed(&channel, "g").await.is_empty() {}
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_tell_of_groups_within_the_bound_of_their_series() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = config();
    config.groups.lag_metrics_max = 2;
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config).await;
    let channel = connect(broker.address).await;
    let t = create_topic(&channel, "t", 2, &[KEEP]).await;
    let u = create_topic(&channel, "u", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    producer.produce(&t, batch(&[b"a", b"b", b"c"])).await;
    producer.produce(&u, batch(&[b"a"])).await;
    let mut commits = Commits::open(&channel).await;
    for (group, topic, place) in [
        ("a", &t, (0, 1)),
        ("a", &t, (1, 0)),
        ("a", &u, (0, 1)),
        ("b", &t, (0, 0)),
    ] {
        let answer = commits.commit(commit(group, NOBODY, topic, place)).await;
        assert_eq!(refusal(answer), None);
    }
    let unknown = commit("b", ("x", 1), &t, (0, 1));
    assert!(refusal(commits.commit(unknown).await).is_some());
    let member = Member::join(&channel, join("c", "m", &["t"])).await;
    let found = broker.services.group_figures();
    assert_eq!(
        found.groups,
        [(("simple", "Empty"), 2), (("consumer", "Stable"), 1)].into()
    );
    assert_eq!((found.members, found.members_most), (1, 1));
    let lag = |lag: &TopicLag| (lag.group_id.to_string(), lag.topic.to_string(), lag.records);
    let lags: Vec<_> = found.lags.iter().map(lag).collect();
    let of_a = [("a".into(), "t".into(), 2), ("a".into(), "u".into(), 0)];
    assert_eq!((lags.as_slice(), found.groups_without_lag), (&of_a[..], 2));
    let counts = broker.groups.counts();
    let committed = (counts.commits, counts.offsets_committed);
    assert_eq!((committed, counts.offsets_refused), ((4, 4), 1));
    assert_eq!(counts.rebalances, 1);
    let request = v1::DeleteGroupsRequest {
        group_ids: vec!["a".into()],
    };
    let deleted = groups(&channel).delete_groups(request).await;
    assert_eq!(
        deleted.expect("answered").into_inner().results[0].error,
        None
    );
    let found = broker.services.group_figures();
    let lags: Vec<_> = found.lags.iter().map(lag).collect();
    assert_eq!(lags, [("b".into(), "t".into(), 3)]);
    assert_eq!((found.groups_without_lag, found.waiting_answers), (0, 0));
    drop(member);
    broker.stop().await;
}
