//! Subscriptions by regular expression.

use std::sync::Arc;

use super::bench::{Bench, GROUP, a, join, set, topics};
use crate::group::{Action, Event, Heartbeat, Subscription};

fn join_regex(member_id: &str, stream: u64) -> Heartbeat {
    Heartbeat {
        subscription: Some(Subscription {
            topics: Vec::new(),
            topic_regex: Some("a|c".to_owned()),
        }),
        ..join(member_id, stream)
    }
}

fn resolved(topics: &[&str], version: i64) -> Event {
    Event::RegexResolved {
        group_id: Arc::from(GROUP),
        regex: Arc::from("a|c"),
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        version,
    }
}

fn asked(bench: &Bench) -> usize {
    let is_ask = |action: &&Action| matches!(action, Action::ResolveRegex { .. });
    bench.actions.iter().filter(is_ask).count()
}

#[test]
fn a_regular_expression_is_resolved_once_for_all_its_members() {
    let mut bench = Bench::new();
    bench.beat(join_regex("m1", 1));
    bench.beat(join_regex("m2", 2));
    assert_eq!(asked(&bench), 1);
    assert_eq!(bench.last_push("m1").assignment, set(&[]));
    bench.event(resolved(&["a"], 1));
    assert_eq!(bench.holds("m1"), set(&[a(0), a(2)]));
    assert_eq!(bench.holds("m2"), set(&[a(1), a(3)]));
}

#[test]
fn it_is_resolved_again_when_topics_change_and_an_old_answer_counts_for_nothing() {
    let mut bench = Bench::new();
    bench.beat(join_regex("m1", 1));
    bench.event(resolved(&["a"], 1));
    bench.event(Event::TopicsChanged {
        topics: topics(2, 6),
        deleted: Vec::new(),
    });
    assert_eq!(asked(&bench), 2);
    assert_eq!(bench.holds("m1").len(), 6);
    bench.event(resolved(&["a"], 2));
    bench.event(resolved(&[], 1));
    assert_eq!(bench.holds("m1").len(), 6);
}

#[test]
fn what_it_matched_is_forgotten_with_its_last_member_and_survives_a_restart_before() {
    let mut bench = Bench::new();
    bench.beat(join_regex("m1", 1));
    bench.event(resolved(&["a"], 1));
    bench.reload();
    assert_eq!(bench.holds("m1").len(), 4);
    bench.pass(10_000);
    assert_eq!(bench.describe().members, []);
    bench.delete_group().expect("empty");
    assert_eq!(bench.coordinator.list(), []);
    bench.reload();
    assert_eq!(
        bench.coordinator.list(),
        [],
        "every record has its deletion"
    );
}
